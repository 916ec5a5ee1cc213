"""Bands of fills: where all pixels hold one number nothing was measured, and nothing is learned for other bands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from restoration_cubes import GRID, cube_of, error_db, knowledge, mixtures, with_gap

from palimpsest.restoration import restore
from palimpsest.restoration.study.study import study
from palimpsest.restoration.view import Axis, View, mute_bands, view_of

FILLED = slice(*(int(np.argmin(np.abs(GRID - nm))) for nm in (1250, 1450)))  # as processors leave the water window
INSIDE = (FILLED.start + 3, FILLED.start + 5)
BESIDE = (FILLED.stop, FILLED.stop + 10)


def view(values: np.ndarray, usable: np.ndarray | None = None) -> View:
    cube = cube_of(mixtures())
    seen = view_of(cube, np.zeros(cube.data.shape, np.uint8), Axis.of(cube.bands), np.arange(len(values)), 1.0)
    told = np.ones(values.shape, bool) if usable is None else usable
    return replace(seen, values=values.astype(np.float32), usable=told)


def filled(value: int = 0):
    whole = cube_of(mixtures())
    whole.data[FILLED] = value
    return whole


def without(cube, first: int, last: int):
    """The cube with further bands lost."""
    again = with_gap(cube, first, last)
    return replace(again, reasons=np.maximum(again.reasons, 0 if cube.reasons is None else cube.reasons))


def mute_of(values: np.ndarray, lost=(), usable=None) -> list[int]:
    gone = np.zeros(values.shape[1], bool)
    gone[list(lost)] = True
    return np.flatnonzero(mute_bands(view(values, usable), gone)).tolist()


def test_bands_of_one_value_are_mute_and_so_are_lost_ones_between_them():
    values = np.random.default_rng(0).normal(size=(50, GRID.size))
    values[:, 10:16] = -0.01
    assert mute_of(values) == [10, 11, 12, 13, 14, 15]
    assert mute_of(values, lost=(12, 13)) == [10, 11, 12, 13, 14, 15]
    # At the rim of the fills nobody knows where they end.
    assert mute_of(values, lost=(14, 15, 16)) == [10, 11, 12, 13]
    # A stray value is no measurement of a band; a tenth of them is one.
    values[0, 11] = 3.0
    assert 11 in mute_of(values)
    values[:5, 11] = np.arange(5)
    assert 11 not in mute_of(values)


def test_too_few_pixels_or_a_scene_of_one_value_tell_no_fill():
    values = np.random.default_rng(0).normal(size=(50, GRID.size))
    values[:, 10:16] = 0
    usable = np.ones(values.shape, bool)
    usable[8:, 10] = False
    assert mute_of(values, usable=usable) == [11, 12, 13, 14, 15]
    assert mute_of(values[:1]) == []
    assert mute_of(np.full((50, GRID.size), 0.3)) == []


def test_mute_bands_at_the_ends_of_the_range_close_what_is_lost_beyond_them():
    values = np.random.default_rng(0).normal(size=(50, GRID.size))
    values[:, :4] = values[:, -3:] = 0
    everything = [0, 1, 2, 3, GRID.size - 3, GRID.size - 2, GRID.size - 1]
    assert mute_of(values, lost=(0, GRID.size - 1)) == everything


def test_no_trial_among_fills_speaks_for_a_gap_where_the_ground_is_seen():
    cube = without(with_gap(filled(), *BESIDE), *INSIDE)
    context = study(cube, cube.voxel_reasons(), knowledge()).context
    sender, receiver = context.trial_gap
    told, asked = context.trials, context.gaps
    is_among = (told.first[sender] >= FILLED.start) & (told.last[sender] <= FILLED.stop)
    assert is_among.any()
    assert (asked.first[receiver][is_among] == INSIDE[0]).all()
    # What was tried on the ground may speak for the lost fills; the judge sees how unlike they are.
    assert (asked.first[receiver][~is_among] == INSIDE[0]).any()


@pytest.mark.parametrize("known", [True, False])
def test_a_gap_among_fills_does_not_spoil_another(known):
    truth = filled().data
    lost = np.zeros(truth.shape, bool)
    lost[slice(*BESIDE)] = True
    one = with_gap(filled(), *BESIDE)
    both = without(one, *INSIDE)
    alone, beside = (
        restore(cube, knowledge=knowledge() if known else None).restored.data for cube in (one, both)
    )
    assert error_db(beside, truth, lost) > error_db(alone, truth, lost) - 1
    assert np.abs(beside[slice(*INSIDE)].astype(int)).max() <= 30  # of a reflectance of 10 000
