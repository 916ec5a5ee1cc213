"""What is wrong in a cube that its file does not tell: dead lines, stripes, saturation, impulses, bands without signal.

The one idea: what the ground does, it does in neighbouring bands alike; what a detector does, it does in one band.
Each test therefore takes a band's local contrast less that of the bands around it. Thresholds are set so that clean
scenes raise next to nothing; a weak stripe that hides in the noise is left to the restorer's own models.

Missions' own flags, where a file brings them, come first; nothing here overrules a reason that is known already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes.bands import Reason
from palimpsest.cubes.noise import MAD_TO_SIGMA, noise_sigma

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from palimpsest.cubes.cube import Cube

OPAQUE_WINDOWS_NM = ((1350.0, 1430.0), (1800.0, 1950.0))  # water vapour
SMALLEST_SIDE = 8  # fewer rows or columns hold no statistics of a line
_REACH = 2  # bands on either side whose contrast is taken for the ground's
_IMPULSE_SIGMAS = (5.0, 12.0)  # where the contrast is noise, where it is structure
_IMPULSE_SHARE = 0.15  # of the band's range between its 0.5th and 99.5th percentile
_STRIPE_SIGMAS = 5.0
_STRIPE_SHARE = 0.03
_CLIP = 6.0  # sigmas
_CHANCE = 1e-9
_FEWEST_LEVELS = 50  # distinct values under which a spike at the top proves nothing
_FEWEST_SATURATED = 8
_UNEXPLAINED = 0.05  # share of a band's variance that the other bands explain, below which it is noise
_UNEXPLAINED_IN_WINDOW = 0.5


@dataclass(frozen=True, slots=True)
class Defects:
    """What was found.

    Args:
        bands: a :class:`~palimpsest.cubes.bands.Reason` per band, ``(band,)`` uint8; GOOD where nothing was found.
        voxels: a reason per voxel, ``(band, row, col)`` uint8; GOOD where nothing was found, and in bad bands, but for
            dead lines of noisy ones.
    """

    bands: NDArray[np.uint8]
    voxels: NDArray[np.uint8]

    def counts(self) -> dict[str, int]:
        """Bands and voxels by reason, for a report."""
        found: dict[str, int] = {}
        for kind, array in (("bands", self.bands), ("voxels", self.voxels)):
            number = np.bincount(array.ravel(), minlength=len(Reason))
            found |= {f"{kind} {r.name.lower()}": int(number[r]) for r in Reason if r != Reason.GOOD and number[r]}
        return found


def find_defects(cube: Cube) -> Defects:
    """Look for everything; order of precedence: band, dead line, saturation, stripe, impulse.

    Scenes under eight pixels on a side hold no statistics: nothing is found in them.
    """
    found = exact_defects(cube)
    if min(cube.shape[1:]) < SMALLEST_SIDE:
        return found
    bands, voxels = found.bands, found.voxels
    sound = cube.usable() & (voxels == Reason.GOOD) & (bands == Reason.GOOD)[:, None, None]
    for band, stripes, impulses in _local(cube, sound, noise_sigma(cube)):
        at = sound[band]
        voxels[band][at & impulses] = Reason.IMPULSE
        voxels[band][at & stripes] = Reason.STRIPE
    return found


def exact_defects(cube: Cube) -> Defects:
    """What the stored values say without any model: bands without signal, dead lines, saturation."""
    bands = np.zeros(cube.shape.bands, np.uint8)
    voxels = np.zeros(cube.shape, np.uint8)
    if min(cube.shape[1:]) < SMALLEST_SIDE:
        return Defects(bands, voxels)
    usable = cube.usable()
    for band, plane in enumerate(cube.data):
        for axis in (0, 1):
            voxels[band][dead_lines(np.asarray(plane), usable[band], axis)] = Reason.DEAD
    # Dead lines are no noise: a band with many of them would pass for one in which the scene cannot be seen.
    living, known = cube, usable
    if voxels.any():
        known = usable & (voxels == Reason.GOOD)
        living = replace(cube, reasons=np.maximum(cube.voxel_reasons(), voxels))
    bands = bands_without_signal(cube, known, noise_sigma(living))
    # A line that is dead in a noisy band holds not even noise, and would pass for a measurement.
    voxels[(bands != Reason.GOOD) & (bands != Reason.NOISY)] = Reason.GOOD
    for band in np.flatnonzero(bands == Reason.GOOD).tolist():
        clipped = saturated(np.asarray(cube.data[band]), usable[band])
        voxels[band][clipped & (voxels[band] == Reason.GOOD)] = Reason.SATURATED
    return Defects(bands, voxels)


def bands_without_signal(cube: Cube, usable: NDArray[np.bool_], sigma: NDArray[np.float64]) -> NDArray[np.uint8]:
    """OPAQUE, DEAD or NOISY for bands in which the scene cannot be seen, ``(band,)``; GOOD for the rest.

    A band of one value is DEAD (OPAQUE in or touching a water-vapour window). Inside such a window a band of which the
    other bands explain under half of the variance is OPAQUE; elsewhere one of which they explain under a twentieth is
    NOISY.
    """
    count = cube.shape.bands
    reasons = np.zeros(count, np.uint8)
    centre = cube.bands.centre_nm
    inside = np.zeros(count, bool)
    if centre is not None:
        for low, high in OPAQUE_WINDOWS_NM:
            inside |= (centre >= low) & (centre <= high)
    spread = np.array([_spread(plane, known) for plane, known in zip(cube.data, usable, strict=True)])
    # A scene of one colour says nothing about its bands: only differences between bands do.
    if np.nan_to_num(spread > 0).mean() < 0.5 or (spread > 0).sum() < 3:
        return reasons
    flat = (spread == 0) & cube.bands.good
    inside |= _touching(flat, inside & flat, cube.bands.ascending())
    reasons[flat] = np.where(inside[flat], Reason.OPAQUE, Reason.DEAD)
    live = cube.bands.good & (spread > 0) & np.isfinite(sigma)
    explained = 1 - (sigma[live] / spread[live]) ** 2
    silent = explained < np.where(inside[live], _UNEXPLAINED_IN_WINDOW, _UNEXPLAINED)
    reasons[np.flatnonzero(live)[silent]] = np.where(inside[live][silent], Reason.OPAQUE, Reason.NOISY)
    return reasons


def _spread(plane: NDArray[np.generic], known: NDArray[np.bool_]) -> float:
    """Standard deviation of a band without its outermost hundredths; 0 only where all values are one, NaN for none."""
    values = np.asarray(plane[known], np.float64)
    if not values.size or not np.ptp(values):
        return 0.0 if values.size else float("nan")
    low, high = np.percentile(values, (1, 99))
    return float(np.clip(values, low, high).std()) or float(values.std())


def _touching(
    flat: NDArray[np.bool_], seeds: NDArray[np.bool_], order: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Flat bands in one run with a flat band of a window: whoever blanks a window blanks its edges too."""
    marked = np.zeros(flat.shape, bool)
    for walk in (order, order[::-1]):
        running = False
        for band in walk:
            running = bool(flat[band] and (running or seeds[band]))
            marked[band] |= running
    return marked


def dead_lines(plane: NDArray[np.generic], usable: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Voxels of lines along ``axis`` that hold one single value, while that could hardly happen by chance.

    Args:
        plane: ``(row, col)``.
        usable: the same shape.
        axis: 0 for columns (a dead detector element of a push-broom), 1 for rows.
    """
    along = plane if axis == 0 else plane.T
    known = usable if axis == 0 else usable.T
    pairs = known[1:] & known[:-1]
    same = pairs & (along[1:] == along[:-1])
    steps, equal = pairs.sum(axis=0), same.sum(axis=0)
    constant = (steps >= SMALLEST_SIDE - 1) & (equal == steps)
    others = ~constant
    if not constant.any() or not steps[others].any() or constant.mean() > 0.5:
        return np.zeros(plane.shape, bool)
    share = equal[others].sum() / steps[others].sum()  # how often neighbours are equal in a line that lives
    by_chance = share ** steps.astype(float) * along.shape[1]
    dead = np.broadcast_to(constant & (by_chance < _CHANCE), along.shape)
    return (dead if axis == 0 else dead.T) & usable


def saturated(plane: NDArray[np.generic], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels at the band's largest value, where that value is a spike: far more frequent than those just below."""
    levels, counts = np.unique(plane[usable], return_counts=True)
    if levels.size < _FEWEST_LEVELS or counts[-1] < _FEWEST_SATURATED:
        return np.zeros(plane.shape, bool)
    if counts[-1] < 8 * counts[-11:-1].max():
        return np.zeros(plane.shape, bool)
    return usable & np.equal(plane, levels[-1])


def _local(
    cube: Cube, sound: NDArray[np.bool_], sigma: NDArray[np.float64]
) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Stripes and impulses of each band, from its contrast and that of the bands around it; a few planes at a time."""
    order = [int(b) for b in cube.bands.ascending() if sound[b].mean() > 0.05]
    kept: dict[int, tuple[_Contrast, ...]] = {}
    for place, band in enumerate(order):
        near = order[max(0, place - _REACH) : place] + order[place + 1 : place + 1 + _REACH]
        for wanted in (band, *near):
            if wanted not in kept:
                kept[wanted] = _contrasts(np.asarray(cube.data[wanted], np.float32), sound[wanted])
        for gone in set(kept) - {band, *near, *order[place:]}:
            del kept[gone]
        if len(near) < 2:
            continue
        values = np.asarray(cube.data[band])[sound[band]]
        low, high = np.percentile(values, (0.5, 99.5))
        span = float(high) - float(low)
        (point, spread), *lines = (_own(kept[band][i], [kept[b][i] for b in near]) for i in range(3))
        sigmas = _impulse_sigmas(spread, sigma[band])
        impulses = sound[band] & _beyond(point, sigmas * spread, _IMPULSE_SHARE * span)
        stripes = np.zeros_like(impulses)
        for line, spread in lines:
            odd = _beyond(line, _STRIPE_SIGMAS * spread, _STRIPE_SHARE * span)
            stripes |= np.broadcast_to(odd & ~_echoes(line, odd), stripes.shape)
        yield band, stripes, impulses


def _impulse_sigmas(contrast: float, noise: float) -> float:
    """How far an impulse must stand out: five sigmas of noise, twelve of structure, whose tails are heavy."""
    low, high = _IMPULSE_SIGMAS
    structure = contrast / (1.25 * noise) if noise > 0 else np.inf  # four neighbours add a quarter to the noise
    return float(np.interp(structure, (1.2, 2.0), (low, high)))


def _echoes(line: NDArray[np.floating], odd: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Lines that stand out only because a stronger one of the other sign lies within two of them."""
    flat = np.where(odd, np.nan_to_num(line), 0.0).ravel()
    padded = np.pad(flat, 2)
    beside = np.stack([padded[2 + s : 2 + s + flat.size] for s in (-2, -1, 1, 2)])
    rival = np.where(np.sign(beside) == -np.sign(flat), np.abs(beside), 0.0).max(axis=0)
    return (rival > np.abs(flat)).reshape(line.shape)


_Contrast = np.ndarray


def _contrasts(plane: NDArray[np.float32], sound: NDArray[np.bool_]) -> tuple[_Contrast, _Contrast, _Contrast]:
    """Against the median of the neighbours: of each voxel, of each column, of each row."""
    filled = np.where(sound, plane, np.median(plane[sound]))
    wide = np.pad(filled, 2, mode="reflect")
    rows, cols = plane.shape

    def shifted(down: int, right: int) -> NDArray[np.float32]:
        return np.asarray(wide[2 + down : 2 + down + rows, 2 + right : 2 + right + cols])

    cross = _middle(shifted(-1, 0), shifted(1, 0), shifted(0, -1), shifted(0, 1))
    beside = _middle(shifted(0, -2), shifted(0, -1), shifted(0, 1), shifted(0, 2))
    above = _middle(shifted(-2, 0), shifted(-1, 0), shifted(1, 0), shifted(2, 0))
    point, across, down = (np.where(sound, filled - around, np.nan) for around in (cross, beside, above))
    return point, _line_median(across, 0), _line_median(down, 1)


def _middle(*planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the middle two of four: one outlier among the neighbours does no harm."""
    a, b, c, d = planes
    low = np.maximum(np.minimum(a, b), np.minimum(c, d))
    high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    return np.asarray((low + high) / 2)


def _line_median(values: NDArray[np.floating], axis: int) -> NDArray[np.floating]:
    enough = np.isfinite(values).sum(axis=axis, keepdims=True) >= SMALLEST_SIDE
    held = np.where(enough, values, 0.0)
    return np.where(enough, np.nanmedian(held, axis=axis, keepdims=True), np.nan)


def _own(
    mine: NDArray[np.floating], around: list[NDArray[np.floating]]
) -> tuple[NDArray[np.floating], float]:
    """What a band's contrast shows beyond that of the bands around it: the smallest of three ways to say it.

    Least squares follow a spectrum that bends here (an absorption edge). The median of the neighbours, each scaled to
    this band's strength, does not follow a defect in one of them. Their plain median follows an object whose spectrum
    is like nothing else in the scene. What all three call odd is odd. Returned with the spread of the first two:
    the smallest of three is small by selection.
    """
    known = np.isfinite(mine)
    columns = [np.nan_to_num(other) for other in around]
    basis = np.stack([_clipped(column)[known] for column in columns], axis=1).astype(np.float64)
    if len(basis) < 2 * len(columns):
        return np.full(mine.shape, np.nan), 0.0
    gram = basis.T @ basis
    gram += np.eye(len(columns)) * (1e-9 * np.trace(gram) + 1e-300)
    weights = np.linalg.solve(gram, basis.T @ _clipped(mine)[known])
    fitted = mine - sum(w * column for w, column in zip(weights, columns, strict=True))
    strength = _scale(mine)
    scales = [_scale(other) for other in around]
    scaled = [c * (strength / s if s > 0 else 1.0) for c, s in zip(columns, scales, strict=True)]
    opinions = np.stack([fitted, mine - np.median(scaled, axis=0), mine - np.median(columns, axis=0)])
    spread = max(_scale(opinion) for opinion in opinions[:2])
    least = np.abs(opinions).min(axis=0)
    signs = np.sign(opinions).sum(axis=0)
    return np.where(np.abs(signs) == len(opinions), np.sign(signs) * least, 0.0 * mine), MAD_TO_SIGMA * spread


def _clipped(values: NDArray[np.floating]) -> NDArray[np.floating]:
    limit = _CLIP * MAD_TO_SIGMA * _scale(values)
    return np.clip(values, -limit, limit)


def _scale(values: NDArray[np.floating]) -> float:
    known = np.abs(values[np.isfinite(values)])
    if not known.size:
        return 0.0
    middle = float(np.median(known))
    return middle if middle > 0 else float(known.mean())  # coarse integers: most contrasts are exactly zero


def _beyond(values: NDArray[np.floating], spread: float, least: float) -> NDArray[np.bool_]:
    """Where a value stands out: beyond both thresholds, the statistical one and the share of the band's range."""
    if least <= 0:
        return np.zeros(values.shape, bool)
    return np.asarray(np.abs(np.nan_to_num(values)) > max(spread, least))
