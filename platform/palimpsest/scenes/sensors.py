"""Nominal band grids of imaging spectrometers, for made scenes.

Evenly spaced stand-ins with the published range, number of bands and width of each instrument; true centres of a real
cube come with that cube, and those of the release with the release.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import BandTable
from palimpsest.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Spectrometer:
    """A sensor as far as a made scene needs it.

    Args:
        name: for headers.
        centre_nm, fwhm_nm: bands, ``(band,)``.
        is_pushbroom: each column has its own detector element, so that part of the noise is the same down a column.
        blur_px: standard deviation of the point spread, pixels.
        noise: nominal noise relative to the airborne whiskbroom's.
    """

    name: str
    centre_nm: NDArray[np.float64]
    fwhm_nm: NDArray[np.float64]
    is_pushbroom: bool = False
    blur_px: float = 0.5
    noise: float = 1.0

    def band_table(self) -> BandTable:
        """Its bands, all of them good."""
        return BandTable(count=self.centre_nm.size, centre_nm=self.centre_nm, fwhm_nm=self.fwhm_nm)


def _even(
    name: str, first_nm: float, last_nm: float, bands: int, fwhm_nm: float, *, is_pushbroom: bool = False,
    noise: float = 1.0,
) -> Spectrometer:
    centres = np.linspace(first_nm, last_nm, bands)
    return Spectrometer(name, centres, np.full(bands, fwhm_nm), is_pushbroom=is_pushbroom, noise=noise)


def _enmap() -> Spectrometer:
    near, short = np.linspace(420.0, 993.0, 91), np.linspace(902.0, 2445.0, 133)
    centres = np.concatenate([near, short])
    return Spectrometer(
        "EnMAP-like", centres, np.concatenate([np.full(91, 8.1), np.full(133, 12.5)]), is_pushbroom=True, noise=2.0
    )


SENSORS = ("aviris", "enmap", "emit", "hymap", "vnir")


def spectrometer(sensor: str | Spectrometer | BandTable) -> Spectrometer:
    """A sensor by name, or as given.

    Raises:
        UsageError: no such sensor, or a band table without centres.
    """
    if isinstance(sensor, Spectrometer):
        return sensor
    if isinstance(sensor, BandTable):
        if sensor.centre_nm is None:
            raise UsageError("a sensor needs band centres", wanted="centres in nm")
        widths = sensor.with_assumed_fwhm().fwhm_nm
        assert widths is not None
        return Spectrometer("given", sensor.centre_nm, widths)
    known: dict[str, Callable[[], Spectrometer]] = {
        "aviris": lambda: _even("AVIRIS-like", 365.0, 2496.0, 224, 10.0),
        "enmap": _enmap,
        "emit": lambda: _even("EMIT-like", 381.0, 2493.0, 285, 8.5, is_pushbroom=True, noise=1.5),
        "hymap": lambda: _even("HyMap-like", 450.0, 2480.0, 126, 16.0, noise=0.8),
        "vnir": lambda: _even("VNIR-like", 400.0, 1000.0, 96, 6.0, is_pushbroom=True, noise=1.2),
    }
    if sensor not in known:
        raise UsageError("unknown sensor", got=sensor, wanted=", ".join(SENSORS))
    return known[sensor]()
