"""Exact projections onto hard rules: what breaks a rule is moved to where it holds, and nothing else is touched.

Measured voxels are never altered: ``free`` says which values may move, and where the others alone break a rule that is
left as it is and reported. Bounds are clipped, a monotone interval takes the isotonic regression of its free values
between what the fixed ones allow, an order of two bands moves onto its half-space, a feature's depth is scaled about
its continuum. Rules are applied in turn until all hold; each keeps account of what it changed, so that the
changes add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.knowledge.hard_rules.rule_forms import SensorRule, SensorRuleSet

ROUNDS = 12
HOLDS = 1e-9  # a violation below it is rounding
SWEEPS = 300
PATIENCE = 8  # sweeps without progress
BEYOND = 1e-7


@dataclass(frozen=True, slots=True)
class Projection:
    """Spectra after the hard rules.

    Args:
        spectra: ``(spectrum, band)``, float64, bands in stored order.
        changes: what each rule that did anything added, by IRI, ``(spectrum, band)``; their sum is the whole change.
        broken: hard rules that fixed values break, by IRI, ``(spectrum,)`` bool; only rules broken somewhere.
    """

    spectra: NDArray[np.float64]
    changes: dict[str, NDArray[np.float64]]
    broken: dict[str, NDArray[np.bool_]]


def project(
    rules: SensorRuleSet, spectra: NDArray[np.floating], labels: NDArray[np.integer],
    free: NDArray[np.bool_] | None = None,
) -> Projection:
    """Spectra moved onto every hard rule that holds for them.

    Args:
        rules: the rules on this sensor's bands.
        spectra: reflectance, ``(spectrum, band)``, bands in stored order; NaN is left alone.
        labels: label of each spectrum, ``(spectrum,)``.
        free: values that may move, of the shape of ``spectra``; None is all.
    """
    return project_where(rules, spectra, np.array([rule.applies(labels) for rule in rules.hard]), free)


def project_where(
    rules: SensorRuleSet, spectra: NDArray[np.floating], holds: NDArray[np.bool_],
    free: NDArray[np.bool_] | None = None,
) -> Projection:
    """As :func:`project`, where it is known which hard rules hold for which spectra, ``(hard rule, spectrum)``."""
    start = np.asarray(spectra, np.float64)[:, rules.order]
    movable = np.isfinite(start) & (True if free is None else free[:, rules.order])
    current = start.copy()
    changes: dict[str, NDArray[np.float64]] = {}
    for _ in range(ROUNDS):
        moved = False
        for rule, here in zip(rules.hard, holds, strict=True):
            rows = np.flatnonzero(here)
            rows = rows[rule.violation(current[rows]) > HOLDS]
            if not rows.size:
                continue
            after = project_rule(rule, current[rows], movable[rows])
            step = after - current[rows]
            step[~np.isfinite(step)] = 0.0
            if not step.any():
                continue
            moved = True
            changes.setdefault(rule.rule.iri, np.zeros(start.shape))[rows] += step
            current[rows] = after
        if not moved:
            break
    broken = {}
    for rule, here in zip(rules.hard, holds, strict=True):
        still = here & (rule.violation(current) > HOLDS)
        if still.any():
            broken[rule.rule.iri] = still
    back = np.argsort(rules.order, kind="stable")
    return Projection(current[:, back], {iri: change[:, back] for iri, change in changes.items()}, broken)


def project_rule(
    rule: SensorRule, spectra: NDArray[np.float64], free: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Spectra ``(spectrum, band)``, bands ascending, moved onto one rule; only ``free`` values differ."""
    parameters = rule.rule.parameters
    if rule.rule.kind == "bounds":
        result = spectra.copy()
        inside = np.clip(spectra[:, rule.bands], parameters.get("low"), parameters.get("high"))
        result[:, rule.bands] = np.where(free[:, rule.bands], inside, spectra[:, rule.bands])
        return result
    if rule.rule.kind == "monotone":
        sign = float(np.sign(parameters["direction"]))
        result = spectra.copy()
        for i in range(len(result)):
            result[i, rule.bands] = sign * _isotonic(sign * spectra[i, rule.bands], free[i, rule.bands])
        return result
    if rule.rule.kind == "band_order":
        return _ordered(rule, spectra, free)
    if rule.window is not None:
        return _depth_within(rule, spectra, free)
    return _half_spaces(rule, spectra, free)


def _isotonic(values: NDArray[np.float64], free: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The nearest non-decreasing values, the fixed ones as they are; NaN is passed over."""
    from scipy.optimize import isotonic_regression

    result = values.copy()
    known = np.isfinite(values)
    fixed = known & ~free
    moving = known & free
    if not moving.any():
        return result
    fitted = isotonic_regression(values[moving]).x
    low = np.maximum.accumulate(np.where(fixed, values, -np.inf))[moving]
    high = np.minimum.accumulate(np.where(fixed, values, np.inf)[::-1])[::-1][moving]
    # Both bounds rise along the interval, so clipping a rising curve between them leaves it rising. Where fixed values
    # contradict each other (low above high) nothing can hold and the lower one is followed.
    result[moving] = np.maximum(np.minimum(fitted, high), low)
    return result


def _ordered(rule: SensorRule, spectra: NDArray[np.float64], free: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The first band at least ratio times the second: the nearest pair that is, moving only what may move."""
    first, second = rule.bands
    ratio = rule.rule.parameters.get("ratio", 1.0)
    result = spectra.copy()
    short = np.maximum(ratio * spectra[:, second] - spectra[:, first], 0.0)
    normal = np.stack([free[:, first] * 1.0, free[:, second] * -ratio], axis=1)
    length = (normal**2).sum(axis=1)
    step = np.where(length > 0, short / np.where(length > 0, length, 1.0), 0.0)
    step = np.nan_to_num(step)
    result[:, first] += step * normal[:, 0]
    result[:, second] += step * normal[:, 1]
    return result


def _depth_within(rule: SensorRule, spectra: NDArray[np.float64], free: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The feature as deep as allowed: lifted where too deep, scaled where too shallow, the shoulders as they are."""
    assert rule.window is not None
    parameters = rule.rule.parameters
    bands, fraction = rule.window.bands[rule.inner], rule.window.fraction[rule.inner]
    line = rule.window.line(spectra)[:, rule.inner]
    may = free[:, bands] & np.isfinite(line) & (line > 0)
    result = spectra.copy()
    values = spectra[:, bands]
    high, low = parameters.get("high"), parameters.get("low")
    if high is not None:
        values = np.where(may, np.maximum(values, (1 - high) * line), values)
    if low is not None:
        depth = rule.depths(spectra)
        shallow = depth < low
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(depth > low / 4, low / depth, 0.0)[:, None]
        # Too faint to be scaled up: a parabola between the shoulders says no more than that the feature is there.
        arch = low * (1 - ((fraction - 0.5) / 0.5) ** 2) / (1 - ((fraction - 0.5) / 0.5) ** 2).max()
        deeper = np.where(scale > 0, line * (1 - (1 - values / line) * scale), np.minimum(values, line * (1 - arch)))
        values = np.where(may & shallow[:, None], deeper, values)
    result[:, bands] = values
    return result


def _half_spaces(rule: SensorRule, spectra: NDArray[np.float64], free: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Any other set of inequalities: one after the other, each the nearest point that obeys it, until all do."""
    assert rule.form is not None
    result = spectra.copy()
    parts = [np.flatnonzero(row) for row in rule.form.matrix]
    least, since = np.inf, 0
    for _ in range(SWEEPS):
        excess = rule.form.excess(result)
        broken = excess > HOLDS
        since = 0 if excess.sum() < 0.99 * least else since + 1
        # No progress: the values that may not move contradict the rule by themselves.
        if not broken.any() or since > PATIENCE:
            break
        least = min(least, float(excess.sum()))
        for k in np.flatnonzero(broken.any(axis=0)):
            at = np.ix_(np.flatnonzero(broken[:, k]), parts[k])
            row = rule.form.matrix[k, parts[k]]
            # a little beyond the edge, or a chain of neighbours would creep towards it for ever
            over = np.maximum(result[at] @ row - rule.form.bound[k] + BEYOND, 0.0)
            normal = row * free[at]
            length = (normal**2).sum(axis=1)
            result[at] -= np.where(length > 0, over / np.where(length > 0, length, 1.0), 0.0)[:, None] * normal
    return result


def project_fractions(fractions: NDArray[np.floating]) -> NDArray[np.float64]:
    """The nearest fractions ``(..., material)`` that are not negative and sum to one.

    Source: Duchi et al. 2008, ICML, Efficient projections onto the l1-ball.
    """
    values = np.asarray(fractions, np.float64)
    falling = -np.sort(-values, axis=-1)
    excess = np.cumsum(falling, axis=-1) - 1.0
    count = np.arange(1, values.shape[-1] + 1)
    kept = (falling - excess / count > 0).sum(axis=-1, keepdims=True)
    shift = np.take_along_axis(excess, kept - 1, axis=-1) / kept
    return np.asarray(np.maximum(values - shift, 0.0))
