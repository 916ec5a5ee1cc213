"""By how little a decision stands: the noise that would flip it, and the features it hangs on.

Noise is relative to the local continuum, independent from band to band. To first order a feature's r squared moves
by ``2 r sqrt(1 - r^2) / |y|`` for each unit of it (y: the observed feature about its mean) and falls by
``r^2 m / |y|^2`` for each unit of its square (m bands); depth moves by ``depth of the reference / |x|``; a shoulder by
its reflectance over the root of its number of bands. The noise at which a gate's slack is used up follows from that.
A pixel's label flips at the least noise at which one of these happens: a gate of the named material fails; an accepted
rival overtakes it; a rejected rival that fits better passes its last gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.knowledge.identification.gates import Gate, gates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.knowledge.identification.feature_fit import Measured, PreparedMaterial, SensorRules, Slot
    from palimpsest.knowledge.identification.gates import Candidate, Decision


OVERTAKING = -1


@dataclass(frozen=True, slots=True)
class Flip:
    """How near each decision is to another one, each ``(spectrum,)``.

    Args:
        noise: relative noise at which it is expected to flip; inf where nothing would.
        rival: index into the sensor's materials of the one involved: the named one itself when its own gate is the
            nearest, else the one who would take over; -1 where nothing would flip it.
        gate: place among that material's gates of the one it hangs on; :data:`OVERTAKING` where fits are compared.
    """

    noise: NDArray[np.float64]
    rival: NDArray[np.intp]
    gate: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Change of a feature's quantities for a unit of relative noise, each ``(spectrum,)``."""

    fit: NDArray[np.float64]
    fit_bias: NDArray[np.float64]
    depth: NDArray[np.float64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]


def sensitivity(rules: SensorRules, measured: Measured, slot: Slot) -> Sensitivity:
    """How a feature's quantities answer to noise."""
    window = rules.windows[slot.window]
    shape = rules.shapes[slot.window][slot.row - int(rules.first_row[slot.window])]
    spread = np.maximum(measured.spread[slot.window], 1e-12)
    fit = np.clip(np.nan_to_num(measured.fit[slot.row]), 0.0, 1.0)
    return Sensitivity(
        2 * np.sqrt(fit * (1 - fit) / spread),
        fit * window.bands.size / spread,
        np.full(fit.size, abs(shape.depth) / np.sqrt(shape.sum_of_squares)),
        np.abs(measured.left[slot.window]) / np.sqrt(window.left.size),
        np.abs(measured.right[slot.window]) / np.sqrt(window.right.size),
    )


def flip_noise(rules: SensorRules, measured: Measured, decision: Decision) -> Flip:
    """The noise at which each decision flips, and who is involved."""
    n = measured.fit.shape[1]
    noise, rival, gate = np.full(n, np.inf), np.full(n, -1, np.intp), np.full(n, OVERTAKING, np.intp)
    winner = decision.winner
    overtaken = _overtaking(rules, measured, decision)
    for i, (prepared, one) in enumerate(zip(rules.materials, decision.candidates, strict=True)):
        fares = _fares(rules, prepared, measured, one)
        # For the named material: its own first gate to fail. For any other: it must pass and be ahead.
        passes = np.where(one.accepted, 0.0, fares.passes)
        needed = np.where(winner == i, fares.fails, np.maximum(overtaken[i], passes))
        hangs = np.where(passes > overtaken[i], fares.last_to_pass, OVERTAKING)
        hangs = np.where(winner == i, fares.first_to_fail, hangs)
        better = needed < noise  # NaN, where there is no such feature, is not less
        noise[better], rival[better], gate[better] = needed[better], i, hangs[better]
    return Flip(noise, rival, gate)


def _overtaking(rules: SensorRules, measured: Measured, decision: Decision) -> NDArray[np.float64]:
    """Noise at which each material's fit is ahead of the named one's, ``(material, spectrum)``.

    What two materials share moves both alike, so only the difference of their weights counts: rules that differ by a
    millionth in weight never overtake each other.
    """
    weights = np.zeros((len(rules.materials), rules.rows))
    answers = np.zeros(measured.fit.shape)
    for i, prepared in enumerate(rules.materials):
        for feature, slot in zip(prepared.material.features, prepared.features, strict=True):
            weights[i, slot.row] += feature.weight
            if feature.weight and not answers[slot.row].any():
                answers[slot.row] = sensitivity(rules, measured, slot).fit ** 2
    fits = np.stack([one.fit for one in decision.candidates])
    needed = np.zeros(fits.shape)
    for w in np.unique(decision.winner[decision.winner >= 0]):
        mine = np.flatnonzero(decision.winner == w)
        move = np.sqrt((weights - weights[w]) ** 2 @ answers[:, mine])
        with np.errstate(divide="ignore", invalid="ignore"):
            behind = fits[w, mine] - fits[:, mine]
            # A material that fits better and was still not named waits for its gates (or lost by position).
            needed[:, mine] = np.where(behind > 0, behind / move, np.where(np.isnan(behind), np.inf, 0.0))
    return needed


@dataclass(frozen=True, slots=True)
class _Fares:
    """Noise at which a material's first gate fails and its last failing gate passes, and which gates those are."""

    fails: NDArray[np.float64]
    first_to_fail: NDArray[np.intp]
    passes: NDArray[np.float64]
    last_to_pass: NDArray[np.intp]


def _fares(rules: SensorRules, prepared: PreparedMaterial, measured: Measured, sums: Candidate) -> _Fares:
    n = sums.fit.size
    fails, passes = np.full(n, np.inf), np.zeros(n)
    first, last = np.zeros(n, np.intp), np.zeros(n, np.intp)
    answers = [sensitivity(rules, measured, slot) for slot in prepared.features]
    weights = [feature.weight for feature in prepared.material.features]
    reachable = np.isfinite(sums.fit)
    if not reachable.any():
        return _Fares(fails, first, np.full(n, np.inf), last)
    for place, gate in enumerate(gates(prepared, measured, sums)):
        linear, square = _answer(rules, prepared, measured, gate, answers, weights, sums)
        with np.errstate(invalid="ignore"):
            distance = np.abs(gate.slack)
            # the noise e at which linear * e + square * e^2 uses up the distance
            needed = 2 * distance / np.maximum(linear + np.sqrt(linear**2 + 4 * square * distance), 1e-12)
            held = gate.passed()
            sooner, later = held & (needed < fails), ~held & (needed >= passes)
        fails[sooner], first[sooner] = needed[sooner], place
        passes[later], last[later] = needed[later], place
    return _Fares(fails, first, np.where(reachable, passes, np.inf), last)


def _answer(
    rules: SensorRules, prepared: PreparedMaterial, measured: Measured, gate: Gate, answers: list[Sensitivity],
    weights: list[float], sums: Candidate,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and second order answer of a gate's quantity to noise."""
    zero = np.zeros(sums.fit.size)
    if gate.name == "not":
        own = sensitivity(rules, measured, prepared.exclusions[gate.features[0]])
        return np.maximum(own.fit, own.depth), zero
    if len(gate.features) == 1 and gate.name != "depth_ratio":
        one = answers[gate.features[0]]
        slot = prepared.features[gate.features[0]]
        left, right = measured.left[slot.window], measured.right[slot.window]
        if gate.name == "fit":
            return one.fit, one.fit_bias
        if gate.name == "depth" and prepared.material.features[gate.features[0]].weight == 0:
            return one.depth, zero
        if gate.name == "continuum_left":
            return one.left, zero
        if gate.name == "continuum_right":
            return one.right, zero
        if gate.name == "continuum_mean":
            return np.hypot(one.left, one.right) / 2, zero
        if gate.name == "continuum_ratio":
            with np.errstate(divide="ignore", invalid="ignore"):
                relative = np.hypot(one.left / np.abs(left), one.right / np.abs(right))
                return np.nan_to_num(np.abs(right / left) * relative, nan=0.0, posinf=0.0), zero
    pairs = [(weights[k], answers[k]) for k in gate.features]
    if gate.name == "fit":
        return (np.sqrt(sum(((w * a.fit) ** 2 for w, a in pairs), zero)),
                sum((w * a.fit_bias for w, a in pairs), zero))
    depth = np.sqrt(sum(((w * a.depth) ** 2 for w, a in pairs), zero))
    if gate.name == "depth":
        return depth, zero
    if gate.name == "depth_ratio":
        first, second = (measured.depth[prepared.features[k].row] for k in gate.features)
        with np.errstate(divide="ignore", invalid="ignore"):
            a, b = answers[gate.features[0]].depth / first, answers[gate.features[1]].depth / second
            return np.nan_to_num(np.abs(second / first) * np.hypot(a, b), nan=0.0, posinf=0.0), zero
    fit = np.sqrt(sum(((w * a.fit) ** 2 for w, a in pairs), zero))
    return np.hypot(np.nan_to_num(sums.fit) * depth, np.nan_to_num(sums.depth) * fit), zero
