"""The spectral level as bytes: exact both ways, cheaper for what is orthogonal or known, safe against damage."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest.codec.spectrum import basis_coder, spectral
from palimpsest.codec.spectrum.basis_coder import BasisState, decode_level, encode_learning, encode_level
from palimpsest.codec.spectrum.spectral import SpectralLevel, Statistics
from palimpsest.errors import FormatError, StreamCorrupt


def level_of(basis, shifts, mean=None, weights=None) -> SpectralLevel:
    bands = len(basis)
    mean = np.zeros(bands, np.int64) if mean is None else mean
    weights = np.full(bands, 256, np.int64) if weights is None else weights
    return SpectralLevel(mean, weights, np.asarray(basis, np.int64), np.asarray(shifts, np.int64), 1.0, 6)


def decoded(data, level, state=None) -> SpectralLevel:
    bands, components = level.basis.shape
    return decode_level(data, bands, components, 1.0, 6, state or BasisState.blank())


def same(one: SpectralLevel, two: SpectralLevel) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(two, name)) for name in ("mean", "weights", "basis", "shifts")
    )


def orthogonal(bands, seed=0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(bands, bands)))[0]


def smooth_levels(seeds, bands=60, components=8):
    """Bases of noise that is smooth along the spectrum."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        rough = np.cumsum(rng.normal(size=(bands, 4 * bands)), axis=0) + 0.3 * rng.normal(size=(bands, 4 * bands))
        vectors = np.linalg.eigh(np.cov(rough))[1][:, ::-1][:, :components]
        mean = np.rint(1000 + 50 * np.cumsum(rng.normal(size=bands))).astype(np.int64)
        yield level_of(np.rint(vectors * 128), np.full(components, 7), mean)


@settings(deadline=None, max_examples=25)
@given(
    bands=st.integers(1, 23), components=st.integers(1, 23), seed=st.integers(0, 999),
    size=st.sampled_from([0.3, 3.0, 1e4, 2.0**26]), far=st.sampled_from([0, 7, 1 << 20, 1 << 37]), even=st.booleans(),
)
def test_levels_of_any_shape_and_size_come_back(bands, components, seed, size, far, even):
    rng = np.random.default_rng(seed)
    components = min(components, bands)
    basis = np.clip(np.rint(rng.laplace(size=(bands, components)) * size), -(1 << 26), 1 << 26)
    weights = None if even else rng.integers(1, 1 << 15, bands)
    level = level_of(basis, rng.integers(0, 25, components), rng.integers(-far, far + 1, bands), weights)
    assert same(decoded(encode_level(level, BasisState.blank()), level), level)


def test_what_is_orthogonal_to_vectors_before_costs_less_than_what_is_not():
    bands = 48
    shifts = np.full(bands, 7)
    square = np.rint(orthogonal(bands) * 128)
    unrelated = np.rint(np.stack([orthogonal(bands, seed)[:, 0] for seed in range(1, bands + 1)], axis=1) * 128)
    sizes = [len(encode_level(level_of(basis, shifts), BasisState.blank())) for basis in (square, unrelated)]
    assert sizes[0] < 0.8 * sizes[1]


def test_vectors_under_a_metric_are_not_taken_for_orthogonal():
    bands, components = 40, 12
    metric = np.diag(np.linspace(0.3, 3.0, bands))
    basis = np.rint(128 * metric @ orthogonal(bands)[:, :components])
    level = level_of(basis, np.full(components, 7))
    data = encode_level(level, BasisState.blank())
    assert data[0] >= basis_coder.OBLIQUE
    assert len(data) < len(encode_learning(level, BasisState.blank()))
    assert same(decoded(data, level), level)


def test_the_last_vector_of_a_whole_basis_is_nearly_known():
    bands = 40
    basis, shifts = np.rint(orthogonal(bands) * 4096), np.full(bands, 12)
    sizes = [len(encode_level(level_of(basis[:, :n], shifts[:n]), BasisState.blank())) for n in (1, bands - 1, bands)]
    assert sizes[2] - sizes[1] < 0.25 * sizes[0]


def test_what_other_bases_taught_makes_a_basis_smaller_and_survives_its_tensors():
    state = BasisState.blank()
    for level in smooth_levels(range(12)):
        encode_learning(level, state)
    taught = basis_coder.unpacked(basis_coder.packed(state))
    fresh = next(smooth_levels([99]))
    data = encode_level(fresh, taught)
    assert len(data) < 0.95 * len(encode_level(fresh, BasisState.blank()))
    assert same(decoded(data, fresh, taught), fresh)
    assert data == encode_level(fresh, taught)  # what is known beforehand stays as it was


def test_tensors_that_do_not_fit_are_refused():
    tensors = basis_coder.packed(BasisState.blank())
    with pytest.raises(FormatError, match="first state of the basis"):
        basis_coder.unpacked({key: tensor for key, tensor in tensors.items() if key != "basis.expected"})
    with pytest.raises(FormatError, match="predictors"):
        basis_coder.unpacked(tensors | {"basis.taps": np.zeros((0, 3), np.int16)})


def test_the_bytes_of_a_level_are_those_of_the_format():
    # Whole numbers from a recurrence, so that every machine codes the same level.
    number, entries = 1, []
    for _ in range(30 * 12):
        number = number * 1103515245 + 12345 & 0x7FFFFFFF
        entries.append((number >> 16) % 41 - 20)
    basis = np.cumsum(np.reshape(entries, (30, 12)), axis=0)
    level = level_of(basis, np.full(12, 8), 1000 + 8 * basis[:, 0])
    for are_orthogonal, wanted in ((True, "436a1900d7144b5f"), (False, "f8697a4ff9638565")):
        data = encode_learning(level, BasisState.blank(), are_orthogonal=are_orthogonal)
        assert hashlib.sha256(data).hexdigest()[:16] == wanted


def test_damage_is_refused_or_gives_numbers_that_can_be_computed_with():
    level = next(smooth_levels([3], bands=30, components=6))
    whole = encode_level(level, BasisState.blank())
    rng = np.random.default_rng(4)
    refused = 0
    for turn in range(120):
        data = bytearray(whole)
        for _ in range(1 + turn % 5):
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        cut = bytes(data[: rng.integers(len(data) + 1)]) if turn % 3 == 0 else bytes(data)
        try:
            found = decoded(cut, level)
        except StreamCorrupt:
            refused += 1
            continue
        assert np.abs(found.basis).max() <= 1 << 26
        assert found.shifts.max() <= 24
    assert 0 < refused < 120
    with pytest.raises(StreamCorrupt, match="cut"):
        decoded(b"", level)


def test_a_basis_that_fewer_pixels_share_is_told_more_coarsely():
    covariance = np.diag(4.0 ** np.arange(8, 0, -1))
    shifts = [
        spectral.fit(Statistics(count, np.zeros(8), covariance, 1e3), np.ones(8), 1.0).shifts for count in (100, 10000)
    ]
    # A hundred times the pixels: ten times as fine.
    assert set((shifts[1] - shifts[0]).tolist()) <= {3, 4}
