"""PRISMA level 2 (HDF-EOS5, ``.he5``): both detectors as one cube of ascending wavelengths, with the mission's errors.

VNIR and SWIR are stored as ``(line, band, sample)`` uint16, each with a scale of its own, so what is read is float32
reflectance. Channels that the mission switched off (wavelength 0) are left out. Where both detectors see the same
wavelengths both stay. ``*_PIXEL_L2_ERR_MATRIX`` becomes mask reasons.

Source: PRISMA products specification document, issue 2.3 (ASI, 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.cubes import BandTable, Cube, Georeference
from palimpsest.errors import FormatError
from palimpsest.formats.memory import refuse_beyond_memory
from palimpsest.formats.mission_flags import joined, reasons_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAGIC = b"\x89HDF\r\n\x1a\n"
SWATHS = "HDFEOS/SWATHS"
DETECTORS = ("VNIR", "SWIR")
PIXEL_M = 30.0
_FULL = 65535.0


@dataclass(frozen=True, slots=True)
class Prisma:
    """Read only: nobody but the mission writes this layout."""

    name: str = "PRISMA"
    suffixes: tuple[str, ...] = ()

    def sniff(self, path: Path, head: bytes) -> bool:
        """HDF5 under the mission's suffix."""
        return head.startswith(MAGIC) and path.suffix.lower() == ".he5"

    def read(self, path: Path) -> Cube:
        """The cube.

        Raises:
            FormatError: not a level 2 product, or a damaged one.
        """
        import h5py

        try:
            with h5py.File(path, "r") as source:
                return _cube(source, path)
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise FormatError("not a readable PRISMA level 2 product", where=path, got=str(error)) from error

    def write(self, cube: Cube, path: Path) -> None:
        """Refused.

        Raises:
            FormatError: always.
        """
        raise FormatError("PRISMA's layout is only read", where=path, wanted="another suffix")


def _cube(source: Any, path: Path) -> Cube:  # noqa: ANN401  h5py ships no types
    swath = next((name for name in source.get(SWATHS, {}) if name.startswith("PRS_L2")), None)
    if swath is None:
        raise FormatError("no level 2 swath", where=path, got=", ".join(source.get(SWATHS, {})), wanted="PRS_L2...")
    fields = source[f"{SWATHS}/{swath}/Data Fields"]
    parts, masks, centres, widths = [], [], [], []
    for detector in DETECTORS:
        stored = fields[f"{detector}_Cube"]
        if len(stored.shape) != 3:
            raise FormatError("not a cube", where=f"{path}:{stored.name}", got=stored.shape, wanted="three axes")
        refuse_beyond_memory(int(np.prod(stored.shape)) * 8, path)
        centre, width = (_list(source, f"List_{what}_{detector.title()}", stored.shape[1]) for what in ("Cw", "Fwhm"))
        on = np.flatnonzero(centre > 0)
        low, high = (float(source.attrs[f"L2Scale{detector.title()}{end}"]) for end in ("Min", "Max"))
        values = stored[...][:, on].transpose(1, 0, 2).astype(np.float32)
        parts.append(values * np.float32((high - low) / _FULL) + np.float32(low))
        errors = fields.get(f"{detector}_PIXEL_L2_ERR_MATRIX")
        if errors is None:
            masks.append(np.zeros(values.shape, np.uint8))
        else:
            if errors.shape != stored.shape:
                raise FormatError(
                    "error matrix of another shape", where=f"{path}:{errors.name}", got=errors.shape,
                    wanted=stored.shape,
                )
            masks.append(reasons_of("PIXEL_L2_ERR_MATRIX", errors[...][:, on].transpose(1, 0, 2)))
        centres.append(centre[on])
        widths.append(width[on])
    if parts[0].shape[1:] != parts[1].shape[1:]:
        raise FormatError("detectors of different size", where=path, got=(parts[0].shape, parts[1].shape))
    centre, width = np.concatenate(centres), np.concatenate(widths)
    order = np.argsort(centre, kind="stable")
    bands = BandTable(centre.size, centre[order], width[order] if (width > 0).all() else None)
    return Cube(
        np.concatenate(parts)[order], bands, joined(None, np.concatenate(masks)[order]), units="reflectance",
        georeference=_place(source), name=path.stem, sensor="PRISMA",
    )


def _list(source: Any, name: str, count: int) -> NDArray[np.float64]:  # noqa: ANN401  as above
    found = np.asarray(source.attrs[name], np.float64).ravel()
    if found.size != count:
        raise ValueError(f"{name} has {found.size} values for {count} bands")
    return found


def _place(source: Any) -> Georeference | None:  # noqa: ANN401  as above
    told = source.attrs
    if not {"Product_ULcorner_easting", "Product_ULcorner_northing", "Epsg_Code"} <= set(told):
        return None
    from rasterio.crs import CRS

    # The corner is given by the centre of its pixel.
    x, y = (float(told[f"Product_ULcorner_{axis}"]) for axis in ("easting", "northing"))
    half = PIXEL_M / 2
    return Georeference(
        CRS.from_epsg(int(told["Epsg_Code"])).to_wkt(), (PIXEL_M, 0.0, x - half, 0.0, -PIXEL_M, y + half)
    )
