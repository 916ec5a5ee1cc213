"""Bare arrays, and files whose metadata need a word from the user: what ``convert`` is told, in one value."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from palimpsest.cubes import BandTable, Cube
from palimpsest.cubes.cube import STORED_DTYPES, can_hold
from palimpsest.errors import FormatError, UsageError
from palimpsest.formats.envi_fields import NOTE
from palimpsest.formats.matlab import Matlab, mat_arrays
from palimpsest.formats.netcdf import NetCdf
from palimpsest.formats.npy import Npy, axes_unknown, map_npy
from palimpsest.formats.wavelengths import to_nm
from palimpsest.formats.zarr_store import Zarr

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.formats.contract import CubeFormat

Axes = Literal["brc", "rcb", "rbc"]
_TO_BRC = {"brc": (0, 1, 2), "rcb": (2, 0, 1), "rbc": (1, 0, 2)}


@dataclass(frozen=True, slots=True)
class Telling:
    """What the user says about a file.

    Args:
        variable: name of the cube in a file that holds several.
        axes: order of the axes of a bare array: b band, r row, c column.
        wavelengths: text file of band centres (nm or µm), one line a band; a leading column of band numbers is skipped.
        fwhm: text file of widths; may be the same file, whose next column is then taken.
        nodata: value that stands for 'no data'.
        scale: physical value = stored value x scale.
    """

    variable: str | None = None
    axes: Axes | None = None
    wavelengths: Path | None = None
    fwhm: Path | None = None
    nodata: float | None = None
    scale: float | None = None


def read_told(path: Path, known_as: CubeFormat, telling: Telling) -> Cube:
    """The cube in a file of a known format, with what the user says about it taken into account.

    Raises:
        FormatError: the axes are needed and not told, or an array does not fit what is told.
        UsageError: something is told that this format has no use for.
    """
    if isinstance(known_as, Npy) and (telling.axes is not None or not path.with_name(path.name + ".json").exists()):
        cube = _bare(path, map_npy(path), telling)
    elif isinstance(known_as, Matlab):
        cube = _matlab(path, telling)
    else:
        if isinstance(known_as, NetCdf | Zarr):
            known_as = replace(known_as, variable=telling.variable, axes=telling.axes)
        elif telling.variable is not None or telling.axes is not None:
            raise UsageError(
                "--variable and --axes are for files that leave them open", where=path, got=known_as.name,
                wanted="neither of them",
            )
        cube = known_as.read(path)
    return _amended(cube, telling)


def _matlab(path: Path, telling: Telling) -> Cube:
    if telling.axes is None:
        return Matlab().read(path)
    arrays = mat_arrays(path)
    cubes = [name for name, array in arrays.items() if array.ndim == 3]
    name = telling.variable or (cubes[0] if len(cubes) == 1 else None)
    if name not in cubes:
        raise FormatError(
            "which array is the cube?", where=path, got=telling.variable or ", ".join(cubes) or "none of three axes",
            wanted=f"--variable with one of {', '.join(cubes)}" if cubes else "an array of three axes",
        )
    cube = _bare(path, arrays[name], telling)
    centres = next((a for n, a in arrays.items() if n.lower() in ("wavelength", "wavelengths", "wl")), None)
    if centres is not None and centres.size == cube.shape.bands:
        centre_nm, _, remark = to_nm(centres.ravel().astype(float).tolist(), None, "")
        said = f"wavelengths from the file itself{'; ' + remark if remark else ''}"
        cube = replace(cube, bands=replace(cube.bands, centre_nm=centre_nm), metadata={**cube.metadata, NOTE: said})
    return cube


def _bare(path: Path, array: NDArray[np.generic], telling: Telling) -> Cube:
    if telling.axes is None:
        raise axes_unknown(path)
    if array.ndim != 3:
        raise FormatError("not a cube", where=path, got=f"shape {array.shape}", wanted="an array of three axes")
    data, remark = _storable(array, path)
    data = data.transpose(_TO_BRC[telling.axes])
    return Cube(data, BandTable(len(data)), name=path.stem, metadata={"source": path.name} | remark)


def _storable(array: NDArray[np.generic], path: Path) -> tuple[NDArray[np.generic], dict[str, str]]:
    """The values in a type that cubes are stored in, unchanged; refused where that cannot be."""
    if array.dtype.name in STORED_DTYPES:
        return (array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))), {}
    for narrower in {"b": ("uint8",), "i": ("int32",), "u": ("uint32",), "f": ("float32",)}.get(array.dtype.kind, ()):
        smaller = array.dtype.kind == "f" and array.dtype.itemsize < 4  # float16: every value fits
        if smaller or (array.dtype.kind in "biu" and _fits(array, np.dtype(narrower))):
            return array.astype(narrower), {NOTE: f"{array.dtype.name} stored as {narrower}, no value changed"}
    raise FormatError(
        "values of a type that is not stored", where=path, got=array.dtype.name, wanted=", ".join(STORED_DTYPES)
    )


def _fits(array: NDArray[np.generic], dtype: np.dtype[np.generic]) -> bool:
    return not array.size or (can_hold(dtype, int(array.min())) and can_hold(dtype, int(array.max())))


def _amended(cube: Cube, telling: Telling) -> Cube:
    bands = cube.bands
    if telling.wavelengths is not None:
        centres = _column(telling.wavelengths, 0, bands.count)
        widths = None
        if telling.fwhm is not None:
            widths = _column(telling.fwhm, 1 if telling.fwhm == telling.wavelengths else 0, bands.count)
        centre_nm, fwhm_nm, remark = to_nm(centres, widths, "")
        if centre_nm is None:
            raise FormatError("no wavelengths", where=telling.wavelengths, got=remark, wanted="nanometres or µm")
        bands = replace(bands, centre_nm=centre_nm, fwhm_nm=fwhm_nm, fwhm_is_assumed=False)
    elif telling.fwhm is not None:
        raise UsageError("--fwhm needs --wavelengths, in the same unit", got=str(telling.fwhm))
    if telling.scale is not None and not (np.isfinite(telling.scale) and telling.scale > 0):
        raise UsageError("--scale must be a positive number", got=telling.scale)
    return replace(
        cube, bands=bands, nodata=cube.nodata if telling.nodata is None else telling.nodata,
        scale=cube.scale if telling.scale is None else telling.scale,
    )


def _column(path: Path, column: int, count: int) -> list[float]:
    """A column of numbers from a text file, one line a band; a first column of band numbers does not count."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = [word for word in re.split(r"[\s,;]+", line.split("#")[0].strip()) if word]
        if not words:
            continue
        try:
            rows.append([float(word) for word in words])
        except ValueError as error:
            raise FormatError("not a number", where=f"{path}, line {number}", got=line.strip()[:60]) from error
    if len(rows) == 1 and column == 0 and len(rows[0]) == count:
        return rows[0]
    if len(rows) != count:
        raise FormatError("other bands than the cube's", where=path, got=f"{len(rows)} lines", wanted=f"{count}")
    if all(len(row) > 1 for row in rows) and [row[0] for row in rows] == list(range(1, count + 1)):
        rows = [row[1:] for row in rows]
    if any(len(row) <= column for row in rows):
        raise FormatError("no such column", where=path, got=f"{min(map(len, rows))} columns", wanted=column + 1)
    return [row[column] for row in rows]


__all__ = ["Axes", "Telling", "read_told"]
