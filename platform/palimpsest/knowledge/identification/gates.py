"""The expert system's decision: which material passes all its gates, and which of those fits best.

Gates of a feature: reflectance and slope of its continuum, fit, depth. Gates of a material: no not-feature present
(absolutely, or relative to the depth of its first feature), depth of the second feature relative to the first, weighted
fit, weighted depth, weighted fit times depth. The best weighted fit wins; among members of one family the position of
the first feature's minimum has the last word.

Source: Kokaly 2011, USGS Open-File Report 2011-1155 (MICA); depth ratio and families as in the PyPI package cramm 1.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.spectra.features import feature_centre

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from palimpsest.knowledge.identification.feature_fit import Measured, PreparedMaterial, SensorRules
    from palimpsest.knowledge.rules import DiagnosticFeature, Interval


@dataclass(frozen=True, slots=True)
class Gate:
    """One threshold on one measured quantity.

    Args:
        name: what is measured: 'fit', 'depth', 'continuum_left' ...; 'not' for an exclusion.
        slack: how far on the allowed side of the threshold, ``(spectrum,)``; below zero fails, NaN fails.
        features: the features it hangs on, indices into the material's features, or into its exclusions for 'not'.
        is_strict: whether a slack of exactly zero fails.
    """

    name: str
    slack: NDArray[np.float64]
    features: tuple[int, ...]
    is_strict: bool = False

    def passed(self) -> NDArray[np.bool_]:
        """Where it holds, ``(spectrum,)``."""
        return np.asarray(self.slack > 0 if self.is_strict else self.slack >= 0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """How one material fares on a block of spectra, each ``(spectrum,)``.

    Args:
        fit, depth, fit_depth: sums over its features weighted by the features' weights; NaN where one is missing.
        accepted: whether every gate holds.
    """

    fit: NDArray[np.float64]
    depth: NDArray[np.float64]
    fit_depth: NDArray[np.float64]
    accepted: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Decision:
    """Who is named on a block of spectra.

    Args:
        winner: index into the sensor's materials, ``(spectrum,)``; -1 where nobody is named.
        candidates: one for each of the sensor's materials.
    """

    winner: NDArray[np.intp]
    candidates: tuple[Candidate, ...]


def candidate(prepared: PreparedMaterial, measured: Measured) -> Candidate:
    """A material's sums and whether it passes all its gates."""
    n = measured.fit.shape[1]
    fit, depth, fit_depth = np.zeros(n), np.zeros(n), np.zeros(n)
    for feature, slot in zip(prepared.material.features, prepared.features, strict=True):
        fit += feature.weight * measured.fit[slot.row]
        depth += feature.weight * measured.depth[slot.row]
        fit_depth += feature.weight * measured.fit[slot.row] * measured.depth[slot.row]
    accepted = np.isfinite(fit)
    sums = Candidate(fit, depth, fit_depth, accepted)
    for gate in gates(prepared, measured, sums):
        accepted &= gate.passed()
        if not accepted.any():
            break
    return sums


def gates(prepared: PreparedMaterial, measured: Measured, sums: Candidate) -> Iterator[Gate]:
    """Every gate of a material with its slack; cheap ones first."""
    material = prepared.material
    every = tuple(range(len(material.features)))
    for name, value in (("fit", sums.fit), ("depth", sums.depth), ("fit_depth", sums.fit_depth)):
        if name in material.constraints:
            yield from _between(name, value, material.constraints[name], every, strict_low=name == "fit_depth")
    for i, feature in enumerate(material.features):
        yield from _feature_gates(i, feature, prepared, measured)
    if "depth_ratio" in material.constraints and len(every) > 1:
        first, second = (measured.depth[prepared.features[k].row] for k in (0, 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = second / first
        yield from _between("depth_ratio", ratio, material.constraints["depth_ratio"], (0, 1), strict_high=True)
    for i, (exclusion, slot) in enumerate(zip(material.not_features, prepared.exclusions, strict=True)):
        bounds = exclusion.constraints
        deepest = _low(bounds.get("relative_depth" if exclusion.is_relative else "depth"))
        if exclusion.is_relative:
            deepest = deepest * measured.depth[prepared.features[0].row]
        # Excluded where both thresholds are reached: the larger of the two distances below them is the slack. No such
        # feature at all (NaN) excludes nothing.
        slack = np.fmax(
            _low(bounds.get("fit")) - measured.fit[slot.row], deepest - measured.depth[slot.row]
        )
        yield Gate("not", np.where(np.isnan(slack), np.inf, slack), (i,), is_strict=True)


def _feature_gates(
    i: int, feature: DiagnosticFeature, prepared: PreparedMaterial, measured: Measured
) -> Iterator[Gate]:
    slot = prepared.features[i]
    left, right = measured.left[slot.window], measured.right[slot.window]
    for name, bounds in feature.constraints.items():
        if name == "fit":
            value = measured.fit[slot.row]
        elif name == "depth":
            value = measured.depth[slot.row]
        elif name == "continuum_left":
            value = left
        elif name == "continuum_right":
            value = right
        elif name == "continuum_mean":
            value = (left + right) / 2
        elif name == "continuum_ratio":
            with np.errstate(divide="ignore", invalid="ignore"):
                value = right / left
        else:
            continue  # 'centre_nm' arbitrates between members of a family; it rejects nobody
        yield from _between(name, value, bounds, (i,))


def _between(
    name: str, value: NDArray[np.float64], bounds: Interval, features: tuple[int, ...], *,
    strict_low: bool = False, strict_high: bool = False,
) -> Iterator[Gate]:
    if bounds.low is not None:
        yield Gate(name, value - bounds.low, features, strict_low)
    if bounds.high is not None:
        yield Gate(name, bounds.high - value, features, strict_high)


def _low(bounds: Interval | None) -> float:
    return -np.inf if bounds is None or bounds.low is None else bounds.low


def decide(rules: SensorRules, spectra: NDArray[np.float64], measured: Measured) -> Decision:
    """Who is named on each spectrum.

    Args:
        rules: the rules on this sensor.
        spectra: reflectance, ``(spectrum, used band)``.
        measured: what ``rules.measure`` gave for them.
    """
    candidates = tuple(candidate(prepared, measured) for prepared in rules.materials)
    best = np.zeros(len(spectra))
    winner = np.full(len(spectra), -1, np.intp)
    for i, one in enumerate(candidates):
        # Strictly better: of two equal fits the earlier in the rule base is named.
        better = one.accepted & (one.fit > best)
        winner[better] = i
        best[better] = one.fit[better]
    for members in _families(rules):
        _arbitrate(rules, spectra, candidates, winner, members)
    return Decision(winner, candidates)


def _families(rules: SensorRules) -> list[list[int]]:
    """Materials told apart by the position of their band, two or more to a family."""
    families: dict[object, list[int]] = {}
    for i, prepared in enumerate(rules.materials):
        family = prepared.material.extra.get("arbitration")
        if family and "centre_nm" in prepared.material.features[0].constraints:
            families.setdefault(family, []).append(i)
    return [members for members in families.values() if len(members) > 1]


def _arbitrate(
    rules: SensorRules, spectra: NDArray[np.float64], candidates: tuple[Candidate, ...], winner: NDArray[np.intp],
    members: list[int],
) -> None:
    """Within a family, name the one accepted member in whose range alone the minimum lies, if there is one."""
    where = np.flatnonzero(np.isin(winner, members))
    if not where.size:
        return
    centres = np.full(where.size, np.nan)
    for i in members:
        mine = winner[where] == i
        if mine.any():
            window = rules.windows[rules.materials[i].features[0].window]
            centres[mine] = feature_centre(window.removed(spectra[where[mine]]), rules.centre_nm[window.bands])
    inside = []
    for i in members:
        bounds = rules.materials[i].material.features[0].constraints["centre_nm"]
        inside.append((centres >= _low(bounds)) & (centres < (np.inf if bounds.high is None else bounds.high)))
    hits = np.array(inside)
    chosen = np.array(members)[hits.argmax(axis=0)]
    for i in members:
        one = candidates[i]
        to = where[(hits.sum(axis=0) == 1) & (chosen == i)]
        winner[to[one.accepted[to] & (one.fit[to] > 0)]] = i
