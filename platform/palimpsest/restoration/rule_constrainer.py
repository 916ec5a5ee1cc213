"""Integrator, part 3: hard rules of the release as exact projections of the voxels that a restoration changed.

A measured voxel that breaks a rule is reported elsewhere and never altered here. A projection moves a value by as
little as the rule asks for: clipping for bounds, isotonic regression (pool adjacent violators) for monotone intervals,
the nearest pair for an order of two bands. Rules with a scope hold for pixels that are mostly their materials.

Source of the isotonic projection: Barlow et al. 1972, Statistical Inference under Order Restrictions.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase, Rule
    from palimpsest.restoration.semantic_mapper import Reading
    from palimpsest.restoration.view import Axis

MOSTLY = 0.6  # share of a scope's materials from which its rules hold for a pixel
PROJECTED = ("bounds", "monotone", "band_order")
_LARGEST_REFLECTANCE = 2.0


@dataclass(frozen=True, slots=True)
class Constrainer:
    """The hard rules that can be projected onto, for one cube.

    Args:
        rules: in release order.
        axis: the band axis.
        reflectance: scaled value of reflectance 1 and of reflectance 0; None where the cube is not reflectance.
    """

    rules: tuple[Rule, ...]
    axis: Axis
    reflectance: tuple[float, float] | None

    @classmethod
    def of(cls, knowledge: KnowledgeBase | None, cube: Cube, axis: Axis, unit: float) -> Constrainer:
        """The constrainer of a cube; without knowledge or wavelengths it has no rules."""
        if knowledge is None or axis.centre_nm is None:
            return cls((), axis, None)
        rules = tuple(rule for rule in knowledge.rules if rule.is_hard and rule.kind in PROJECTED)
        bright = unit * cube.scale + cube.offset
        named = cube.units.lower() == "reflectance" or (not cube.units and cube.scale != 1.0)
        is_reflectance = named and 0 < bright < _LARGEST_REFLECTANCE
        zero = -cube.offset / cube.scale / unit
        one = (1.0 - cube.offset) / cube.scale / unit
        return cls(rules, axis, (one, zero) if is_reflectance else None)

    def project(
        self, values: NDArray[np.float64], changed: NDArray[np.bool_], reading: Reading | None,
        shares: NDArray[np.float64] | None,
    ) -> list[tuple[Rule, NDArray[np.float64]]]:
        """Move changed voxels onto the rules, one rule after the other.

        Args:
            values: scaled spectra, ``(pixel, band)``; moved in place.
            changed: ``(pixel, band)``.
            reading: materials and shares of the pixels tell which scoped rules hold; None: none of them.
            shares: ``(pixel, material)``.

        Returns:
            Each rule that moved anything, with what it added, ``(pixel, band)``. Bounds come last, so that they hold.
        """
        moved: list[tuple[Rule, NDArray[np.float64]]] = []
        for rule in sorted(self.rules, key=lambda rule: rule.kind == "bounds"):
            holds = self._holds(rule, len(values), reading, shares)
            if not holds.any():
                continue
            before = values.copy()
            getattr(self, f"_{rule.kind}")(rule, values, changed & holds[:, None])
            if np.any(values != before):
                moved.append((rule, values - before))
        return moved

    def _holds(
        self, rule: Rule, pixels: int, reading: Reading | None, shares: NDArray[np.float64] | None
    ) -> NDArray[np.bool_]:
        if not rule.scope:
            return np.ones(pixels, bool)
        if reading is None or shares is None:
            return np.zeros(pixels, bool)
        inside = np.array([
            material.iri in rule.scope or any(parent in rule.scope for parent in material.broader)
            for material in reading.materials
        ])
        total = shares.sum(1)
        return (total > 0) & (shares[:, inside].sum(1) > MOSTLY * total)

    def _bounds(self, rule: Rule, values: NDArray[np.float64], changed: NDArray[np.bool_]) -> None:
        centre = self.axis.centre_nm
        assert centre is not None
        inside = (centre >= rule.parameters.get("from_nm", 0)) & (centre <= rule.parameters.get("to_nm", np.inf))
        low, high = rule.parameters.get("low"), rule.parameters.get("high")
        if self.reflectance is None:
            # Raw numbers and radiance have no upper bound that a rule about reflectance could name.
            low, high = (0.0 if low == 0 else None), None
            one, zero = 1.0, 0.0
        else:
            one, zero = self.reflectance
        target = changed & inside
        if low is not None:
            values[target] = np.maximum(values[target], zero + low * (one - zero))
        if high is not None:
            values[target] = np.minimum(values[target], zero + high * (one - zero))

    def _monotone(self, rule: Rule, values: NDArray[np.float64], changed: NDArray[np.bool_]) -> None:
        centre = self.axis.centre_nm
        assert centre is not None
        inside = np.flatnonzero((centre >= rule.parameters["from_nm"]) & (centre <= rule.parameters["to_nm"]))
        if inside.size < 2:
            return
        sign = 1.0 if rule.parameters.get("direction", 1.0) >= 0 else -1.0
        for pixel in np.flatnonzero(changed[:, inside].any(1)):
            line, free = sign * values[pixel, inside], changed[pixel, inside]
            if np.all(np.diff(line) >= 0):
                continue
            values[pixel, inside] = sign * _isotonic(line, free)

    def _band_order(self, rule: Rule, values: NDArray[np.float64], changed: NDArray[np.bool_]) -> None:
        centre = self.axis.centre_nm
        assert centre is not None
        first = int(np.argmin(np.abs(centre - rule.parameters["first_nm"])))
        second = int(np.argmin(np.abs(centre - rule.parameters["second_nm"])))
        ratio = rule.parameters.get("ratio", 1.0)
        broken = values[:, first] < ratio * values[:, second]
        both = broken & changed[:, first] & changed[:, second]
        # The nearest pair on the line first = ratio * second.
        nearest = (ratio * values[both, first] + values[both, second]) / (ratio**2 + 1)
        values[both, second], values[both, first] = nearest, ratio * nearest
        only = broken & changed[:, first] & ~changed[:, second]
        values[only, first] = ratio * values[only, second]
        only = broken & changed[:, second] & ~changed[:, first]
        values[only, second] = values[only, first] / ratio


def _isotonic(line: NDArray[np.float64], free: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Nearest rising line with the values that are not free kept; pool adjacent violators between fixed walls."""
    out = line.copy()
    fixed = np.flatnonzero(~free)
    walls = np.concatenate([[-1], fixed, [line.size]])
    for left, right in itertools.pairwise(walls):
        stretch = slice(left + 1, right)
        if right - left < 2:
            continue
        pooled = _pool(line[stretch])
        low = line[left] if left >= 0 else -np.inf
        high = line[right] if right < line.size else np.inf
        # Measured walls that fall themselves cannot be obeyed both: the line between them stays as it is.
        if low <= high:
            out[stretch] = np.clip(pooled, low, high)
    return out


def _pool(line: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    sums: list[float] = []
    counts: list[int] = []
    for value in line:
        sums.append(float(value))
        counts.append(1)
        while len(sums) > 1 and sums[-2] / counts[-2] > sums[-1] / counts[-1]:
            total, number = sums.pop(), counts.pop()
            sums[-1] += total
            counts[-1] += number
    return np.repeat([s / c for s, c in zip(sums, counts, strict=True)], counts)
