"""Every format gives back the cube that it was given, with all that is known of it."""

from __future__ import annotations

import numpy as np
import pytest
from cube_makers import made_cube, plain_cube
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palimpsest.cubes import BandTable, Cube, Georeference, Reason
from palimpsest.errors import CubeRefused, FormatError, UsageError
from palimpsest.formats import FORMATS, Registry, read, write
from palimpsest.formats.envi import Envi
from palimpsest.formats.envi_fields import NOTE

SUFFIXES = [".hdr", ".tif", ".cog.tif", ".nc", ".zarr", ".npy"]


def assert_same(got, wanted):
    np.testing.assert_array_equal(got.data, wanted.data)
    assert got.data.dtype == wanted.data.dtype
    for name in ("centre_nm", "fwhm_nm", "good", "reasons"):
        np.testing.assert_array_equal(getattr(got.bands, name), getattr(wanted.bands, name), err_msg=name)
    assert (got.bands.names, got.bands.fwhm_is_assumed) == (wanted.bands.names, wanted.bands.fwhm_is_assumed)
    np.testing.assert_array_equal(got.reasons, wanted.reasons)
    np.testing.assert_equal(got.nodata, wanted.nodata)
    assert (got.scale, got.offset, got.units, got.sensor) == (wanted.scale, wanted.offset, wanted.units, wanted.sensor)
    if wanted.georeference is None:
        assert got.georeference is None
    else:
        assert got.georeference.transform == pytest.approx(wanted.georeference.transform, rel=1e-14)
        assert got.georeference.crs_wkt == wanted.georeference.crs_wkt
    metadata = {key: value for key, value in got.metadata.items() if key != "map info"}
    assert metadata == dict(wanted.metadata)
    assert got.history == wanted.history


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_values_and_metadata_survive(tmp_path, suffix, dtype):
    cube = made_cube(dtype=dtype)
    write(cube, tmp_path / f"x{suffix}")
    assert_same(read(tmp_path / f"x{suffix}"), cube)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 4), (7, 1, 1), (7, 1, 9), (3, 17, 1)])
def test_one_band_one_pixel_and_one_row_survive(tmp_path, suffix, shape):
    cube = plain_cube(np.arange(np.prod(shape), dtype=np.int16).reshape(shape))
    write(cube, tmp_path / f"x{suffix}")
    assert_same(read(tmp_path / f"x{suffix}"), cube)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nan_infinity_and_all_nodata_survive(tmp_path, suffix):
    data = np.array([[[np.nan, np.inf, -np.inf, 1.5]]], np.float32)
    cube = plain_cube(data, nodata=float("nan"))
    write(cube, tmp_path / f"x{suffix}")
    back = read(tmp_path / f"x{suffix}")
    assert_same(back, cube)
    expected = [[[Reason.NODATA, Reason.NOT_FINITE, Reason.NOT_FINITE, Reason.GOOD]]]
    np.testing.assert_array_equal(back.voxel_reasons(), expected)
    empty = plain_cube(np.full((2, 2, 2), -9999, np.int16), nodata=-9999.0)
    write(empty, tmp_path / f"y{suffix}")
    assert not read(tmp_path / f"y{suffix}").usable().any()


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
NUMBER = st.floats(200, 20_000, allow_nan=False)


@st.composite
def metadata_cubes(draw):
    count = draw(st.integers(1, 4))
    column = st.lists(NUMBER, min_size=count, max_size=count).map(np.array)
    good = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    reasons = np.where(good, 0, draw(st.integers(1, 12))).astype(np.uint8)
    centre = draw(st.none() | column)
    names = tuple(draw(st.lists(TEXT.filter(str.strip), min_size=count, max_size=count))) if draw(st.booleans()) else ()
    if centre is None:
        names = tuple(f"n{i}" for i in range(count)) if names else ()  # names may hold wavelengths
    bands = BandTable(count, centre, None if centre is None else draw(st.none() | column), good, reasons, names)
    place = st.builds(
        lambda a, c, e, f, wkt: Georeference(wkt, (a, 0.0, c, 0.0, -e, f)),
        NUMBER, NUMBER, NUMBER, NUMBER, st.sampled_from(["", 'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",'
        '6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]']),
    )
    keys = TEXT.filter(lambda key: key.strip() and key not in ("map info", NOTE))
    return Cube(
        np.ones((count, 2, 3), np.int16), bands, nodata=draw(st.sampled_from([None, 0.0, -32768.0, 1e6, 0.5])),
        scale=draw(st.sampled_from([1.0, 1e-4, 0.1, 3.7])), offset=draw(st.sampled_from([0.0, -0.1])),
        units=draw(st.sampled_from(["", "reflectance", "W m-2 sr-1"])), georeference=draw(st.none() | place),
        metadata=draw(st.dictionaries(keys, TEXT, max_size=3)), history=tuple(draw(st.lists(TEXT, max_size=2))),
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cube=metadata_cubes())
def test_metadata_of_any_kind_survive(tmp_path, suffix, cube):
    write(cube, tmp_path / f"x{suffix}")
    assert_same(read(tmp_path / f"x{suffix}"), cube)


def test_a_mask_of_an_earlier_file_is_not_inherited(tmp_path):
    cube = made_cube()
    write(cube, tmp_path / "x.tif")
    assert read(tmp_path / "x.tif").reasons is not None
    write(plain_cube(cube.data), tmp_path / "x.tif")
    assert read(tmp_path / "x.tif").reasons is None


def test_content_decides_over_the_suffix(tmp_path):
    write(made_cube(), tmp_path / "x.tif")
    (tmp_path / "x.tif").rename(tmp_path / "x.nc")
    (tmp_path / "x.tif.reasons.npz").unlink()
    with pytest.raises(FormatError, match="mask file"):  # read as a GeoTIFF, which names its mask
        read(tmp_path / "x.nc")


@pytest.mark.parametrize("suffix", [*SUFFIXES[1:4], ".npy", ".mat", ".h5", ".plm", ""])
def test_bytes_that_are_no_cube_are_refused(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"not a cube at all" * 10)
    with pytest.raises(FormatError):
        read(path)


@pytest.mark.parametrize("suffix", [".tif", ".nc", ".npy"])
@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_file_is_refused(tmp_path, suffix, keep):
    cube = made_cube(bands=20, rows=20, cols=20)
    path = tmp_path / f"x{suffix}"
    write(cube, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises((FormatError, CubeRefused)):
        read(path)


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_a_folder_without_a_name_is_refused(name):
    with pytest.raises(FormatError):
        read(name)


def test_a_bare_npy_is_refused_with_the_command_to_run(tmp_path):
    np.save(tmp_path / "bare.npy", np.zeros((2, 3, 4)))
    with pytest.raises(FormatError, match=r"palimpsest convert .*bare.npy bare.hdr --axes"):
        read(tmp_path / "bare.npy")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "x.npy.json").write_text('{"axes": "brc", "shape": [1], "header": "ENVI", "mask": null}')
    with pytest.raises(FormatError, match="not a readable"):
        read(tmp_path / "x.npy")


def test_emit_layout_is_read(tmp_path):
    import h5netcdf

    data = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    with h5netcdf.File(tmp_path / "emit.nc", "w") as f:
        f.dimensions = {"downtrack": 3, "crosstrack": 4, "bands": 5}
        dims = ("downtrack", "crosstrack", "bands")
        v = f.create_variable("reflectance", dims, np.float32, fillvalue=np.float32(-9999))
        v[...] = data
        v.attrs["units"] = "unitless"
        g = f.create_group("sensor_band_parameters")
        for name, values in (("wavelengths", np.linspace(381, 2493, 5)), ("fwhm", np.full(5, 8.5))):
            column = g.create_variable(name, ("bands",), np.float32)
            column[...] = values
            column.attrs["units"] = "nm"
        g.create_variable("good_wavelengths", ("bands",), np.float32)[...] = [1, 1, 0, 1, 1]
        location = f.create_group("location")
        location.create_variable("lon", ("downtrack", "crosstrack"), np.float64)[...] = 1
    cube = read(tmp_path / "emit.nc")
    np.testing.assert_array_equal(cube.data, data.transpose(2, 0, 1))
    np.testing.assert_allclose(cube.bands.centre_nm, np.linspace(381, 2493, 5), rtol=1e-6)
    np.testing.assert_array_equal(cube.bands.good, [True, True, False, True, True])
    assert (cube.nodata, cube.units, cube.georeference) == (-9999.0, "reflectance", None)


@pytest.mark.parametrize("dims", [("band", "y", "x"), ("y", "x", "band"), ("lat", "lon", "wl")])
def test_cf_cubes_are_read_in_any_axis_order(tmp_path, dims):
    import xarray

    sizes = {"band": 3, "wl": 3, "y": 4, "lat": 4, "x": 5, "lon": 5}
    data = np.arange(60, dtype=np.int16).reshape([sizes[d] for d in dims])
    spectral = next(d for d in dims if sizes[d] == 3)
    wavelength = (spectral, [0.4, 0.5, 0.6], {"units": "micrometer", "standard_name": "radiation_wavelength"})
    written = xarray.Dataset({"signal": (dims, data)}, coords={"centre": wavelength})
    written.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    cube = read(tmp_path / "x.nc")
    others = (i for i in range(3) if dims[i] != spectral)
    np.testing.assert_array_equal(cube.data, data.transpose(dims.index(spectral), *others))
    np.testing.assert_allclose(cube.bands.centre_nm, [400, 500, 600])


def test_unnamed_axes_and_several_cubes_are_refused(tmp_path):
    import xarray

    cube = (("a", "b", "c"), np.ones((2, 3, 4), np.int16))
    xarray.Dataset({"one": cube}).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    with pytest.raises(FormatError, match="--axes"):
        read(tmp_path / "x.nc")
    xarray.Dataset({"one": cube, "two": cube}).to_netcdf(tmp_path / "y.nc", engine="h5netcdf")
    with pytest.raises(FormatError, match="--variable"):
        read(tmp_path / "y.nc")


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_xarray_opens_what_is_written(tmp_path, suffix):
    import xarray

    cube = made_cube()
    path = tmp_path / f"x{suffix}"
    write(cube, path)
    with xarray.open_dataset(path, engine="zarr", consolidated=False) if suffix == ".zarr" else xarray.open_dataset(
        path, engine="h5netcdf"
    ) as opened:
        np.testing.assert_allclose(opened["cube"].values, cube.physical(), rtol=1e-6)
        np.testing.assert_array_equal(opened["wavelength"].values, cube.bands.centre_nm)


def test_gdal_sees_bands_scale_and_place_in_our_geotiff(tmp_path):
    import rasterio

    cube = made_cube()
    write(cube, tmp_path / "x.tif")
    with rasterio.open(tmp_path / "x.tif") as source:
        assert float(source.tags(1, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"]) == pytest.approx(0.400458333)
        assert source.scales[0] == 1e-4
        assert source.crs.to_epsg() == 32633
        assert source.nodata == 0


def test_a_geotiff_whose_bands_were_picked_elsewhere_keeps_the_right_wavelengths(tmp_path):
    import rasterio

    cube = made_cube(reasons=None)
    write(cube, tmp_path / "x.tif")
    with rasterio.open(tmp_path / "x.tif") as source:
        profile = {**source.profile, "count": 5}
        with rasterio.open(tmp_path / "y.tif", "w", **profile) as target:
            target.update_tags(**source.tags())  # as copied by a program that does not understand them
            for to, of in enumerate((5, 4, 3, 2, 1), 1):
                target.write(source.read(of), to)
                target.update_tags(to, ns="IMAGERY", **source.tags(of, ns="IMAGERY"))
    np.testing.assert_allclose(read(tmp_path / "y.tif").bands.centre_nm, cube.bands.centre_nm[::-1], rtol=1e-6)


def test_a_name_or_suffix_is_taken_once():
    with pytest.raises(UsageError, match="name is there already"):
        Registry(Envi(), Envi())
    with pytest.raises(UsageError, match="another format writes"):
        Registry(Envi(), Envi(name="other"))
    with pytest.raises(FormatError, match=r"wanted one of \.tif"):
        FORMATS.write(made_cube(), "x.jpg")


@pytest.mark.parametrize(
    "name", ["x.hdr", "x.tif", "x.nc", "x.npy", "x.npy.json", "x.hdr.reasons.npz", "x.zarr/zarr.json"]
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # numpy remarks on headers that look like Python 2's
def test_altered_bytes_are_refused_or_give_a_cube_and_never_another_exception(tmp_path, name):
    path = tmp_path / f"x.{name.split('.')[1].split('/')[0]}"
    write(made_cube(), path)
    whole = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(25):
        altered = bytearray(whole)
        for place in rng.integers(0, len(whole) - 8, rng.integers(1, 6)):
            kind = rng.integers(3)
            if kind == 0:
                altered[place % len(altered)] = int(rng.integers(256))
            elif kind == 1:
                del altered[place : place + int(rng.integers(1, 30))]
            else:
                altered[place:place] = rng.bytes(4)
        (tmp_path / name).write_bytes(bytes(altered))
        try:
            assert isinstance(read(path), Cube)
        except (FormatError, CubeRefused):
            continue


def test_a_netcdf_cube_stored_in_one_piece_is_mapped_and_not_loaded(tmp_path):
    import h5netcdf

    data = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    with h5netcdf.File(tmp_path / "x.nc", "w") as f:
        f.dimensions = {"y": 3, "x": 4, "band": 5}
        f.create_variable("cube", ("y", "x", "band"), np.float32)[...] = data
    cube = read(tmp_path / "x.nc")
    assert isinstance(cube.data, np.memmap)
    np.testing.assert_array_equal(cube.data, data.transpose(2, 0, 1))
