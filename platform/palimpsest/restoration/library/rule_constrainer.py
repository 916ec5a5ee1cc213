"""Integrator, part 3: hard rules of the release as exact projections of the voxels that a restoration changed.

A measured voxel that breaks a rule is reported and never altered. Which rules there are on these bands, and the least
move that satisfies each, is the business of :mod:`palimpsest.knowledge.hard_rules.rule_projection`; here spectra are
brought to reflectance and back, and it is settled which rules hold for which pixel: those without a scope everywhere,
the others where a pixel is mostly their materials. Of a cube that is not reflectance, no rule says more than that
nothing in it is negative.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.knowledge.hard_rules.rule_forms import SensorRuleSet, compile_rules
from palimpsest.knowledge.hard_rules.rule_projection import project_where

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase, Rule
    from palimpsest.restoration.library.semantic_mapper import Reading
    from palimpsest.restoration.view import Axis

MOSTLY = 0.6  # share of a scope's materials from which its rules hold for a pixel
_LARGEST_REFLECTANCE = 2.0
_ASSUMED_FWHM_NM = 10.0


@dataclass(frozen=True, slots=True)
class Constrainer:
    """The hard rules that can be projected onto, for one cube.

    Args:
        compiled: the rules on the cube's ascending bands; None without knowledge or wavelengths.
        one, zero: scaled value of reflectance 1 and of reflectance 0.
        broken: pixels in which measured voxels alone break a rule, by its IRI; grows with every projection.
    """

    compiled: SensorRuleSet | None
    one: float = 1.0
    zero: float = 0.0
    broken: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, knowledge: KnowledgeBase | None, cube: Cube, axis: Axis, unit: float) -> Constrainer:
        """The constrainer of a cube; without knowledge or wavelengths it has no rules."""
        if knowledge is None or axis.centre_nm is None:
            return cls(None)
        rules: Iterable[Rule] = (rule for rule in knowledge.rules if rule.is_hard)
        bright = unit * cube.scale + cube.offset
        named = cube.units.lower() == "reflectance" or (not cube.units and cube.scale != 1.0)
        is_reflectance = named and 0 < bright < _LARGEST_REFLECTANCE
        if not is_reflectance:
            # Raw numbers and radiance have another light in every band: no order, no slope, no upper bound.
            rules = (
                replace(rule, parameters={name: value for name, value in rule.parameters.items() if name != "high"})
                for rule in rules if rule.kind == "bounds" and rule.parameters.get("low") == 0
            )
        widths = np.full(axis.count, _ASSUMED_FWHM_NM) if axis.fwhm_nm is None else axis.fwhm_nm
        compiled = compile_rules(replace(knowledge, rules=tuple(rules)), axis.centre_nm, widths)
        if not is_reflectance:
            return cls(compiled)
        zero = -cube.offset / cube.scale / unit
        return cls(compiled, (1.0 - cube.offset) / cube.scale / unit, zero)

    def project(
        self, values: NDArray[np.float64], changed: NDArray[np.bool_], known: NDArray[np.bool_],
        reading: Reading | None, shares: NDArray[np.float64] | None,
    ) -> list[tuple[Rule, NDArray[np.float64]]]:
        """Move changed voxels onto the rules.

        Args:
            values: scaled spectra, ``(pixel, band)``; moved in place.
            changed: ``(pixel, band)``.
            known: measured or changed, ``(pixel, band)``: the others are nothing that a rule could be judged by.
            reading: materials and shares of the pixels tell which scoped rules hold; None: none of them.
            shares: ``(pixel, material)``.

        Returns:
            Each rule that moved anything, with what it added, ``(pixel, band)``.
        """
        if self.compiled is None or not self.compiled.hard:
            return []
        span = self.one - self.zero
        spectra = np.where(known, (values - self.zero) / span, np.nan)
        holds = np.array([self.holds(one.rule, len(values), reading, shares) for one in self.compiled.hard])
        found = project_where(self.compiled, spectra, holds, changed)
        for iri, where in found.broken.items():
            self.broken[iri] = self.broken.get(iri, 0) + int(where.sum())
        rules = {one.rule.iri: one.rule for one in self.compiled.hard}
        moved = [(rules[iri], change * span) for iri, change in found.changes.items()]
        for _, change in moved:
            values += change
        return moved

    def holds(
        self, rule: Rule, pixels: int, reading: Reading | None, shares: NDArray[np.float64] | None
    ) -> NDArray[np.bool_]:
        """Which of the pixels a rule is about, ``(pixel,)``; reading and shares as for :meth:`project`."""
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
