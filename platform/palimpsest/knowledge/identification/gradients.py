"""Which way a spectrum must move for its decision to flip: the gradient of whatever the decision hangs on.

A feature's observed curve is the spectrum over its continuum, and the continuum is drawn through the shoulders, so the
fit and the depth answer to errors of the feature's bands directly and to errors of the shoulders through every band.
Both ways are kept here; the noise at which a decision flips and the weights of the importance map follow from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.knowledge.identification.gates import gates
from palimpsest.knowledge.identification.margins import OVERTAKING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.knowledge.identification.feature_fit import Measured, PreparedMaterial, SensorRules, Slot
    from palimpsest.knowledge.identification.gates import Decision, Gate
    from palimpsest.knowledge.identification.margins import Flip

SMALLEST = 1e-12


def decision_gradients(
    rules: SensorRules, spectra: NDArray[np.float64], measured: Measured, decision: Decision, flip: Flip
) -> NDArray[np.float64]:
    """Gradient of what each decision hangs on, ``(spectrum, used band)``; 0 where nothing would flip it.

    Args:
        rules: the rules on this sensor.
        spectra: reflectance, ``(spectrum, used band)``.
        measured: what ``rules.measure`` gave for them.
        decision: what ``decide`` gave.
        flip: what ``flip_noise`` gave.
    """
    gradient = np.zeros(spectra.shape)
    for i in np.unique(flip.rival[flip.rival >= 0]):
        prepared = rules.materials[i]
        mine = flip.rival == i
        names = list(gates(prepared, measured, decision.candidates[i]))
        for gate in np.unique(flip.gate[mine]):
            rows = np.flatnonzero(mine & (flip.gate == gate))
            if gate == OVERTAKING:
                _add_fit(gradient, rules, spectra, measured, prepared, rows, 1.0)
                for w in np.unique(decision.winner[rows]):
                    if w >= 0:
                        behind = rows[decision.winner[rows] == w]
                        _add_fit(gradient, rules, spectra, measured, rules.materials[w], behind, -1.0)
            else:
                _add_gate(gradient, rules, spectra, measured, prepared, names[gate], rows)
    return gradient


def depth_gradients(
    rules: SensorRules, spectra: NDArray[np.float64], measured: Measured, winner: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Gradient of the logarithm of the named material's depth, ``(spectrum, used band)``; 0 where unnamed.

    Depth as expert systems report it: of each feature times its fit, weighted.
    """
    gradient = np.zeros(spectra.shape)
    for i in np.unique(winner[winner >= 0]):
        rows = np.flatnonzero(winner == i)
        prepared = rules.materials[i]
        total = np.zeros(rows.size)
        for feature, slot in zip(prepared.material.features, prepared.features, strict=True):
            fit, depth = (np.nan_to_num(part[slot.row, rows]) for part in (measured.fit, measured.depth))
            if feature.weight:
                _add(gradient, rules, spectra, measured, slot, rows, fit=feature.weight * depth,
                     depth=feature.weight * fit)
            total += feature.weight * fit * depth
        gradient[rows] /= np.maximum(np.abs(total), SMALLEST)[:, None]
    return gradient


def _add_fit(
    gradient: NDArray[np.float64], rules: SensorRules, spectra: NDArray[np.float64], measured: Measured,
    prepared: PreparedMaterial, rows: NDArray[np.intp], sign: float,
) -> None:
    for feature, slot in zip(prepared.material.features, prepared.features, strict=True):
        if feature.weight:
            _add(gradient, rules, spectra, measured, slot, rows, fit=sign * feature.weight)


def _add_gate(
    gradient: NDArray[np.float64], rules: SensorRules, spectra: NDArray[np.float64], measured: Measured,
    prepared: PreparedMaterial, gate: Gate, rows: NDArray[np.intp],
) -> None:
    material = prepared.material
    if gate.name == "not":
        slot = prepared.exclusions[gate.features[0]]
        # Which of its two thresholds holds it off is not kept; its fit falls with noise before its depth does.
        _add(gradient, rules, spectra, measured, slot, rows, fit=1.0)
        return
    for k in gate.features:
        slot, weight = prepared.features[k], material.features[k].weight
        share = 1.0 if len(gate.features) == 1 or gate.name == "depth_ratio" else weight
        if gate.name.startswith("continuum"):
            window = rules.windows[slot.window]
            for side, name in ((window.left, "continuum_right"), (window.right, "continuum_left")):
                if gate.name != name:  # each shoulder moves every quantity but the other shoulder's own
                    gradient[np.ix_(rows, side)] += 1.0 / side.size
        elif gate.name == "fit":
            _add(gradient, rules, spectra, measured, slot, rows, fit=share)
        elif gate.name == "fit_depth":
            fit = float(np.nanmean(measured.fit[slot.row, rows]))
            depth = float(np.nanmean(measured.depth[slot.row, rows]))
            _add(gradient, rules, spectra, measured, slot, rows, fit=share * depth, depth=share * fit)
        else:
            _add(gradient, rules, spectra, measured, slot, rows, depth=share)


def _add(
    gradient: NDArray[np.float64], rules: SensorRules, spectra: NDArray[np.float64], measured: Measured, slot: Slot,
    rows: NDArray[np.intp], *, fit: float | NDArray[np.float64] = 0.0, depth: float | NDArray[np.float64] = 0.0,
) -> None:
    """Add a feature's gradients of fit and depth, times these factors (each ``()`` or ``(row,)``), for some spectra."""
    window = rules.windows[slot.window]
    shape = rules.shapes[slot.window][slot.row - int(rules.first_row[slot.window])]
    values = spectra[rows]
    line = window.line(values)
    line[np.abs(line) < SMALLEST] = np.nan
    removed = values[:, window.bands] / line
    centred = removed - removed.mean(axis=1, keepdims=True)
    own = np.maximum(np.einsum("nb,nb->n", centred, centred), SMALLEST)[:, None]
    cross = (centred @ shape.centred)[:, None]
    by_curve = np.reshape(depth, (-1, 1)) * shape.depth * shape.centred / shape.sum_of_squares
    if np.any(fit):
        # d(r^2) = 2 r (x / |x| - r y / |y|) / |y|, x the reference and y the observed curve, both about their means
        steepness = np.reshape(fit, (-1, 1)) * 2 * cross / (shape.sum_of_squares * own)
        by_curve = by_curve + steepness * (shape.centred - cross / own * centred)
    by_curve = np.nan_to_num(by_curve / line)
    gradient[np.ix_(rows, window.bands)] += by_curve
    through = -np.nan_to_num(by_curve * removed)
    gradient[np.ix_(rows, window.left)] += (through @ (1 - window.fraction))[:, None] / window.left.size
    gradient[np.ix_(rows, window.right)] += (through @ window.fraction)[:, None] / window.right.size
