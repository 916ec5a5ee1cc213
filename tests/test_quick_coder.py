"""The quick coder: what goes in comes out, a stream says that it used it, and it is no worse than it may be."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest.codec.container.stream import open_stream
from palimpsest.codec.contract import EncodeSettings
from palimpsest.codec.decoder import decode
from palimpsest.codec.encoder import encode
from palimpsest.codec.entropy.planes import LARGEST_SAMPLE
from palimpsest.codec.quick import coder as quick
from palimpsest.codec.quick.kernel import COARSE
from palimpsest.codec.tiles.tile import part_shapes
from palimpsest.cubes import BandTable, Cube
from palimpsest.errors import StreamCorrupt


@pytest.fixture(scope="module")
def cube() -> Cube:
    rng = np.random.default_rng(5)
    spectra = np.cumsum(rng.normal(size=(20, 4)), axis=0)
    fields = np.cumsum(np.cumsum(rng.normal(size=(4, 200, 210)), 1), 2)
    data = np.tensordot(spectra, fields / np.abs(fields).max(axis=(1, 2), keepdims=True), 1)
    data = data / np.abs(data).max() * 3000 + rng.normal(size=data.shape) * 5
    return Cube(np.rint(data).astype(np.int16), BandTable(20, np.linspace(400.0, 2400.0, 20)))


@settings(deadline=None, max_examples=40)
@given(
    components=st.integers(1, 4), rows=st.integers(1, 21), cols=st.integers(1, 21), levels=st.integers(0, 3),
    seed=st.integers(0, 999), size=st.sampled_from([0.0, 0.2, 1.0, 40.0, 1e5, 1e9]),
)
def test_parts_of_any_shape_and_size_come_back(components, rows, cols, levels, seed, size):
    rng = np.random.default_rng(seed)

    def made(shape: tuple[int, int]) -> np.ndarray:
        drawn = np.rint(rng.laplace(size=(components, *shape)) * size)
        return np.clip(drawn, -LARGEST_SAMPLE, LARGEST_SAMPLE).astype(np.int32)

    coarse_shape, shapes = part_shapes(rows, cols, levels)
    coarse, details = made(coarse_shape), [[made(shape) for shape in parts] for parts in shapes]
    state, known, chunks = quick.first_state().copy(), [], []
    encoder = quick.QuickEncoder(state, coarse.size, known)
    encoder.code(coarse, level=5, orientation=COARSE)
    chunks.append(encoder.finish())
    for level in range(levels, 0, -1):
        encoder = quick.QuickEncoder(state, sum(part.size for part in details[level - 1]), known)
        for o, part in enumerate(details[level - 1]):
            above = None if level == levels else details[level][o]
            encoder.code(part, level=level - 1, orientation=o, parents=above, siblings=details[level - 1][:o])
        chunks.append(encoder.finish())

    state, known = quick.first_state().copy(), []
    found = quick.QuickDecoder(state, chunks[0], known).read(coarse.shape, level=5, orientation=COARSE)
    assert np.array_equal(found, coarse)
    before: list[np.ndarray | None] = [None, None, None]
    for at, level in enumerate(range(levels, 0, -1)):
        decoder, stacks = quick.QuickDecoder(state, chunks[1 + at], known), []
        for o, part in enumerate(details[level - 1]):
            stacks.append(
                decoder.read(part.shape, level=level - 1, orientation=o, parents=before[o], siblings=stacks[:o])
            )
            assert np.array_equal(stacks[-1], part)
        before = list(stacks)


def test_the_distributions_at_the_start_are_those_of_the_format():
    counts = quick.first_state().counts
    assert counts.shape == (58, 16)
    assert (np.diff(counts, axis=1) >= 1 << 13).all()
    assert (counts[:, -1] == 1 << 28).all()
    assert hashlib.sha256(counts.astype("<i4").tobytes()).hexdigest()[:16] == "c3ab81b03a2edaec"


def test_a_chunk_that_ends_early_or_lies_of_its_length_is_refused():
    rng = np.random.default_rng(3)
    samples = rng.integers(-300, 300, (3, 32, 32)).astype(np.int32)
    encoder = quick.QuickEncoder(quick.first_state().copy(), samples.size, [])
    encoder.code(samples, level=0, orientation=0)
    data = encoder.finish()
    for cut in (b"", data[:3], data[:40], data[:-200] + b"\xff" * 3, b"\xff" * len(data)):
        with pytest.raises(StreamCorrupt):
            quick.QuickDecoder(quick.first_state().copy(), cut, []).read(samples.shape, level=0, orientation=0)


def test_effort_one_says_which_coder_it_used_and_meets_the_rate(cube, tmp_path):
    paths = {}
    for effort in (1, 2):
        for workers in (1, 3):
            paths[effort, workers] = tmp_path / f"{effort}_{workers}.plm"
            settings = EncodeSettings(bpppc=1.0, strength=0, effort=effort, workers=workers)
            report = encode(cube, settings, out=paths[effort, workers])
            assert abs(report.bpppc - 1) < 0.03
    assert paths[1, 1].read_bytes() == paths[1, 3].read_bytes()
    heads = [open_stream(paths[effort, 1]).head for effort in (1, 2)]
    assert heads[0]["version"] == 3
    assert [head.get("coder") for head in heads] == ["quick", None]
    values = [decode(paths[1, 1], workers=workers).data for workers in (1, 3)]
    assert np.array_equal(*values)
    assert np.abs(values[0].astype(int) - cube.data).max() < 200


def test_it_costs_no_more_than_it_may(cube):
    quality = [
        encode(cube, EncodeSettings(bpppc=0.6, strength=0, effort=effort), out=None).psnr_db for effort in (1, 5)
    ]
    assert quality[1] - 1.0 < quality[0] < quality[1] + 0.3


def test_exact_modes_use_the_mixing_coder_at_any_effort(cube, tmp_path):
    path = tmp_path / "bound.plm"
    encode(cube, EncodeSettings(mode="bound", max_error=40, strength=0, effort=1), out=path)
    assert "coder" not in open_stream(path).head
