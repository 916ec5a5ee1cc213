"""Noise is measured, defects are found and named, clean scenes raise next to nothing, and steps can be undone."""

from __future__ import annotations

import numpy as np
import pytest
from cube_makers import plain_cube
from shared_data import SCENES, needs_shared

from palimpsest.cubes import BandTable, Cube, Reason
from palimpsest.cubes.defects import exact_defects, find_defects
from palimpsest.cubes.noise import noise_sigma
from palimpsest.cubes.preprocess import denormalise, mark_defects, normalise
from palimpsest.errors import CubeRefused
from palimpsest.formats import read

FALSE_ALARMS = 1e-3  # of the voxels, in a made scene whose sharp fields are harder than most ground


def scene(bands=40, rows=48, cols=52, seed=0, noise=8.0):
    """A smooth low-rank scene with edges, float32, about 1000 on the mean, with noise; and the sigma per band."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    maps = np.stack([gaussian_filter(rng.normal(size=(rows, cols)), s) for s in (1.5, 3, 5)])
    maps = maps / maps.std(axis=(1, 2), keepdims=True)
    maps[0] = np.sign(maps[0])  # fields with sharp borders
    at = np.linspace(0, 1, bands)
    spectra = np.stack([np.sin(2 * at + k) + 0.3 * np.cos((3 + k) * at) for k in range(3)])
    clean = 1000 + 150 * np.einsum("kb,krc->brc", spectra, maps)
    sigma = noise * rng.uniform(0.5, 1.5, bands)
    return (clean + sigma[:, None, None] * rng.normal(size=clean.shape)).astype(np.float32), sigma


def test_noise_is_measured_to_a_fifth():
    data, sigma = scene()
    np.testing.assert_allclose(noise_sigma(plain_cube(data)), sigma, rtol=0.2)


def test_masked_and_struck_voxels_do_not_raise_the_noise():
    data, sigma = scene()
    rng = np.random.default_rng(1)
    data[rng.random(data.shape) < 0.002] = 1e5  # impulses
    data[:, :5] = np.nan
    np.testing.assert_allclose(noise_sigma(plain_cube(data)), sigma, rtol=0.35)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 30, 30), (30, 1, 1), (60, 5, 6), (3, 1, 40), (200, 6, 7)])
def test_tiny_cubes_are_measured_or_left_open_and_never_crash(shape):
    data = np.random.default_rng(0).normal(100, 5, shape).astype(np.float32)
    sigma = noise_sigma(plain_cube(data))
    assert sigma.shape == (shape[0],)
    assert np.isnan(sigma).all() or (sigma >= 0).all()
    cube = mark_defects(plain_cube(data))
    np.testing.assert_array_equal(cube.data, data)


def test_constant_and_empty_cubes_are_left_alone():
    for value in (0.0, np.nan):
        cube = plain_cube(np.full((12, 10, 11), value, np.float32), nodata=float("nan"))
        assert not find_defects(cube).counts()
        assert mark_defects(cube) is cube


def test_dead_lines_of_either_direction_are_found_and_nothing_else():
    data, _ = scene()
    struck = np.zeros(data.shape, bool)
    struck[7, :, 20:23] = True
    struck[30, 11, :] = True
    data[struck] = 0
    found = find_defects(plain_cube(data))
    np.testing.assert_array_equal(found.voxels == Reason.DEAD, struck)
    assert (found.voxels[~struck] > 0).mean() < FALSE_ALARMS


def test_stripes_are_found_also_where_they_are_neighbours():
    data, _ = scene()
    data[9, :, 10] += 120
    data[9, :, 30] -= 90
    data[25, :, 40] += 100
    voxels = find_defects(plain_cube(data)).voxels
    for band, cols in ((9, [10, 30]), (25, [40])):
        assert np.flatnonzero((voxels[band] == Reason.STRIPE).all(axis=0)).tolist() == cols
    assert (voxels == Reason.STRIPE).sum() == 3 * data.shape[1]


def test_impulses_are_found_and_the_ground_is_not_taken_for_one():
    data, _ = scene()
    rng = np.random.default_rng(3)
    data[:, 20, 20] += 600  # a bright object: in all bands
    struck = np.zeros(data.shape, bool)
    struck[12] = rng.random(data.shape[1:]) < 0.03
    struck[12, 19:22, 19:22] = False
    data[struck] = np.where(rng.random(struck.sum()) < 0.5, 0, 2500)
    voxels = find_defects(plain_cube(data)).voxels
    hit = voxels != Reason.GOOD
    assert hit[struck].mean() > 0.95
    assert hit[~struck].mean() < FALSE_ALARMS
    assert not hit[:, 20, 20].any()


def test_saturated_voxels_are_found():
    data, _ = scene()
    values = np.rint(data).astype(np.uint16)
    limit = np.uint16(np.percentile(values[5], 95))
    values[5] = np.minimum(values[5], limit)
    found = find_defects(plain_cube(values))
    np.testing.assert_array_equal(found.voxels[5] == Reason.SATURATED, values[5] == limit)
    assert not (found.voxels[[b for b in range(40) if b != 5]] == Reason.SATURATED).any()


def test_bands_without_signal_get_their_reason():
    data, _ = scene()
    rng = np.random.default_rng(5)
    centre = np.linspace(1000, 2170, 40)  # 30 nm apart: 1360, 1390, 1420 and 1810 ... 1930 lie in the windows
    data[12], data[13], data[14] = 0, rng.normal(0, 5, data[12].shape), rng.normal(0, 5, data[12].shape)
    data[3] = 7
    data[36] = rng.normal(0, 30, data[36].shape)
    cube = Cube(data, BandTable(40, centre))
    marked = mark_defects(cube)
    reasons = {int(b): Reason(marked.bands.reasons[b]) for b in np.flatnonzero(~marked.bands.good)}
    assert reasons == {3: Reason.DEAD, 12: Reason.OPAQUE, 13: Reason.OPAQUE, 14: Reason.OPAQUE, 36: Reason.NOISY}
    assert marked.history[-1].startswith("defects marked: 1 bands dead, 3 bands opaque, 1 bands noisy")
    assert cube.bands.good.all()


def test_reasons_that_are_known_already_are_kept():
    data, _ = scene()
    known = np.zeros(data.shape, np.uint8)
    known[7, :, 20] = Reason.USER
    data[7, :, 20:22] = 0
    marked = mark_defects(plain_cube(data, reasons=known))
    assert (marked.reasons[7, :, 20] == Reason.USER).all()
    assert (marked.reasons[7, :, 21] == Reason.DEAD).all()


@needs_shared
@pytest.mark.parametrize(("name", "share"), [("airport_1", 1e-4), ("enmap_crop", 2e-3), ("gatorsense", 1e-4)])
def test_real_scenes_raise_next_to_nothing(name, share):
    found = find_defects(read(SCENES / f"{name}.hdr"))
    assert (found.voxels > 0).mean() < share
    assert set(np.unique(found.bands)) <= {Reason.GOOD, Reason.OPAQUE, Reason.DEAD}
    # GatorSense keeps its water-vapour bands, zeroed
    assert (found.bands > 0).sum() == (43 if name == "gatorsense" else 0)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_normalisation_is_undone_bit_for_bit(dtype):
    rng = np.random.default_rng(8)
    if np.dtype(dtype).kind == "f":
        data = (rng.normal(size=(4, 6, 7)) * 10.0 ** rng.integers(-30, 30, (4, 6, 7))).astype(dtype)
        data[0, 0] = [np.nan, np.inf, -np.inf, 0, -0.0, 1e-38, 1]
    else:
        limits = np.iinfo(dtype)
        data = rng.integers(limits.min, limits.max, (4, 6, 7), endpoint=True).astype(dtype)
    cube = plain_cube(data, nodata=3.0, scale=1e-4)
    normal = normalise(cube)
    assert normal.data.dtype == np.float64
    back = denormalise(normal)
    assert back.data.tobytes() == data.tobytes()
    assert (back.nodata, back.scale, back.history) == (3.0, 1e-4, ())
    with pytest.raises(CubeRefused, match="nothing to undo"):
        denormalise(cube)


def test_normalised_bands_lie_about_one():
    data, _ = scene()
    normal = normalise(plain_cube(np.rint(data * np.linspace(0.1, 30, 40)[:, None, None]).astype(np.int32)))
    spread = np.abs(normal.data).mean(axis=(1, 2))
    assert (spread > 0.3).all()
    assert (spread < 1.5).all()


def test_a_band_with_many_dead_lines_is_no_noisy_band():
    data, _ = scene(rows=32, cols=32)
    rng = np.random.default_rng(2)
    dead = {band: rng.choice(32, 12, replace=False) for band in (5, 17, 30)}
    for band, columns in dead.items():
        data[band][:, columns] = 0
    found = exact_defects(plain_cube(data))
    assert not found.bands.any()
    for band, columns in dead.items():
        assert (found.voxels[band][:, columns] == Reason.DEAD).all()
    assert (found.voxels == Reason.DEAD).sum() == 3 * 12 * 32


def test_a_line_that_is_dead_in_a_noisy_band_is_named():
    data, _ = scene(rows=32, cols=32)
    data[9] = 1000 + 800 * np.random.default_rng(3).normal(size=data[9].shape)
    data[9][:, 4] = 0
    found = exact_defects(plain_cube(data))
    assert found.bands[9] == Reason.NOISY
    assert (found.voxels[9][:, 4] == Reason.DEAD).all()
    marked = mark_defects(plain_cube(data), found).voxel_reasons()[9]
    assert (marked[:, 4] == Reason.DEAD).all()
    assert (np.delete(marked, 4, axis=1) == Reason.NOISY).all()
