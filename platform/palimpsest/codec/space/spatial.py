"""Spatial levels: a plane becomes a pyramid, level by level, and comes back integer for integer.

Level 1 is the finest. Each level splits a plane into a plane of half the size and three oriented detail planes, by
invertible, critically sampled lifting, so one hierarchy serves lossy and lossless. The quantiser wants to know how far
an error in each part spreads into the plane: :func:`LevelTransform.synthesis_gains`. What is sent between encoder and
decoder (steps, contexts) is not decided here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.space import lifting, weights
from palimpsest.codec.space.lifting import PlainLevel
from palimpsest.errors import CubeRefused, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.codec.space.network import Level

    Plane = NDArray[np.int32]
    Details = tuple[Plane, Plane, Plane]

# The transform can grow a value by less than two in each level and int32 must hold it.
LARGEST_SAMPLE = 1 << 26
IMPULSE = 1 << 16


@dataclass(frozen=True, slots=True)
class Pyramid:
    """A plane in its spatial levels.

    Args:
        coarse: what is left after the last level, int32 ``(row, col)``.
        details: (hl, lh, hh) of each level, finest first; ``hl`` is high along columns and low along rows, ``lh`` the
            reverse. Sides that reach one sample give empty details.
    """

    coarse: Plane
    details: tuple[Details, ...]

    @property
    def levels(self) -> int:
        """How many times the plane was split."""
        return len(self.details)


@dataclass(frozen=True, slots=True)
class Gains:
    """How far a unit error in each part of a pyramid spreads into the plane: the root of the sum of squares.

    Args:
        coarse: of a coarse sample.
        details: of an (hl, lh, hh) sample of each level, finest first.
    """

    coarse: float
    details: tuple[tuple[float, float, float], ...]


class LevelTransform:
    """The spatial levels as an exact transform.

    Args:
        variant: 'cdf97' or 'trained'.
        model: name of the trained weights.
        trained_levels: which levels use their trained weights, 1 the finest; the others stay CDF 9/7. None is all
            that the model has.

    Raises:
        UsageError: an unknown variant.
        ModelMissing: an unknown model.
    """

    def __init__(
        self, variant: str = "cdf97", model: str = weights.DEFAULT, trained_levels: Sequence[int] | None = None
    ) -> None:
        if variant not in ("cdf97", "trained"):
            raise UsageError("unknown spatial transform", got=repr(variant), wanted="'cdf97' or 'trained'")
        self.variant = variant
        self.sha256 = ""
        self._levels: dict[int, Level] = {}
        if variant == "trained":
            trained = weights.load(model)
            self.sha256 = trained.sha256
            self._levels = {
                number: level for number, level in trained.levels.items()
                if trained_levels is None or number in trained_levels
            }
        self._gains: dict[int, Gains] = {}

    @classmethod
    def of_levels(cls, levels: dict[int, Level]) -> LevelTransform:
        """A transform with levels that are not installed: what training measures."""
        transform = cls()
        transform.variant = "trained"
        transform._levels = dict(levels)
        return transform

    @property
    def trained_levels(self) -> tuple[int, ...]:
        """Which levels use trained weights."""
        return tuple(sorted(self._levels))

    def _level(self, number: int) -> Level | type[PlainLevel]:
        return self._levels.get(number, PlainLevel)

    def analyse(self, plane: Plane, levels: int) -> Pyramid:
        """The pyramid of a plane.

        Args:
            plane: int32 ``(row, col)``, fixed point of any scale, at most ``LARGEST_SAMPLE`` in magnitude.
            levels: how many times to split, 0 or more.

        Raises:
            CubeRefused: samples so large that the transform could overflow, or no samples.
        """
        coarse, details = self.analyse_stack(checked(plane[None] if plane.ndim == 2 else plane), levels)
        return Pyramid(coarse[0], tuple((hl[0], lh[0], hh[0]) for hl, lh, hh in details))

    def analyse_stack(
        self, planes: NDArray[np.int32], levels: int
    ) -> tuple[NDArray[np.int32], list[Details]]:
        """As :meth:`analyse`, of many planes at a time: coarse planes, and (hl, lh, hh) finest level first."""
        current, details = np.ascontiguousarray(planes), []
        for number in range(1, levels + 1):
            current, hl, lh, hh = self._level(number).split_stack(current)
            details.append((hl, lh, hh))
        return current, details

    def synthesise(self, pyramid: Pyramid, down_to_level: int = 0) -> Plane:
        """The plane of a pyramid, int32 ``(row, col)``: the exact inverse of :meth:`analyse`.

        Args:
            pyramid: as analysed, or its quantised form.
            down_to_level: 0 gives the whole plane, k the coarse plane that level k left behind.
        """
        details = [(hl[None], lh[None], hh[None]) for hl, lh, hh in pyramid.details]
        return self.synthesise_stack(pyramid.coarse[None], details, down_to_level)[0]

    def synthesise_stack(
        self, coarse: NDArray[np.int32], details: Sequence[Details], down_to_level: int = 0
    ) -> NDArray[np.int32]:
        """As :meth:`synthesise`, of many planes at a time, ``(component, row, col)``.

        Args:
            coarse: of all planes.
            details: (hl, lh, hh) of all planes, finest level first; those below ``down_to_level`` play no part.
            down_to_level: as for one plane.
        """
        current = np.ascontiguousarray(coarse)
        for level in range(len(details), down_to_level, -1):
            hl, lh, hh = (np.ascontiguousarray(part) for part in details[level - 1])
            current = self._level(level).join_stack(current, hl, lh, hh)
        return current

    def synthesis_gains(self, levels: int) -> Gains:
        """Norms of the synthesis functions, rounded to 1/1024 so that every machine computes the same steps.

        Those of trained levels are measured on integer impulses far from the edges.
        """
        if not self._levels:
            return _linear_gains(levels)
        if levels not in self._gains:
            self._gains[levels] = self._measured_gains(levels)
        return self._gains[levels]

    def _measured_gains(self, levels: int) -> Gains:
        side = 12 << levels
        empty = self.analyse(np.zeros((side, side), np.int32), levels)
        if levels == 0:
            return Gains(1.0, ())

        def gain(level: int, orientation: int | None) -> float:
            details = [list(parts) for parts in empty.details]
            coarse = empty.coarse.copy()
            part = coarse if orientation is None else details[level - 1][orientation]
            part[part.shape[0] // 2, part.shape[1] // 2] = IMPULSE
            spread = self.synthesise(Pyramid(coarse, tuple((d[0], d[1], d[2]) for d in details)))
            part[:] = 0
            # Squares of a 20-bit impulse summed in Python integers: exact, so every machine rounds alike.
            square = sum(int(value) ** 2 for value in spread[spread != 0])
            return _rounded(math.sqrt(square) / IMPULSE)

        return Gains(
            gain(levels, None), tuple((gain(k, 0), gain(k, 1), gain(k, 2)) for k in range(1, levels + 1))
        )


def checked(planes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Planes ``(component, row, col)`` that the transform can hold, contiguous.

    Raises:
        CubeRefused: samples so large that the transform could overflow, or no samples.
    """
    if planes.ndim != 3 or planes.size == 0:
        raise CubeRefused("a plane needs samples in rows and columns", got=planes.shape)
    largest = max(int(planes.max()), -int(planes.min()))
    if largest > LARGEST_SAMPLE:
        raise CubeRefused("samples too large for the spatial transform", got=largest, wanted=f"<= {LARGEST_SAMPLE}")
    return np.ascontiguousarray(planes, dtype=np.int32)


@cache
def _linear_gains(levels: int) -> Gains:
    low, high = _lowpass_norms(levels)
    return Gains(
        coarse=_rounded(low[levels] ** 2),
        details=tuple(
            (_rounded(low[k] * high[k]), _rounded(low[k] * high[k]), _rounded(high[k] ** 2))
            for k in range(1, levels + 1)
        ),
    )


def _lowpass_norms(levels: int) -> tuple[list[float], list[float]]:
    """1-D norms of the synthesis functions of the low and the high part after each number of levels."""
    low, high = [1.0], [1.0]
    for level in range(1, levels + 1):
        for norms, odd in ((low, 0), (high, 1)):
            signal = np.zeros(32)
            signal[16 + odd] = 1.0
            for _ in range(level):
                signal = _unlift(signal)
                step = np.zeros(2 * signal.size)
                step[0::2] = signal
                unlifted, signal = signal, step
            norms.append(float(np.sqrt((unlifted**2).sum())))
    return low, high


def _unlift(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    even, odd = signal[0::2].copy(), signal[1::2].copy()
    a, b, c, d = lifting.FACTORS
    even -= d * (np.roll(odd, 1) + odd)
    odd -= c * (even + np.roll(even, -1))
    even -= b * (np.roll(odd, 1) + odd)
    odd -= a * (even + np.roll(even, -1))
    whole = np.empty_like(signal)
    whole[0::2], whole[1::2] = even, odd
    return whole


def _rounded(gain: float) -> float:
    return round(gain * 1024) / 1024
