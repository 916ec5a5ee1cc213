"""What the fields of an ENVI header mean for a cube, and the fields that say what a cube is.

Fields with a home in :class:`~palimpsest.cubes.Cube` go there; all others stay, word for word, in its metadata and
are written back. What ENVI has no field for travels in fields named ``palimpsest ...``, which other readers skip.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import BandTable, Cube, Georeference, Reason
from palimpsest.errors import FormatError
from palimpsest.formats.envi_header import numbers, split_list
from palimpsest.formats.map_info import format_map_info, parse_map_info
from palimpsest.formats.wavelengths import from_names, to_nm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

NOTE = "palimpsest note"  # metadata: what a reader had to guess, one sentence after another
_HOMED = frozenset({
    *("samples", "lines", "bands", "header offset", "file type", "data type", "interleave", "byte order"),
    *("wavelength", "wavelengths", "wavelength units", "wavelength unit", "wavelengths units", "fwhm", "bbl"),
    *("band names", "data ignore value", "sensor type", "coordinate system string", "file compression"),
    *("palimpsest band reasons", "palimpsest metadata", "palimpsest history", "palimpsest transform"),
    *("palimpsest mask", "palimpsest names", "palimpsest assumed fwhm", "data units"),
})
_TRUTH = {"true": True, "false": False, "t": True, "f": False, "yes": True, "no": False, "good": True, "bad": False}


@dataclass(frozen=True, slots=True)
class Meaning:
    """Everything of a cube but its values and its mask."""

    bands: BandTable
    nodata: float | None
    scale: float
    offset: float
    units: str
    georeference: Georeference | None
    sensor: str
    metadata: dict[str, str]
    history: tuple[str, ...]


def read_meaning(fields: Mapping[str, str], count: int, where: object) -> Meaning:
    """What the header says about a cube of ``count`` bands.

    Raises:
        FormatError: a list of another length, or an entry that cannot be read.
    """
    remarks: list[str] = []
    bands = _bands(fields, count, where, remarks)
    scale, offset, units, extra = _scale(fields, count, where, remarks)
    place = _place(fields, where)
    metadata = {key: value for key, value in fields.items() if key not in _HOMED and key not in extra}
    if place is None and "coordinate system string" in fields:
        metadata["coordinate system string"] = fields["coordinate system string"]
    for pair in _json_list(fields, "palimpsest metadata", where):
        assert isinstance(pair, list)  # _json_list refuses anything else under this key
        metadata[str(pair[0])] = str(pair[1])
    if remarks:
        metadata[NOTE] = "; ".join(remarks)
    return Meaning(
        bands=bands, nodata=_nodata(fields, where), scale=scale, offset=offset, units=units, georeference=place,
        sensor=fields.get("sensor type", ""), metadata=metadata,
        history=tuple(str(line) for line in _json_list(fields, "palimpsest history", where)),
    )


def _bands(fields: Mapping[str, str], count: int, where: object, remarks: list[str]) -> BandTable:
    names = tuple(str(name) for name in _json_list(fields, "palimpsest names", where))
    names = names or tuple(split_list(fields.get("band names", "")))
    if len(names) != count:
        if names:
            remarks.append(f"band names dropped: {len(names)} for {count} bands")
        names = ()
    key = "wavelength" if "wavelength" in fields else "wavelengths"
    unit = next((fields[k] for k in ("wavelength units", "wavelength unit", "wavelengths units") if k in fields), "")
    centres, widths = numbers(fields, key, count, where), numbers(fields, "fwhm", count, where)
    if centres is None and (hidden := from_names(names)) is not None:
        centres, named_unit = hidden
        unit = named_unit or unit
        remarks.append("wavelengths read from the band names")
    centre_nm = fwhm_nm = None
    if centres is not None:
        if unit.strip().lower() in ("", "unknown", "index"):
            unit = ""
        centre_nm, fwhm_nm, remark = to_nm(centres, widths, unit)
        remarks += [remark] if remark else []
    if fwhm_nm is not None and not (np.isfinite(fwhm_nm).all() and (fwhm_nm > 0).all()):
        fwhm_nm = None
        remarks.append("fwhm ignored: not all positive")
    good = _good(fields, count, where)
    reasons = np.where(good, Reason.GOOD, Reason.BAD_BAND).astype(np.uint8)
    stated = numbers(fields, "palimpsest band reasons", count, where)
    if stated is not None:
        stated_reasons = np.clip(np.nan_to_num(stated, nan=Reason.BAD_BAND), 1, 255)
        reasons = np.where(good, Reason.GOOD, stated_reasons).astype(np.uint8)
    return BandTable(
        count, centre_nm, fwhm_nm, good, reasons, names,
        fwhm_is_assumed=fwhm_nm is not None and fields.get("palimpsest assumed fwhm") == "1",
    )


def _good(fields: Mapping[str, str], count: int, where: object) -> NDArray[np.bool_]:
    entries = split_list(fields.get("bbl", ""))
    if not entries:
        return np.ones(count, bool)
    words = {"bbl": ",".join(str(int(_TRUTH.get(entry.lower(), False))) for entry in entries)}
    if not all(entry.lower() in _TRUTH for entry in entries):
        words = {"bbl": fields["bbl"]}
    flags = np.asarray(numbers(words, "bbl", count, where))
    if not np.isfinite(flags).all():
        raise FormatError("'bbl' holds something that is no flag", where=where, wanted="1 (good) or 0 (bad) a band")
    return np.asarray(flags != 0)


def _scale(
    fields: Mapping[str, str], count: int, where: object, remarks: list[str]
) -> tuple[float, float, str, set[str]]:
    """Scale, offset, units and the fields that these took up."""
    units = fields.get("data units", "")
    factor = numbers(fields, "reflectance scale factor", 1, where)
    if factor is not None and np.isfinite(factor[0]) and factor[0] > 0:
        return 1.0 / factor[0], 0.0, units or "reflectance", {"reflectance scale factor"}
    gains = numbers(fields, "data gain values", count, where)
    offsets = numbers(fields, "data offset values", count, where)
    used = {"data gain values", "data offset values"}
    if gains is None and offsets is None:
        return 1.0, 0.0, units, set()
    gains, offsets = gains or [1.0] * count, offsets or [0.0] * count
    if len(set(gains)) == 1 and len(set(offsets)) == 1 and np.isfinite([gains[0], offsets[0]]).all() and gains[0]:
        return gains[0], offsets[0], units, used
    remarks.append("gains and offsets differ between bands: values are kept as stored, the fields in the metadata")
    return 1.0, 0.0, units, set()


def _place(fields: Mapping[str, str], where: object) -> Georeference | None:
    wkt = fields.get("coordinate system string", "")
    exact = numbers(fields, "palimpsest transform", 6, where)
    if exact is not None:
        a, b, c, d, e, f = exact
        return Georeference(wkt, (a, b, c, d, e, f))
    return parse_map_info(fields["map info"], wkt) if "map info" in fields else None


def _nodata(fields: Mapping[str, str], where: object) -> float | None:
    value = fields.get("data ignore value", "").strip()
    if not value or value.lower() == "none":
        return None
    try:
        return float(value)
    except ValueError as error:
        raise FormatError("'data ignore value' is no number", where=where, got=repr(value)) from error


def _json_list(fields: Mapping[str, str], key: str, where: object) -> list[object]:
    if key not in fields:
        return []
    try:
        value = json.loads(fields[key])
    except ValueError as error:
        raise FormatError(f"{key!r} cannot be read", where=where, got=str(error)) from error
    if not isinstance(value, list) or (key == "palimpsest metadata" and any(not _is_pair(entry) for entry in value)):
        raise FormatError(f"{key!r} is not a list", where=where, got=fields[key][:40])
    return value


def _is_pair(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 2


def write_meaning(cube: Cube) -> dict[str, str | list[str]]:
    """The header fields that say what a cube is, without its layout."""
    fields: dict[str, str | list[str]] = {}
    # 'map info' is rebuilt from the georeference, which windows move.
    kept = {k: v for k, v in cube.metadata.items() if k != "map info" or cube.georeference is None}
    plain, awkward = _sorted_metadata(kept)
    fields |= plain
    if awkward:
        fields["palimpsest metadata"] = _json_line(awkward)
    fields |= _band_fields(cube.bands)
    if cube.sensor:
        fields["sensor type"] = " ".join(cube.sensor.split())
    if cube.units:
        fields["data units"] = " ".join(cube.units.split())
    if cube.nodata is not None:
        fields["data ignore value"] = repr(float(cube.nodata)) if cube.nodata % 1 else str(int(cube.nodata))
    fields |= _scale_fields(cube)
    if cube.georeference is not None:
        fields |= _place_fields(cube.georeference, cube.metadata.get("map info", ""))
    if cube.history:
        fields["palimpsest history"] = _json_line(list(cube.history))
    return fields


def _sorted_metadata(metadata: Mapping[str, str]) -> tuple[dict[str, str | list[str]], list[list[str]]]:
    """Fields that an ENVI header holds as they are, and the pairs that it would spoil."""
    plain: dict[str, str | list[str]] = {}
    awkward: list[list[str]] = []
    for key, value in metadata.items():
        is_plain_key = key == " ".join(key.lower().split()) and key and not set(key) & set("={};") and key.isprintable()
        is_plain_value = value == value.strip() and value.isprintable() and not set(value) & set("{}")
        if is_plain_key and is_plain_value and key not in _HOMED:
            plain[key] = "{" + value + "}"
        else:
            awkward.append([key, value])
    return plain, awkward


def _band_fields(bands: BandTable) -> dict[str, str | list[str]]:
    fields: dict[str, str | list[str]] = {}
    if bands.centre_nm is not None:
        fields["wavelength units"] = "Nanometers"
        fields["wavelength"] = [repr(float(value)) for value in bands.centre_nm]
    if bands.fwhm_nm is not None:
        fields["fwhm"] = [repr(float(value)) for value in bands.fwhm_nm]
    if bands.fwhm_is_assumed:
        fields["palimpsest assumed fwhm"] = "1"
    if not bands.good.all():
        fields["bbl"] = [str(int(good)) for good in bands.good]
        if (bands.reasons[~bands.good] != Reason.BAD_BAND).any():
            fields["palimpsest band reasons"] = [str(int(reason)) for reason in bands.reasons]
    if bands.names:
        shown = [" ".join(name.translate(str.maketrans(",{}", ";()")).split()) or "-" for name in bands.names]
        fields["band names"] = shown
        if tuple(shown) != bands.names:
            fields["palimpsest names"] = _json_line(list(bands.names))
    return fields


def _scale_fields(cube: Cube) -> dict[str, str | list[str]]:
    if cube.scale == 1.0 and cube.offset == 0.0:
        return {}
    factor = 1.0 / cube.scale
    if cube.units == "reflectance" and cube.offset == 0.0 and factor > 0 and 1.0 / factor == cube.scale:
        return {"reflectance scale factor": repr(factor)}
    return {
        "data gain values": [repr(float(cube.scale))] * cube.bands.count,
        "data offset values": [repr(float(cube.offset))] * cube.bands.count,
    }


def _place_fields(place: Georeference, earlier: str) -> dict[str, str | list[str]]:
    entries = format_map_info(place, earlier)
    fields: dict[str, str | list[str]] = {"map info": "{" + ", ".join(entries) + "}"}
    if place.crs_wkt:
        fields["coordinate system string"] = "{" + " ".join(place.crs_wkt.split()) + "}"
    if parse_map_info(", ".join(entries), place.crs_wkt) != place:
        fields["palimpsest transform"] = [repr(float(value)) for value in place.transform]
    return fields


def _json_line(value: list[str] | list[list[str]]) -> str:
    # Braces would end the field in other readers; inside JSON strings they may be written as escapes.
    return json.dumps(value).replace("{", "\\u007b").replace("}", "\\u007d")
