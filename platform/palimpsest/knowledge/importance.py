"""How much each band of each pixel matters: what its identification hangs on, and by how little it stands.

An error counts where it can change a decision. The features of the material named and of the one that is nearest to
taking over say which bands; the noise at which the decision flips says how much. Decisions that any useful rate keeps
(far from flipping) need nothing; those that no useful rate can keep (flipped by noise below the sensor's own) are given
up; between them, over the range of noise that codecs leave, every margin counts alike. One over the continuum's
reflectance turns relative noise into stored units: the same error does more harm to a dark pixel.

The map is a palette of band profiles, one for each group of pixels that hang on the same features, and a gain a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import ImportanceMap
from palimpsest.errors import UsageError
from palimpsest.knowledge.gates import decide
from palimpsest.knowledge.margins import flip_noise, sensitivity
from palimpsest.knowledge.reading import Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.feature_fit import Measured, SensorRules
    from palimpsest.knowledge.rules import KnowledgeBase

LARGEST_PALETTE = 16


@dataclass(frozen=True, slots=True)
class Weighing:
    """What was tuned, on scenes and rates that the notes of the release name.

    Args:
        given_up: relative noise below which a margin cannot be kept at any useful rate.
        safe: relative noise that every useful rate stays under.
        floor: weight (squared share) of what no decision hangs on, against the mean of what one does.
        named: share of a named pixel's weight that does not depend on its margin: its depth is asked for too.
        darkest: reflectance under which pixels are not weighed up further.
        gain_range: largest ratio of a gain to the scene's, either way, at full strength.
    """

    given_up: float = 3e-4
    safe: float = 0.02
    floor: float = 0.03
    named: float = 0.1
    darkest: float = 0.02
    gain_range: float = 8.0


@dataclass(slots=True)
class _Sums:
    """Squared weights gathered while blocks go by: per group of pixels and band."""

    squares: NDArray[np.float64]
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def importance_map(
    cube: Cube, knowledge: KnowledgeBase, strength: float, weighing: Weighing | None = None
) -> ImportanceMap:
    """Weights of errors for a cube.

    Args:
        cube: reflectance with wavelengths; anything else gets the uniform map, with a note.
        knowledge: the compiled release.
        strength: 0 is uniform, 1 the full map; between, weights are taken to that power.
        weighing: what was tuned; the default serves.

    Raises:
        UsageError: a strength outside 0..1.
    """
    if not 0 <= strength <= 1:
        raise UsageError("strength out of range", got=strength, wanted="0 to 1")
    bands, rows, cols = cube.shape
    if strength == 0:
        return ImportanceMap.uniform(bands, rows, cols, "strength 0: every error counts alike")
    if not cube.bands.has_wavelengths:
        return ImportanceMap.uniform(bands, rows, cols, "uniform: the cube has no wavelengths")
    how = Reading.of(cube, knowledge)
    if how.scale_is_assumed:
        return ImportanceMap.uniform(bands, rows, cols, "uniform: the cube does not say that it is reflectance")
    if not how.rules.materials:
        return ImportanceMap.uniform(bands, rows, cols, "uniform: these bands show no diagnostic feature")
    return _weigh(cube, knowledge, how, strength, weighing or Weighing())


def _weigh(
    cube: Cube, knowledge: KnowledgeBase, how: Reading, strength: float, tuned: Weighing
) -> ImportanceMap:
    rules, (bands, rows, cols) = how.rules, cube.shape
    group = np.zeros((rows, cols), np.intp)  # 0: nothing hangs on it; i + 1: the sensor's material i
    weight = np.zeros((rows, cols))  # mean square weight over the used bands
    squares = np.zeros((len(rules.materials) + 1, rules.bands.size))
    light, lit = 0.0, 0
    for window, spectra in how.blocks(cube):
        measured = rules.measure(spectra)
        decision = decide(rules, spectra, measured)
        flip = flip_noise(rules, measured, decision)
        priority = np.array([1.0, *(p.material.priority for p in rules.materials)])
        urgency = _urgency(flip.noise, decision.winner >= 0, tuned) * priority[decision.winner + 1]
        level = _brightness(spectra, tuned)
        pairs = np.stack([decision.winner, flip.rival]) + 1
        own = _squares(rules, measured, pairs, spectra, tuned) * urgency[:, None]
        main = np.where(urgency > 0, np.where(pairs[0] > 0, pairs[0], pairs[1]), 0)
        group[window.slices] = main.reshape(window.rows, cols)
        weight[window.slices] = own.mean(axis=1).reshape(window.rows, cols)
        np.add.at(squares, main, own)
        light += float(np.nansum(1 / level**2))
        lit += int(np.isfinite(level).sum())
    if not squares.any():
        return ImportanceMap.uniform(bands, rows, cols, "uniform: no decision hangs on any band of this cube")
    return _palette(cube, knowledge, how, strength, tuned, group, weight, squares)


def _urgency(noise: NDArray[np.float64], named: NDArray[np.bool_], tuned: Weighing) -> NDArray[np.float64]:
    """How much a unit of noise matters to each decision, 0..1, ``(spectrum,)``."""
    with np.errstate(divide="ignore", over="ignore"):
        tried = 1 / (1 + (tuned.given_up / noise) ** 2)
        near = np.exp(-0.5 * (noise / tuned.safe) ** 2)
    return np.asarray(np.where(np.isfinite(noise), tried * near, 0.0) + np.where(named, tuned.named, 0.0))


def _brightness(spectra: NDArray[np.float64], tuned: Weighing) -> NDArray[np.float64]:
    known = np.isfinite(spectra)
    mean = np.where(known, spectra, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(known.any(axis=1), np.maximum(mean, tuned.darkest), np.nan)


def _squares(
    rules: SensorRules, measured: Measured, pairs: NDArray[np.intp], spectra: NDArray[np.float64], tuned: Weighing
) -> NDArray[np.float64]:
    """Squared weight of each band for the materials involved in each decision, ``(spectrum, used band)``.

    The fit of a feature answers to noise in proportion to its sensitivity, spread over its bands, and to noise in
    stored units by one over the continuum. A feature that only gates is counted with a tenth of a full weight.
    """
    total = np.zeros(spectra.shape)
    for i, prepared in enumerate(rules.materials, start=1):
        involved = np.flatnonzero((pairs == i).any(axis=0))
        if not involved.size:
            continue
        for feature, slot in zip(prepared.material.features, prepared.features, strict=True):
            window = rules.windows[slot.window]
            answer = sensitivity(rules, measured, slot)
            level = np.maximum((measured.left[slot.window] + measured.right[slot.window]) / 2, tuned.darkest)
            share = (max(feature.weight, 0.1) * (answer.fit + answer.fit_bias * 1e-2) / level) ** 2
            share = np.nan_to_num(share[involved]) / window.bands.size
            total[np.ix_(involved, window.bands)] += share[:, None]
    return total


def _palette(
    cube: Cube, knowledge: KnowledgeBase, how: Reading, strength: float, tuned: Weighing, group: NDArray[np.intp],
    weight: NDArray[np.float64], squares: NDArray[np.float64],
) -> ImportanceMap:
    """Groups to profiles, the smaller groups sharing one; pixels to gains."""
    used, bands = how.rules.bands, cube.shape.bands
    heaviest = np.argsort(-squares.sum(axis=1), kind="stable")
    chosen = [int(g) for g in heaviest[: LARGEST_PALETTE - 2] if squares[g].any() and g]
    rest = np.array([g for g in range(len(squares)) if g and g not in chosen and squares[g].any()], np.intp)
    place = np.zeros(len(squares), np.uint8)
    place[chosen] = np.arange(1, len(chosen) + 1)
    rows = [np.zeros(used.size), *(squares[g] for g in chosen)]
    if rest.size:
        place[rest] = len(rows)
        rows.append(squares[rest].sum(axis=0))
    common = _band_factor(cube, knowledge)
    profiles = np.empty((len(rows), bands))
    for k, row in enumerate(rows):
        full = np.zeros(bands)
        full[used] = row / row.mean() if row.any() else 1.0
        profiles[k] = ((full + tuned.floor) * common**2) ** (strength / 2)
    profiles /= np.sqrt((profiles**2).mean(axis=1, keepdims=True))
    mean = weight[weight > 0].mean() if (weight > 0).any() else 1.0
    gain = np.clip(np.sqrt(weight / mean + tuned.floor), 1 / tuned.gain_range, tuned.gain_range) ** strength
    return ImportanceMap(
        profiles, place[group], gain.astype(np.float32), knowledge.release,
        f"{len(rows)} profiles over {len(chosen) + rest.size} materials; " + "; ".join(how.notes or ("as given",)),
    )


def _band_factor(cube: Cube, knowledge: KnowledgeBase) -> NDArray[np.float64]:
    """What holds for a band in every pixel: opaque windows count little, experts' priorities more, bad bands least."""
    centre = cube.bands.centre_nm
    assert centre is not None
    factor = np.ones(centre.size)
    for window in knowledge.windows:
        inside = (centre >= window.from_nm) & (centre <= window.to_nm)
        factor[inside] = np.minimum(factor[inside], max(window.transmission, 0.1))
    for low, high, times in knowledge.priorities:
        factor[(centre >= low) & (centre <= high)] *= times
    factor[~cube.bands.good] = 0.05
    return factor
