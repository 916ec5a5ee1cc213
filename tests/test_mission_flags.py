"""What missions flag becomes mask reasons: EMIT, EnMAP and PRISMA, in made files of their layouts."""

from __future__ import annotations

import h5netcdf
import h5py
import numpy as np
import pytest

from palimpsest.commands import main
from palimpsest.cubes import BandTable, Cube, Reason
from palimpsest.errors import FormatError
from palimpsest.formats import read, write
from palimpsest.formats.mission_flags import FLAGS
from palimpsest.knowledge.releases.contents import packaged
from palimpsest.knowledge.releases.facts import Facts

ROWS, COLS, BANDS = 3, 4, 11


def emit(path, *, masks, variables=True):
    with h5netcdf.File(path, "w") as f:
        f.dimensions = {"downtrack": ROWS, "crosstrack": COLS, "bands": BANDS, "packed": 2, "layers": 3}
        group = f.create_group("sensor_band_parameters")
        if variables:
            data = f.create_variable("reflectance", ("downtrack", "crosstrack", "bands"), np.float32)
            data[...] = np.full((ROWS, COLS, BANDS), 0.3, np.float32)
            wavelengths = group.create_variable("wavelengths", ("bands",), np.float32)
            wavelengths[...] = np.linspace(400, 2400, BANDS)
            wavelengths.attrs["units"] = "nm"
        if masks:
            bits = np.zeros((ROWS, COLS, 16), np.uint8)
            bits[1, 2, 9] = 1
            packed = f.create_variable("band_mask", ("downtrack", "crosstrack", "packed"), np.uint8)
            packed[...] = np.packbits(bits, axis=-1)
            layers = np.zeros((ROWS, COLS, 3), np.float32)
            layers[0, 0, 0] = layers[2, 1, 2] = 1
            mask = f.create_variable("mask", ("downtrack", "crosstrack", "layers"), np.float32)
            mask[...] = layers
            names = group.create_variable("mask_bands", ("layers",), dtype=h5py.string_dtype())
            names[...] = np.array(["Cloud flag", "Cirrus flag", "Water flag"], object)


@pytest.mark.parametrize("is_beside", [False, True])
def test_emit_interpolated_bits_and_clouds_are_reasons(tmp_path, is_beside):
    path = tmp_path / "EMIT_L2A_RFL_001_x.nc"
    emit(path, masks=not is_beside)
    if is_beside:
        emit(tmp_path / "EMIT_L2A_MASK_001_x.nc", masks=True, variables=False)
    cube = read(path)
    wanted = np.zeros((BANDS, ROWS, COLS), np.uint8)
    wanted[9, 1, 2] = Reason.INTERPOLATED
    wanted[:, 0, 0] = Reason.CLOUD
    np.testing.assert_array_equal(cube.reasons, wanted)
    assert "quality flags" in cube.metadata["palimpsest note"]


def test_emit_without_flags_has_no_mask(tmp_path):
    emit(tmp_path / "EMIT_L2A_RFL_001_x.nc", masks=False)
    assert read(tmp_path / "EMIT_L2A_RFL_001_x.nc").reasons is None


def enmap(folder, **layers):
    bands = BandTable(5, np.linspace(430, 2400, 5), np.full(5, 8.0))
    stem = "ENMAP01-____L2A-DT0000_20220724T102854Z_001_V010400_20230101T000000Z-"
    write(Cube(np.full((5, 6, 7), 1234, np.int16), bands, name="e"), folder / f"{stem}SPECTRAL_IMAGE.TIF")
    for name, values in layers.items():
        write(Cube(values, BandTable(len(values)), name="q"), folder / f"{stem}{name}.TIF")
    return folder / f"{stem}SPECTRAL_IMAGE.TIF"


def test_enmap_dead_pixels_and_clouds_are_reasons(tmp_path, capsys):
    dead = np.zeros((5, 6, 7), np.uint8)
    dead[3, :, 2] = 1
    cloud = np.zeros((1, 6, 7), np.uint8)
    cloud[0, 0, :3] = 1
    path = enmap(tmp_path, QL_PIXELMASK_VNIR=dead[:2], QL_PIXELMASK_SWIR=dead[2:], QL_QUALITY_CLOUD=cloud)
    cube = read(path)
    assert (cube.reasons[3, 1:, 2] == Reason.DEAD).all()
    assert (cube.reasons[:, 0, :2] == Reason.CLOUD).all()
    assert cube.reasons[3, 0, 2] == Reason.DEAD
    assert cube.usable()[0, 1:].all()
    assert main(["info", str(path), "--json"]) == 0
    said = capsys.readouterr().out
    assert '"cloud"' in said
    assert '"dead"' in said


def test_an_enmap_layer_of_another_shape_is_refused(tmp_path):
    path = enmap(tmp_path, QL_PIXELMASK=np.zeros((4, 6, 7), np.uint8))
    with pytest.raises(FormatError, match="another shape"):
        read(path)


def prisma(path, *, errors=True, swath="PRS_L2D_HCO", scale=True):
    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as f:
        fields = f.create_group(f"HDFEOS/SWATHS/{swath}/Data Fields")
        for detector, centres in (("VNIR", [900.0, 700.0, 500.0, 0.0]), ("SWIR", [2400.0, 1500.0, 950.0])):
            shape = (ROWS, len(centres), COLS)
            fields[f"{detector}_Cube"] = rng.integers(0, 65535, shape).astype(np.uint16)
            if errors:
                matrix = np.zeros(shape, np.uint8)
                matrix[0, 1, 2] = 3 if detector == "VNIR" else 1
                fields[f"{detector}_PIXEL_L2_ERR_MATRIX"] = matrix
            f.attrs[f"List_Cw_{detector.title()}"] = centres
            f.attrs[f"List_Fwhm_{detector.title()}"] = [10.0 if c else 0.0 for c in centres]
            if scale:
                f.attrs[f"L2Scale{detector.title()}Min"] = 0.0
                f.attrs[f"L2Scale{detector.title()}Max"] = 0.5 if detector == "VNIR" else 0.8
        f.attrs["Product_ULcorner_easting"], f.attrs["Product_ULcorner_northing"] = 500015.0, 4600015.0
        f.attrs["Epsg_Code"] = 32633


def test_prisma_detectors_become_one_cube_with_its_errors(tmp_path):
    prisma(tmp_path / "PRS.he5")
    cube = read(tmp_path / "PRS.he5")
    assert cube.bands.centre_nm.tolist() == [500, 700, 900, 950, 1500, 2400]
    assert cube.reasons[1, 0, 2] == Reason.SATURATED
    assert cube.reasons[4, 0, 2] == Reason.DEAD
    assert (cube.reasons > 0).sum() == 2
    with h5py.File(tmp_path / "PRS.he5") as f:
        stored = f["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/VNIR_Cube"][...]
    np.testing.assert_allclose(cube.data[0], stored[:, 2] * 0.5 / 65535, rtol=1e-5)
    assert cube.georeference.transform == (30.0, 0.0, 500000.0, 0.0, -30.0, 4600030.0)
    assert "32633" in cube.georeference.crs_wkt


@pytest.mark.parametrize("wrong", [{"swath": "PRS_L1_HCO"}, {"scale": False}])
def test_what_is_no_level_2_product_is_refused(tmp_path, wrong):
    prisma(tmp_path / "PRS.he5", **wrong)
    with pytest.raises(FormatError, match="level 2"):
        read(tmp_path / "PRS.he5")
    with pytest.raises(FormatError, match="no format writes"):
        write(Cube(np.zeros((1, 1, 1), np.int16), BandTable(1)), tmp_path / "x.he5")


def test_the_readers_mean_what_the_ontology_says():
    facts = Facts(packaged().triples())
    stated = {}
    for iri in facts.of_class("plm:QualityFlag"):
        kind = facts.link(iri, "plm:meansDefect")
        stated[facts.text(iri, "plm:flagName"), int(facts.needed(iri, "plm:flagValue"))] = Reason(
            int(facts.needed(kind, "plm:reasonNumber"))
        )
    assert stated == FLAGS
