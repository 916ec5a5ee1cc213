"""Who is believed in single voxels, where hidden ones contradict the judgement."""

from __future__ import annotations

import numpy as np
from restoration_cubes import cube_of, knowledge, mixtures
from scipy.ndimage import gaussian_filter1d

from palimpsest.cubes import Cube, Reason
from palimpsest.restoration.integrator.network import load
from palimpsest.restoration.judgement.verdict import judge
from palimpsest.restoration.study import hidden_voxels
from palimpsest.restoration.study.hidden_voxels import SINGLE, missed_together, outvoted
from palimpsest.restoration.study.sources import LOW_RANK, PCHIP, SOURCES
from palimpsest.restoration.study.study import study

FACTORS, CUBIC = SINGLE.index(LOW_RANK), SINGLE.index(PCHIP)


def half_lost(noise: float) -> tuple[Cube, np.ndarray]:
    """A scene that shows half of its voxels, with noise that neighbouring bands share; and all values."""
    rng = np.random.default_rng(5)
    spectra = mixtures(32, 32)
    shared = gaussian_filter1d(rng.standard_normal(spectra.shape), 1.5, axis=0)
    whole = cube_of(spectra + noise * shared / shared.std())
    lost = rng.random(spectra.shape) < 0.5
    reasons = np.where(lost, np.uint8(Reason.DEAD), np.uint8(0))
    values = np.asarray(whole.data, np.float32)
    return Cube(np.where(lost, np.float32(0), values), whole.bands, reasons=reasons), values


def error_of(cube: Cube, values: np.ndarray) -> float:
    seen = study(cube, cube.voxel_reasons(), knowledge(), doubted=True)
    weights = judge(seen, load()).weights[seen.groups.of(seen.judged)]
    said = np.einsum("pbs,spb->pb", weights, seen.proposals.values) * seen.unit
    true = values.reshape(len(values), -1)[seen.axis.order][:, seen.judged.pixels].T
    dead = ~seen.judged.usable
    return float(np.square(said - true)[dead].mean())


def test_in_a_scene_of_noise_hidden_voxels_outvote_the_judgement(monkeypatch):
    noisy = half_lost(0.1)
    mended = error_of(*noisy)
    monkeypatch.setattr(hidden_voxels, "CLEARLY", np.inf)
    assert mended < 0.8 * error_of(*noisy)


def test_where_the_judgement_does_well_it_stands_to_the_bit():
    cube, _ = half_lost(0.001)
    seen = study(cube, cube.voxel_reasons(), None)
    moment = missed_together(seen.sources, seen.judged)
    assert moment is not None
    assert moment[FACTORS, FACTORS] < 0.1 * moment[CUBIC, CUBIC]
    weights = np.zeros((2, len(SOURCES)))
    weights[:, LOW_RANK] = 1.0
    assert outvoted(weights, np.ones(2), np.ones(2, bool), moment) is weights


def test_only_cells_of_single_voxels_are_touched_and_their_sum_stays():
    weights = np.zeros((3, len(SOURCES)))
    weights[:, LOW_RANK] = (1.0, 0.5, 1.0)
    moment = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = outvoted(weights, np.ones(3), np.array([True, True, False]), moment)
    assert np.array_equal(found[2], weights[2])
    assert np.allclose(found.sum(1), weights.sum(1))
    assert 0.3 < found[0, PCHIP] + found[0, 0] < 0.7
    assert weights[0, LOW_RANK] == 1.0


def test_hidden_voxels_do_not_speak_for_the_factors():
    weights = np.zeros((1, len(SOURCES)))
    weights[:, PCHIP] = 1.0
    moment = np.diag([1.0, 1.0, 0.01])
    assert outvoted(weights, np.ones(1), np.ones(1, bool), moment) is weights


def test_too_few_voxels_are_not_asked():
    cube, _ = half_lost(0.1)
    seen = study(cube, cube.voxel_reasons(), None)
    assert missed_together(seen.sources, seen.judged.rows(np.arange(4))) is None
    assert outvoted(np.eye(3), np.ones(3), np.ones(3, bool), None).tolist() == np.eye(3).tolist()
