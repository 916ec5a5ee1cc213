"""Materials that nobody has measured here: known by words alone, where their bands lie, how wide and how deep they are.

A spectrum is drawn from those words, one Gaussian below a level continuum for each feature and nothing elsewhere, and
such a material is identified as any other. Fits do not depend on how deep the drawn bands are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.knowledge.rules import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import DiagnosticFeature

LEAST_FIT, LEAST_DEPTH = 0.7, 0.01  # asked of a described material where its description asks for nothing
USUAL_SHARE = 0.4  # width of a band against the way between its shoulders, where it is not said
DRAWN_DEPTH = 0.2
_BEYOND_NM = 15.0  # drawn past the shoulders, so that the bands of any sensor there are known
_FWHM_TO_SIGMA = 1 / (2 * np.sqrt(2 * np.log(2)))


def is_described(features: Sequence[DiagnosticFeature]) -> bool:
    """Whether every feature says where its band lies, so that a spectrum can be drawn."""
    return bool(features) and all("minimum_nm" in feature.extra for feature in features)


def drawn_spectrum(features: Sequence[DiagnosticFeature], grid_nm: NDArray[np.float64]) -> NDArray[np.float32]:
    """Reflectance drawn from features' attributes, ``(grid,)``; NaN where no feature says anything.

    Args:
        features: with ``extra['minimum_nm']``; ``extra['width_nm']`` (full width at half depth) and
            ``extra['depth']`` where they are known.
        grid_nm: wavelengths, nm, ``(grid,)``.
    """
    level = np.full(grid_nm.size, np.nan)
    light = np.ones(grid_nm.size)
    for feature in features:
        inside = (grid_nm >= feature.left_nm[0] - _BEYOND_NM) & (grid_nm <= feature.right_nm[1] + _BEYOND_NM)
        level[inside] = 0.5
        between = feature.right_nm[0] - feature.left_nm[1]
        width = _number(feature, "width_nm", USUAL_SHARE * between)
        depth = _number(feature, "depth", DRAWN_DEPTH)
        sigma = max(width, 1.0) * _FWHM_TO_SIGMA
        light -= depth * np.exp(-0.5 * ((grid_nm - _number(feature, "minimum_nm", 0.0)) / sigma) ** 2)
    return np.asarray(level * np.maximum(light, 0.01), np.float32)


def with_bounds(constraints: Mapping[str, Interval], features: Sequence[DiagnosticFeature]) -> dict[str, Interval]:
    """A described material's bounds; where neither it nor its features ask for a fit or a depth, the usual ones."""
    found = dict(constraints)
    stated = {*constraints, *(name for feature in features for name in feature.constraints)}
    for name, least in (("fit", LEAST_FIT), ("depth", LEAST_DEPTH)):
        if name not in stated:
            found[name] = Interval(least)
    return found


def _number(feature: DiagnosticFeature, name: str, otherwise: float) -> float:
    value = feature.extra.get(name)
    return float(value) if isinstance(value, (int, float)) else otherwise
