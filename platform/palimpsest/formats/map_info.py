"""ENVI's ``map info`` to and from a :class:`~palimpsest.cubes.Georeference`.

Pixel (1, 1) of ``map info`` is the outer corner of the upper left pixel. Rotation follows GDAL's ENVI driver:
``x = e + cos(r) * px * col - sin(r) * px * row``, ``y = n - sin(r) * py * col - cos(r) * py * row``.
"""

from __future__ import annotations

import math
import re

from palimpsest.cubes import Georeference
from palimpsest.formats.envi_header import split_list

WGS84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]'
)


def parse_map_info(text: str, crs_wkt: str) -> Georeference | None:
    """Place on the ground; None where the text holds no usable grid ('Arbitrary' pixel grids included)."""
    entries = split_list(text)
    try:
        column, row, east, north, width, height = (float(entry) for entry in entries[1:7])
    except ValueError:
        return None
    if not all(map(math.isfinite, (column, row, east, north, width, height))) or not width or not height:
        return None
    angle = math.radians(_option(entries, "rotation"))
    if entries[0].lower() == "arbitrary" and not crs_wkt and (east, north, width, height) == (0.0, 0.0, 1.0, 1.0):
        return None
    sine, cosine = (math.sin(angle), math.cos(angle)) if angle else (0.0, 1.0)
    a, b, d, e = cosine * width, -sine * width + 0.0, -sine * height + 0.0, -cosine * height
    corner_x = east - a * (column - 1) - b * (row - 1)
    corner_y = north - d * (column - 1) - e * (row - 1)
    return Georeference(crs_wkt or _known_wkt(entries), (a, b, corner_x, d, e, corner_y))


def _option(entries: list[str], name: str) -> float:
    for entry in entries[7:]:
        match = re.fullmatch(rf"{name}\s*=\s*(\S+)", entry, re.IGNORECASE)
        if match:
            try:
                return float(match[1])
            except ValueError:
                return 0.0
    return 0.0


def _known_wkt(entries: list[str]) -> str:
    words = [entry.lower() for entry in entries]
    if not any("wgs" in word and "84" in word for word in words):
        return ""
    if words[0].startswith("geographic"):
        return WGS84
    if words[0] == "utm" and len(entries) > 8 and entries[7].isdigit() and 1 <= int(entries[7]) <= 60:
        return utm_wkt(int(entries[7]), north=words[8].startswith("n"))
    return ""


def utm_wkt(zone: int, *, north: bool) -> str:
    """The coordinate system WGS 84 / UTM of a zone, as WKT with its EPSG code."""
    return (
        f'PROJCS["WGS 84 / UTM zone {zone}{"N" if north else "S"}",{WGS84},PROJECTION["Transverse_Mercator"],'
        f'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",{zone * 6 - 183}],'
        f'PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],'
        f'PARAMETER["false_northing",{0 if north else 10000000}],UNIT["metre",1],'
        f'AUTHORITY["EPSG","{(32600 if north else 32700) + zone}"]]'
    )


def format_map_info(place: Georeference, earlier: str = "") -> list[str]:
    """The entries of ``map info`` for a grid; projection words are kept from the ``earlier`` text where it has any."""
    a, b, x, d, e, y = place.transform
    old = split_list(earlier)
    tail = [entry for entry in old[7:] if not entry.lower().startswith("rotation")]
    name = old[0] if old else ""
    if not name:
        name, tail = _projection_words(place.crs_wkt)
    width, height = math.hypot(a, b), math.hypot(d, e)
    if not b and not d:  # signed, so that a grid counted from the south survives
        width, height = a, -e
    angle = math.degrees(math.atan2(-b, a)) if b or d else 0.0
    entries = [name, "1", "1", *(repr(float(v)) for v in (x, y, width, height)), *tail]
    return [*entries, f"rotation={angle!r}"] if angle else entries


def _projection_words(crs_wkt: str) -> tuple[str, list[str]]:
    utm = re.search(r"UTM[ _]zone[ _](\d+)([NS])", crs_wkt, re.IGNORECASE)
    if utm and re.search(r"WGS[ _]?(19)?84", crs_wkt):
        return "UTM", [utm[1], "North" if utm[2].upper() == "N" else "South", "WGS-84", "units=Meters"]
    if crs_wkt.startswith(("GEOGCS", "GEOGCRS")):
        return "Geographic Lat/Lon", ["WGS-84", "units=Degrees"] if "84" in crs_wkt[:40] else ["units=Degrees"]
    return "Arbitrary" if not crs_wkt else "Projected", []
