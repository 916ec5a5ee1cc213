"""What a network is told of noise stands where training moves it, and training moves nothing else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from restoration_cubes import cube_of, mixtures, with_gap

from palimpsest.restoration.study import context as contexts
from palimpsest.restoration.study.context import (
    BEND_OVER_NOISE,
    CELL_NOISE,
    LINES_OVER_NOISE,
    TRIED_OVER_NOISE,
    Context,
)
from palimpsest.restoration.study.evidence import gather
from palimpsest.restoration.study.study import sample_of, study
from palimpsest.restoration.study.trials import STRETCH_NOISE
from palimpsest_pipelines.restoration_training.batches import _noise_doubted

NOISE = 0.01


@cache
def told(noise: float, tried: float = 1.0) -> Context:
    """The context of a scene with a gap, by a given noise; ``tried`` times as much where trials were judged."""
    cube = with_gap(cube_of(mixtures(), noise=0.005), 30, 36)
    reasons = cube.voxel_reasons()
    seen = study(cube, reasons, None)
    every = np.full(seen.axis.count, noise)
    sample = sample_of(cube, reasons)
    means = seen.groups.centres
    evidence = gather(seen.sources, sample, means, None, np.full(seen.axis.count, NOISE), seen.groups)
    return contexts.build(
        seen.judged, seen.groups.of(seen.judged), seen.proposals, seen.sources,
        replace(evidence, noise=evidence.noise * tried), every, None, len(means),
    )


def moved(one: np.ndarray, other: np.ndarray) -> set[int]:
    """Last indices at which two arrays differ."""
    return set(np.flatnonzero((one != other).reshape(-1, one.shape[-1]).any(0)).tolist())


def test_noise_is_told_where_the_names_say():
    quiet, loud = told(NOISE), told(10 * NOISE)
    assert moved(quiet.cell, loud.cell) == {CELL_NOISE, BEND_OVER_NOISE}
    assert loud.cell[:, CELL_NOISE] - quiet.cell[:, CELL_NOISE] == pytest.approx(1, abs=0.01)
    assert moved(quiet.run, loud.run) == {LINES_OVER_NOISE}
    assert moved(quiet.gaps.described, loud.gaps.described) == {STRETCH_NOISE}
    assert moved(quiet.candidate, loud.candidate) == set()
    assert moved(quiet.candidate, told(NOISE, 4.0).candidate) == {TRIED_OVER_NOISE}


def test_a_step_of_training_moves_noise_alone_and_a_run_as_one():
    plain = told(NOISE)
    doubted = _noise_doubted(plain, np.random.default_rng(3))
    assert moved(plain.cell, doubted.cell) == {CELL_NOISE, BEND_OVER_NOISE}
    off = doubted.cell[:, CELL_NOISE] - plain.cell[:, CELL_NOISE]
    assert doubted.cell[:, BEND_OVER_NOISE] - plain.cell[:, BEND_OVER_NOISE] == pytest.approx(-off, abs=1e-5)
    for run in np.unique(plain.cells.run):
        assert off[plain.cells.run == run] == pytest.approx(off[plain.cells.run == run][0], abs=1e-5)
    assert moved(plain.run, doubted.run) == {LINES_OVER_NOISE}
    assert moved(plain.candidate, doubted.candidate) <= {TRIED_OVER_NOISE}
    assert moved(plain.trials.described, doubted.trials.described) == {STRETCH_NOISE}
    assert (plain.trials.error == doubted.trials.error).all()
