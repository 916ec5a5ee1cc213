"""A decoded stream is denoised as data with the noise of the original, of which a coder with a rate leaves little."""

from dataclasses import replace

import numpy as np
import pytest

from palimpsest.codec.contract import EncodeSettings
from palimpsest.codec.decoder import decode, error_model
from palimpsest.codec.encoder import encode
from palimpsest.commands import main
from palimpsest.cubes import BandTable, Window
from palimpsest.errors import CubeRefused
from palimpsest.formats import read, write
from palimpsest.provenance.recompute import restore_again
from palimpsest.provenance.repeat import repeat
from palimpsest.restoration.denoising.coder_noise import as_before_coding
from palimpsest.restoration.repair import repair
from palimpsest.scenes import make_scene


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """A made scene with bands of very different noise, coded at half a bit: its clean values, stream and cube."""
    made = make_scene(32, 32, seed=4, kind="mixed")
    good = np.flatnonzero(made.observed.bands.good)[::3]
    clean = np.asarray(made.clean.data)[good].astype(np.float64)
    rng = np.random.default_rng(1)
    sigma = rng.uniform(0, 0.1, good.size)[:, None, None] * np.percentile(clean, 99.9)
    noisy = np.rint(clean + sigma * rng.standard_normal(clean.shape)).astype(np.float32)
    table = replace(made.observed.bands.select(good), reasons=np.zeros(0, np.uint8))
    stream = tmp_path_factory.mktemp("coded") / "noisy.plm"
    cube = replace(made.observed, data=noisy, bands=table, reasons=None)
    encode(cube, EncodeSettings(bpppc=0.5, effort=1), out=stream)
    return clean, stream, decode(stream)


def quality(clean, values):
    error = np.square(np.asarray(values, np.float64) - clean).mean(axis=(1, 2))
    return float(-10 * np.log10(error / np.percentile(clean, 99.9) ** 2).mean())


def restored(cube):
    return repair(cube, knowledge=None, is_searched=False, is_denoised=True, is_decoded=True)


def test_a_decoded_cube_says_how_large_the_coders_errors_are_and_keeps_saying_it_of_its_own_values_alone(coded):
    _, stream, cube = coded
    told = error_model(stream).band_rmse
    np.testing.assert_array_equal(cube.bands.coder_rmse, told)
    some = decode(stream, window=Window(0, 8, 0, 8), bands=[5, 2])
    np.testing.assert_array_equal(some.bands.coder_rmse, told[[5, 2]])
    assert decode(stream, level=1).bands.coder_rmse is None
    assert cube.with_data(cube.data, "altered").bands.coder_rmse is None


def test_exact_streams_and_cubes_of_other_files_tell_no_such_error(coded, tmp_path):
    cube = coded[2]
    whole = replace(cube, data=np.rint(cube.data).astype(np.int16), bands=replace(cube.bands, coder_rmse=None))
    for name, settings in (("lossless", {}), ("bound", {"max_error": 20.0})):
        encode(whole, EncodeSettings(mode=name, bpppc=None, **settings), out=tmp_path / "exact.plm")
        assert decode(tmp_path / "exact.plm").bands.coder_rmse is None
    write(cube, tmp_path / "cube.hdr")
    assert read(tmp_path / "cube.hdr").bands.coder_rmse is None


def test_noise_that_a_coder_left_does_not_pass_for_the_scene(coded):
    clean, _, cube = coded
    ours = restored(cube)
    blind = restored(replace(cube, bands=replace(cube.bands, coder_rmse=None)))
    assert quality(clean, ours.restored.data) > quality(clean, blind.restored.data) + 0.5
    assert quality(clean, ours.restored.data) > quality(clean, cube.data) + 3
    assert ours.report["factors"] < blind.report["factors"]
    wrong = np.abs(np.asarray(ours.restored.data, np.float64) - clean).reshape(-1)[ours.changed]
    assert (wrong <= ours.half_width).mean() > 0.75


def test_a_denoised_stream_is_restored_again_bit_by_bit_from_its_record(coded, tmp_path):
    places = [str(coded[1]), str(tmp_path / "out.hdr"), "--provenance", str(tmp_path / "p")]
    assert main(["restore", *places, "--knowledge", "none", "--denoise"]) == 0
    np.testing.assert_array_equal(read(tmp_path / "out.hdr").data, restored(decode(coded[1])).restored.data)
    assert repeat(tmp_path / "p", recompute=restore_again)["agreement"] == "bit-identical"


def test_drawn_errors_have_the_size_that_the_stream_tells_and_none_where_it_tells_none():
    values = np.ones((4000, 3), np.float32)
    drawn = as_before_coding(values, np.array([0.0, 0.1, 1.0])) - values
    np.testing.assert_allclose(drawn.std(0), [0, np.sqrt(2) * 0.1, np.sqrt(2)], rtol=0.05)


@pytest.mark.parametrize("rmse", [[0.1], [0.1, -1.0], [0.1, np.nan], [0.1, np.inf]])
def test_an_error_that_fits_no_band_or_is_no_size_is_refused(rmse):
    with pytest.raises(CubeRefused):
        BandTable(2, coder_rmse=np.array(rmse))
