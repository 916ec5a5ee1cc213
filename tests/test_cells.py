"""Where samples stand in their cells: by a learnt table that both sides look up, and nearer to the truth for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palimpsest.codec.container.models import load_model, model_by_hash
from palimpsest.codec.entropy.planes import MixerState
from palimpsest.codec.quantisation import cells
from palimpsest.codec.quantisation.quantiser import Pull, dequantise
from palimpsest.codec.quantisation.trellis import SIXTEEN
from palimpsest.codec.space.spatial import LevelTransform
from palimpsest.codec.tiles.tile import TileCoder, TilePlan
from palimpsest.errors import FormatError

BITS = 6


def planes_of(seed, side=48):
    """Components that are uncorrelated over the plane, but not hereabouts: the second is the first up or down."""
    rng = np.random.default_rng(seed)
    rows, cols = np.meshgrid(np.linspace(0, 9, side), np.linspace(0, 7, side), indexing="ij")
    first = 6 * np.sin(rows + rng.uniform(0, 6)) * np.cos(cols) + rng.normal(0, 1.5, (side, side))
    second = first * np.sign(cols - 3.5) * 0.4 + rng.normal(0, 0.4, (side, side))
    return np.rint(np.stack([first, second, rng.normal(0, 0.6, (side, side))]) * (1 << BITS)).astype(np.int32)


def any_table(seed):
    rng = np.random.default_rng(seed)
    table = rng.integers(-90, 90, (cells.ROWS, cells.HINTS)).astype(np.int16)
    table[:4, ::16] = 0
    return table


def trained_state():
    return load_model("", None).state


@pytest.mark.parametrize("seed", range(3))
def test_both_sides_put_every_sample_at_the_same_place(seed):
    planes = planes_of(seed)
    planes[2] = 0
    start = replace(trained_state(), offsets=any_table(seed))
    coder = TileCoder(LevelTransform(), start, 3)
    code, rebuilt = coder.encode(planes, BITS, None)
    plan = TilePlan(planes.shape[1], planes.shape[2], 3, BITS)
    np.testing.assert_array_equal(coder.decode(code.chunks, code.pulls, plan, None), rebuilt)
    assert not rebuilt[2].any()
    other = TileCoder(LevelTransform(), replace(start, offsets=cells.blank()), 3)
    plain, plainly = other.encode(planes, BITS, None)
    assert plain.chunks == code.chunks  # the samples are the same, where they stand is not
    assert (plainly != rebuilt).any()


def test_gains_of_blocks_scale_offsets_too():
    planes = planes_of(5, 32)
    gains = np.array([[4, 8, 8, 10], [8, 8, 12, 8], [8] * 4, [6] * 4], np.uint8)
    coder = TileCoder(LevelTransform(), replace(trained_state(), offsets=any_table(5)), 2)
    code, rebuilt = coder.encode(planes, BITS, gains)
    plan = TilePlan(32, 32, 3, BITS)
    np.testing.assert_array_equal(coder.decode(code.chunks, code.pulls, plan, gains), rebuilt)


def test_what_some_planes_teach_brings_others_nearer_to_the_truth():
    sums = np.zeros((cells.ROWS, cells.HINTS, 2))
    start = replace(trained_state(), offsets=cells.blank())
    for seed in range(12):
        TileCoder(LevelTransform(), replace(start, rests=sums), 3).encode(planes_of(seed, 64), BITS, None)
    assert sums[:, :, 1].sum() == 12 * 3 * 64 * 64
    errors = []
    for table in (cells.blank(), cells.learnt(sums)):
        square = 0.0
        for seed in range(20, 24):
            planes = planes_of(seed, 64)
            _, rebuilt = TileCoder(LevelTransform(), replace(start, offsets=table), 3).encode(planes, BITS, None)
            square += float(((rebuilt - planes).astype(np.float64) ** 2).sum())
        errors.append(square)
    assert errors[1] < 0.996 * errors[0]


def test_a_sample_moves_by_its_entry_of_the_table_and_a_zero_to_the_side_of_the_guess():
    quantised = np.array([[[0, 0, 1, -1, 4]]], np.int32)
    # Odds and size of the guess are bins 3 and 2; the guess of the second and the fourth sample is negative.
    hints = np.array([[[3 << 5 | 2 << 1 | sign for sign in (0, 1, 0, 1, 1)]]], np.uint16)
    offsets = np.zeros((cells.ROWS, cells.HINTS), np.int16)
    offsets[:, 3 << 4 | 2] = np.arange(10, 10 + 5 * cells.ROWS, 5)
    state, wanted = 0, []
    for value, sign in zip(quantised[0, 0], (0, 1, 0, 1, 1), strict=True):
        size, side = abs(int(value)), int(SIXTEEN.sides[state])
        against = int(size > 0 and (value < 0) != bool(sign))
        place = 256 * (2 * size - side if size else 0) + 10 + 5 * ((min(size, 2) * 2 + side) * 2 + against)
        place -= 7 if size == 1 else 3 if size > 1 else 0
        wanted.append(-place if (value < 0 if size else sign) else place)
        state = int(SIXTEEN.following[state, size & 1])
    got = dequantise(quantised, 1 << 16, None, Pull(7, 3), SIXTEEN, hints, offsets)
    assert got[0, 0].tolist() == wanted


def test_models_without_a_table_keep_their_streams():
    model = model_by_hash(load_model("v3", None).sha256, (1, 2, 3, 4))
    assert isinstance(model.state, MixerState)
    assert not model.state.takes_hints


@pytest.mark.parametrize("tensors", [
    {"cells.offsets": np.zeros((3, 3), np.int16)}, {"cells.other": np.zeros((cells.ROWS, cells.HINTS), np.int16)},
    {"cells.offsets": np.full((cells.ROWS, cells.HINTS), 256, np.int16)},
    {"cells.offsets": np.zeros((cells.ROWS, cells.HINTS), np.int32)},
])
def test_a_table_that_does_not_fit_is_refused(tensors):
    with pytest.raises(FormatError):
        cells.unpacked(tensors)
