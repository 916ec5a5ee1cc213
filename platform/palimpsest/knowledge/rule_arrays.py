"""Rules as array operations: by how much spectra break a rule.

One function a kind, each ``(spectra, wavelengths) -> amounts``; zero where the rule holds, and the amount in units of
reflectance (or of depth, for rules about features) where it does not. Bands outside a rule's wavelengths do not count,
and neither do values that are not finite. Kinds that are not about one spectrum (mixing, co-occurrence) are not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import KnowledgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import Rule

    Floats = NDArray[np.float64]

LARGEST_STEP_NM = 40.0  # a wavelength that a rule names must have a band this near


def violation(rule: Rule, wavelengths_nm: Floats, spectra: Floats) -> Floats:
    """By how much each spectrum breaks a rule, ``(n,)``; zero where it holds or cannot be judged.

    Args:
        rule: one of a kind in :data:`KINDS`.
        wavelengths_nm: band centres, ascending, ``(band,)``.
        spectra: reflectance, ``(n, band)``; NaN where unknown.

    Raises:
        KnowledgeError: a rule of a kind that says nothing about one spectrum.
    """
    if rule.kind not in KINDS:
        raise KnowledgeError(
            "a rule that is not about one spectrum", where=rule.iri, got=rule.kind, wanted=", ".join(sorted(KINDS))
        )
    return KINDS[rule.kind](np.asarray(wavelengths_nm, float), np.asarray(spectra, float), rule.parameters)


def continuum_depth(wavelengths_nm: Floats, spectra: Floats, p: Mapping[str, float]) -> Floats:
    """Depth of the feature between two continuum intervals, ``(n,)``; NaN where a part of it has no finite value.

    Depth is one minus the least ratio of reflectance to the straight line through the means of the two intervals
    (Clark and Roush 1984, J. Geophys. Res. 89, 6329-6340).
    """
    left = _inside(wavelengths_nm, p["left_from_nm"], p["left_to_nm"])
    right = _inside(wavelengths_nm, p["right_from_nm"], p["right_to_nm"])
    middle = _inside(wavelengths_nm, p["left_to_nm"], p["right_from_nm"])
    if not (left.any() and right.any() and middle.any()):
        return np.full(len(spectra), np.nan)
    x_left, x_right = wavelengths_nm[left].mean(), wavelengths_nm[right].mean()
    y_left, y_right = spectra[:, left].mean(1), spectra[:, right].mean(1)
    share = (wavelengths_nm[middle] - x_left) / max(x_right - x_left, 1e-9)
    line = y_left[:, None] + (y_right - y_left)[:, None] * share
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(line > 0, spectra[:, middle] / line, np.nan)
    return np.asarray(1.0 - ratio.min(1))


def _bounds(x: Floats, y: Floats, p: Mapping[str, float]) -> Floats:
    inside = _inside(x, p.get("from_nm", 0.0), p.get("to_nm", np.inf))
    return _worst(np.maximum(y[:, inside] - p.get("high", np.inf), p.get("low", -np.inf) - y[:, inside]))


def _band_order(x: Floats, y: Floats, p: Mapping[str, float]) -> Floats:
    first, second = _nearest(x, p["first_nm"]), _nearest(x, p["second_nm"])
    if first is None or second is None:
        return np.zeros(len(y))
    return _worst((p["ratio"] * y[:, second] - y[:, first])[:, None])


def _monotone(x: Floats, y: Floats, p: Mapping[str, float]) -> Floats:
    signed = p["direction"] * y[:, _inside(x, p["from_nm"], p["to_nm"])]
    known = np.isfinite(signed)
    highest = np.maximum.accumulate(np.where(known, signed, -np.inf), axis=1)
    return _worst(np.where(known, highest - np.where(known, signed, 0.0), np.nan))


def _depth(x: Floats, y: Floats, p: Mapping[str, float]) -> Floats:
    depth = continuum_depth(x, y, p)
    return _worst(np.maximum(p.get("low", -np.inf) - depth, depth - p.get("high", np.inf))[:, None])


def _smoothness(x: Floats, y: Floats, p: Mapping[str, float]) -> Floats:
    # Structure narrower than the bands shows as a bend: the mean of the neighbours does not meet the value.
    if x.size < 3:
        return np.zeros(len(y))
    share = (x[1:-1] - x[:-2]) / np.maximum(x[2:] - x[:-2], 1e-9)
    line = y[:, :-2] * (1 - share) + y[:, 2:] * share
    bends = np.abs(y[:, 1:-1] - line)
    known = np.isfinite(bends)
    return np.asarray(np.where(known, bends, 0.0).sum(1) / np.maximum(known.sum(1), 1) / p.get("width_fwhm", 1.0))


KINDS: dict[str, Callable[[Floats, Floats, Mapping[str, float]], Floats]] = {
    "bounds": _bounds,
    "band_order": _band_order,
    "monotone": _monotone,
    "feature_depth": _depth,
    "feature_presence": _depth,
    "smoothness": _smoothness,
}


def _inside(x: Floats, low: float, high: float) -> NDArray[np.bool_]:
    return (x >= low) & (x <= high)


def _nearest(x: Floats, wavelength_nm: float) -> int | None:
    if x.size == 0:
        return None
    band = int(np.abs(x - wavelength_nm).argmin())
    return band if abs(x[band] - wavelength_nm) <= LARGEST_STEP_NM else None


def _worst(excess: Floats) -> Floats:
    if excess.shape[1] == 0:
        return np.zeros(len(excess))
    return np.asarray(np.where(np.isfinite(excess), excess, 0.0).max(1).clip(min=0.0))
