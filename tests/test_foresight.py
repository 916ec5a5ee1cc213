"""Guess and foresight of the entropy coder: exact integers, refused when they could overflow, and worth their bits."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest.codec.entropy import foreseen, foresight, guess
from palimpsest.codec.entropy.planes import LARGEST_SAMPLE, ChunkDecoder, ChunkEncoder, MixerState
from palimpsest.codec.quantisation import cells
from palimpsest.errors import FormatError, StreamCorrupt


def any_network(seed, units=12, later=6):
    rng = np.random.default_rng(seed)

    def draw(size, *shape):
        return rng.integers(-size, size, shape).astype(np.int32)

    return foresight.unpacked(foresight.packed(foresight.Foresight(
        first=draw(900, foresight.INPUTS, units), order=draw(300, units), places=draw(60000, foresight.PLACES, units),
        second=draw(3000, units, later), second_bias=draw(1 << 19, later), third=draw(3000, foresight.OUTPUTS, later),
        third_places=draw(1 << 18, foresight.PLACES, foresight.OUTPUTS), third_order=draw(2000, foresight.OUTPUTS),
    )))


def reference(net, seen, depth, orient, turn, k):
    """The network in unbounded integers, straight from its description."""
    wide = [part.astype(object) for part in net.parts()]
    first, order, places, second, second_bias, third, third_places, third_order = wide
    number = math.floor(16 * math.log2(1 + k) + 1e-9)
    rows = [depth, 6 + orient, *([10] if turn else []), *([11 + k] if k < 3 else [])]
    hidden = seen.astype(object) @ first + order * number + sum(places[row] for row in rows)
    hidden = np.array([min(max(int(h) >> 8, 0), foresight.HIGHEST) for h in hidden], object)
    later = np.array([min(max(int(h) >> 12, 0), foresight.HIGHEST) for h in hidden @ second + second_bias], object)
    odds = third @ later + third_order * number + sum(third_places[row] for row in rows)
    return [min(max(int(o) >> 12, -2047), 2047) for o in odds]


@pytest.mark.parametrize("seed", range(4))
def test_the_compiled_network_is_the_described_one_bit_for_bit(seed):
    net = any_network(seed)
    rng = np.random.default_rng(100 + seed)
    bias, third_bias = np.zeros((2, 12), np.int32), np.zeros((2, foresight.OUTPUTS), np.int32)
    hidden, later = np.zeros(12, np.int32), np.zeros(6, np.int32)
    for _ in range(40):
        depth, orient, turn, k = (int(rng.integers(0, top)) for top in (6, 4, 2, 600))
        k = k if k > 9 else k // 3
        seen = (rng.integers(0, foresight.LARGEST_INPUT, foresight.INPUTS) * (rng.random(foresight.INPUTS) < 0.5))
        seen = seen.astype(np.int32)
        foresight.settle(depth, orient, k, net.order, net.places, net.third_places, net.third_order, bias, third_bias)
        foresight.foresee(seen, bias, turn, net.first, net.second, net.second_bias, hidden, later)
        ours = [foresight.odds(later, net.third, third_bias, turn, n) for n in range(foresight.OUTPUTS)]
        assert ours == reference(net, seen, depth, orient, turn, k)


@settings(deadline=None, max_examples=20)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 17), st.integers(1, 17)), seed=st.integers(0, 999),
    size=st.sampled_from([0.2, 1.0, 40.0, 1e5, 1e9]), orientation=st.integers(0, 2), foresees=st.booleans(),
)
def test_stacks_of_any_size_come_back_with_and_without_a_network(shape, seed, size, orientation, foresees):
    rng = np.random.default_rng(seed)
    first, second = (
        np.clip(np.rint(rng.laplace(size=shape) * size), -LARGEST_SAMPLE, LARGEST_SAMPLE).astype(np.int32)
        for _ in range(2)
    )
    start = MixerState.for_details(any_network(seed) if foresees else None)
    above = np.ascontiguousarray(first[:, ::2, ::2])
    encoder = ChunkEncoder(start.copy(), 2 * first.size)
    encoder.code(first, level=5, orientation=3)
    encoder.code(second, level=2, orientation=orientation, parents=above, siblings=[first])
    decoder = ChunkDecoder(start.copy(), encoder.finish())
    assert np.array_equal(decoder.read(shape, level=5, orientation=3), first)
    back = decoder.read(shape, level=2, orientation=orientation, parents=above, siblings=[first])
    assert np.array_equal(back, second)


def test_components_that_follow_each_other_hereabouts_cost_less_by_the_guess():
    rng = np.random.default_rng(5)
    first = rng.normal(size=(48, 48)) * 3
    # Alike in one half, opposed in the other: uncorrelated over the whole.
    side = np.where(np.arange(48) < 24, 1.0, -1.0)[:, None]
    stack = np.rint(np.stack([first, first * side + rng.normal(size=first.shape)])).astype(np.int32)
    strangers = stack.copy()
    strangers[1] = rng.permutation(stack[1].ravel()).reshape(48, 48)

    def cost(planes):
        encoder = ChunkEncoder(MixerState.for_details(), planes.size)
        encoder.code(planes, level=0)
        return len(encoder.finish())

    assert cost(stack) < 0.9 * cost(strangers)


def test_logarithms_and_roots_are_exact():
    for quarters in (0, 1, 2, 3, 4, 7, 100, 4095, 8191, 10**9):
        wanted = math.floor(16 * math.log2(1 + min(quarters, 8191) / 4) + 1e-9)
        assert foresight.logarithm(quarters) == wanted
    for value in (0, 1, 2, 3, 4, 15, 16, 17, 10**12, (1 << 61) - 1):
        assert guess.root(value) == math.isqrt(value)


def test_networks_that_could_overflow_or_do_not_fit_are_refused():
    tensors = foresight.packed(any_network(1))
    for name, part in (
        ("first", np.full((foresight.INPUTS, 12), 1 << 20, np.int32)), ("second", np.zeros((4, 4), np.int32)),
        ("third", np.full((foresight.OUTPUTS, 6), 1 << 18, np.int32)),
    ):
        with pytest.raises(FormatError):
            foresight.unpacked({**tensors, foresight.PREFIX + name: part})
    with pytest.raises(FormatError):
        foresight.unpacked({key: part for key, part in tensors.items() if not key.endswith("order")})


def test_a_cut_chunk_is_refused_or_read_but_never_hangs():
    stack = np.rint(np.random.default_rng(6).laplace(0, 9, (9, 40, 40))).astype(np.int32)
    state = MixerState.for_details(any_network(2))
    encoder = ChunkEncoder(state.copy(), stack.size)
    encoder.code(stack, level=0)
    data = encoder.finish()
    with pytest.raises(StreamCorrupt):
        ChunkDecoder(state.copy(), data[: len(data) // 3]).read(stack.shape, level=0)


def test_the_integer_network_follows_its_floating_point_twin():
    torch = pytest.importorskip("torch")
    from palimpsest.codec.entropy.planes import Observer
    from palimpsest_pipelines.codec_training.foresight_training import ForesightNetwork, bits, to_integers

    torch.manual_seed(0)
    network = ForesightNetwork(16, 8)
    net = to_integers(network)
    stack = np.rint(np.random.default_rng(7).laplace(0, 2, (4, 24, 24))).astype(np.int32)
    observer = Observer(3, [])
    ChunkEncoder(replace(MixerState.for_details(), observer=observer), stack.size).code(stack, level=1, orientation=2)
    seen = np.concatenate(observer.seen)
    assert len(seen) == stack.size // 3
    kind = slice(foresight.INPUTS, foresight.INPUTS + 4)
    assert set(seen[:, kind][:, 0]) == {1}
    assert set(seen[:, kind][:, 3]) == {0, 1, 2, 3}
    batch = torch.tensor(seen, dtype=torch.float32)
    with torch.no_grad():
        odds = network(batch).numpy() * 256
        assert 0.5 < float(bits(network(batch), batch).mean()) < 20
    for at in range(0, len(seen), 50):
        depth, orient, turn, k = (int(v) for v in seen[at, kind])
        ours = reference(net, seen[at, : foresight.INPUTS], depth, orient, turn, k)
        assert np.abs(np.clip(odds[at], -2047, 2047) - ours).max() < 6


@pytest.mark.parametrize("seed", range(3))
def test_the_fast_form_of_the_coder_writes_the_bytes_of_the_slow_one_and_learns_the_same(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    net = any_network(seed, foreseen.UNITS, foreseen.LATER)
    rows, cols = (int(side) for side in rng.integers(1, 20, 2))
    sizes = 2.0 ** rng.uniform(-2, 3, (5, 1, 1)) * rng.standard_normal((5, rows, cols))
    stack = np.rint(sizes).astype(np.int32)
    stack[3] = 0
    stack[4, -1, -1] = LARGEST_SAMPLE  # sums must not overflow there either
    parents = np.rint(sizes[:, ::2, ::2] * 3).astype(np.int32)
    found = []
    for is_fast in (True, False):
        if not is_fast:
            monkeypatch.setattr(foreseen, "fits", lambda net, views: False)
        state = replace(MixerState.for_details(net), offsets=np.ones((cells.ROWS, cells.HINTS), np.int16))
        encoder = ChunkEncoder(state, 3 * stack.size)
        encoder.code(stack, level=2, orientation=0, parents=parents, dependent=True)
        hints = encoder.hints.tobytes()
        encoder.code(stack[:, ::-1].copy(), level=2, orientation=1, siblings=[stack], dependent=True)
        learnt = (*(part.tobytes() for part in state.parts()), state.guides.tobytes())
        found.append((encoder.finish(), hints, encoder.hints.tobytes(), *learnt))
    assert found[0] == found[1]
