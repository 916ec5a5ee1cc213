"""netCDF-4: EMIT L2A, plain CF cubes, and our own layout, through h5netcdf (no netCDF-C).

A cube stored contiguously is mapped instead of loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.atomic import replacing
from palimpsest.errors import FormatError
from palimpsest.formats.cf import Planned, Variable, header_text, plan, read_cube
from palimpsest.formats.envi_fields import NOTE
from palimpsest.formats.mission_flags import beside_emit, emit_reasons, joined

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube

MAGIC = b"\x89HDF\r\n\x1a\n"
HEADER = "palimpsest_header"
DEEPEST_GROUP = 8


@dataclass(frozen=True, slots=True)
class NetCdf:
    """A netCDF-4 file; ``variable`` and ``axes`` are told where a file leaves them open."""

    name: str = "netCDF"
    suffixes: tuple[str, ...] = (".nc", ".nc4", ".h5", ".hdf5")
    variable: str | None = None
    axes: str | None = None

    def sniff(self, path: Path, head: bytes) -> bool:
        """The magic of HDF5 in a file that is not MATLAB's."""
        return head.startswith(MAGIC) and path.suffix.lower() != ".mat"

    def read(self, path: Path) -> Cube:
        """The cube; see :mod:`palimpsest.formats.cf` for what is recognised."""
        import h5netcdf
        import h5py

        try:
            with h5py.File(path, "r") as probe:  # what h5netcdf leaves behind half-made when it fails
                probe.attrs.get("_nc3_strict")
            with h5netcdf.File(path, "r", phony_dims="sort") as source:
                variables = dict(_variables(source, "", path))
                header = source.attrs.get(HEADER, "")
                if HEADER in source.variables:
                    header = source.variables[HEADER][()]
                text = header.decode() if isinstance(header, bytes) else str(header)
                variables.pop(HEADER, None)
                cube = read_cube(variables, text, path, self.variable, self.axes)
                return _flagged(cube, emit_reasons(variables, _mask_words(source), cube.shape, path), path)
        except (OSError, KeyError, RuntimeError, TypeError, AttributeError, UnicodeDecodeError) as error:
            raise FormatError("not a readable netCDF-4 file", where=path, got=str(error)) from error

    def write(self, cube: Cube, path: Path) -> None:
        """Write chunked and deflated, band after band."""
        import h5netcdf

        with replacing(path) as fresh, h5netcdf.File(fresh, "w") as target:
            target.dimensions = dict(zip(("band", "y", "x"), cube.shape, strict=True))
            target.attrs["Conventions"] = "CF-1.11"
            target.attrs["title"] = cube.name
            target.attrs["history"] = "\n".join(cube.history)
            for part in plan(cube):
                _write(target, part)
            text = target.create_variable(HEADER, (), dtype=_text_type())
            text[...] = header_text(cube)


def _flagged(cube: Cube, own: NDArray[np.uint8] | None, path: Path) -> Cube:
    """The cube with what the mission says of its voxels, in its own file and in the mask product beside it."""
    import h5netcdf

    found, beside = own, beside_emit(path)
    if beside is not None:
        with h5netcdf.File(beside, "r", phony_dims="sort") as source:
            there = emit_reasons(dict(_variables(source, "", beside)), _mask_words(source), cube.shape, beside)
        found = there if found is None else found if there is None else joined(found, there)
    if found is None:
        return cube
    said = "; ".join(filter(None, (cube.metadata.get(NOTE, ""), "the mission's quality flags are in the mask")))
    return replace(cube, reasons=joined(cube.reasons, found), metadata={**cube.metadata, NOTE: said})


def _mask_words(source: Any) -> list[str]:  # noqa: ANN401  as below
    """Names of the layers of EMIT's mask."""
    group = source.groups.get("sensor_band_parameters")
    if group is None or "mask_bands" not in group.variables:
        return []
    values = np.ravel(group.variables["mask_bands"][...])
    return [one.decode() if isinstance(one, bytes) else str(one) for one in values]


def _text_type() -> object:
    import h5py

    return h5py.string_dtype()


def _variables(group: Any, prefix: str, path: Path, depth: int = 0) -> Iterator[tuple[str, Variable]]:  # noqa: ANN401  h5netcdf ships no types
    for name, variable in group.variables.items():
        attributes = {key: variable.attrs[key] for key in variable.attrs}
        if not isinstance(variable.dtype, np.dtype):
            continue  # text and compound types are never a cube
        yield prefix + name, Variable(
            tuple(variable.dimensions), tuple(variable.shape), variable.dtype, attributes, _loader(variable, path)
        )
    for name, child in group.groups.items() if depth < DEEPEST_GROUP else ():
        yield from _variables(child, f"{prefix}{name}/", path, depth + 1)


def _loader(variable: Any, path: Path) -> Any:  # noqa: ANN401  as above
    def load() -> NDArray[Any]:
        dataset = variable._h5ds
        offset = dataset.id.get_offset()
        if offset is not None and dataset.ndim == 3 and dataset.external is None:
            return np.memmap(path, dataset.dtype, mode="r", offset=offset, shape=dataset.shape)
        return np.asarray(variable[...])

    return load


def _write(target: Any, part: Planned) -> None:  # noqa: ANN401  as above
    options: dict[str, object] = {}
    if len(part.dims) == 3:
        rows, cols = part.values.shape[1:]
        options = {"chunks": (1, min(rows, 256), min(cols, 256)), "compression": "gzip", "compression_opts": 4}
        options["shuffle"] = True
    fill = None if part.fill is None else part.values.dtype.type(part.fill)
    variable = target.create_variable(part.name, part.dims, dtype=part.values.dtype, fillvalue=fill, **options)
    if len(part.dims) == 3:
        for band in range(len(part.values)):
            variable[band] = np.ascontiguousarray(part.values[band])
    else:
        variable[...] = part.values
    for key, value in part.attributes.items():
        variable.attrs[key] = value
