"""How much each band of each pixel matters: what its identification hangs on, and by how little it stands.

An error counts where it can change a decision. The features of the material named and of the one that is nearest to
taking over say which bands; the noise at which the decision flips says how much. Decisions that any useful rate keeps
(far from flipping) need nothing; those that no useful rate can keep (flipped by noise below the sensor's own) are given
up; between them, over the range of noise that codecs leave, every margin counts alike. The gradient is
taken in stored units: the same error does more harm to a dark pixel.

The map is a palette of band profiles, one for each group of pixels that hang on the same features, and a gain a pixel;
and the mean of the outer products of all those gradients, which says how errors of several bands cost together. That
hangs on far fewer directions along the spectrum than on bands: a feature's fit and depth are one number each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import ImportanceMap
from palimpsest.errors import UsageError
from palimpsest.knowledge.identification.gates import decide
from palimpsest.knowledge.identification.gradients import decision_gradients, depth_gradients
from palimpsest.knowledge.identification.margins import flip_noise
from palimpsest.knowledge.identification.reading import Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase

LARGEST_PALETTE = 16
PIXELS_LOOKED_AT = 16384
LARGEST_STRIDE = 8  # gains are sent for blocks of 8 x 8


@dataclass(frozen=True, slots=True)
class Weighing:
    """What was tuned: at equal rate, 0.1 to 0.8 bpppc, on four scenes of three sensors and two made ones.

    Aim: as many labels kept as can be for less than 3 dB of PSNR at strength 0.5.

    Args:
        given_up: relative noise below which a margin cannot be kept at any useful rate.
        safe: relative noise that every useful rate stays under.
        steepness: how much more a small margin counts than a large one, as a power of the noise.
        depth: weight of a named feature's relative depth against that of the name itself.
        floor: squared weight of what no decision hangs on, against the mean of what one does.
        curve: weights are taken to the power of the strength to this: 0.59 at strength 0.5.
        opaque: least weight of a band in an opaque window: their noise can be most of a scene's squared error, and
            0.1 instead cost 4 dB of PSNR on scenes that keep it.
        bad: weight of a band that the producer calls bad.
        darkest: reflectance under which pixels are not weighed up further.
        gain_range: largest ratio of a gain to the scene's, either way, at full strength.
    """

    given_up: float = 3e-4
    safe: float = 0.03
    steepness: float = 1.0
    depth: float = 3.0
    floor: float = 0.03
    curve: float = 0.75
    opaque: float = 0.35
    bad: float = 0.2
    darkest: float = 0.02
    gain_range: float = 2.0


def importance_map(
    cube: Cube, knowledge: KnowledgeBase, strength: float, weighing: Weighing | None = None
) -> ImportanceMap:
    """Weights of errors for a cube.

    Args:
        cube: reflectance with wavelengths; anything else gets the uniform map, with a note.
        knowledge: the compiled release.
        strength: 0 is uniform, 1 the full map; between, weights are taken to a power (``Weighing.curve``).
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
    # Gains are sent for blocks of pixels, so a large cube is looked at on a grid no finer than they can use.
    stride = min(LARGEST_STRIDE, int(np.ceil(np.sqrt(rows * cols / PIXELS_LOOKED_AT))))
    thin = replace(
        cube, data=cube.data[:, ::stride, ::stride],
        reasons=None if cube.reasons is None else cube.reasons[:, ::stride, ::stride],
    )
    found = _weigh(thin, knowledge, how, strength, weighing or Weighing())
    if stride == 1:
        return found
    index, gain = (np.repeat(np.repeat(part, stride, 0), stride, 1)[:rows, :cols] for part in (found.index, found.gain))
    return replace(found, index=index, gain=gain)


def _weigh(
    cube: Cube, knowledge: KnowledgeBase, how: Reading, strength: float, tuned: Weighing
) -> ImportanceMap:
    rules, (_, rows, cols) = how.rules, cube.shape
    group = np.zeros((rows, cols), np.intp)  # 0: nothing hangs on it; i + 1: the sensor's material i
    weight = np.zeros((rows, cols))  # mean square weight over the used bands
    costs: dict[int, NDArray[np.float64]] = {}  # by group, sum of outer products, (used band, used band)
    priority = np.array([1.0, *(p.material.priority for p in rules.materials)])
    for window, spectra in how.blocks(cube):
        measured = rules.measure(spectra)
        decision = decide(rules, spectra, measured)
        flip = flip_noise(rules, measured, decision)
        gradient = decision_gradients(rules, spectra, measured, decision, flip)
        answer = np.sqrt(np.nansum((gradient * np.maximum(spectra, tuned.darkest)) ** 2, axis=1))
        share = _urgency(flip.noise, tuned) * priority[decision.winner + 1]
        gradient *= np.where(answer > 0, np.sqrt(share) / np.maximum(answer, 1e-12), 0.0)[:, None]
        depths = depth_gradients(rules, spectra, measured, decision.winner) * np.sqrt(tuned.depth)
        mean_square = np.einsum("nb,nb->n", gradient, gradient) + np.einsum("nb,nb->n", depths, depths)
        main = np.where(mean_square > 0, np.where(decision.winner >= 0, decision.winner, flip.rival) + 1, 0)
        group[window.slices] = main.reshape(window.rows, cols)
        weight[window.slices] = (mean_square / rules.bands.size).reshape(window.rows, cols)
        for g in np.unique(main[main > 0]):
            for part in (gradient[main == g], depths[main == g]):
                costs[int(g)] = costs.get(int(g), 0.0) + part.T @ part
    if not costs:
        return ImportanceMap.uniform(cube.shape.bands, rows, cols, "uniform: no decision hangs on any band")
    return _palette(cube, knowledge, how, strength, tuned, group, weight, costs)


def _urgency(noise: NDArray[np.float64], tuned: Weighing) -> NDArray[np.float64]:
    """How much a unit of noise matters to each decision, ``(spectrum,)``."""
    reached = np.maximum(noise, tuned.given_up)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        tried = 1 / (1 + (tuned.given_up / noise) ** 2)
        near = np.exp(-0.5 * (noise / tuned.safe) ** 2)
        urgency = tried * near * (tuned.safe / reached) ** tuned.steepness
    return np.asarray(np.where(np.isfinite(noise), urgency, 0.0))


def _palette(
    cube: Cube, knowledge: KnowledgeBase, how: Reading, strength: float, tuned: Weighing, group: NDArray[np.intp],
    weight: NDArray[np.float64], costs: dict[int, NDArray[np.float64]],
) -> ImportanceMap:
    """Groups to profiles, the smaller groups sharing one; pixels to gains; and all groups to a metric."""
    used, bands, power = how.rules.bands, cube.shape.bands, strength**tuned.curve
    heaviest = sorted(costs, key=lambda g: (-float(np.trace(costs[g])), g))
    chosen, rest = heaviest[: LARGEST_PALETTE - 2], heaviest[LARGEST_PALETTE - 2 :]
    place = np.zeros(len(how.rules.materials) + 1, np.uint8)
    place[chosen] = np.arange(1, len(chosen) + 1)
    rows = [np.zeros(used.size), *(np.diag(costs[g]) for g in chosen)]
    if rest:
        place[rest] = len(rows)
        rows.append(np.sum([np.diag(costs[g]) for g in rest], axis=0))
    common = _band_factor(cube, knowledge, tuned)
    profiles = np.empty((len(rows), bands))
    for k, row in enumerate(rows):
        full = np.zeros(bands)
        full[used] = row / row.mean() if row.any() else 1.0
        profiles[k] = ((full + tuned.floor) * common**2) ** (power / 2)
    profiles /= np.sqrt((profiles**2).mean(axis=1, keepdims=True))
    mean = weight[weight > 0].mean() if (weight > 0).any() else 1.0
    gain = np.clip(np.sqrt(weight / mean + tuned.floor), 1 / tuned.gain_range, tuned.gain_range) ** power
    share = np.bincount(group.ravel(), minlength=place.size) / group.size
    whole = np.zeros((bands, bands))
    for g, cost in costs.items():
        whole[np.ix_(used, used)] += cost * (share[g] * used.size / np.trace(cost))
    # Bands that nobody looks at in a pixel on which nothing hangs count as any other.
    metric, floor = _metric(whole, share[0] + tuned.floor, common, power)
    return ImportanceMap(
        profiles, place[group], gain.astype(np.float32), knowledge.release,
        f"{len(rows)} profiles over {len(costs)} materials; " + "; ".join(how.notes or ("as given",)), metric, floor,
    )


def _metric(
    cost: NDArray[np.float64], even: float, common: NDArray[np.float64], power: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A sum of outer products and what holds for every band, as a metric to some power, and its floor."""
    full = (cost + even * np.eye(len(cost))) * np.outer(common, common)
    values, vectors = np.linalg.eigh(full)
    metric = (vectors * np.maximum(values, 1e-9) ** power) @ vectors.T
    scale = len(cost) / np.trace(metric)
    return (metric + metric.T) * (scale / 2), (even * common**2) ** power * scale


def _band_factor(cube: Cube, knowledge: KnowledgeBase, tuned: Weighing) -> NDArray[np.float64]:
    """What holds for a band in every pixel: opaque windows count little, experts' priorities more, bad bands least."""
    centre = cube.bands.centre_nm
    assert centre is not None
    factor = np.ones(centre.size)
    for window in knowledge.windows:
        inside = (centre >= window.from_nm) & (centre <= window.to_nm)
        factor[inside] = np.minimum(factor[inside], max(window.transmission, tuned.opaque))
    for low, high, times in knowledge.priorities:
        factor[(centre >= low) & (centre <= high)] *= times
    factor[~cube.bands.good] = np.minimum(factor[~cube.bands.good], tuned.bad)
    return factor
