"""Noise of a sensor in reflectance units: a floor and a part that grows with the signal, worst where light is scarce.

Dividing radiance by what the sun sends and the air lets through makes noise in reflectance grow towards short waves,
the far end of the short-wave infrared and the water windows, where next to nothing arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.scenes import atmosphere

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.scenes.sensors import Spectrometer

FLOOR = 1.5e-4  # reflectance, where light is plentiful
SHOT = 7e-4  # reflectance, at reflectance 1 where light is plentiful
WORST = 0.25
PUSHBROOM_SHARE = 0.25  # share of the standard deviation that is the same down a column


@dataclass(frozen=True, slots=True)
class BandNoise:
    """Noise in reflectance units.

    Args:
        floor, shot: the variance at reflectance r is ``floor**2 + shot**2 * r``; each ``(band,)`` float32.
        opaque: bands in which the air lets nothing through, ``(band,)``.
        column_share: share of the standard deviation that is the same down a column.
    """

    floor: NDArray[np.float32]
    shot: NDArray[np.float32]
    opaque: NDArray[np.bool_]
    column_share: float

    def sigma(self, reflectance: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standard deviation of each sample, ``(pixel, band)``."""
        return np.asarray(np.sqrt(self.floor**2 + self.shot**2 * np.maximum(reflectance, 0)), np.float32)


def band_noise(rng: np.random.Generator, sensor: Spectrometer, level: float) -> BandNoise:
    """The noise of a sensor; ``level`` 1 is nominal, 0 none."""
    clear = band_transmission(sensor)
    light = atmosphere.solar_irradiance(sensor.centre_nm) * clear
    scarcity = light.max() / np.maximum(light, 1e-6)
    # Narrow bands gather less; no two bands of a real sensor are equally good.
    unequal = np.exp(0.25 * rng.standard_normal(scarcity.size)) * np.sqrt(10.0 / sensor.fwhm_nm)
    scale = level * sensor.noise
    floor = np.minimum(FLOOR * scarcity**0.7 * unequal * scale, WORST * min(level, 1.0))
    shot = np.minimum(SHOT * scarcity**0.5 * unequal * scale, WORST * min(level, 1.0))
    return BandNoise(
        floor.astype(np.float32), shot.astype(np.float32), clear < atmosphere.OPAQUE_BELOW,
        PUSHBROOM_SHARE if sensor.is_pushbroom else 0.0,
    )


def band_transmission(sensor: Spectrometer) -> NDArray[np.float64]:
    """Transmission of the air averaged over each band, ``(band,)``."""
    offsets = np.linspace(-0.5, 0.5, 5)
    return np.asarray(
        np.mean([atmosphere.transmission(sensor.centre_nm + offset * sensor.fwhm_nm) for offset in offsets], axis=0)
    )
