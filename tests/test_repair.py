"""Defects nobody marked are found and named, stripes lose their offset, noise is taken off, and every sum is exact."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from cube_makers import plain_cube
from scipy.ndimage import gaussian_filter
from shared_data import SCENES, needs_shared

from palimpsest.commands import main
from palimpsest.cubes import Reason, Window
from palimpsest.formats import read, write
from palimpsest.provenance.recompute import restore_again
from palimpsest.provenance.record import Origin, write_provenance
from palimpsest.provenance.repeat import repeat
from palimpsest.restoration import ProvenanceClass
from palimpsest.restoration.defects.defect_search import search
from palimpsest.restoration.denoising.denoiser import denoise
from palimpsest.restoration.denoising.spatial_prior import denoise_images
from palimpsest.restoration.factors.robust_factors import fit_robust
from palimpsest.restoration.repair import quieted, repair

ROWS, COLS, BANDS = 48, 52, 40


def clean_scene(seed=0):
    """Fields with sharp borders and smooth hills, five spectra, ``(band, row, col)`` about 0.5."""
    rng = np.random.default_rng(seed)
    maps = np.stack([gaussian_filter(rng.normal(size=(ROWS, COLS)), s) for s in (2, 3, 4, 6, 8)])
    maps = maps / maps.std(axis=(1, 2), keepdims=True)
    maps[:2] = np.sign(maps[:2])
    at = np.linspace(0, 1, BANDS)
    spectra = np.stack([np.sin((1 + k) * at + k) for k in range(5)])
    return 0.5 + 0.06 * np.einsum("kb,krc->brc", spectra, maps)


def noisy_scene(sigma=0.02, seed=0):
    clean = clean_scene(seed)
    noise = np.random.default_rng(seed + 1).normal(size=clean.shape)
    return clean, (clean + sigma * noise).astype(np.float32)


def rms(difference):
    return float(np.sqrt(np.square(difference).mean()))


def test_impulses_in_noise_are_found_and_little_else():
    clean, data = noisy_scene()
    struck = np.zeros(data.shape, bool)
    rng = np.random.default_rng(3)
    for band in (7, 19, 30):
        struck[band] = rng.random(clean.shape[1:]) < 0.08
    sign = rng.choice([-1, 1], int(struck.sum()))
    data[struck] += sign * rng.uniform(0.2, 0.4, sign.size)
    reasons = search(plain_cube(data)).cube.voxel_reasons()
    assert (reasons[struck] == Reason.IMPULSE).mean() > 0.97
    assert (reasons[~struck] != Reason.GOOD).mean() < 1e-4


def test_stripes_weaker_than_three_sigmas_of_a_voxel_are_found_with_their_offset():
    _, data = noisy_scene()
    truth = np.zeros((BANDS, COLS))
    rng = np.random.default_rng(4)
    for band in rng.choice(BANDS, 13, replace=False):
        cols = rng.choice(COLS, 7, replace=False)
        truth[band, cols] = rng.choice([-1, 1], 7) * rng.uniform(0.05, 0.15, 7)
    data += truth[:, None, :].astype(np.float32)
    found = search(plain_cube(data))
    assert ((found.offsets != 0) & (truth != 0)).sum() / (truth != 0).sum() > 0.97
    assert ((found.offsets != 0) & (truth == 0)).sum() <= 2
    hit = (found.offsets != 0) & (truth != 0)
    assert rms(found.offsets[hit] - truth[hit]) < 0.01
    marked = found.marked().cube.voxel_reasons()
    assert (marked[:, 0, :] == Reason.STRIPE).sum() == (found.offsets != 0).sum()


def test_rows_that_stripe_are_found_too_beside_striped_columns():
    _, data = noisy_scene()
    rng = np.random.default_rng(8)
    rows, cols = np.zeros((BANDS, ROWS)), np.zeros((BANDS, COLS))
    for band in rng.choice(BANDS, 10, replace=False):
        rows[band, rng.choice(ROWS, 5, replace=False)] = rng.uniform(0.05, 0.15)
        cols[band, rng.choice(COLS, 5, replace=False)] = -rng.uniform(0.05, 0.15)
    data += (rows[:, :, None] + cols[:, None, :]).astype(np.float32)
    found = search(plain_cube(data))
    for told, truth in ((found.row_offsets, rows), (found.offsets, cols)):
        hit = (told != 0) & (truth != 0)
        assert hit.sum() / (truth != 0).sum() > 0.95
        assert ((told != 0) & (truth == 0)).sum() <= 2
        assert rms(told[hit] - truth[hit]) < 0.012
    marked = found.marked().cube.voxel_reasons()
    expected = (found.row_offsets != 0)[:, :, None] | (found.offsets != 0)[:, None, :]
    np.testing.assert_array_equal(marked == Reason.STRIPE, expected)


def test_a_number_that_repeats_is_a_fault_in_any_noise_unless_the_ground_is_clipped_there():
    _, data = noisy_scene(sigma=0.1)
    struck = np.random.default_rng(9).random(data.shape[1:]) < 0.08
    data[12][struck] = 0.4  # in the midst of the band's own values
    clipped = data[25] < np.percentile(data[25], 10)
    data[25][clipped] = np.percentile(data[25], 10)
    reasons = search(plain_cube(data)).cube.voxel_reasons()
    assert (reasons[12][struck] == Reason.IMPULSE).all()
    assert (reasons[12][~struck] != Reason.GOOD).mean() < 1e-3
    assert (reasons[25] != Reason.GOOD).mean() < 0.01


def test_an_undamaged_scene_raises_no_alarm_and_a_bright_object_is_no_defect():
    _, data = noisy_scene()
    data[:, 20, 20] += 0.3  # in all bands: a thing and no fault
    data[10:14, 30:33, 8:11] += 0.1  # a feature of nine pixels and four bands
    found = search(plain_cube(data))
    assert (found.cube.voxel_reasons() != Reason.GOOD).mean() < 1e-4
    assert not found.offsets.any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 30, 30), (30, 1, 1), (60, 5, 6), (3, 1, 40), (200, 6, 7)])
def test_tiny_cubes_are_searched_and_denoised_or_left_alone_and_never_crash(shape):
    data = np.random.default_rng(0).normal(100, 5, shape).astype(np.float32)
    result = repair(plain_cube(data), knowledge=None, is_denoised=True)
    assert result.is_exact()
    assert np.isfinite(result.restored.data).all()


def test_constant_and_empty_values_are_no_reason_to_fail():
    data = np.random.default_rng(0).normal(100, 5, (20, 16, 17)).astype(np.float32)
    data[3], data[:, 5] = 7.0, np.nan  # a dead band, and a row without data
    result = repair(plain_cube(data), knowledge=None, is_denoised=True)
    assert result.is_exact()
    assert np.isnan(result.restored.data[:, 5]).all()
    assert np.isfinite(np.delete(result.restored.data, 5, axis=1)).all()


def test_the_spatial_prior_beats_the_wiener_filter_and_knows_its_variance():
    maps = np.moveaxis(clean_scene(), 0, 2)[:, :, ::8] * 30
    maps = maps - maps.mean((0, 1))
    noisy = (maps + np.random.default_rng(5).normal(size=maps.shape)).astype(np.float32)
    power = maps.var((0, 1))
    found = denoise_images(noisy, power)
    wiener = noisy * (power / (power + 1))
    assert rms(found.images - maps) < 0.7 * rms(wiener - maps)
    assert 0.4 < np.square(found.images - maps).mean() / found.variance.mean() < 2.5


def test_denoising_takes_most_of_the_noise_and_keeps_a_narrow_feature_of_one_pixel():
    clean, data = noisy_scene()
    clean[15:18, 24, 26] -= 0.2
    data[15:18, 24, 26] -= np.float32(0.2)
    values = np.ascontiguousarray(data.reshape(BANDS, -1).T)
    usable = np.ones(values.shape, bool)
    fitted = fit_robust(values, usable, ROWS, COLS)
    found = denoise(values, usable, fitted.model, ROWS, COLS).values.T.reshape(data.shape)
    assert rms(found - clean) < 0.3 * 0.02
    depth = found[15:18, 24, 26] - (clean[15:18, 24, 26] + 0.2)
    assert (depth < -0.12).all()


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_what_was_taken_off_is_named_summed_exactly_and_covered(dtype):
    clean, data = noisy_scene()
    scale = 10000 if dtype == "int16" else 1
    data[9, :, 10] += 0.1
    data[22, 11, 13] = 1.5
    cube = plain_cube(np.rint(data * scale).astype(dtype) if scale > 1 else data)
    result = repair(cube, knowledge=None, is_denoised=True)
    assert result.is_exact()
    assert {"stripe.offset", "correlation.denoise", "damage"} <= {d.source for d in result.decisions}
    names = {p.why.source for p in result.contributions_at(20, 10) if p.band == 9}
    assert {"stripe.offset", "correlation.denoise"} <= names
    assert result.classes[9, 20, 10] == ProvenanceClass.DENOISED
    assert result.reasons[22, 11, 13] == Reason.IMPULSE
    error = np.abs(result.restored.data / scale - clean)
    assert rms(error) < 0.3 * 0.02
    inside = error.reshape(-1)[result.changed] <= result.half_width / scale
    assert 0.8 < inside.mean() <= 1.0
    np.testing.assert_array_equal(result.decoded.data, cube.data)


def test_without_being_asked_measured_voxels_stay_and_a_stripe_in_little_noise_is_moved_back():
    clean, data = noisy_scene(sigma=0.0005)
    # What the factors cannot say, and so a voxel's own measurement is worth more than its prediction.
    own = 0.004 * gaussian_filter(np.random.default_rng(8).normal(size=data.shape), (0, 2, 2)) * 7
    clean, data = clean + own, data + own.astype(np.float32)
    data[9, :, 10] += np.float32(0.1)
    result = repair(plain_cube(data), knowledge=None)
    touched = np.zeros(data.size, bool)
    touched[result.changed] = True
    touched = touched.reshape(data.shape)
    assert touched[9, :, 10].all()
    assert touched.sum() == ROWS
    np.testing.assert_array_equal(result.restored.data[~touched], data[~touched])
    assert result.is_exact()
    assert [d.source for d in result.decisions] == ["stripe.offset"]
    assert rms(result.restored.data[9, :, 10] - clean[9, :, 10]) < 0.004


def test_a_denoised_record_is_made_again_bit_by_bit(tmp_path):
    _, data = noisy_scene()
    data[9, :, 10] += 0.1
    write(plain_cube(data[:, :24, :24]), tmp_path / "made.hdr")
    result = repair(read(tmp_path / "made.hdr"), knowledge=None, is_denoised=True)
    origin = Origin.of_file(tmp_path / "made.hdr", {"searched": True, "denoised": True})
    write_provenance(result, tmp_path / "p", origin, tile=16)
    assert repeat(tmp_path / "p", recompute=restore_again)["agreement"] == "bit-identical"


def test_the_verb_denoises_one_cube(tmp_path, capsys):
    clean, data = noisy_scene()
    write(plain_cube(data), tmp_path / "in.hdr")
    places = [str(tmp_path / "in.hdr"), str(tmp_path / "out.hdr")]
    assert main(["restore", *places, "--knowledge", "none", "--denoise", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["exact"]
    assert rms(read(tmp_path / "out.hdr").data - clean) < 0.3 * 0.02
    assert main(["restore", *places, "--knowledge", "none", "--json"]) == 0
    np.testing.assert_array_equal(read(tmp_path / "out.hdr").data, data)


def test_the_verb_denoises_a_group_and_makes_it_again_bit_by_bit(tmp_path, capsys):
    clean, first = noisy_scene()
    second = first + 0.02 * np.random.default_rng(8).standard_normal(first.shape).astype(np.float32)
    paths = [str(tmp_path / f"{name}.hdr") for name in ("one", "two")]
    for path, data in zip(paths, (first, second), strict=True):
        data[4, :, 3:5] = 0
        write(plain_cube(data), path)
    asked = ["restore", *paths, str(tmp_path / "out"), "--group", "--denoise", "--knowledge", "none"]
    assert main([*asked, "--provenance", str(tmp_path / "p"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert all(cube["exact"] for cube in told["cubes"])
    answer = read(tmp_path / "out" / "one.hdr").data
    whole = np.ones(clean.shape, bool)
    whole[4, :, 3:5] = False
    assert rms((answer - clean)[whole]) < 0.4 * rms((first - clean)[whole])
    assert repeat(tmp_path / "p", recompute=restore_again)["agreement"] == "bit-identical"


@needs_shared
@pytest.mark.parametrize("name", ["airport_2", "gatorsense"])
def test_real_scenes_raise_next_to_nothing_in_the_search(name):
    cube = read(SCENES / f"{name}.hdr").window(Window(16, 64, 16, 64))
    found = search(cube).marked()
    newly = (found.cube.voxel_reasons() != cube.voxel_reasons()) & found.cube.bands.good[:, None, None]
    assert newly.mean() < 1e-4


def test_damaged_voxels_take_the_denoisers_own_answer_where_noise_is_taken_off():
    clean, data = noisy_scene()
    lost = np.zeros(data.shape, bool)
    lost[9, :, 10:13] = True
    data[lost] = 0
    done = repair(plain_cube(data), knowledge=None, is_denoised=True, is_searched=False, mask=~lost)
    without = repair(plain_cube(data), knowledge=None, is_searched=False, mask=~lost)
    assert done.is_exact()
    assert rms((done.restored.data - clean)[lost]) < rms((without.restored.data - clean)[lost])
    half = done.half_width[np.isin(done.changed, np.flatnonzero(lost))]
    covered = np.abs((done.restored.data - clean)[lost]) <= half
    assert 0.7 < covered.mean() <= 1


def test_noise_is_taken_off_before_coding_when_compress_is_asked_to(tmp_path, capsys):
    clean, data = noisy_scene()
    cube = plain_cube(np.rint(data * 10000).astype(np.int16))
    write(cube, tmp_path / "noisy.hdr")
    for name, more in (("as_it_is", []), ("quiet", ["--denoise"])):
        out = str(tmp_path / f"{name}.plm")
        assert main(["compress", str(tmp_path / "noisy.hdr"), out, "--bpppc", "0.5", "--json", *more]) == 0
        assert main(["decompress", out, str(tmp_path / f"{name}.hdr"), "--json"]) == 0
    capsys.readouterr()
    error = {name: rms(read(tmp_path / f"{name}.hdr").data / 10000 - clean) for name in ("as_it_is", "quiet")}
    assert error["quiet"] < 0.35 * 0.02
    assert error["quiet"] < 0.6 * error["as_it_is"]


def test_what_is_coded_without_noise_keeps_its_unusable_voxels_and_its_sum():
    _, data = noisy_scene()
    reasons = np.zeros(data.shape, np.uint8)
    reasons[4, 10:14, 20] = Reason.NODATA
    data[4, 10:14, 20] = -9.0
    cube = replace(plain_cube(data), reasons=reasons)
    done = quieted(cube, None)
    assert done.is_exact()
    assert (done.restored.data[4, 10:14, 20] == -9.0).all()
    np.testing.assert_array_equal(done.restored.voxel_reasons(), cube.voxel_reasons())
    assert "denoised" in done.restored.history[-1]
    small = plain_cube(data[:3, :4, :4])
    left = quieted(small, None)
    assert "remark" in left.report
    np.testing.assert_array_equal(left.restored.data, small.data)
