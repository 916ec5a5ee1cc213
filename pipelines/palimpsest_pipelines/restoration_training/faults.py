"""What stands between a made scene and a recorded one: faults of calibration, air and instrument, in random strength.

In a made scene a source does in a gap as it does beside it, because every band is as good as its neighbours and every
spectrum is a mixture of the library's. Recorded scenes are otherwise: errors of gain come in stretches, rims of gas
windows are overcorrected, detectors meet with a step, products are smoothed and bridged, and materials are of no
library. Here each of these is drawn at random, so that whoever learns from such scenes learns how far trials may be
believed. How strong they are was set so that trials promise about as much too much in made scenes as in the recorded
ones that training may see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from palimpsest.scenes import atmosphere, fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FAULTLESS = 0.08  # share of scenes without any fault
EACH = 0.7  # chance of each fault in the others
POLISHED, BRIDGED = 0.25, 0.15
SHUT = 0.5  # transmission below which a correction of the air is hardly one
_LARGEST = 1.2  # natural logarithm of a gain


def shift_of(rng: np.random.Generator, centre_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Errors of the band centres, smooth along the range, nm, ``(band,)``."""
    return _drawn(rng, 0.1, 2.5) * _smooth(rng, centre_nm.size, _drawn(rng, 20, 80))


def gains(
    rng: np.random.Generator, centre_nm: NDArray[np.float64], rows: int, cols: int
) -> NDArray[np.float64]:
    """What the recorded values are multiplied by, ``(band, row, col)``.

    Args:
        rng: source of chance.
        centre_nm: ascending band centres.
        rows: height of the scene.
        cols: width of the scene.
    """
    clear = atmosphere.transmission(centre_nm)
    log_gain = np.zeros((centre_nm.size, rows * cols))
    for fault in (_ripple, _air, _rims, _detectors):
        if rng.random() < EACH:
            log_gain += fault(rng, centre_nm, clear)[:, None]
    for fault_here in (_uneven_air, _strangers):
        if rng.random() < EACH:
            shapes = fault_here(rng, centre_nm)
            where = np.stack([fields.power_law(rng, rows, cols, 2.5, longest_px=60.0).ravel() for _ in shapes])
            log_gain += shapes.T @ where
    return np.exp(np.clip(log_gain, -_LARGEST, _LARGEST)).reshape(-1, rows, cols)


def stray(rng: np.random.Generator, level: float, bands: int) -> NDArray[np.float64]:
    """Light that falls where it should not, over a stretch of bands, in units of ``level``, ``(band,)``."""
    if rng.random() > EACH:
        return np.zeros(bands)
    middle, width = rng.uniform(0, bands), _drawn(rng, 5, bands / 2)
    return level * _drawn(rng, 0.003, 0.06) * np.exp(-0.5 * ((np.arange(bands) - middle) / width) ** 2)


def polished(rng: np.random.Generator, centre_nm: NDArray[np.float64]) -> Callable[
    [NDArray[np.float64]], NDArray[np.float64]
]:
    """What a product's last step makes of values ``(band, row, col)``: smoothed, or gas windows bridged by lines."""
    steps: list[Callable[[NDArray[np.float64]], NDArray[np.float64]]] = []
    if rng.random() < POLISHED:
        reach = _drawn(rng, 0.6, 2.0)
        steps.append(lambda values: np.asarray(gaussian_filter1d(values, reach, axis=0, mode="nearest")))
    if rng.random() < BRIDGED:
        windows = [(750.0, 775.0), (900.0, 985.0), (1085.0, 1175.0)]
        chosen = [window for window in windows if rng.random() < EACH]
        inside = np.zeros(centre_nm.size, bool)
        for low, high in chosen:
            inside |= (centre_nm > low) & (centre_nm < high)
        if inside.any() and not inside[[0, -1]].any():
            steps.append(lambda values: _bridge(values, centre_nm, inside))

    def step(values: NDArray[np.float64]) -> NDArray[np.float64]:
        for one in steps:
            values = one(values)
        return values

    return step


def _bridge(
    values: NDArray[np.float64], centre_nm: NDArray[np.float64], inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    out, outside = values.copy(), np.flatnonzero(~inside)
    for band in np.flatnonzero(inside):
        after = int(np.searchsorted(outside, band))
        left, right = outside[after - 1], outside[after]
        share = (centre_nm[band] - centre_nm[left]) / (centre_nm[right] - centre_nm[left])
        out[band] = (1 - share) * values[left] + share * values[right]
    return out


def _ripple(
    rng: np.random.Generator, centre_nm: NDArray[np.float64], clear: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Errors of gain in stretches of 3 to 40 bands, more of them where the air is thick."""
    both = sum(_drawn(rng, 0.003, 0.08) * _smooth(rng, centre_nm.size, _drawn(rng, 1.5, 20)) for _ in range(2))
    return np.asarray(both * (1 + 2 * (1 - clear)))


def _air(rng: np.random.Generator, centre_nm: NDArray[np.float64], clear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Too much or too little vapour, other gases and haze taken off."""
    vapour = np.minimum(atmosphere.vapour_depth(centre_nm), 3.0)
    gases = np.minimum(-np.log(clear), 3.0) - vapour
    haze = (centre_nm / 500.0) ** -_drawn(rng, 1.0, 4.0)
    off = rng.standard_normal(3) * (_drawn(rng, 0.03, 0.4), _drawn(rng, 0.03, 0.4), _drawn(rng, 0.02, 0.2))
    return np.asarray(off[0] * vapour + off[1] * gases + off[2] * haze)


def _rims(rng: np.random.Generator, centre_nm: NDArray[np.float64], clear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slopes of opaque windows, where hardly any light is left to correct."""
    near = gaussian_filter1d((clear < SHUT).astype(float), 1.5)
    each = rng.standard_normal(centre_nm.size) + 2.0 * _smooth(rng, centre_nm.size, 2.0)
    return np.asarray(_drawn(rng, 0.03, 0.4) * near * each)


def _detectors(
    rng: np.random.Generator, centre_nm: NDArray[np.float64], clear: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A step where one detector ends, and bands of both in turn where they overlap."""
    at = rng.uniform(880, 1010) if rng.random() < EACH else rng.uniform(centre_nm[0], centre_nm[-1])
    over = np.abs(centre_nm - at) < _drawn(rng, 15, 60)
    step = _drawn(rng, 0.005, 0.1) * rng.standard_normal()
    turns = np.where(np.arange(centre_nm.size) % 2 == 0, 0.5, -0.5)
    return np.where(over, step * turns, np.where(centre_nm > at, step / 2, -step / 2)) * (0.5 + 0.5 * clear)


def _uneven_air(rng: np.random.Generator, centre_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    return _drawn(rng, 0.01, 0.12) * np.minimum(atmosphere.vapour_depth(centre_nm), 2.0)[None]


def _strangers(rng: np.random.Generator, centre_nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spectra of no library: what two or three unknown materials add, ``(material, band)``, natural logarithm."""
    rows = []
    for _ in range(int(rng.integers(1, 4))):
        shape = _drawn(rng, 0.02, 0.3) * _smooth(rng, centre_nm.size, _drawn(rng, 10, 60))
        for _ in range(int(rng.integers(0, 4))):
            middle, width = rng.uniform(centre_nm[0], centre_nm[-1]), _drawn(rng, 12, 150)
            shape = shape - _drawn(rng, 0.02, 0.35) * np.exp(-0.5 * ((centre_nm - middle) / width) ** 2)
        rows.append(shape)
    return np.stack(rows)


def _smooth(rng: np.random.Generator, count: int, reach: float) -> NDArray[np.float64]:
    """Noise of unit variance that changes over ``reach`` bands, ``(band,)``."""
    beyond = int(4 * reach) + 1
    noise = gaussian_filter1d(rng.standard_normal(count + 2 * beyond), reach)[beyond:-beyond]
    return np.asarray(noise * np.sqrt(2 * np.sqrt(np.pi) * reach))


def _drawn(rng: np.random.Generator, low: float, high: float) -> float:
    """A size that may be of any order between two."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
