"""Rules of a release as a penalty that the judge learns by: what a mixture breaks, and the truth does not.

Every rule about spectra, hard or soft, is a set of linear inequalities on the scene's bands (:class:`LinearForm`), and
a judged value is the truth plus a mixture of errors. So the excess of an inequality is that of the truth, known before
training (``slack``), plus a matrix product with the mixed errors; what exceeds the truth's own excess is charged, and
its gradient reaches the judge's weights. A depth of at least so much is linear at the band where the truth is deepest.

A rule is heard where inference hears it: reflectance with wavelengths, scopes by the materials that were read; of any
other light only that nothing is negative. Since weights are convex, rows that no mixture of the candidates can break
are dropped, which changes nothing. Rules about fractions and neighbours (mixing, co-occurrence, feature safety) have no
part here: nothing that the judge decides changes a fraction or a neighbour's label.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.knowledge.hard_rules.rule_forms import LinearForm
from palimpsest.restoration.library.rule_constrainer import Constrainer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.hard_rules.rule_forms import SensorRule
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.study.study import Study

HARD = 1.0  # weight of a hard rule; soft ones bring theirs
_REACHED = 1e-6  # reflectance: a smaller excess is rounding


@dataclass(frozen=True, slots=True)
class Places:
    """Where the voxels of some pixels are in an example's sample.

    Args:
        pixel: judged pixels, ``(pixel,)``.
        group: pixel group of each, ``(pixel,)``.
        bands: damaged bands, ascending, ``(column,)``.
        cell: cell of each voxel, -1 where it is not damaged, ``(pixel, column)`` int32.
        voxel: its place in the cell's sample, ``(pixel, column)`` uint8.
    """

    pixel: NDArray[np.intp]
    group: NDArray[np.intp]
    bands: NDArray[np.intp]
    cell: NDArray[np.int32]
    voxel: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Held:
    """What the rules hold some pixels of an example to.

    Args:
        group: pixel group of each pixel, ``(pixel,)``.
        cell, voxel: where its damaged voxels are, as in :class:`Places`, ``(pixel, column)``.
        matrix: reflectance that an error of one (scaled) adds to each inequality, ``(row, column)`` float32.
        slack: excess of the truth, reflectance, ``(pixel, row)`` float32; -inf where a row cannot be broken.
        weight: of each row, ``(pixel, row)`` float32: the rule's weight over its rows in this pixel.
        rules: IRI of each row's rule.
    """

    group: NDArray[np.intp]
    cell: NDArray[np.int32]
    voxel: NDArray[np.uint8]
    matrix: NDArray[np.float32]
    slack: NDArray[np.float32]
    weight: NDArray[np.float32]
    rules: tuple[str, ...]

    def of_groups(self, groups: NDArray[np.integer], kept: NDArray[np.bool_]) -> Held:
        """The same for the pixels of some groups, after the cells that are not ``kept`` ``(cell,)`` are gone."""
        here = np.isin(self.group, groups)
        slack = self.slack[here]
        rows = np.flatnonzero(np.isfinite(slack).any(0))
        renumbered = np.append(np.cumsum(kept) - 1, -1).astype(np.int32)  # the last one serves -1
        return replace(
            self, group=self.group[here], cell=renumbered[self.cell[here]], voxel=self.voxel[here],
            matrix=self.matrix[rows], slack=slack[:, rows], weight=self.weight[here][:, rows],
            rules=tuple(self.rules[row] for row in rows),
        )

    def penalty(self, errors: NDArray[np.float32], weights: Tensor) -> Tensor:
        """Reflectance by which mixtures break rules beyond the truth: the sum over rules of the mean over their rows.

        Args:
            errors: of the candidates, ``(cell, source, voxel)``, scaled.
            weights: of the judge, ``(cell, source)``.

        Returns:
            The mean over pixels, a scalar; 0 without rules.
        """
        import torch

        if not self.slack.size:
            return weights.new_zeros(())
        there = self.cell >= 0
        cell = np.where(there, self.cell, 0).astype(np.int64)
        each = np.where(there[..., None], errors[cell, :, self.voxel.astype(np.int64)], np.float32(0))
        mixed = (torch.from_numpy(each) * weights[torch.from_numpy(cell)]).sum(2)  # (pixel, column)
        slack = torch.from_numpy(self.slack)
        over = torch.relu(mixed @ torch.from_numpy(self.matrix).T + slack) - torch.relu(slack)
        return (torch.relu(over) * torch.from_numpy(self.weight)).sum(1).mean()


def held_to(
    seen: Study, damaged: Cube, knowledge: KnowledgeBase | None, true: NDArray[np.floating], places: Places,
    errors: NDArray[np.float32],
) -> Held:
    """What the release's rules hold the pixels at some places to.

    Args:
        seen: the studied scene.
        damaged: its cube, for what its numbers mean.
        knowledge: the release as it was given to the study; without one there is no rule.
        true: scaled true spectra of all judged pixels, ``(pixel, band)``.
        places: the pixels and where their errors are.
        errors: of the candidates, ``(cell, source, voxel)``, scaled.
    """
    count, columns = len(places.pixel), len(places.bands)
    none = np.zeros((count, 0), np.float32)
    held = Held(
        places.group, places.cell, places.voxel, np.zeros((0, columns), np.float32), none, none, (),
    )
    # Soft rules have no projection; hardened, they are compiled for the same cubes and on the same terms as hard ones.
    hardened = knowledge and replace(knowledge, rules=tuple(replace(rule, is_hard=True) for rule in knowledge.rules))
    constrainer = Constrainer.of(hardened, damaged, seen.axis, seen.unit)
    if constrainer.compiled is None or knowledge is None or not count:
        return held
    span = constrainer.one - constrainer.zero
    spectra = (true[places.pixel].astype(np.float64) - constrainer.zero) / span
    least, most = (extreme / span for extreme in _reach(places, errors))
    strength = {rule.iri: HARD if rule.is_hard else rule.weight for rule in knowledge.rules}
    matrix, slack, weight, names = [held.matrix], [none], [none], []
    for one in constrainer.compiled.rules:
        about = constrainer.holds(one.rule, len(true), seen.sources.flat, seen.proposals.shares[0])[places.pixel]
        if not about.any():
            continue
        form, deepest = rows_of(one, spectra)
        rows = form.matrix[:, places.bands]
        speaks = ((places.cell >= 0).astype(np.float32) @ (rows != 0).T.astype(np.float32)) > 0
        speaks &= about[:, None] & deepest  # (pixel, row)
        own = spectra @ form.matrix.T - form.bound
        worst = own + most @ np.maximum(rows, 0).T + least @ np.minimum(rows, 0).T
        breakable = speaks & (worst > np.maximum(own, 0) + _REACHED)
        kept = breakable.any(0)
        matrix.append((rows[kept] / span).astype(np.float32))
        slack.append(np.where(breakable, own, -np.inf)[:, kept].astype(np.float32))
        share = strength[one.rule.iri] / np.maximum(speaks.sum(1, keepdims=True), 1)
        weight.append((share * breakable[:, kept]).astype(np.float32))
        names += [one.rule.iri] * int(kept.sum())
    return replace(
        held, matrix=np.concatenate(matrix), slack=np.concatenate(slack, 1), weight=np.concatenate(weight, 1),
        rules=tuple(names),
    )


def rows_of(rule: SensorRule, spectra: NDArray[np.float64]) -> tuple[LinearForm, NDArray[np.bool_]]:
    """A rule's inequalities on ascending bands, and for which spectra each is meant, ``(spectrum, inequality)``.

    Args:
        rule: the rule.
        spectra: true reflectance, ``(spectrum, band)``: where it is deepest a feature must be deep.
    """
    bands = spectra.shape[1]
    form = LinearForm(np.zeros((0, bands)), np.zeros(0)) if rule.form is None else rule.form
    meant = np.ones((len(spectra), len(form.bound)), bool)
    low, window = rule.rule.parameters.get("low"), rule.window
    if window is None or low is None:
        return form, meant
    # x_j <= (1 - low) * continuum_j at the deepest band j, the continuum being a mean over the shoulders' bands
    below = np.zeros((rule.inner.size, bands))
    for row, k in enumerate(rule.inner):
        below[row, window.left] -= (1 - low) * (1 - window.fraction[k]) / window.left.size
        below[row, window.right] -= (1 - low) * window.fraction[k] / window.right.size
        below[row, window.bands[k]] += 1.0
    depth = np.nan_to_num(1 - window.removed(spectra)[:, rule.inner], nan=-np.inf)
    deepest = depth.argmax(1)[:, None] == np.arange(rule.inner.size)
    joined = LinearForm(np.concatenate([form.matrix, below]), np.concatenate([form.bound, np.zeros(len(below))]))
    return joined, np.concatenate([meant, deepest], 1)


def _reach(places: Places, errors: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest error that a mixture can have at each place, ``(pixel, column)``; 0 where none is damaged."""
    there = places.cell >= 0
    each = errors[np.where(there, places.cell, 0), :, places.voxel]  # (pixel, column, source)
    return np.where(there, each.min(2), 0.0).astype(np.float64), np.where(there, each.max(2), 0.0).astype(np.float64)
