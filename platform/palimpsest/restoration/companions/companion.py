"""Another cube of the same place, as this cube's bands and light would show it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.companions.light import FEWEST_PAIRS, Light, air_shapes, carried_gain, lattice, smoothed
from palimpsest.restoration.factors import low_rank
from palimpsest.restoration.study.study import sample_of
from palimpsest.restoration.view import Axis, View, noise_per_band, unit_of, view_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import SpectralWindow
    from palimpsest.restoration.factors.low_rank import LowRank

_FARTHEST_NM = 60.0  # between two bands of the other sensor: beyond it nothing is said of what lies between


@dataclass(frozen=True, slots=True)
class Member:
    """A cube of a group, looked at once for all its companions.

    Args:
        cube: the cube.
        reasons: its damage, ``(band, row, col)``.
        axis: its band axis.
        unit: its stored units of one.
        sample: a seeded sample of its pixels.
        noise: standard deviation per band, scaled, ``(band,)``.
        model: its own statistics, or None where there are too few pixels.
    """

    cube: Cube
    reasons: NDArray[np.uint8]
    axis: Axis
    unit: float
    sample: View
    noise: NDArray[np.float64]
    model: LowRank | None

    @classmethod
    def of(cls, cube: Cube, reasons: NDArray[np.uint8]) -> Member:
        """A cube and its damage, looked at.

        Raises:
            CubeRefused: no usable voxel.
        """
        axis, unit = Axis.of(cube.bands), unit_of(cube, reasons)
        sample, noise = sample_of(cube, reasons), noise_per_band(cube, reasons, axis, unit)
        return cls(cube, reasons, axis, unit, sample, noise, low_rank.fit(sample, noise))

    def view(self, pixels: NDArray[np.int64]) -> View:
        """Its pixels as it sees them."""
        return view_of(self.cube, self.reasons, self.axis, pixels, self.unit)


@dataclass(frozen=True, slots=True)
class Companion:
    """One other cube of the same place.

    Args:
        other: the cube.
        index: band of the other left of each of our bands, ``(band,)``.
        share: the part of the next one, ``(band,)``.
        covers: our bands that the other sensor reaches, ``(band,)``.
        light: what brings it into our light.
    """

    other: Member
    index: NDArray[np.intp]
    share: NDArray[np.float64]
    covers: NDArray[np.bool_]
    light: Light

    def calm(self, pixels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Its values at our bands, its noise taken off, not yet in our light; where usable; both ``(pixel, band)``."""
        view = self.other.view(pixels)
        model = self.other.model
        if model is not None:
            view = replace(view, values=np.where(model.known, model.predict(view)[0], view.values))
        return self._at_our_bands(view)

    def says(self, view: View) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """What it measured at the pixels of a view, in our light, with its noise; where usable; ``(pixel, band)``."""
        calm, usable = self.calm(view.pixels)
        ratio = self.light.ratio(calm * self.light.gain, usable, view)
        values, usable = self._at_our_bands(self.other.view(view.pixels))
        return values * self.light.gain * ratio, usable

    def _at_our_bands(self, view: View) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        after = np.minimum(self.index + 1, view.values.shape[1] - 1)
        values = view.values[:, self.index] * (1 - self.share) + view.values[:, after] * self.share
        usable = view.usable[:, self.index] & (view.usable[:, after] | (self.share < 1e-6)) & self.covers
        return values.astype(np.float64), usable


def companion_of(mine: Member, other: Member, windows: Sequence[SpectralWindow] = ()) -> Companion | None:
    """Another member as a companion of this one; None where they share too little to learn the light from.

    Args:
        mine: the cube to be restored.
        other: a cube of the same pixels.
        windows: of the atmosphere, from the release.
    """
    placed = _places(mine.axis, other.axis)
    if placed is None:
        return None
    haze, vapour = air_shapes(mine.axis, windows)
    x = np.linspace(-1, 1, mine.axis.count)
    shapes = np.stack([np.ones_like(x), x, x**2, haze, vapour], 1)
    plain = np.ones(mine.axis.count)
    found = Companion(other, *placed, Light(plain, 0 * plain, plain, shapes))
    values, usable = found.calm(mine.sample.pixels)
    both = usable & mine.sample.usable
    number = both.sum(0)
    power = np.where(both, values**2, 0).sum(0)
    gain = np.where(both, values * mine.sample.values, 0).sum(0) / np.maximum(power, 1e-12)
    learned = (number >= FEWEST_PAIRS) & (power > 1e-9) & (gain > 0)
    if not learned.any():
        return None
    gain, doubt = carried_gain(mine.axis, gain, learned, haze, vapour)
    left = np.where(both, (mine.sample.values - values * gain) ** 2, 0).sum(0) / np.maximum(number, 1)
    variance = np.interp(mine.axis.along, mine.axis.along[learned], left[learned])
    light = Light(gain, doubt, np.maximum(variance, 1e-8), shapes)
    return replace(found, light=_with_vapour(found, light, mine))


def _with_vapour(found: Companion, light: Light, mine: Member) -> Light:
    if not light.shapes[:, -1].any():
        return light
    rows, cols = mine.cube.shape[1:]
    step, pixels, shape = lattice(rows, cols)
    values, usable = found.calm(pixels)
    view = mine.view(pixels)
    scale, precision = light.fitted(values * light.gain, usable, view, None)
    seen = (usable & view.usable).any(1)
    vapour = smoothed(np.where(seen, scale[:, -1], 0.0), np.where(seen, precision, 0.0), shape)
    return replace(light, vapour=vapour, cols=cols, step=step)


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
    inside = (mine.centre_nm >= centre[0] - 1) & (mine.centre_nm <= centre[-1] + 1)
    return index, np.clip(share, 0.0, 1.0), inside & (span < _FARTHEST_NM)
