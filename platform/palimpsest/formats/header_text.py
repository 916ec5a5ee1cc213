"""What a cube is, as one text: the ENVI header fields that every other format carries along.

GeoTIFF, netCDF, Zarr and .npy say in their own ways what they can (nodata, scale, centres, coordinates), for other
readers; the text holds all of it exactly. Where the two disagree, somebody has worked on the file since: then the
format's own fields win, and the text serves for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.formats.envi_fields import Meaning, read_meaning, write_meaning
from palimpsest.formats.envi_header import format_header, numbers, parse_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from palimpsest.cubes import BandTable, Cube

_PER_BAND = (
    *("wavelength", "wavelengths", "fwhm", "bbl", "band names", "data gain values", "data offset values"),
    *("palimpsest names", "palimpsest band reasons"),
)


def header_text(cube: Cube) -> str:
    """Everything of a cube but its values and its mask, as the text of an ENVI header."""
    return format_header(write_meaning(cube))


def read_header_text(text: str, bands: int, where: object) -> tuple[Meaning, BandTable | None]:
    """The text's meaning, and its band table where that is one of ``bands`` bands (otherwise None)."""
    return fields_meaning(parse_header(text, where), bands, where)


def fields_meaning(fields: Mapping[str, str], bands: int, where: object) -> tuple[Meaning, BandTable | None]:
    """As :func:`read_header_text`, from parsed fields; lists of another length are a stale band table, not an error."""
    lengths = {len(fields[key].split(",")) for key in ("wavelength", "fwhm", "bbl") if key in fields}
    if lengths <= {bands}:
        meaning = read_meaning(fields, bands, where)
        return meaning, meaning.bands
    return read_meaning({k: v for k, v in fields.items() if k not in _PER_BAND}, bands, where), None


def agreed(stated: BandTable | None, own: BandTable) -> BandTable:
    """The exact band table of the text if the format's own one says the same, else the format's own."""
    if stated is None:
        return own
    for a, b in ((stated.centre_nm, own.centre_nm), (stated.fwhm_nm, own.fwhm_nm)):
        if b is not None and (a is None or not np.allclose(a, b, rtol=1e-5, atol=1e-3)):
            return own
    return own if (stated.good != own.good).any() and not own.good.all() else stated


__all__ = ["agreed", "fields_meaning", "header_text", "numbers", "read_header_text"]
