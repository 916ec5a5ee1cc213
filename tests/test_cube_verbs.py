"""The verbs that look at cubes: info, convert, compare; and the exit codes that they promise."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import scipy.io
from cube_makers import made_cube, plain_cube
from shared_data import SCENES, needs_shared

from palimpsest.commands import main
from palimpsest.formats import read, write


def answer_of(capsys, *words):
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


def test_info_tells_what_a_cube_is(tmp_path, capsys):
    write(made_cube(), tmp_path / "x.hdr")
    code, found, _ = answer_of(capsys, "info", tmp_path / "x.hdr", "--json")
    assert code == 0
    assert (found["bands"], found["rows"], found["cols"], found["dtype"]) == (5, 4, 6, "int16")
    assert found["bad_bands"] == {"1": "opaque"}
    assert found["usable_share"] + sum(found["unusable"].values()) == pytest.approx(1, abs=1e-5)
    assert found["wavelengths_nm"][0] == pytest.approx(400.458, abs=1e-3)
    assert found["georeference"]["transform"][0] == 30.0


def test_info_of_an_empty_cube_says_so_and_does_not_crash(tmp_path, capsys):
    write(plain_cube(np.full((1, 1, 1), np.nan, np.float32), nodata=float("nan")), tmp_path / "x.npy")
    code, found, _ = answer_of(capsys, "info", tmp_path / "x.npy", "--json", "--verify")
    assert (code, found["minimum"], found["unusable"], found["nodata"]) == (0, None, {"nodata": 1.0}, "nan")


def test_info_of_a_large_cube_counts_some_rows_and_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("palimpsest.commands.info.LARGEST_COUNT", 60)
    write(plain_cube(np.arange(120, dtype=np.int16).reshape(3, 8, 5)), tmp_path / "x.hdr")
    _, found, _ = answer_of(capsys, "info", tmp_path / "x.hdr", "--json")
    assert (found["counted"].split(";")[0], found["usable_share"]) == ("one row in 2", 1.0)
    _, found, _ = answer_of(capsys, "info", tmp_path / "x.hdr", "--json", "--verify")
    assert "counted" not in found


def test_info_answers_within_a_second(tmp_path):
    write(made_cube(), tmp_path / "x.hdr")
    command = [sys.executable, "-m", "palimpsest", "info", str(tmp_path / "x.hdr")]
    subprocess.run(command, check=True, capture_output=True)  # byte code and file cache
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 1.0
    code = (
        "import sys; from palimpsest.commands import main; main(['info', sys.argv[1]]); "
        "heavy = {'torch', 'rasterio', 'rdflib', 'scipy', 'h5py', 'zarr', 'xarray', 'sqlalchemy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.hdr")], check=True, capture_output=True)


@pytest.mark.parametrize("suffix", [".hdr", ".tif", ".nc", ".zarr", ".npy"])
def test_convert_goes_from_every_format_to_every_format(tmp_path, suffix, capsys):
    cube = made_cube()
    write(cube, tmp_path / "a.hdr")
    assert main(["convert", str(tmp_path / "a.hdr"), str(tmp_path / f"b{suffix}")]) == 0
    assert main(["convert", str(tmp_path / f"b{suffix}"), str(tmp_path / "c.hdr"), "--json"]) == 0
    back = read(tmp_path / "c.hdr")
    np.testing.assert_array_equal(back.data, cube.data)
    np.testing.assert_array_equal(back.bands.centre_nm, cube.bands.centre_nm)
    np.testing.assert_array_equal(back.reasons, cube.reasons)


@pytest.mark.parametrize(("axes", "order"), [("brc", (0, 1, 2)), ("rcb", (1, 2, 0)), ("rbc", (1, 0, 2))])
@pytest.mark.parametrize("kind", ["npy", "mat", "mat73"])
def test_bare_arrays_are_converted_when_their_axes_are_told(tmp_path, axes, order, kind, capsys):
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    source = tmp_path / f"x.{kind[:3]}"
    array = np.ascontiguousarray(data.transpose(order))
    if kind == "npy":
        np.save(source, array)
    elif kind == "mat":
        scipy.io.savemat(source, {"cube": array, "map": np.ones((3, 4))})
    else:
        with h5py.File(source, "w", userblock_size=512) as f:
            f["cube"] = array.T
        with source.open("r+b") as f:
            f.write(b"MATLAB 7.3 MAT-file")
    (tmp_path / "w.txt").write_text("# band centre fwhm\n1 0.5 0.01\n2 0.6 0.012\n")
    words = ["--wavelengths", tmp_path / "w.txt", "--fwhm", tmp_path / "w.txt", "--nodata", "3", "--scale", "0.5"]
    code, _, _ = answer_of(capsys, "convert", source, tmp_path / "y.hdr", "--axes", axes, *words, "--json")
    cube = read(tmp_path / "y.hdr")
    np.testing.assert_array_equal(cube.data, data)
    assert (code, cube.nodata, cube.scale) == (0, 3.0, 0.5)
    np.testing.assert_allclose(cube.bands.centre_nm, [500, 600])
    np.testing.assert_allclose(cube.bands.fwhm_nm, [10, 12])


@pytest.mark.parametrize("name", ["x.npy", "x.mat"])
def test_untold_axes_are_refused_with_the_command_that_helps(tmp_path, name, capsys):
    path = tmp_path / name
    (np.save if name == "x.npy" else lambda p, a: scipy.io.savemat(p, {"cube": a}))(path, np.zeros((2, 3, 4)))
    for words in (["info", path], ["convert", path, tmp_path / "y.hdr"]):
        code, found, err = answer_of(capsys, *words, "--json")
        assert (code, found["exit_code"]) == (3, 3)
        assert f"palimpsest convert {path} x.hdr --axes rcb" in err


def test_values_that_fit_are_narrowed_and_others_refused(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.arange(8).reshape(2, 2, 2))
    assert main(["convert", str(tmp_path / "x.npy"), str(tmp_path / "y.hdr"), "--axes", "brc"]) == 0
    assert read(tmp_path / "y.hdr").data.dtype == np.int32
    np.save(tmp_path / "x.npy", np.full((2, 2, 2), 2**40))
    assert main(["convert", str(tmp_path / "x.npy"), str(tmp_path / "y.hdr"), "--axes", "brc"]) == 3
    np.save(tmp_path / "x.npy", np.ones((2, 2, 2), complex))
    assert main(["convert", str(tmp_path / "x.npy"), str(tmp_path / "y.hdr"), "--axes", "brc"]) == 3
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--scale", "-1"], 2), (["--axes", "brc"], 2), (["--variable", "x"], 2), (["--fwhm", "w.txt"], 2),
        (["--wavelengths", "missing.txt"], 3), (["--wavelengths", "w.txt"], 3),
    ],
)
def test_wrong_use_of_convert_has_its_exit_code(tmp_path, words, code, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(made_cube(), tmp_path / "x.hdr")
    (tmp_path / "w.txt").write_text("400\n500\n")  # two lines for five bands
    assert main(["convert", "x.hdr", "y.hdr", *words]) == code
    assert main(["convert", "x.hdr", "y.jpg"]) == 3
    assert main(["convert", "x.hdr", "nowhere/y.hdr"]) == 3
    assert not (tmp_path / "y.hdr").exists()
    assert "Traceback" not in capsys.readouterr().err


def test_compare_gives_the_keys_of_the_rivals_and_null_for_what_cannot_be_said(tmp_path, capsys):
    rng = np.random.default_rng(2)
    data = rng.integers(1, 999, (3, 5, 6)).astype(np.int16)
    write(plain_cube(data), tmp_path / "a.hdr")
    write(plain_cube(data + np.int16(2)), tmp_path / "b.tif")
    code, found, _ = answer_of(capsys, "compare", tmp_path / "a.hdr", tmp_path / "b.tif", "--json")
    assert code == 0
    assert {"psnr_db", "snr_db", "rmse", "sam_deg", "max_error"} <= set(found)
    assert (found["rmse"], found["max_error"]) == (2.0, 2.0)
    assert "label_agreement" not in found
    write(plain_cube(data[:2]), tmp_path / "c.hdr")
    assert answer_of(capsys, "compare", tmp_path / "a.hdr", tmp_path / "c.hdr", "--json")[0] == 3
    write(plain_cube(0 * data, nodata=0.0), tmp_path / "d.hdr")
    code, found, _ = answer_of(capsys, "compare", tmp_path / "a.hdr", tmp_path / "d.hdr", "--json")
    assert (code, found["psnr_db"], found["lost_voxels"]) == (0, None, data.size)


@needs_shared
def test_compare_of_a_real_scene_counts_labels(capsys):
    scene = SCENES / "gatorsense.hdr"
    code, found, _ = answer_of(capsys, "compare", scene, scene, "--json")
    assert (code, found["label_agreement"], found["depth_error"]) == (0, 1.0, 0.0)
    assert found["named_pixels"] > 1000


def test_a_fault_of_ours_is_named_as_one_and_shows_where_when_asked(monkeypatch, capsys):
    from palimpsest.commands import info

    def broken(options):
        raise ZeroDivisionError("seven by nought")

    monkeypatch.setattr(info, "run", broken)
    with pytest.raises(ZeroDivisionError):
        main(["info", "x.hdr"])
    monkeypatch.delenv("PALIMPSEST_TRACEBACK")
    assert main(["info", "x.hdr", "--json"]) == 70
    told = capsys.readouterr()
    assert "fault of palimpsest" in told.err
    assert json.loads(told.out)["exit_code"] == 70
