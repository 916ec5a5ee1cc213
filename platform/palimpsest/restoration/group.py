"""Cubes restored together: N go in, N come out, in the order given.

What the others say of a voxel: cubes of one place are brought to this cube's bands and light (a gain per band learned
where both were measured and carried smoothly across gaps, and one brightness per pixel) and averaged by how well they
predict it. Cubes of one sensor but of other places lend their statistics: a band that is dead here and alive there
becomes a band that other pixels know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.integrator import Integrator, load
from palimpsest.restoration.low_rank import LowRank, fit
from palimpsest.restoration.organiser import has_same_bands, is_one_place, organise
from palimpsest.restoration.restorer import damage_of, restore
from palimpsest.restoration.study import sample_of
from palimpsest.restoration.view import Axis, View, noise_per_band, unit_of, view_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.result import Restoration

FEWEST_PAIRS = 30


@dataclass(frozen=True, slots=True)
class Companion:
    """One other cube of the same place, as seen from this cube's bands.

    Args:
        cube: the other cube.
        reasons: its damage, ``(band, row, col)``.
        axis: its band axis.
        unit: its stored units of one.
        index, share: band of the other left of each of our bands, and the part of the next one, ``(band,)``.
        covers: our bands that the other sensor reaches, ``(band,)``.
        gain: its value times this is ours, ``(band,)``.
        variance: of what is left, ``(band,)``.
        model: its own statistics: what it says is freed of its noise, or None.
    """

    cube: Cube
    reasons: NDArray[np.uint8]
    axis: Axis
    unit: float
    index: NDArray[np.intp]
    share: NDArray[np.float64]
    covers: NDArray[np.bool_]
    gain: NDArray[np.float64]
    variance: NDArray[np.float64]
    model: LowRank | None

    def raw(self, pixels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Its values at our bands, not yet in our light, and where they are usable, ``(pixel, band)``."""
        view = view_of(self.cube, self.reasons, self.axis, pixels, self.unit)
        seen = view.values
        if self.model is not None:
            seen = np.where(self.model.known, self.model.predict(view)[0], seen)
        after = np.minimum(self.index + 1, self.axis.count - 1)
        values = seen[:, self.index] * (1 - self.share) + seen[:, after] * self.share
        usable = view.usable[:, self.index] & (view.usable[:, after] | (self.share < 1e-6)) & self.covers
        return values, usable

    def says(self, view: View) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Its values in our light at the pixels of a view, ``(pixel, band)``."""
        values, usable = self.raw(view.pixels)
        values = values * self.gain
        both = usable & view.usable
        weight = both / self.variance
        # Slopes and sky light differ by date and pixel: a smooth ratio, quadratic along the spectrum.
        x = np.linspace(-1, 1, values.shape[1])
        terms = values[:, :, None] * np.stack([np.ones_like(x), x, x**2], 1)  # (pixel, band, term)
        normal = np.einsum("pb,pbi,pbj->pij", weight, terms, terms)
        right = np.einsum("pb,pbi->pi", weight, terms * view.values[:, :, None])
        level = np.maximum(normal[:, 0, 0], 1e-9)
        # Bending must be paid for: it is extrapolated into gaps at the ends of the spectrum.
        ridge = level[:, None] * np.array([1e-6, 1e-3, 3e-3])
        start = ridge * np.array([1.0, 0.0, 0.0])
        scale = np.linalg.solve(normal + ridge[:, :, None] * np.eye(3), (right + start)[:, :, None])[:, :, 0]
        ratio = np.clip(scale @ np.stack([np.ones_like(x), x, x**2]), 0.4, 2.5)
        # A pixel that both saw in a few bands only keeps its light: one noisy band must not rescale it.
        known = both.sum(1) >= 8
        return values * np.where(known[:, None], ratio, 1.0), usable


@dataclass(frozen=True, slots=True)
class Companions:
    """All other cubes of the place, asked together."""

    others: tuple[Companion, ...]

    def __call__(self, view: View) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Their weighted mean and where any of them speaks, both ``(pixel, band)``."""
        total = np.zeros(view.values.shape)
        weight = np.zeros(view.values.shape)
        for other in self.others:
            values, usable = other.says(view)
            total += np.where(usable, values / other.variance, 0.0)
            weight += np.where(usable, 1 / other.variance, 0.0)
        return (total / np.maximum(weight, 1e-30)).astype(np.float32), weight > 0


def restore_group(
    cubes: Sequence[Cube], *, knowledge: KnowledgeBase | None, masks: Sequence[NDArray[np.bool_] | None] = (),
    weights: str | Path | Integrator | None = None, parts_left_out: Collection[str] = (), edges: bool = True,
    are_decoded: Sequence[bool] = (),
) -> list[Restoration]:
    """Restore a pile: it is organised into groups, and each cube is restored with its group.

    Args:
        cubes: in any order; the answers keep it.
        knowledge: as for :func:`~palimpsest.restoration.restorer.restore`.
        masks: True = usable, one a cube or None each; empty for none at all.
        weights: as for ``restore``.
        parts_left_out: as for ``restore``.
        edges: as for ``restore``.
        are_decoded: one a cube; empty for none.

    Raises:
        CubeRefused: a mask of another shape, or a cube without a usable voxel.
    """
    network = weights if isinstance(weights, Integrator) else load(weights)
    given = list(masks) or [None] * len(cubes)
    damage = [damage_of(cube, mask) for cube, mask in zip(cubes, given, strict=True)]
    group_of = {member: group for group in organise(cubes) for member in group.members}
    decoded = list(are_decoded) or [False] * len(cubes)
    results = []
    for number, cube in enumerate(cubes):
        others = [k for k in group_of[number].members if k != number]
        here = [k for k in others if is_one_place(cube, cubes[k])]
        beside = [k for k in others if has_same_bands(cube, cubes[k])]
        found = [companion_of(cube, damage[number], cubes[k], damage[k]) for k in here]
        speaking = tuple(companion for companion in found if companion is not None)
        results.append(restore(
            cube, knowledge=knowledge, mask=given[number], weights=network, parts_left_out=parts_left_out, edges=edges,
            is_decoded=decoded[number], relatives=[sample_of(cubes[k], damage[k]) for k in beside],
            companion=Companions(speaking) if speaking else None,
        ))
    return results


def companion_of(
    cube: Cube, reasons: NDArray[np.uint8], other: Cube, other_reasons: NDArray[np.uint8]
) -> Companion | None:
    """The other cube as a companion of this one; None where they share too little to learn the light from."""
    mine, theirs = Axis.of(cube.bands), Axis.of(other.bands)
    placed = _places(mine, theirs)
    if placed is None:
        return None
    index, share, covers = placed
    unit = unit_of(other, other_reasons)
    noise = noise_per_band(other, other_reasons, theirs, unit)
    model = fit(sample_of(other, other_reasons), noise)
    ones = np.ones(mine.count)
    blank = Companion(other, other_reasons, theirs, unit, index, share, covers, ones, ones, model)
    sample = sample_of(cube, reasons)
    values, usable = blank.raw(sample.pixels)
    both = usable & sample.usable
    number = both.sum(0)
    learned = number >= FEWEST_PAIRS
    if not learned.any():
        return None
    power = np.where(both, values**2, 0).sum(0)
    gain = np.where(both, values * sample.values, 0).sum(0) / np.maximum(power, 1e-12)
    learned &= (power > 1e-9) & (gain > 0)
    if not learned.any():
        return None
    gain = np.exp(np.interp(mine.along, mine.along[learned], np.log(gain[learned])))
    left = np.where(both, (sample.values - values * gain) ** 2, 0).sum(0) / np.maximum(number, 1)
    variance = np.interp(mine.along, mine.along[learned], left[learned])
    return Companion(
        other, other_reasons, theirs, unit, index, share, covers, gain, np.maximum(variance, 1e-8), model
    )


def _places(mine: Axis, theirs: Axis) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.bool_]] | None:
    if mine.centre_nm is None or theirs.centre_nm is None:
        if mine.count != theirs.count:
            return None
        return np.arange(mine.count), np.zeros(mine.count), np.ones(mine.count, bool)
    if mine.count == theirs.count and np.allclose(mine.centre_nm, theirs.centre_nm, atol=0.5):
        return np.arange(mine.count), np.zeros(mine.count), np.ones(mine.count, bool)
    centre = theirs.centre_nm
    index = np.clip(np.searchsorted(centre, mine.centre_nm, side="right") - 1, 0, theirs.count - 1)
    after = np.minimum(index + 1, theirs.count - 1)
    span = centre[after] - centre[index]
    share = np.where(span > 0, (mine.centre_nm - centre[index]) / np.where(span > 0, span, 1.0), 0.0)
    covers = (mine.centre_nm >= centre[0] - 1) & (mine.centre_nm <= centre[-1] + 1) & (span < 60)
    return index, np.clip(share, 0.0, 1.0), covers
