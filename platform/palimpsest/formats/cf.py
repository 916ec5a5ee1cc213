"""Cubes as named variables with dimensions: what netCDF and Zarr share, after the CF conventions.

Written: ``cube(band, y, x)`` with ``wavelength``, ``fwhm`` and ``good`` along the bands, the mask with reasons as a
flag variable, and ``spatial_ref``. Read: that, plain CF cubes with a wavelength coordinate in any axis order, and the
EMIT L2A layout (``reflectance(downtrack, crosstrack, bands)`` with a group ``sensor_band_parameters``; EMIT is stored
in sensor geometry, so its ortho grid is not a georeference).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.cubes import BandTable, Cube, CubeShape, Georeference, Reason
from palimpsest.cubes.cube import STORED_DTYPES, can_hold
from palimpsest.errors import FormatError
from palimpsest.formats.envi_fields import NOTE, Meaning
from palimpsest.formats.header_text import agreed, header_text, read_header_text
from palimpsest.formats.memory import refuse_beyond_memory
from palimpsest.formats.wavelengths import to_nm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

Attributes = dict[str, Any]  # text, numbers or arrays, as the file has them
BAND_DIMENSIONS = ("band", "bands", "wavelength", "wavelengths", "wl", "lambda", "channel", "channels", "spectral")
_TOLD = {"brc": (0, 1, 2), "rcb": (2, 0, 1), "rbc": (1, 0, 2)}
_CENTRES = ("wavelength", "wavelengths", "wl", "lambda", "band_centers", "band_centres", "central_wavelength")
_ROWS = ("y", "row", "rows", "line", "lines", "lat", "latitude", "downtrack", "northing")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable as found: its path ('group/name'), its dimensions, and how to load it."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attributes: Attributes
    load: Callable[[], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Planned:
    """A variable to be written; ``values`` may be a memory map and are written part by part."""

    name: str
    dims: tuple[str, ...]
    values: NDArray[Any]
    attributes: Attributes
    fill: float | None = None


def read_cube(
    variables: Mapping[str, Variable], header: str, path: Path, wanted: str | None = None, told: str | None = None
) -> Cube:
    """The cube among a file's variables.

    Args:
        variables: by path.
        header: our own header text, '' where another program wrote the file.
        path: for messages.
        wanted: name of the cube's variable when there are several.
        told: order of its axes ('brc', 'rcb', 'rbc') when the names of its dimensions do not tell.

    Raises:
        FormatError: no cube, several of them, or no telling which axis is the band.
    """
    name = _cube_name(variables, path, wanted)
    found = variables[name]
    axes = _axes(name, found, variables, path) if told is None else _TOLD[told]
    shape = CubeShape(*(found.shape[axis] for axis in axes))
    if found.dtype.name not in STORED_DTYPES:
        raise FormatError(
            "a data type that is not read", where=f"{path}:{name}", got=found.dtype.name,
            wanted=", ".join(STORED_DTYPES),
        )
    refuse_beyond_memory(shape.voxels * found.dtype.itemsize, path)
    data = found.load().transpose(axes)
    meaning, stated = read_header_text(header or "ENVI", shape.bands, path)
    own, remark = _band_table(variables, shape.bands, found.dims[axes[0]])
    attributes = found.attributes
    metadata = dict(meaning.metadata)
    if remark and (stated is None or not header):
        metadata[NOTE] = remark
    return Cube(
        data if data.dtype.isnative else data.astype(data.dtype.newbyteorder("=")),
        agreed(stated if header else None, own), _reasons(variables, shape),
        nodata=_number(attributes, ("_FillValue", "missing_value"), meaning.nodata),
        scale=_number(attributes, ("scale_factor",), 1.0) or 1.0,
        offset=_number(attributes, ("add_offset",), 0.0) or 0.0,
        units=meaning.units if header else _units(name, attributes),
        georeference=_place(variables, attributes, meaning),
        name=path.stem, sensor=meaning.sensor, metadata=metadata, history=meaning.history,
    )


def _cube_name(variables: Mapping[str, Variable], path: Path, wanted: str | None) -> str:
    cubes = [n for n, v in variables.items() if len(v.shape) == 3 and v.dtype.kind in "iuf" and n != "reasons"]
    if wanted is not None:
        if wanted not in cubes:
            raise FormatError("no such cube in the file", where=path, got=wanted, wanted=", ".join(cubes) or "3-D data")
        return wanted
    for usual in ("cube", "reflectance", "radiance"):
        if usual in cubes:
            return usual
    if len(cubes) != 1:
        raise FormatError(
            "which variable is the cube?", where=path, got=", ".join(cubes) or "no variable with three axes",
            wanted=f"palimpsest convert {path} OUT.hdr --variable NAME" if cubes else "a cube",
        )
    return cubes[0]


def _axes(name: str, found: Variable, variables: Mapping[str, Variable], path: Path) -> tuple[int, int, int]:
    """Positions of band, row and column in the variable."""
    leaves = [dim.rsplit("/", 1)[-1].lower() for dim in found.dims]
    band = next((i for i, dim in enumerate(leaves) if dim in BAND_DIMENSIONS), None)
    if band is None:  # a dimension whose coordinate is a wavelength
        spectral = {v.dims[0] for n, v in variables.items() if len(v.dims) == 1 and _is_centre(n, v)}
        band = next((i for i, dim in enumerate(found.dims) if dim in spectral), None)
    if band is None:
        raise FormatError(
            "no telling which axis is the band", where=f"{path}:{name}", got=f"dimensions {', '.join(leaves)}",
            wanted=f"palimpsest convert {path} OUT.hdr --variable {name} --axes brc (or rcb, rbc)",
        )
    first, second = (i for i in range(3) if i != band)
    return (band, second, first) if leaves[second] in _ROWS and leaves[first] not in _ROWS else (band, first, second)


def _is_centre(name: str, variable: Variable) -> bool:
    standard = str(variable.attributes.get("standard_name", ""))
    return name.rsplit("/", 1)[-1].lower() in _CENTRES or "wavelength" in standard


def _band_table(variables: Mapping[str, Variable], count: int, dim: str) -> tuple[BandTable, str]:
    along = {n: v for n, v in variables.items() if v.shape == (count,) and v.dtype.kind in "iufb"}
    ours = {n: v for n, v in along.items() if v.dims == (dim,)} or along

    def column(names: tuple[str, ...]) -> tuple[NDArray[np.float64], Attributes] | None:
        for path, variable in ours.items():
            if path.rsplit("/", 1)[-1].lower() in names:
                return np.asarray(variable.load(), np.float64), variable.attributes
        return None

    centres = column(_CENTRES) or next(
        ((np.asarray(v.load(), np.float64), v.attributes) for n, v in ours.items() if _is_centre(n, v)), None
    )
    widths, flags, codes = column(("fwhm", "fwhms")), column(("good", "good_wavelengths", "bbl")), column(("reason",))
    centre_nm = fwhm_nm = None
    remark = ""
    if centres is not None:
        unit = str(centres[1].get("units", ""))
        given = None if widths is None else widths[0].tolist()
        centre_nm, fwhm_nm, remark = to_nm(centres[0].tolist(), given, unit)
        if fwhm_nm is not None and not (np.isfinite(fwhm_nm).all() and (fwhm_nm > 0).all()):
            fwhm_nm = None
    good = np.ones(count, bool) if flags is None else np.nan_to_num(flags[0], nan=0.0) > 0
    reasons = np.where(good, Reason.GOOD, Reason.BAD_BAND).astype(np.uint8)
    if codes is not None:
        reasons = np.where(good, Reason.GOOD, np.clip(np.nan_to_num(codes[0]), 1, 255)).astype(np.uint8)
    return BandTable(count, centre_nm, fwhm_nm, good, reasons), remark


def _number(attributes: Attributes, names: tuple[str, ...], default: float | None) -> float | None:
    for name in names:
        value = np.asarray(attributes.get(name, np.nan if name == "" else [])).ravel()
        if value.size == 1 and value.dtype.kind in "iuf":
            return float(value[0])
    return default


def _units(name: str, attributes: Attributes) -> str:
    leaf = name.rsplit("/", 1)[-1].lower()
    said = str(attributes.get("units", ""))
    return "reflectance" if "reflectance" in leaf and said in ("", "1", "unitless") else said


def _reasons(variables: Mapping[str, Variable], shape: CubeShape) -> NDArray[np.uint8] | None:
    mask = variables.get("reasons")
    if mask is None or mask.shape != tuple(shape) or mask.dtype != np.uint8:
        return None
    return np.asarray(mask.load(), np.uint8)


def _place(variables: Mapping[str, Variable], attributes: Attributes, meaning: Meaning) -> Georeference | None:
    mapping = variables.get(str(attributes.get("grid_mapping", "spatial_ref")))
    if mapping is None:
        return meaning.georeference
    wkt = str(mapping.attributes.get("crs_wkt", mapping.attributes.get("spatial_ref", "")))
    try:
        x, a, b, y, d, e = (float(part) for part in str(mapping.attributes.get("GeoTransform", "")).split())
    except ValueError:
        return meaning.georeference
    return Georeference(wkt, (a, b, x, d, e, y))


def plan(cube: Cube) -> list[Planned]:
    """The variables that hold a cube, the cube itself first."""
    attributes: Attributes = {"long_name": cube.name}
    if (cube.scale, cube.offset) != (1.0, 0.0):
        attributes |= {"scale_factor": float(cube.scale), "add_offset": float(cube.offset)}
    if cube.units:
        attributes["units"] = "1" if cube.units == "reflectance" else cube.units
    if cube.bands.centre_nm is not None:
        attributes["coordinates"] = "wavelength"
    if cube.georeference is not None:
        attributes["grid_mapping"] = "spatial_ref"
    parts = [Planned("cube", ("band", "y", "x"), cube.data, attributes, _fill(cube)), *_band_variables(cube.bands)]
    if cube.reasons is not None:
        flags = {
            "flag_values": np.array([int(reason) for reason in Reason], np.uint8),
            "flag_meanings": " ".join(reason.name.lower() for reason in Reason),
            "long_name": "why a value is not to be believed",
        }
        parts.append(Planned("reasons", ("band", "y", "x"), cube.reasons, flags))
    return parts + _place_variables(cube)


def _fill(cube: Cube) -> float | None:
    return cube.nodata if cube.nodata is not None and can_hold(cube.data.dtype, cube.nodata) else None


def _band_variables(bands: BandTable) -> list[Planned]:
    parts = []
    unit: Attributes = {"units": "nm"}
    if bands.centre_nm is not None:
        parts.append(
            Planned("wavelength", ("band",), bands.centre_nm, {**unit, "standard_name": "radiation_wavelength"})
        )
    if bands.fwhm_nm is not None:
        parts.append(Planned("fwhm", ("band",), bands.fwhm_nm, {**unit, "long_name": "full width at half maximum"}))
    if not bands.good.all():
        parts.append(Planned("good", ("band",), bands.good.astype(np.uint8), {"long_name": "1 where usable"}))
        parts.append(Planned("reason", ("band",), bands.reasons, {"long_name": "why a band is not usable"}))
    return parts


def _place_variables(cube: Cube) -> list[Planned]:
    place = cube.georeference
    if place is None:
        return []
    a, b, x, d, e, y = place.transform
    words: Attributes = {"GeoTransform": " ".join(repr(float(v)) for v in (x, a, b, y, d, e))}
    if place.crs_wkt:
        words |= {"crs_wkt": place.crs_wkt, "spatial_ref": place.crs_wkt}
    parts = [Planned("spatial_ref", (), np.array(0, np.int32), words)]
    if not b and not d:  # coordinates of pixel centres, for programs that know no transform
        parts.append(Planned("x", ("x",), x + a * (np.arange(cube.shape.cols) + 0.5), {"axis": "X"}))
        parts.append(Planned("y", ("y",), y + e * (np.arange(cube.shape.rows) + 0.5), {"axis": "Y"}))
    return parts


__all__ = ["Attributes", "Planned", "Variable", "header_text", "plan", "read_cube"]
