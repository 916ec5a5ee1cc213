"""The outside judge of meaning: material, feature depth and feature position by the PyPI package cramm.

cramm evaluates the expert rules of the USGS Material Identification and Characterization Algorithm on its own, so it
knows nothing of the importance map or the labels that our encoder steers by. It gives names and depths; where the
named material's strongest feature lies is measured here, by the minimum of the continuum-removed spectrum.

Source of the rules: Kokaly 2011, USGS Open-File Report 2011-1155.
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import UsageError
from palimpsest.spectra import feature_centre
from palimpsest.spectra.continuum import ContinuumWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import DiagnosticFeature

UNNAMED = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judge says of a cube.

    Args:
        names: rule name of each pixel, '' where none is named, ``(row, col)``.
        depth: depth of the diagnostic feature, ``(row, col)``; NaN where none is named.
    """

    names: NDArray[np.str_]
    depth: NDArray[np.float64]


def is_installed() -> bool:
    """Whether cramm can be asked."""
    return importlib.util.find_spec("cramm") is not None


def judged(cube: Cube) -> Judged:
    """Names and depths of a reflectance cube with wavelengths.

    Raises:
        UsageError: cramm is not installed.
    """
    if not is_installed():
        raise UsageError("the outside judge is not installed", wanted="pip install 'palimpsest-hsi[benchmark]'")
    table = cube.bands.with_assumed_fwhm()
    order = table.ascending()
    assert table.centre_nm is not None
    assert table.fwhm_nm is not None
    centre, width = table.centre_nm[order] / 1000, table.fwhm_nm[order] / 1000  # it counts in micrometres
    used = np.flatnonzero((centre > 0.36) & (centre < 2.49))
    spectra = np.ascontiguousarray(np.asarray(cube.physical())[order].transpose(1, 2, 0), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides by zero where a spectrum is dark, and its imports warn
        from cramm.mica_engine import MicaEngine

        found = MicaEngine()._classifier.classify(
            spectra, centre[used], centre, width, used, n_workers=1, log_callback=lambda line: None
        )
    names = np.array([*found.index, UNNAMED])
    is_named = np.asarray(found.fit) > 0
    chosen = names[np.where(is_named, np.asarray(found.num).astype(int), -1)]
    depth = np.where(is_named, np.asarray(found.depth, np.float64), np.nan)
    return Judged(chosen.reshape(cube.shape[1:]), depth.reshape(cube.shape[1:]))


def agreement(reference: Judged, test: Judged) -> float:
    """Share of the pixels that either side names that both name alike; NaN where neither names any."""
    either = (reference.names != UNNAMED) | (test.names != UNNAMED)
    return float((reference.names == test.names)[either].mean()) if either.any() else float("nan")


def depth_error(reference: Judged, test: Judged) -> float:
    """Median relative error of the depth where both sides give the same name; NaN where they never do."""
    same = (reference.names == test.names) & (reference.names != UNNAMED)
    if not same.any():
        return float("nan")
    true = reference.depth[same]
    return float(np.median(np.abs(test.depth[same] - true) / np.maximum(true, 1e-6)))


def depth_error_everywhere(reference: Cube, test: Cube, names: NDArray[np.str_]) -> float:
    """Median relative error of the depth of the strongest feature of each named pixel; NaN where none can be measured.

    Every pixel that the reference names counts, whatever it is called after coding. :func:`depth_error` is of the
    pixels that a codec kept, so one that keeps weak features has the larger errors of those in its median, and one that
    loses them has not. Depth is the slope of the pixel's continuum-removed feature on the reference's own.

    Args:
        reference: the cube that the names come from.
        test: the same after coding.
        names: rule name of each pixel, ``(row, col)``.
    """
    errors = []
    for before, after, _ in _features(reference, test, names):
        x, y = (curve - curve.mean(axis=1, keepdims=True) for curve in (before, after))
        own = np.einsum("nb,nb->n", x, x)
        errors.append(np.abs(np.einsum("nb,nb->n", x, y) / np.where(own > 0, own, np.nan) - 1))
    return _median(errors)


def position_error_nm(reference: Cube, test: Cube, names: NDArray[np.str_]) -> float:
    """Median shift of the strongest feature of each named pixel, nm; NaN where no feature can be placed.

    Every pixel that the reference names counts, whatever it is called after coding: a shift is felt there all the same.

    Args:
        reference: the cube that the names come from.
        test: the same after coding.
        names: rule name of each pixel, ``(row, col)``.
    """
    return _median([
        np.abs(feature_centre(after, at) - feature_centre(before, at))
        for before, after, at in _features(reference, test, names)
    ])


def _median(parts: list[NDArray[np.float64]]) -> float:
    every = np.concatenate(parts) if parts else np.empty(0)
    known = every[np.isfinite(every)]
    return float(np.median(known)) if known.size else float("nan")


def _features(
    reference: Cube, test: Cube, names: NDArray[np.str_]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    """By material, the continuum-removed strongest feature of its pixels before and after, and its bands' centres."""
    assert reference.bands.centre_nm is not None
    order = np.argsort(reference.bands.centre_nm, kind="stable")
    centre = reference.bands.centre_nm[order]
    for name in np.unique(names[names != UNNAMED]):
        feature = _strongest_features().get(str(name))
        window = None if feature is None else ContinuumWindow.at(centre, feature.left_nm, feature.right_nm)
        if window is None:
            continue
        before, after = (
            np.asarray(cube.data)[order][:, names == name].T.astype(np.float64) * cube.scale + cube.offset
            for cube in (reference, test)
        )
        yield window.removed(before), window.removed(after), centre[window.bands]


@cache
def _strongest_features() -> dict[str, DiagnosticFeature]:
    """By rule name, the diagnostic feature of the largest weight."""
    from palimpsest.knowledge.releases.release import load

    return {
        str(material.extra["notation"]): max(material.features, key=lambda feature: feature.weight)
        for material in load(None).materials
        if material.features and "notation" in material.extra
    }
