"""Trials in the gap itself, on pixels whose truth is the library's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from restoration_cubes import GRID, cube_of, knowledge, mixtures, with_gap

from palimpsest.restoration.library.semantic_mapper import library_for
from palimpsest.restoration.study.rehearsal import rehearsed
from palimpsest.restoration.study.sources import KNOWLEDGE, KRIGING, LIBRARY_RESIDUAL, LINEAR, LOW_RANK, PCHIP
from palimpsest.restoration.study.study import study
from palimpsest.restoration.study.trials import EVERYONE

RED_EDGE = slice(int(np.argmin(np.abs(GRID - 650))), int(np.argmin(np.abs(GRID - 850))))


def seen_without(gap: slice, base=None):
    cube = with_gap(cube_of(mixtures()), gap.start, gap.stop)
    return study(cube, cube.voxel_reasons(), knowledge() if base is None else base)


def trials_of(seen, library):
    member = seen.groups.of(seen.judged)
    return rehearsed(seen.sources, seen.judged, member, len(seen.groups.centres), library, seen.noise)


def test_a_gap_is_tried_where_it_is_and_shows_what_no_place_beside_it_shows():
    seen = seen_without(RED_EDGE)
    trials = trials_of(seen, library_for(seen.axis, knowledge()))
    assert set(trials.first) == {RED_EDGE.start}
    assert set(trials.last) == {RED_EDGE.stop}
    assert set(trials.home) == {0}
    everyone = int(np.flatnonzero(trials.group == EVERYONE)[0])
    error, speaks = 10.0 ** trials.error[everyone], trials.speaks[everyone]
    along = [source for source in (LINEAR, PCHIP, KRIGING) if speaks[source]]
    assert along
    assert error[LIBRARY_RESIDUAL] < 0.5 * error[along].min()
    assert speaks[list(KNOWLEDGE)].all()
    assert not speaks[LOW_RANK]
    # And so it is in truth.
    truth = mixtures().reshape(len(GRID), -1).T[seen.judged.pixels][:, RED_EDGE] * 10000 / seen.unit
    off = np.sqrt(((seen.proposals.values[:, :, RED_EDGE] - truth) ** 2).mean((1, 2)))
    assert off[LIBRARY_RESIDUAL] < 0.5 * off[along].min()


def test_it_reaches_the_judge_as_a_trial_like_others():
    context = seen_without(RED_EDGE).context
    inside = (context.trials.first == RED_EDGE.start) & (context.trials.last == RED_EDGE.stop)
    assert inside.any()
    assert not inside.all()
    rehearsals = np.flatnonzero(inside)
    assert np.isin(rehearsals, context.trial_gap[0]).all()


def test_without_a_library_there_is_nothing_to_rehearse():
    seen = seen_without(RED_EDGE)
    assert not len(trials_of(seen, None).first)
    bare = replace(knowledge(), materials=())
    context = seen_without(RED_EDGE, bare).context
    assert not ((context.trials.first == RED_EDGE.start) & (context.trials.last == RED_EDGE.stop)).any()


def test_twice_is_the_same_to_the_bit():
    seen = seen_without(RED_EDGE)
    library = library_for(seen.axis, knowledge())
    one, two = trials_of(seen, library), trials_of(seen, library)
    assert one.moment.tobytes() == two.moment.tobytes()
    assert one.error.tobytes() == two.error.tobytes()
