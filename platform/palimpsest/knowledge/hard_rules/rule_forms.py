"""Rules of a release as array operations on a sensor's bands: whom they hold for, and by how much they are broken.

Every rule about a spectrum is, on given bands, a set of linear inequalities ``A x <= b`` (``LinearForm``), so a network
in training can take ``max(0, A x - b)`` as its penalty with nothing but a matrix product, and the projections of
:mod:`palimpsest.knowledge.hard_rules.rule_projection` are onto the same set. Depth at most d is linear (every band of
the feature stays above ``(1 - d)`` times its continuum); depth at least d is linear once the band that must be deep is
chosen, and the deepest one is. Rules about fractions and neighbourhoods have functions of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import KnowledgeError
from palimpsest.spectra.continuum import ContinuumWindow, bands_between

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase, Rule

SPECTRAL_KINDS = ("bounds", "band_order", "monotone", "feature_depth", "feature_presence", "smoothness")
OTHER_KINDS = ("mixing", "co_occurrence", "feature_safety")
FARTHEST_NM = 30.0  # a rule about one wavelength speaks of the nearest band, if that is no farther off
SMOOTH_TOLERANCE = 0.02  # of the local level: structure below it is not worth a penalty


@dataclass(frozen=True, slots=True)
class LinearForm:
    """The inequalities ``matrix @ x <= bound`` on the sensor's ascending bands.

    Args:
        matrix: ``(inequality, band)``.
        bound: ``(inequality,)``.
    """

    matrix: NDArray[np.float64]
    bound: NDArray[np.float64]

    def excess(self, spectra: NDArray[np.floating]) -> NDArray[np.float64]:
        """How far each inequality is broken, ``(spectrum, inequality)``, 0 where it holds or a value is missing."""
        touched = self.matrix != 0
        filled = np.where(np.isfinite(spectra), spectra, 0.0)
        over = np.maximum(filled @ self.matrix.T - self.bound, 0.0)
        missing = (~np.isfinite(spectra)).astype(np.float64) @ touched.T.astype(np.float64) > 0
        return np.where(missing, 0.0, over)


@dataclass(frozen=True, slots=True)
class SensorRule:
    """A rule about spectra on the bands of one sensor.

    Args:
        rule: the rule.
        bands: indices of the (ascending) bands that it speaks of.
        window: the feature's continuum, for rules about a feature.
        inner: positions in ``window.bands`` that are no shoulder, where the feature itself lies.
        labels: labels that it holds for (place in ``knowledge.materials`` plus one); empty for all.
        form: its inequalities; None for a depth of at least so much, whose inequality depends on the spectrum.
    """

    rule: Rule
    bands: NDArray[np.intp]
    window: ContinuumWindow | None
    inner: NDArray[np.intp]
    labels: frozenset[int]
    form: LinearForm | None

    def applies(self, labels: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Where the rule holds for pixels with these labels, same shape; an unnamed pixel only obeys rules for all."""
        if not self.labels:
            return np.ones(labels.shape, bool)
        return np.isin(labels, list(self.labels))

    def violation(self, spectra: NDArray[np.floating]) -> NDArray[np.float64]:
        """By how much each spectrum ``(spectrum, band)``, bands ascending, breaks the rule, ``(spectrum,)``.

        In reflectance (largest excess) for bounds, order and smoothness; for a monotone interval the largest turn
        back; in depth for features. 0 where the rule holds or cannot be looked at.
        """
        if self.window is not None:
            depth = self.depths(spectra)
            low, high = self.rule.parameters.get("low"), self.rule.parameters.get("high")
            amount = np.zeros(depth.shape)
            if low is not None:
                amount = np.maximum(amount, low - depth)
            if high is not None:
                amount = np.maximum(amount, depth - high)
            return np.nan_to_num(amount)
        if self.rule.kind == "monotone":
            return self._turned_back(spectra)
        if self.form is None or not len(self.form.bound):
            return np.zeros(len(spectra))
        if self.rule.kind == "bounds":
            inside = spectra[:, self.bands]
            low, high = (self.rule.parameters.get(name, end) for name, end in (("low", -np.inf), ("high", np.inf)))
            over = np.maximum(low - inside, inside - high)
            return np.asarray(np.where(np.isfinite(inside), over, 0.0).max(axis=1).clip(min=0.0))
        return np.asarray(self.form.excess(spectra).max(axis=1))

    def _turned_back(self, spectra: NDArray[np.floating]) -> NDArray[np.float64]:
        signed = np.sign(_number(self.rule, "direction")) * spectra[:, self.bands].astype(np.float64)
        known = np.isfinite(signed)
        highest = np.maximum.accumulate(np.where(known, signed, -np.inf), axis=1)
        back = np.where(known, highest - np.where(known, signed, 0.0), 0.0)
        return np.asarray(np.where(np.isfinite(back), back, 0.0).max(axis=1).clip(min=0.0))

    def depths(self, spectra: NDArray[np.floating]) -> NDArray[np.float64]:
        """Depth of the feature between its shoulders, ``(spectrum,)``; NaN for a rule about no feature."""
        if self.window is None:
            return np.full(len(spectra), np.nan)
        return np.asarray(1 - self.window.removed(spectra)[:, self.inner].min(axis=1))


@dataclass(frozen=True, slots=True)
class SensorRuleSet:
    """All rules about spectra that a sensor's bands can be held to.

    Args:
        order: stored indices of the bands, ascending by centre, ``(band,)``.
        rules: in the release's order.
        unseen: IRIs of rules that these bands cannot be held to.
    """

    order: NDArray[np.intp]
    rules: tuple[SensorRule, ...]
    unseen: tuple[str, ...]

    @property
    def hard(self) -> tuple[SensorRule, ...]:
        """Those that are projected onto."""
        return tuple(rule for rule in self.rules if rule.rule.is_hard)

    @property
    def soft(self) -> tuple[SensorRule, ...]:
        """Those that are weighed."""
        return tuple(rule for rule in self.rules if not rule.rule.is_hard)


def compile_rules(
    knowledge: KnowledgeBase, centre_nm: NDArray[np.float64], fwhm_nm: NDArray[np.float64]
) -> SensorRuleSet:
    """The rules of a release on a sensor's bands.

    Args:
        knowledge: the compiled release.
        centre_nm: band centres in stored order, nm, ``(band,)``.
        fwhm_nm: widths, nm, ``(band,)``.

    Raises:
        KnowledgeError: a rule of a kind that is not known, or without a number that its kind needs.
    """
    order = np.argsort(centre_nm, kind="stable")
    ascending, widths = centre_nm[order], fwhm_nm[order]
    compiled, unseen = [], []
    for rule in knowledge.rules:
        if rule.kind in OTHER_KINDS:
            continue
        if rule.kind not in SPECTRAL_KINDS:
            raise KnowledgeError(
                "rule of an unknown kind", where=rule.iri, got=rule.kind, wanted=", ".join(SPECTRAL_KINDS + OTHER_KINDS)
            )
        one = _compile(rule, ascending, widths, scope_labels(knowledge, rule.scope))
        if one is None:
            unseen.append(rule.iri)
        else:
            compiled.append(one)
    return SensorRuleSet(order, tuple(compiled), tuple(unseen))


def scope_labels(knowledge: KnowledgeBase, scope: tuple[str, ...]) -> frozenset[int]:
    """Labels of the materials in a scope: those named and all that are narrower."""
    wanted = set(scope)
    return frozenset(
        number for number, material in enumerate(knowledge.materials, start=1)
        if wanted and (material.iri in wanted or wanted.intersection(material.broader))
    )


def _compile(
    rule: Rule, centre_nm: NDArray[np.float64], fwhm_nm: NDArray[np.float64], labels: frozenset[int]
) -> SensorRule | None:
    none = np.zeros(0, np.intp)
    if rule.scope and not labels:
        return None
    if rule.kind in ("feature_depth", "feature_presence"):
        return _feature_rule(rule, centre_nm, labels)
    if rule.kind == "band_order":
        first, second = (_nearest(centre_nm, _number(rule, name)) for name in ("first_nm", "second_nm"))
        if first is None or second is None or first == second:
            return None
        row = np.zeros((1, centre_nm.size))
        row[0, first], row[0, second] = -1.0, rule.parameters.get("ratio", 1.0)
        return SensorRule(rule, np.array([first, second]), None, none, labels, LinearForm(row, np.zeros(1)))
    low_nm = rule.parameters.get("from_nm", float(centre_nm[0]))
    bands = bands_between(centre_nm, low_nm, rule.parameters.get("to_nm", float(centre_nm[-1])))
    if rule.kind == "bounds":
        form = _bounds_form(rule, bands, centre_nm.size)
    elif rule.kind == "monotone":
        rows = np.zeros((max(bands.size - 1, 0), centre_nm.size))
        step, sign = np.arange(len(rows)), np.sign(_number(rule, "direction"))
        rows[step, bands[:-1]], rows[step, bands[1:]] = sign, -sign
        form = LinearForm(rows, np.zeros(len(rows)))
    else:
        form, bands = _smoothness_form(rule, bands, centre_nm, fwhm_nm)
    return SensorRule(rule, bands, None, none, labels, form) if len(form.bound) else None


def _feature_rule(rule: Rule, centre_nm: NDArray[np.float64], labels: frozenset[int]) -> SensorRule | None:
    left = (_number(rule, "left_from_nm"), _number(rule, "left_to_nm"))
    right = (_number(rule, "right_from_nm"), _number(rule, "right_to_nm"))
    window = ContinuumWindow.at(centre_nm, left, right)
    if window is None:
        return None
    inner = np.flatnonzero(~np.isin(window.bands, np.concatenate([window.left, window.right])))
    if not inner.size:
        return None
    form = None
    high = rule.parameters.get("high")
    if high is not None:
        # x_j >= (1 - high) * continuum_j, the continuum itself being a mean over the shoulders' bands
        matrix = np.zeros((inner.size, centre_nm.size))
        for row, k in enumerate(inner):
            matrix[row, window.left] += (1 - high) * (1 - window.fraction[k]) / window.left.size
            matrix[row, window.right] += (1 - high) * window.fraction[k] / window.right.size
            matrix[row, window.bands[k]] -= 1.0
        form = LinearForm(matrix, np.zeros(inner.size))
    return SensorRule(rule, window.bands, window, inner, labels, form)


def _bounds_form(rule: Rule, bands: NDArray[np.intp], count: int) -> LinearForm:
    rows, limits = [], []
    eye = np.eye(count)[bands]
    if "low" in rule.parameters:
        rows.append(-eye)
        limits.append(np.full(bands.size, -rule.parameters["low"]))
    if "high" in rule.parameters:
        rows.append(eye)
        limits.append(np.full(bands.size, rule.parameters["high"]))
    if not rows:
        raise KnowledgeError("bounds without a bound", where=rule.iri, wanted="low, high or both")
    return LinearForm(np.concatenate(rows), np.concatenate(limits))


def _smoothness_form(
    rule: Rule, bands: NDArray[np.intp], centre_nm: NDArray[np.float64], fwhm_nm: NDArray[np.float64]
) -> tuple[LinearForm, NDArray[np.intp]]:
    """A band may differ from the line between its neighbours by no more than a share of that line.

    Only bands whose neighbours lie within so many widths: there the instrument resolves nothing narrower.
    """
    reach = rule.parameters.get("width_fwhm", 1.0)
    rows, touched = [], []
    for before, band, after in zip(bands[:-2], bands[1:-1], bands[2:], strict=True):
        gap = centre_nm[after] - centre_nm[before]
        if not 0 < gap <= 2 * reach * fwhm_nm[band]:
            continue
        share = (centre_nm[band] - centre_nm[before]) / gap
        for sign in (1.0, -1.0):
            row = np.zeros(centre_nm.size)
            row[band] += sign
            row[before] -= (sign + SMOOTH_TOLERANCE) * (1 - share)
            row[after] -= (sign + SMOOTH_TOLERANCE) * share
            rows.append(row)
        touched.append(band)
    matrix = np.stack(rows) if rows else np.zeros((0, centre_nm.size))
    return LinearForm(matrix, np.zeros(len(rows))), np.array(touched, np.intp)


def _number(rule: Rule, name: str) -> float:
    if name not in rule.parameters:
        raise KnowledgeError(f"a rule of kind {rule.kind} without {name}", where=rule.iri, wanted="a number")
    return rule.parameters[name]


def _nearest(centre_nm: NDArray[np.float64], at_nm: float) -> int | None:
    band = int(np.abs(centre_nm - at_nm).argmin())
    return band if abs(centre_nm[band] - at_nm) <= FARTHEST_NM else None


def mixing_violation(fractions: NDArray[np.floating], rule: Rule) -> NDArray[np.float64]:
    """By how much fractions ``(..., material)`` leave their bounds or miss the sum of one, ``(...)``."""
    low, high = rule.parameters.get("low", 0.0), rule.parameters.get("high", 1.0)
    outside = np.maximum(np.maximum(low - fractions, fractions - high), 0.0).max(axis=-1)
    return np.asarray(np.maximum(outside, np.abs(fractions.sum(axis=-1) - 1.0)))


def co_occurrence_violation(
    labels: NDArray[np.integer], knowledge: KnowledgeBase, rule: Rule, reach: int = 2
) -> float:
    """By how much a label map contradicts a rule about neighbours, in natural logarithms of odds; 0 where it agrees.

    Args:
        labels: ``(row, col)``.
        knowledge: the compiled release.
        rule: of kind 'co_occurrence'.
        reach: neighbours are within this many rows and columns.
    """
    from scipy.ndimage import maximum_filter

    these = np.isin(labels, list(scope_labels(knowledge, rule.scope)))
    partners = np.isin(labels, list(scope_labels(knowledge, rule.partners)))
    near = maximum_filter(partners, size=2 * reach + 1, mode="constant")
    if not these.any() or not near.any():
        return 0.0
    observed = (near[these].mean() + 1e-6) / near.mean()
    wanted = _number(rule, "ratio")
    short = np.log(wanted) - np.log(observed)
    return float(max(short, 0.0) if wanted >= 1 else max(-short, 0.0))
