"""Zarr v3 folders in the layout that xarray opens: one group, one array a variable, named dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.atomic import replacing
from palimpsest.errors import FormatError
from palimpsest.formats.cf import Planned, Variable, header_text, plan, read_cube

if TYPE_CHECKING:
    from pathlib import Path

    from palimpsest.cubes import Cube

HEADER = "palimpsest_header"


@dataclass(frozen=True, slots=True)
class Zarr:
    """A Zarr folder; v2 is read too, as far as its arrays name their dimensions."""

    name: str = "Zarr"
    suffixes: tuple[str, ...] = (".zarr",)
    variable: str | None = None
    axes: str | None = None

    def sniff(self, path: Path, head: bytes) -> bool:
        """A folder with Zarr's group metadata in it."""
        return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata"))

    def read(self, path: Path) -> Cube:
        """The cube, read whole."""
        import zarr
        from zarr.errors import BaseZarrError

        try:
            group = zarr.open_group(str(path), mode="r")
            variables = {name: _variable(array) for name, array in group.arrays()}
            return read_cube(variables, str(group.attrs.get(HEADER, "")), path, self.variable, self.axes)
        except FormatError:
            raise
        except (BaseZarrError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise FormatError("not a readable Zarr group", where=path, got=str(error)) from error

    def write(self, cube: Cube, path: Path) -> None:
        """Write chunk by chunk; the folder appears when it is whole."""
        import zarr

        with replacing(path) as fresh:
            group = zarr.open_group(str(fresh), mode="w", zarr_format=3)
            for part in plan(cube):
                _write(group, part)
            group.attrs.update({"Conventions": "CF-1.11", "title": cube.name, HEADER: header_text(cube)})


def _dims(array: Any) -> tuple[str, ...]:  # noqa: ANN401  zarr's own types change between releases
    named = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if named and len(named) == array.ndim:
        return tuple(str(name) for name in named)
    return tuple(f"axis_{i}_{length}" for i, length in enumerate(array.shape))


def _attributes(array: Any) -> dict[str, Any]:  # noqa: ANN401  as above
    attributes = dict(array.attrs)
    if "_FillValue" in attributes and isinstance(attributes["_FillValue"], str):
        attributes["_FillValue"] = float(attributes["_FillValue"])  # 'NaN' and 'Infinity' are text in JSON
    return attributes


def _variable(array: Any) -> Variable:  # noqa: ANN401  as above
    return Variable(
        _dims(array), tuple(array.shape), np.dtype(array.dtype), _attributes(array), lambda: np.asarray(array[...])
    )


def _write(group: Any, part: Planned) -> None:  # noqa: ANN401  as above
    chunks = part.values.shape
    if len(part.dims) == 3:
        bands, rows, cols = part.values.shape
        chunks = (min(bands, 16), min(rows, 128), min(cols, 128))
    array = group.create_array(
        part.name, shape=part.values.shape, dtype=part.values.dtype, chunks=chunks or "auto",
        dimension_names=part.dims or None,
    )
    if len(part.dims) == 3:
        for start in range(0, part.values.shape[0], 16):
            array[start : start + 16] = np.ascontiguousarray(part.values[start : start + 16])
    else:
        array[...] = part.values
    attributes = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in part.attributes.items()}
    if part.fill is not None:
        attributes["_FillValue"] = part.fill if np.isfinite(part.fill) else str(part.fill)
    array.attrs.update(attributes)
