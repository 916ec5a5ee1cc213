"""Blocks worked on side by side: their order, their arithmetic, and no bit that hangs on the number of workers."""

from __future__ import annotations

import threading
from dataclasses import fields

import numpy as np
import pytest
from scipy.ndimage import median_filter

from palimpsest.knowledge.releases.release import load
from palimpsest.restoration.computing import planes, ranks
from palimpsest.restoration.computing.side_by_side import side_by_side, workers
from palimpsest.restoration.factors import pairs, robust_factors
from palimpsest.restoration.repair import repair
from palimpsest.scenes import make_scene


def test_results_come_in_the_order_of_the_blocks_whoever_is_finished_first():
    second_is_done, seen = threading.Event(), set()

    def work(block):
        seen.add(threading.get_ident())
        if block == 0:
            assert second_is_done.wait(20)  # one worker alone would wait for ever
        if block == 1:
            second_is_done.set()
        return block

    with workers(2):
        assert list(side_by_side(work, range(9))) == list(range(9))
    assert len(seen) == 2
    assert threading.get_ident() not in seen


def test_one_worker_is_the_caller_and_work_within_work_is_done_by_whom_it_is_asked():
    def asked(_block):
        return {threading.get_ident(), *side_by_side(lambda _: threading.get_ident(), range(3))}

    with workers(1):
        assert set().union(*side_by_side(asked, range(3))) == {threading.get_ident()}
    with workers(2):
        assert all(len(found) == 1 for found in side_by_side(asked, range(3)))


def test_what_one_block_raises_is_raised():
    def work(block):
        raise ValueError(block)

    with workers(2), pytest.raises(ValueError, match="0"):
        list(side_by_side(work, range(4)))


@pytest.fixture(scope="module")
def scene():
    """More pixels than a block of any part holds, struck and noisy."""
    return make_scene(65, 66, sensor="hymap", seed=11, kind="mixed", defects="mixed")


@pytest.mark.parametrize("told", [False, True])
def test_a_restoration_is_the_same_to_the_bit_with_one_worker_and_with_two(scene, told):
    def restored(count):
        with workers(count):
            return repair(
                scene.observed, knowledge=load(None), mask=~scene.damaged if told else None, is_searched=not told,
                is_denoised=not told,
            )

    one, other = restored(1), restored(2)
    assert one.changed.size > 10_000
    assert one.restored.data.tobytes() == other.restored.data.tobytes()
    for name in ("half_width", "changed", "classes", "reasons"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine.dtype, mine.tobytes()) == (theirs.dtype, theirs.tobytes()), name
    assert (one.decisions, one.report, one.model) == (other.decisions, other.report, other.model)
    assert len(one.contributions) == len(other.contributions)
    for mine, theirs in zip(one.contributions, other.contributions, strict=True):
        for field in fields(mine):
            assert np.array_equal(getattr(mine, field.name), getattr(theirs, field.name)), field.name


@pytest.mark.parametrize("order", ["C", "F"])
def test_pairs_are_the_products_of_columns_and_symmetric_matrices_come_back(order):
    rng = np.random.default_rng(0)
    left, right = (np.asarray(rng.normal(size=(50, 7)), order=order) for _ in range(2))
    one, other = np.triu_indices(7)
    found = pairs.products(left, right)
    # How they lie decides how sums over them are rounded.
    assert found.flags.f_contiguous
    assert np.array_equal(found, left[:, one] * right[:, other])
    square = rng.normal(size=(20, 7, 7))
    square += square.swapaxes(1, 2)
    assert np.array_equal(pairs.packed(square), square[:, one, other])
    kind = rng.integers(-1, 20, 50)
    moments = left[:, one] * left[:, other] + square[0][one, other]
    moments[kind >= 0] += (square[:, one, other] - square[0][one, other])[kind[kind >= 0]]
    assert np.array_equal(pairs.second_moments(left, square[0], square, kind), moments)
    assert np.array_equal(pairs.squares(pairs.packed(square), 7), square)


def test_planes_are_put_back_where_they_were_taken():
    table = np.arange(5000 * 37, dtype=np.float32).reshape(5000, 37)
    copy = np.zeros_like(table)
    for run in planes.runs(37):
        taken = planes.planes_of(table, run)
        assert np.array_equal(taken, table[:, run].T)
        planes.put(copy, run, taken)
    assert np.array_equal(copy, table)


@pytest.mark.parametrize("count", range(1, 10))
def test_planes_are_put_in_order_voxel_by_voxel(count):
    given = np.random.default_rng(count).integers(0, 5, (count, 40, 30)).astype(np.float32)
    assert np.array_equal(np.stack(ranks.ascending(list(given))), np.sort(given, axis=0))


@pytest.mark.parametrize("shape", [(20, 31), (9, 8), (5, 1)])
def test_the_median_of_the_ring_is_the_filters(shape):
    plane = np.random.default_rng(1).normal(size=shape).astype(np.float32).round(1)
    ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
    assert np.array_equal(ranks.ring_median(plane), median_filter(plane, footprint=ring, mode="reflect"))


@pytest.mark.parametrize("places", [11, 700])
def test_medians_of_lines_leave_out_what_is_not_known(places):
    rng = np.random.default_rng(2)
    lines = rng.normal(size=(23, places)).astype(np.float32)
    lines[rng.random(lines.shape) < 0.3] = np.nan
    assert np.array_equal(robust_factors._medians(lines), np.nanmedian(lines, axis=1))
