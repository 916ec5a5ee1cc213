"""Whole restorations: exact, explained, deterministic, and better than interpolation."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from restoration_cubes import GRID, cube_of, error_db, knowledge, mixtures, with_dead_columns, with_gap

from palimpsest.commands import main
from palimpsest.cubes import BandTable, Cube, Reason
from palimpsest.errors import CubeRefused
from palimpsest.restoration import ProvenanceClass, restore, restore_group
from palimpsest.restoration.integrator.network import PARTS
from palimpsest.restoration.ledger.explain import explain_pixel, summary
from palimpsest.restoration.spectrum.interpolation import linear, pchip
from palimpsest.restoration.view import Axis, view_of


def interpolation_db(cube: Cube, truth: np.ndarray, where: np.ndarray) -> float:
    pixels = np.arange(cube.shape.rows * cube.shape.cols, dtype=np.int64)
    view = view_of(cube, cube.voxel_reasons(), Axis.of(cube.bands), pixels, 1.0)
    return max(error_db(method(view).T.reshape(truth.shape), truth, where) for method in (linear, pchip))


@pytest.mark.parametrize(("gap", "gain"), [((22, 40), 3.0), ((55, 84), 1.0)])
def test_a_wide_gap_comes_back_better_than_by_interpolation(gap: tuple[int, int], gain: float):
    truth = mixtures() * 10000
    cube = with_gap(cube_of(truth / 10000), *gap)
    result = restore(cube, knowledge=knowledge())
    where = np.zeros(truth.shape, bool)
    where[gap[0] : gap[1]] = True
    assert result.is_exact()
    assert error_db(result.restored.data, truth, where) > interpolation_db(cube, truth, where) + gain
    assert np.array_equal(result.restored.data[~where], cube.data[~where])


@pytest.mark.parametrize("gap", [(22, 40), (55, 84)])
def test_a_wide_gap_is_inferred_from_the_library(gap: tuple[int, int]):
    cube = with_gap(cube_of(mixtures()), *gap)
    result = restore(cube, knowledge=knowledge())
    assert (result.classes[gap[0] : gap[1]] == ProvenanceClass.KNOWLEDGE_INFERRED).mean() > 0.5


def test_dead_lines_come_back_from_the_other_pixels_and_the_interval_holds():
    truth = mixtures() * 10000
    cube = with_dead_columns(cube_of(truth / 10000))
    where = cube.reasons > 0
    result = restore(cube, knowledge=knowledge())
    assert error_db(result.restored.data, truth, where) > interpolation_db(cube, truth, where) + 3
    assert (result.classes[where] == ProvenanceClass.CORRELATED).mean() > 0.5
    error = np.abs(result.restored.data.reshape(-1)[result.changed] - truth.reshape(-1)[result.changed])
    assert 0.7 < (error <= result.half_width).mean() <= 1.0
    assert result.restored.usable().all()


def test_the_same_input_gives_the_same_bits():
    cube = with_gap(cube_of(mixtures(12, 12)), 30, 40)
    first, second = (restore(cube, knowledge=knowledge()) for _ in range(2))
    assert np.array_equal(first.restored.data, second.restored.data)
    assert first.half_width.tobytes() == second.half_width.tobytes()
    assert first.decisions == second.decisions


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_sums_are_exact_in_every_stored_type(dtype: str):
    reflectance = mixtures(10, 12)
    scale = 255 if dtype == "uint8" else 1.0 if dtype.startswith("float") else 20000
    data = (reflectance * scale).astype(dtype)
    reasons = np.zeros(data.shape, np.uint8)
    reasons[30:36], reasons[50, :, 3] = Reason.DEAD, Reason.DEAD
    data[30:36] = 0
    if dtype.startswith("float"):
        data[50, :, 3] = np.nan
    result = restore(Cube(data, BandTable(len(data), GRID), reasons=reasons), knowledge=knowledge())
    assert result.is_exact()
    assert result.restored.data.dtype == data.dtype
    assert np.isfinite(result.restored.data.astype(float)).all()
    assert np.array_equal(result.restored.data[reasons == 0], data[reasons == 0])


def test_every_contribution_has_a_reason_and_the_release():
    cube = with_gap(cube_of(mixtures(12, 12)), 30, 44)
    result = restore(cube, knowledge=knowledge())
    bands = explain_pixel(result, 3, 4)
    assert [entry["band"] for entry in bands] == list(range(30, 44))
    for entry in bands:
        parts = entry["contributions"]
        assert entry["decoded"] + sum(part["value"] for part in parts) == entry["restored"]
        assert all(part["sentence"] and part["release"] == knowledge().release for part in parts)
        assert entry["interval"][0] <= entry["restored"] <= entry["interval"][1]
    materials = {part["material"] for entry in bands for part in entry["contributions"]} - {""}
    assert materials <= {material.iri for material in knowledge().materials}
    assert materials
    assert summary(result)[0]["voxels"] == 14 * 144


def test_a_material_added_this_morning_is_used_and_named():
    base = knowledge()
    spectrum = (0.35 + 0.2 * np.sin(base.grid_nm / 70)).astype(np.float32)
    paint = replace(base.materials[0], iri="urn:striped-paint", label="striped paint", spectrum=spectrum, features=())
    truth = np.interp(GRID, base.grid_nm, spectrum)[:, None, None] * np.linspace(0.6, 1, 144).reshape(1, 12, 12)
    cube = with_gap(cube_of(truth), 30, 44)
    where = np.zeros(truth.shape, bool)
    where[30:44] = True
    without = restore(cube, knowledge=base)
    with_it = restore(cube, knowledge=replace(base, materials=(*base.materials, paint)))
    gain = [error_db(r.restored.data, truth * 10000, where) for r in (without, with_it)]
    assert gain[1] > gain[0] + 3
    assert any(point.why.material == "urn:striped-paint" for point in with_it.contributions_at(5, 5))


def test_hard_rules_hold_in_every_voxel_that_was_changed():
    truth = mixtures(12, 12) * 0.05 - 0.02
    cube = with_gap(cube_of(truth), 60, 84)
    result = restore(cube, knowledge=knowledge())
    assert result.restored.data.reshape(-1)[result.changed].min() >= 0
    assert any(decision.rule for decision in result.decisions)
    loose = restore(cube, knowledge=knowledge(), parts_left_out=("rule_constrainer",))
    assert not any(decision.rule for decision in loose.decisions)


@pytest.mark.parametrize("part", PARTS)
def test_any_part_may_be_left_out(part: str):
    cube = with_gap(cube_of(mixtures(12, 12)), 30, 40)
    result = restore(cube, knowledge=knowledge(), parts_left_out=(part,))
    assert result.is_exact()


def test_a_mask_given_by_hand_counts_and_a_wrong_one_is_refused():
    cube = cube_of(mixtures(12, 12))
    mask = np.ones(cube.data.shape, bool)
    mask[10, 2:5, 3] = False
    result = restore(cube, knowledge=None, mask=mask)
    assert result.changed.size == 3
    with pytest.raises(CubeRefused, match="mask of another shape"):
        restore(cube, knowledge=None, mask=mask[1:])


def test_nothing_damaged_is_given_back_untouched():
    cube = cube_of(mixtures(8, 8))
    result = restore(cube, knowledge=knowledge(), is_decoded=True)
    assert result.restored is cube
    assert set(np.unique(result.classes)) == {ProvenanceClass.CODED}


@pytest.mark.parametrize("shape", [(1, 1), (1, 9)])
def test_a_pixel_or_a_row_is_enough(shape: tuple[int, int]):
    cube = with_gap(cube_of(mixtures(*shape)), 30, 40)
    assert restore(cube, knowledge=knowledge()).is_exact()


def test_without_wavelengths_the_spectrum_and_the_scene_still_serve():
    cube = with_dead_columns(replace(cube_of(mixtures()), bands=BandTable(len(GRID))))
    result = restore(cube, knowledge=knowledge())
    assert result.is_exact()
    assert "no wavelengths" in str(result.report["remark"])


def test_descending_bands_give_the_mirrored_answer():
    cube = with_gap(cube_of(mixtures(12, 12)), 30, 40)
    back = Cube(cube.data[::-1].copy(), BandTable(len(GRID), GRID[::-1].copy()), reasons=cube.reasons[::-1].copy(),
                scale=cube.scale, units=cube.units)
    first, second = restore(cube, knowledge=knowledge()), restore(back, knowledge=knowledge())
    assert np.array_equal(first.restored.data, second.restored.data[::-1])


def test_pixels_outside_the_swath_stay_what_they_are():
    cube = with_gap(cube_of(mixtures()), 30, 40)
    data, reasons = cube.data.copy(), cube.reasons.copy()
    data[:, :4], reasons[:, :4] = -9999, 0
    outside = replace(cube, data=data, reasons=reasons, nodata=-9999)
    result = restore(outside, knowledge=knowledge())
    assert np.all(result.restored.data[:, :4] == -9999)
    assert result.report["unrestored_voxels"] == 4 * 24 * len(GRID)


def test_two_cubes_of_one_place_help_each_other():
    truth = mixtures()
    pair = [with_gap(cube_of(truth), 30, 50), with_gap(cube_of(truth * 0.8, seed=7), 55, 70)]
    alone = [restore(cube, knowledge=knowledge()) for cube in pair]
    together = restore_group(pair, knowledge=knowledge())
    for cube, one, both, gain in zip(pair, alone, together, (1.0, 0.8), strict=True):
        where = cube.reasons > 0
        clean = truth * 10000 * gain
        assert both.is_exact()
        assert error_db(both.restored.data, clean, where) > error_db(one.restored.data, clean, where) + 1
    assert any(decision.source == "correlation.group" for decision in together[0].decisions)


def test_the_verbs_restore_and_organise_write_and_answer(tmp_path, capsys):
    from palimpsest.formats import write

    truth = mixtures(12, 12)
    for name, cube in (("a", with_gap(cube_of(truth), 30, 40)), ("b", cube_of(truth * 0.9, seed=4))):
        write(cube, tmp_path / f"{name}.hdr")
    mask = np.ones((len(GRID), 12, 12), np.uint8)
    mask[30:40] = 0
    np.save(tmp_path / "mask.npy", mask)
    given = ["restore", str(tmp_path / "a.hdr"), str(tmp_path / "out.hdr"), "--mask", str(tmp_path / "mask.npy")]
    assert main([*given, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["exact"] is True
    assert answer["restored_voxels"] >= 10 * 144
    assert main(["restore", str(tmp_path / "a.hdr"), str(tmp_path / "b.hdr"), str(tmp_path / "both"), "--group"]) == 0
    assert (tmp_path / "both" / "a.hdr").exists()
    assert main(["organise", str(tmp_path / "a.hdr"), str(tmp_path / "b.hdr"), str(tmp_path / "groups.json")]) == 0
    assert len(json.loads((tmp_path / "groups.json").read_text())["groups"]) == 1
    assert main(["restore", str(tmp_path / "a.hdr")]) == 2
    assert main([*given[:3], "--leave-out", "heart"]) == 2
