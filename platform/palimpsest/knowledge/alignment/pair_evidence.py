"""What speaks for each candidate of a foreign concept, as rows for the regression that made the confidences honest.

A pair is judged among its rivals: that a spectrum is alike says little where another material's is as much alike, and
a name decides only where nothing measured contradicts it. Coefficients are learnt on materials that were measured anew,
with no name, their own, a part of it, or another's, and with their own material sometimes gone from the release
(``palimpsest train identification``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTRADICTED = 0.3  # likeness of spectra below which one speaks against a name
_NEARLY_ONE = 0.9999
_SAME_NAME = 0.99


def pair_evidence(
    label: NDArray[np.float64], spectrum: NDArray[np.float64], features: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rows of the candidates of one concept, ``(candidate, 12)``.

    Args:
        label: likeness of names, 0 to 1, ``(candidate,)``.
        spectrum: likeness of spectra; NaN where there is none to compare.
        features: fit of the diagnostic features; NaN where there are none to fit.
    """
    has_spectrum, has_features = np.isfinite(spectrum), np.isfinite(features)
    alike = _stretched(np.where(has_spectrum, spectrum, 0.0))
    fit = np.where(has_features, _stretched(np.where(has_features, features, 0.0)), 0.0)
    is_same, is_word_alone = (label >= _SAME_NAME).astype(float), float(not has_spectrum.any())
    return np.stack([
        np.ones_like(label), label, label * is_word_alone, is_same, is_same * is_word_alone, alike, fit,
        has_features.astype(float), has_spectrum.astype(float), alike - _best_other(alike),
        label - _best_other(label), (has_spectrum & (np.nan_to_num(spectrum) < CONTRADICTED)).astype(float),
    ], axis=1)


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-np.log(1 - np.clip(values, 0.0, _NEARLY_ONE)))


def _best_other(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest of the other candidates' values, 0 where there are none."""
    if values.size < 2:
        return np.zeros_like(values)
    first, second = np.sort(values)[::-1][:2]
    return np.where(values == first, second if (values == first).sum() == 1 else first, first)
