"""Every mode keeps its promise on every shape and type, and says so when it cannot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palimpsest.codec.container import worst
from palimpsest.codec.container.stream import open_stream
from palimpsest.codec.contract import EncodeSettings
from palimpsest.codec.decoder import decode
from palimpsest.codec.encoder import encode
from palimpsest.codec.inspect import verify
from palimpsest.cubes import BandTable, Cube, Georeference, ImportanceMap, Window
from palimpsest.errors import CubeRefused, PromiseBroken, StreamCorrupt, UsageError


def made(bands: int, rows: int, cols: int, dtype: str = "int16", seed: int = 0) -> Cube:
    """A smooth scene of few spectra with noise, in the range of its type."""
    rng = np.random.default_rng(seed)
    spectra = np.cumsum(rng.normal(size=(3, bands)), axis=1)
    fields = np.stack([np.cumsum(np.cumsum(rng.normal(size=(rows, cols)), 0), 1) for _ in range(3)])
    data = np.tensordot(spectra.T, fields / (1 + np.abs(fields).max()), 1) + 0.02 * rng.normal(size=(bands, rows, cols))
    data = (data - data.min()) / max(np.ptp(data), 1e-9)
    if dtype.startswith("float"):
        values = data.astype(dtype)
    else:
        info = np.iinfo(dtype)
        values = np.rint(info.min / 2 + data * (info.max / 2 - info.min / 2)).astype(dtype)
    return Cube(values, BandTable(bands, np.linspace(400.0, 2400.0, bands)), name="made")


def round_trip(cube: Cube, tmp_path, **how) -> tuple[Cube, object]:
    report = encode(cube, EncodeSettings(strength=0, **how), out=tmp_path / "x.plm")
    assert report.size == (tmp_path / "x.plm").stat().st_size
    return decode(tmp_path / "x.plm"), report


def test_the_rate_is_within_three_per_cent(tmp_path):
    cube = made(40, 48, 56)
    for bpppc in (0.3, 1.0, 2.0):
        decoded, report = round_trip(cube, tmp_path, bpppc=bpppc)
        assert abs(report.bpppc / bpppc - 1) < 0.03
        error = np.abs(decoded.data.astype(float) - cube.data.astype(float)).max()
        assert error == report.max_error


def test_a_rate_below_what_head_and_basis_take_is_a_broken_promise(tmp_path):
    with pytest.raises(PromiseBroken, match="bpppc"):
        round_trip(made(40, 6, 6), tmp_path, bpppc=0.01)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bands=st.integers(1, 6), rows=st.integers(1, 20), cols=st.integers(1, 20), seed=st.integers(0, 99),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "uint32", "float32"]),
)
def test_lossless_is_bit_identical(tmp_path, bands, rows, cols, seed, dtype):
    cube = made(bands, rows, cols, dtype, seed)
    decoded, report = round_trip(cube, tmp_path, mode="lossless")
    assert decoded.data.dtype == cube.data.dtype
    assert decoded.data.tobytes() == np.ascontiguousarray(cube.data).tobytes()
    assert report.max_error == 0


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bands=st.integers(1, 6), rows=st.integers(1, 20), cols=st.integers(1, 20), seed=st.integers(0, 99),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "float32"]), share=st.floats(0.0005, 0.05),
)
def test_no_voxel_is_over_the_bound(tmp_path, bands, rows, cols, seed, dtype, share):
    cube = made(bands, rows, cols, dtype, seed)
    bound = share * (float(cube.data.max()) - float(cube.data.min()) + 1e-3)
    decoded, report = round_trip(cube, tmp_path, mode="bound", max_error=bound)
    worst = np.abs(decoded.data.astype(np.float64) - cube.data.astype(np.float64)).max()
    assert worst <= bound
    assert report.max_error == pytest.approx(worst)


def test_each_band_keeps_its_own_bound_and_the_stream_certifies_the_worst(tmp_path):
    cube = made(6, 40, 36)
    asked = (0.0, 3.0, 50.0, 2.0, 400.0, 9.5)
    decoded, _ = round_trip(cube, tmp_path, mode="bound", max_error=asked)
    errors = np.abs(decoded.data.astype(np.float64) - cube.data.astype(np.float64)).max(axis=(1, 2))
    assert (errors <= np.array(asked)).all()
    assert errors[4] > 20  # what is allowed is used
    stream = open_stream(tmp_path / "x.plm")
    told = worst.certified(stream)
    assert (errors <= told).all()
    assert (told <= np.minimum(np.array(asked), errors * 1.1)).all()
    found = verify(tmp_path / "x.plm", original=cube)
    assert "no band's error" in str(found["worst_errors"])
    darker = cube.with_data(np.asarray(cube.data) - 30, "darker")
    with pytest.raises(StreamCorrupt, match="larger than was certified"):
        verify(tmp_path / "x.plm", original=darker)


@pytest.mark.parametrize("asked", [(1.0, 2.0), (1.0, -2.0, 1.0), (1.0, float("nan"), 1.0)])
def test_bounds_that_do_not_fit_the_bands_are_refused(tmp_path, asked):
    with pytest.raises(UsageError, match="error bound"):
        round_trip(made(3, 8, 8), tmp_path, mode="bound", max_error=asked)


COUNTS = [
    ("float32", lambda counts: counts / np.float32(10000)), ("float32", lambda counts: counts * np.float32(0.0001)),
    ("float64", lambda counts: counts * 0.01237), ("float32", lambda counts: counts / counts.max()),
]


@pytest.mark.parametrize("at", range(len(COUNTS)))
def test_counts_in_floating_point_disguise_cost_what_counts_cost(tmp_path, at):
    dtype, disguise = COUNTS[at]
    counts = made(12, 33, 40)
    values = np.stack([disguise(band.astype(dtype)) for band in np.asarray(counts.data)]).astype(dtype)
    cube = Cube(values, counts.bands)
    decoded, report = round_trip(cube, tmp_path, mode="lossless")
    assert decoded.data.dtype == dtype
    assert decoded.data.tobytes() == values.tobytes()
    _, plain = round_trip(counts, tmp_path, mode="lossless")
    assert report.size < 1.02 * plain.size + 200
    _, bound = round_trip(cube, tmp_path, mode="bound", max_error=float(np.ptp(values)) / 100)
    assert bound.max_error <= np.ptp(values) / 100
    assert bound.size < 0.6 * report.size


def test_one_value_off_the_lattice_or_an_odd_nan_is_kept_too(tmp_path):
    counts = made(6, 20, 24)
    values = np.asarray(counts.data).astype(np.float32) / np.float32(10000)
    values[2, 3, 4] = np.nextafter(values[2, 3, 4], np.float32(9))
    odd = values.copy()
    odd.view(np.uint32)[1, 1, 1] = 0x7FC12345
    for data in (values, odd, np.where(values == values[0, 0, 0], np.float32(-0.0), values)):
        decoded, _ = round_trip(Cube(data, counts.bands), tmp_path, mode="lossless")
        assert decoded.data.tobytes() == data.tobytes()


def test_coarse_bounds_cost_little_more_than_a_reconstruction_as_good(tmp_path):
    cube = made(30, 48, 48)
    _, coarse = round_trip(cube, tmp_path, mode="bound", max_error=400.0)
    _, rate = round_trip(cube, tmp_path, bpppc=coarse.bpppc)
    assert rate.max_error > 1.2 * coarse.max_error


def test_lossless_keeps_infinities_and_the_bits_of_nan(tmp_path):
    cube = made(4, 9, 7, "float32")
    data = cube.data.copy()
    data[1, 2, 3], data[0, 0, 0], data[2, 5, 5] = np.nan, np.inf, -np.inf
    data[3, 1, 1] = np.uint32(0x7FC12345).view(np.float32)
    odd = Cube(data, cube.bands)
    decoded, _ = round_trip(odd, tmp_path, mode="lossless")
    assert decoded.data.tobytes() == data.tobytes()


def test_double_precision_is_kept_where_single_holds_it_and_refused_where_not(tmp_path):
    cube = made(3, 8, 8, "float32")
    decoded, _ = round_trip(Cube(cube.data.astype(np.float64), cube.bands), tmp_path, mode="lossless")
    assert np.array_equal(decoded.data, cube.data)
    with pytest.raises(CubeRefused, match="float64"):
        round_trip(Cube(cube.data.astype(np.float64) + 1e-12, cube.bands), tmp_path, mode="lossless")


@pytest.mark.parametrize("mode", ["rate", "bound", "lossless"])
def test_nodata_comes_back_as_nodata_and_costs_next_to_nothing(tmp_path, mode):
    whole = made(20, 40, 40)
    data = whole.data.copy()
    data[:, 10:30, 5:25] = -32768
    data[7] = -32768
    holed = Cube(data, whole.bands, nodata=-32768)
    how = {"mode": mode, "bpppc": 1.0, "max_error": 50 if mode == "bound" else None}
    decoded, report = round_trip(holed, tmp_path, **how)
    assert np.array_equal(decoded.data == -32768, data == -32768)
    if mode == "lossless":
        assert np.array_equal(decoded.data, data)
        _, plain = round_trip(whole, tmp_path, **how)
        assert report.size < 0.85 * plain.size


def test_not_finite_voxels_come_back_not_finite(tmp_path):
    data = made(6, 16, 16, "float32").data.copy()
    data[:, 3, 4] = np.nan
    decoded, _ = round_trip(Cube(data, BandTable(6)), tmp_path, bpppc=4.0)
    assert np.array_equal(np.isnan(decoded.data), np.isnan(data))


@pytest.mark.parametrize("value", [0, 1234, -5])
@pytest.mark.parametrize("mode", ["bound", "lossless"])
def test_a_constant_cube_and_an_empty_one(tmp_path, value, mode):
    data = np.full((5, 12, 9), value, np.int16)
    decoded, _ = round_trip(Cube(data, BandTable(5)), tmp_path, mode=mode, max_error=1 if mode == "bound" else None)
    assert np.abs(decoded.data - data).max() <= (1 if mode == "bound" else 0)
    void = Cube(np.full((5, 12, 9), -1, np.int16), BandTable(5), nodata=-1)
    decoded, _ = round_trip(void, tmp_path, mode=mode, max_error=1 if mode == "bound" else None)
    assert (decoded.data == -1).all()


def test_several_tiles_windows_bands_and_levels(tmp_path):
    cube = made(12, 70, 45)
    cube = Cube(cube.data, cube.bands, georeference=Georeference("", (30.0, 0.0, 1000.0, 0.0, -30.0, 2000.0)))
    whole, _ = round_trip(cube, tmp_path, bpppc=1.0, tile=32)
    path = tmp_path / "x.plm"
    window = Window(20, 41, 7, 44)
    part = decode(path, window=window, bands=slice(3, 9))
    assert np.array_equal(part.data, whole.data[3:9, 20:41, 7:44])
    assert part.georeference.transform[2] == 1000 + 7 * 30
    for level in (1, 2):
        coarse = decode(path, level=level)
        assert coarse.shape == (12, -(-70 // 2**level), -(-45 // 2**level))
        assert abs(coarse.data.mean() - whole.data.mean()) < 0.05 * whole.data.std()
    with pytest.raises(UsageError, match="level"):
        decode(path, level=9)
    with pytest.raises(UsageError, match="window"):
        decode(path, window=Window(0, 71, 0, 1))


def test_importance_moves_error_from_what_matters_to_what_does_not(tmp_path):
    cube = made(24, 48, 48)
    profile = np.full((1, 24), 0.25)
    profile[0, 8:12] = 3.0
    profile /= np.sqrt((profile**2).mean())
    gain = np.ones((48, 48), np.float32)
    importance = ImportanceMap(profile, np.zeros((48, 48), np.uint8), gain, release="abc")
    plain, report = round_trip(cube, tmp_path, bpppc=0.3)  # at more, importance would ask for noise, and stops
    weighed_report = encode(cube, EncodeSettings(bpppc=0.3), importance=importance, out=tmp_path / "w.plm")
    weighed = decode(tmp_path / "w.plm")

    def error(decoded, bands):
        return ((decoded.data[bands].astype(float) - cube.data[bands]) ** 2).mean()

    assert error(weighed, slice(8, 12)) < 0.5 * error(plain, slice(8, 12))
    assert abs(weighed_report.bpppc / report.bpppc - 1) < 0.03


def test_what_the_cube_says_of_itself_survives(tmp_path):
    table = BandTable(
        5, np.array([900.5, 1000.25, 950.125, 400.0, 2400.0]), np.array([9.9, 10.0, 10.1, 5.5, 12.0]),
        np.array([True, False, True, True, True]), names=("a", "b", "c", "d", "e"),
    )
    cube = Cube(
        made(5, 10, 10).data, table, scale=1e-4, offset=0.5, units="reflectance", sensor="EnMAP", nodata=-32768.0,
        metadata={"description": "über"}, history=("made",), name="here",
        georeference=Georeference("EPSG:32633", (30.0, 0.0, 1.0, 0.0, -30.0, 2.0)),
    )
    decoded, _ = round_trip(cube, tmp_path, mode="lossless")
    assert np.allclose(decoded.bands.centre_nm, table.centre_nm, atol=5e-4)
    assert np.allclose(decoded.bands.fwhm_nm, table.fwhm_nm, atol=5e-4)
    assert np.array_equal(decoded.bands.good, table.good)
    assert decoded.bands.names == table.names
    assert (decoded.scale, decoded.offset, decoded.units, decoded.sensor) == (1e-4, 0.5, "reflectance", "EnMAP")
    assert decoded.metadata == {"description": "über"}
    assert decoded.georeference == cube.georeference
    assert decoded.history[0] == "made"


def test_contradictory_settings_are_refused():
    cube = made(3, 4, 4)
    for how in ({"bpppc": 0.0}, {"mode": "bound", "max_error": -1.0}, {"keep_labels": True}):
        with pytest.raises(UsageError):
            encode(cube, EncodeSettings(strength=0, **how))


def test_a_decoded_value_never_turns_into_nodata_by_chance(tmp_path):
    whole = made(8, 24, 24)
    common = int(np.bincount((whole.data.astype(int) - whole.data.min()).ravel()).argmax() + whole.data.min())
    data = np.where(whole.data == common, common + 1, whole.data).astype(np.int16)
    data[:, :3] = common
    decoded, _ = round_trip(Cube(data, whole.bands, nodata=float(common)), tmp_path, bpppc=2.0)
    assert np.array_equal(decoded.data == common, data == common)


def test_dead_voxels_cost_nothing_and_keep_their_reason(tmp_path):
    whole = made(16, 40, 40)
    data, reasons = whole.data.copy(), np.zeros(whole.shape, np.uint8)
    data[4, :, 10:13] = 32000
    reasons[4, :, 10:13] = 4
    decoded, report = round_trip(Cube(data, whole.bands, reasons=reasons), tmp_path, bpppc=1.0)
    assert np.array_equal(decoded.reasons, reasons)
    _, plain = round_trip(whole, tmp_path, bpppc=1.0)
    assert report.psnr_db > plain.psnr_db - 1.0
    exact, _ = round_trip(Cube(data, whole.bands, reasons=reasons), tmp_path, mode="lossless")
    assert np.array_equal(exact.data, data)


def test_a_cube_of_a_few_thousand_voxels_reaches_a_low_rate(tmp_path):
    rng = np.random.default_rng(12)
    bands, rows, cols = 180, 25, 10
    shapes = np.cumsum(rng.standard_normal((3, bands)), axis=1) * 100
    amounts = rng.uniform(0, 1, (3, rows, cols))
    data = (2000 + np.tensordot(shapes.T, amounts, 1) + 5 * rng.standard_normal((bands, rows, cols))).astype(np.float32)
    centre = np.round(np.linspace(430, 2350, bands), 2)
    names = tuple(f"Resize (Band {n + 1}:cut 17) ({float(np.float32(nm)):.6f})" for n, nm in enumerate(centre))
    cube = Cube(data, BandTable(bands, centre, names=names))
    report = encode(cube, EncodeSettings(bpppc=0.25, strength=0.0), out=tmp_path / "small.plm")
    assert report.bpppc == pytest.approx(0.25, rel=0.03)  # one component more is a jump here
    assert decode(tmp_path / "small.plm").bands.names == names
