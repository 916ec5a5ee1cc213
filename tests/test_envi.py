"""ENVI as it is met in the wild: layouts, spellings, disagreements, and the way back."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from cube_makers import made_cube, plain_cube
from shared_data import SCENES, needs_shared

from palimpsest.cubes import Window
from palimpsest.errors import FormatError, HeaderMismatch
from palimpsest.formats import read, write
from palimpsest.formats.envi import DTYPE_OF_CODE, Envi


def raw_envi(folder, data, extra="", *, interleave="bsq", order=0, offset=0, code=None):
    """An ENVI pair written by hand, not by the writer under test."""
    axes = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}[interleave]
    stored = data.transpose(axes).astype(data.dtype.newbyteorder(">" if order else "<"))
    (folder / "x.img").write_bytes(b"\7" * offset + stored.tobytes())
    number = code or {name: key for key, name in DTYPE_OF_CODE.items()}[data.dtype.name]
    (folder / "x.hdr").write_text(
        f"ENVI\nSamples = {data.shape[2]}\nLINES   = {data.shape[1]}\nbands={data.shape[0]}\n"
        f"Header Offset = {offset}\ndata type = {number}\ninterleave = {interleave.upper()}\nbyte order = {order}\n"
        + extra,
        encoding="utf-8",
    )
    return folder / "x.hdr"


@pytest.mark.parametrize("dtype", DTYPE_OF_CODE.values())
@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("order", [0, 1])
def test_every_layout_gives_the_same_cube(tmp_path, dtype, interleave, order):
    data = np.random.default_rng(1).integers(0, 200, (3, 4, 5)).astype(dtype)
    header = raw_envi(tmp_path, data, interleave=interleave, order=order, offset=7)
    for path in (header, tmp_path / "x.img"):
        cube = read(path)
        np.testing.assert_array_equal(cube.data, data)
        assert cube.data.dtype == np.dtype(dtype)
    Envi(interleave=interleave, big_endian=bool(order)).write(cube, tmp_path / "again.hdr")
    np.testing.assert_array_equal(read(tmp_path / "again.img").data, data)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("wavelength = {400.5,\n 500, 600.25}\nwavelength units = Nanometers", ""),
        ("Wavelengths = {400.5, 500, 600.25,}\nwavelength units = nm", ""),
        ("wavelength = {0.4005, 0.5, 0.60025}\nwavelength units = Micrometers", ""),
        ("wavelength = {0.4005, 0.5, 0.60025}\nwavelength units = µm", ""),
        ("wavelength = {0.4005 0.5 0.60025}\nwavelength units = um", ""),
        ("wavelength = {0.4005, 0.5, 0.60025}\nwavelength units = Micron", ""),
        ("wavelength = {400.5, 500, 600.25}", "no unit"),
        ("wavelength = {0.4005, 0.5, 0.60025}\nwavelength units = Unknown", "magnitude"),
        ("wavelength = {400.5, 500, 600.25}\nwavelength units = Micrometers", "magnitude"),
        ("band names = {b 1 (0.4005 Micrometers), b 2 (0.5 Micrometers), b 3 (0.60025 Micrometers)}", "band names"),
        ("band names = {Resize (Band 1) (400.500), Resize (Band 2) (500.0), Resize (Band 3) (600.25)}", "band names"),
    ],
)
def test_every_spelling_of_wavelengths_comes_out_in_nanometres(tmp_path, text, unit):
    cube = read(raw_envi(tmp_path, np.ones((3, 2, 2), np.int16), text))
    np.testing.assert_allclose(cube.bands.centre_nm, [400.5, 500.0, 600.25], rtol=1e-12)
    assert unit in cube.metadata.get("palimpsest note", "")


def test_wavelengths_that_are_band_numbers_are_ignored_and_said(tmp_path):
    cube = read(raw_envi(tmp_path, np.ones((3, 2, 2), np.int16), "wavelength = {1, 2, 3}"))
    assert cube.bands.centre_nm is None
    assert "ignored" in cube.metadata["palimpsest note"]


@pytest.mark.parametrize("flags", ["1, 0, 1", "1.0, 0.0, 1.0", "true, False, TRUE"])
def test_bad_bands_in_any_spelling(tmp_path, flags):
    cube = read(raw_envi(tmp_path, np.ones((3, 2, 2), np.int16), f"bbl = {{{flags}}}"))
    np.testing.assert_array_equal(cube.bands.good, [True, False, True])


def test_scale_factor_and_ignore_value(tmp_path):
    data = np.array([[[5000, -99]]], np.int16)
    cube = read(raw_envi(tmp_path, data, "reflectance scale factor = 10000\ndata ignore value = -99"))
    assert (cube.scale, cube.nodata, cube.units) == (1e-4, -99.0, "reflectance")
    np.testing.assert_allclose(cube.physical(), [[[0.5, np.nan]]])


def test_equal_gains_become_the_scale_and_unequal_ones_are_kept_and_said(tmp_path):
    data = np.ones((2, 1, 1), np.int16)
    cube = read(raw_envi(tmp_path, data, "data gain values = {2, 2}\ndata offset values = {1, 1}"))
    assert (cube.scale, cube.offset) == (2.0, 1.0)
    cube = read(raw_envi(tmp_path, data, "data gain values = {2, 3}"))
    assert cube.scale == 1.0
    assert "differ between bands" in cube.metadata["palimpsest note"]
    write(cube, tmp_path / "again.hdr")
    assert read(tmp_path / "again.hdr").metadata["data gain values"] == "2, 3"


def test_a_header_that_disagrees_with_its_bytes_is_diagnosed(tmp_path):
    header = raw_envi(tmp_path, np.ones((6, 4, 5), np.int16))
    header.write_text(header.read_text().replace("bands=6", "bands=12"))
    with pytest.raises(HeaderMismatch, match=r"got 240 bytes; wanted 480 bytes .* would fit: bands = 6.*\(uint8\)"):
        read(header)
    header.write_text(header.read_text().replace("bands=12", "bands=3"))
    fits = r"bands = 6, or lines = 8, or samples = 10, or data type = 3.*offset = 120"
    with pytest.raises(HeaderMismatch, match=fits):
        read(header)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("data type = 2", "data type = 14"), "int64"),
        (("data type = 2", "data type = 6"), "complex64"),
        (("bands=2", ""), "lacks 'bands'"),
        (("bands=2", "bands = many"), "not a whole number"),
        (("bands=2", "bands = 0"), "empty axis"),
        (("bands=2", "bands = 999999999999"), "disagree"),
        (("interleave = BSQ", "interleave = bxx"), "interleave"),
        (("byte order = 0", "byte order = 3"), "byte order"),
        (("ENVI", "IVNE"), "not an ENVI header"),
        (("byte order = 0", "byte order = 0\nwavelength = {1, 2"), "never closed"),
        (("byte order = 0", "byte order = 0\nwavelength = {400, 500, 600}"), "does not fit"),
        (("byte order = 0", "byte order = 0\nwavelength = {400, x}"), "no number"),
        (("byte order = 0", "byte order = 0\nbbl = {nan, 1}"), "no flag"),
        (("byte order = 0", "byte order = 0\ndata ignore value = none at all"), "no number"),
        (("byte order = 0", "byte order = 0\nfile type = ENVI Spectral Library"), "spectral library"),
        (("byte order = 0", "byte order = 0\npalimpsest mask = ../x.npz"), "mask file"),
        (("byte order = 0", "byte order = 0\npalimpsest history = {1"), "never closed"),
        (("byte order = 0", "byte order = 0\npalimpsest history = [1"), "cannot be read"),
    ],
)
def test_a_bad_header_is_refused_with_the_reason(tmp_path, change, message):
    header = raw_envi(tmp_path, np.ones((2, 2, 2), np.int16))
    header.write_text(header.read_text().replace(*change))
    with pytest.raises(FormatError, match=message):
        read(header)


def test_a_lone_half_of_the_pair_is_refused(tmp_path):
    header = raw_envi(tmp_path, np.ones((2, 2, 2), np.int16))
    (tmp_path / "x.img").rename(tmp_path / "y.img")
    with pytest.raises(FormatError, match="no raw file beside the header"):
        read(header)
    with pytest.raises(FormatError, match="no header beside the raw file"):
        read(tmp_path / "y.img")


def test_compressed_values_are_unpacked(tmp_path):
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    header = raw_envi(tmp_path, data, "file compression = 1")
    (tmp_path / "x.img").write_bytes(gzip.compress(data.tobytes()))
    np.testing.assert_array_equal(read(header).data, data)
    (tmp_path / "x.img").write_bytes(gzip.compress(data.tobytes() + b"12"))
    with pytest.raises(HeaderMismatch, match="more than 48"):
        read(header)
    (tmp_path / "x.img").write_bytes(gzip.compress(data.tobytes())[:-12])
    with pytest.raises(FormatError):
        read(header)


def test_map_info_survives_and_moves_with_a_window(tmp_path):
    cube = made_cube()
    write(cube.window(Window(1, 4, 2, 5)), tmp_path / "w.hdr")
    place = read(tmp_path / "w.hdr").georeference
    assert place.transform == (30.0, 0.0, 383472.37 + 60, 0.0, -30.0, 5818302.35 - 30)
    text = (tmp_path / "w.hdr").read_text()
    assert "map info = {UTM, 1, 1, 383532.37, 5818272.35, 30.0, 30.0, 33, North, WGS-84" in text


def test_a_rotated_map_info_refers_to_the_named_pixel(tmp_path):
    text = "map info = {UTM, 2, 3, 1000, 2000, 10, 10, 33, North, WGS-84, units=Meters, rotation=90}"
    a, b, c, d, e, f = read(raw_envi(tmp_path, np.ones((1, 5, 5), np.uint8), text)).georeference.transform
    assert (a * 1 + b * 2 + c, d * 1 + e * 2 + f) == pytest.approx((1000, 2000))
    assert (a, e) == pytest.approx((0, 0), abs=1e-9)


def test_an_older_file_survives_a_failed_write(tmp_path):
    write(made_cube(seed=1), tmp_path / "x.hdr")
    before = (tmp_path / "x.img").read_bytes()
    with pytest.raises(FormatError, match="no such data type"):
        write(plain_cube(np.zeros((1, 2, 2), np.int8)), tmp_path / "x.hdr")
    assert (tmp_path / "x.img").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.hdr", "x.hdr.reasons.npz", "x.img"]


def test_a_cube_can_be_written_over_the_file_it_is_mapped_from(tmp_path):
    cube = made_cube()
    write(cube, tmp_path / "x.hdr")
    mapped = read(tmp_path / "x.hdr")
    assert isinstance(mapped.data, np.memmap)
    write(mapped, tmp_path / "x.hdr")
    np.testing.assert_array_equal(read(tmp_path / "x.hdr").data, cube.data)


def test_a_nodata_value_that_the_type_cannot_hold_matches_nothing():
    cube = plain_cube(np.full((1, 2, 2), 55537, np.uint16), nodata=-9999.0)
    assert cube.usable().all()


@needs_shared
def test_the_shared_scenes_are_read():
    cube = read(SCENES / "enmap_mosaic.hdr")
    assert tuple(cube.shape) == (224, 192, 160)
    assert (cube.bands.good.sum(), cube.nodata, cube.scale) == (218, -32768.0, 1e-4)
    assert isinstance(cube.data, np.memmap)


@needs_shared
def test_band_names_of_hymap_hold_its_wavelengths_and_gz_data_are_read():
    berlin = SCENES.parent / "berlin_urban_gradient"
    hymap = read(berlin / "subset_2017-02" / "HyMap02_Berlin_Urban_Gradient_2009.bsq")
    assert hymap.bands.centre_nm[0] == 455.4
    raw = read(berlin / "raw_244bands" / "EnMAP_BerlinUrbanGradient.bsq")
    assert tuple(raw.shape) == (244, 80, 60)
    assert raw.bands.centre_nm[0] == 424.0
    assert "Micro" not in raw.metadata.get("palimpsest note", "")
