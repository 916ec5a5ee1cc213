"""What the tiles of a cube have in common is told once, if that saves more than it takes; hostile bytes are refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from palimpsest.codec.container import stream as container
from palimpsest.codec.container.models import load_model
from palimpsest.codec.contract import EncodeSettings
from palimpsest.codec.decoder import decode, finest_whole_level
from palimpsest.codec.encoder import encode
from palimpsest.codec.encoding import rate_target
from palimpsest.codec.entropy import cube_state
from palimpsest.codec.entropy.planes import ChunkEncoder, MixerState
from palimpsest.codec.reader import open_stream
from palimpsest.cubes import BandTable, Cube
from palimpsest.errors import StreamCorrupt


@pytest.fixture(scope="module")
def cube() -> Cube:
    rng = np.random.default_rng(2)
    spectra = np.cumsum(rng.normal(size=(16, 5)), axis=0)
    fields = np.cumsum(np.cumsum(rng.normal(size=(5, 80, 88)), 1), 2)
    data = np.tensordot(spectra, fields, 1)
    data += rng.normal(size=data.shape) * data.std() / 100
    return Cube(np.rint(data / np.abs(data).max() * 8000).astype(np.int16), BandTable(16, np.linspace(450, 2300, 16)))


@pytest.fixture(scope="module")
def stream(cube, tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "told.plm"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rate_target, "SMALLEST_SHARE", 10)  # so small a cube does not earn it
        encode(cube, EncodeSettings(bpppc=2.0, strength=0, tile=16, workers=2), out=path)
        other = path.with_name("one.plm")
        encode(cube, EncodeSettings(bpppc=2.0, strength=0, tile=16, workers=1), out=other)
    assert other.read_bytes() == path.read_bytes()
    return path


def learnt(first: MixerState, seed: int) -> cube_state.Learnt:
    rng = np.random.default_rng(seed)
    state = first.copy()
    state.guides[:9] += rng.integers(-20000, 20000, (9, state.guides.shape[1])).astype(np.int32)
    state.lms[3] += 9000
    state.weights[40:60, :-1] += rng.integers(-30000, 30000, (20, state.weights.shape[1] - 1)).astype(np.int32)
    state.weights[40:60, -1] = 100
    state.sign_states[2, 5:9] = (900_000 << 10) | 200
    return cube_state.Learnt.of(state, 12)


def test_the_start_lies_within_half_a_step_of_what_tiles_have_learnt_on_the_mean():
    first = load_model("", None).state
    tiles = [learnt(first, seed) for seed in range(3)]
    begun = cube_state.started(first, cube_state.packed(tiles, first))
    assert np.abs((begun.sign_states[2, 5:9] >> 10) - 900_000).max() <= 1 << 14
    assert (begun.sign_states[2, 5:9] & 1023).min() >= cube_state.FAMILIAR
    assert np.array_equal(begun.sign_states[3:], first.sign_states[3:])
    for name in cube_state.NAMES[:-1]:
        mean = np.mean([getattr(tile, name) for tile in tiles], axis=0)
        got = getattr(begun, name)[: len(mean)]
        columns = slice(None, -1) if name.endswith("weights") else slice(None)
        assert np.abs(got - mean)[:, columns].max() <= (1 << cube_state.STEPS[name] >> 1) + 1, name
    assert np.array_equal(begun.states, first.states)
    assert not begun.guides[9:].any()


def test_a_stream_with_a_told_start_says_so_and_decodes_whole_by_window_and_by_pixel(stream, cube):
    opened = container.open_stream(stream)
    assert opened.head["version"] == container.LATEST_VERSION
    assert opened.has(container.CUBE_STATE)
    whole = np.asarray(decode(stream).data)
    assert np.abs(whole.astype(int) - cube.data).mean() < cube.data.std() / 20
    with open_stream(stream) as reader:
        assert np.array_equal(reader.spectrum(37, 61), whole[:, 37, 61])


def test_few_tiles_or_little_to_save_leave_the_stream_as_it_was(cube, tmp_path):
    encode(cube, EncodeSettings(bpppc=2.0, strength=0), out=tmp_path / "one.plm")
    opened = container.open_stream(tmp_path / "one.plm")
    assert not opened.has(container.CUBE_STATE)


def test_without_its_state_no_level_of_a_stream_is_whole(stream, tmp_path):
    data = bytearray(stream.read_bytes())
    section = container.open_stream(stream).sections[container.CUBE_STATE, container.WHOLE]
    data[section.offset + 5] ^= 8
    broken = tmp_path / "broken.plm"
    broken.write_bytes(data)
    assert finest_whole_level(broken) is None
    with pytest.raises(StreamCorrupt, match="altered"):
        decode(broken)


def test_states_that_no_encoder_writes_are_refused():
    first = load_model("", None).state
    good = cube_state.packed([learnt(first, 1)], first)
    with pytest.raises(StreamCorrupt, match="cut"):
        cube_state.started(first, good[:1])
    with pytest.raises(StreamCorrupt, match="too many"):
        cube_state.started(first, struct.pack("<H", 513) + good[2:])
    for sample, words in ((2, "told or not"), (1, "too far")):
        encoder = ChunkEncoder(MixerState.neutral(), 4096)
        flags = np.zeros((1, 1, len(first.lms)), np.int32)
        flags[0, 0, 0] = sample
        encoder.code(flags, level=0)
        encoder.code(np.full((1, 1, first.lms.shape[1]), 1 << 20, np.int32), level=0, orientation=1)
        with pytest.raises(StreamCorrupt, match=words):
            cube_state.started(first, struct.pack("<H", 0) + encoder.finish())
    rng = np.random.default_rng(3)
    for _ in range(60):
        bad = bytearray(good)
        for at in rng.integers(0, len(bad), 3):
            bad[at] ^= int(rng.integers(1, 256))
        try:
            begun = cube_state.started(first, bytes(bad))
        except StreamCorrupt:
            continue
        assert np.abs(begun.weights.astype(np.int64)).max() <= np.abs(first.weights).max() + cube_state.FARTHEST
