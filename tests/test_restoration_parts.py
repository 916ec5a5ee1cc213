"""The rooms of the restoration, one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from restoration_cubes import GRID, cube_of, knowledge, mixtures, with_dead_columns, with_gap

from palimpsest.cubes import BandTable, Cube, Reason
from palimpsest.errors import CubeRefused, ModelMissing, UsageError
from palimpsest.knowledge.rules import KnowledgeBase, Material, Rule
from palimpsest.restoration.factors import low_rank
from palimpsest.restoration.integrator.aligner import Aligner, equal_weights
from palimpsest.restoration.integrator.confidence import Confidence, defect_kind
from palimpsest.restoration.integrator.correlation_encoder import CorrelationEncoder
from palimpsest.restoration.integrator.network import check_parts, load
from palimpsest.restoration.library.illumination import fit_gain, shapes
from palimpsest.restoration.library.rule_constrainer import Constrainer
from palimpsest.restoration.library.semantic_mapper import library_for, read_scene
from palimpsest.restoration.library.unmixing import unmix
from palimpsest.restoration.organiser import group_pixels, is_one_place, organise
from palimpsest.restoration.spectrum.interpolation import linear, pchip
from palimpsest.restoration.study.sources import LIBRARY_RESIDUAL, LOW_RANK, SOURCES, corrected_gas, runs_of
from palimpsest.restoration.study.study import study
from palimpsest.restoration.view import Axis, noise_per_band, unit_of, view_of
from palimpsest.scenes import degrade, make_scene
from palimpsest_pipelines.restoration_benchmark.cases import whole_bands


def view_all(cube: Cube):
    reasons = cube.voxel_reasons()
    pixels = np.arange(cube.shape.rows * cube.shape.cols, dtype=np.int64)
    return view_of(cube, reasons, Axis.of(cube.bands), pixels, unit_of(cube, reasons))


def test_lines_and_cubics_leave_usable_voxels_and_hold_the_edges():
    cube = with_gap(cube_of(mixtures()), 0, 3)
    view = view_all(cube)
    for method in (linear, pchip):
        filled = method(view)
        assert np.array_equal(filled[view.usable], view.values[view.usable])
        assert np.array_equal(filled[:, 0], view.values[:, 3])


def test_a_line_is_restored_exactly_by_a_line_on_uneven_bands():
    centre = np.array([400.0, 410, 430, 440, 460, 500])
    data = (centre * 2).astype(np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    reasons = np.zeros(data.shape, np.uint8)
    reasons[2:4, 0] = Reason.DEAD
    cube = Cube(np.where(reasons, 0, data).astype(np.float32), BandTable(6, centre), reasons=reasons)
    view = view_all(cube)
    assert np.allclose(linear(view) * view.unit, data.reshape(6, -1).T, rtol=1e-5)


def test_descending_wavelengths_come_back_in_stored_order():
    axis = Axis.of(BandTable(5, GRID[:5][::-1].copy()))
    assert axis.order.tolist() == [4, 3, 2, 1, 0]
    assert np.all(np.diff(axis.along) > 0)


def test_overlapping_detectors_keep_their_distance_on_the_axis():
    axis = Axis.of(BandTable(5, np.array([400.0, 410.0, 410.1, 420.0, 430.0])))
    assert np.all(np.diff(axis.along) >= 4.9)


def test_factor_analysis_under_a_mask_fills_what_other_pixels_show():
    truth = mixtures()
    cube = with_dead_columns(cube_of(truth))
    view = view_all(cube)
    noise = noise_per_band(cube, cube.voxel_reasons(), view.axis, view.unit)
    model = low_rank.fit(view, noise, factors=6)
    filled, spread = model.predict(view)
    clean = (truth.reshape(len(truth), -1).T * 10000) / view.unit
    dead = ~view.usable
    assert np.abs(filled - clean)[dead].mean() < 0.004
    assert np.abs(linear(view) - clean)[dead].mean() > 2 * np.abs(filled - clean)[dead].mean()
    assert np.all(spread[dead] > 0)


def test_factor_analysis_does_not_pretend_with_too_few_pixels():
    cube = cube_of(mixtures(1, 5))
    assert low_rank.fit(view_all(cube), np.full(len(GRID), 1e-3)) is None


def test_unmixing_agrees_with_scipy():
    from scipy.optimize import nnls

    rng = np.random.default_rng(2)
    spectra, values = rng.uniform(0, 1, (9, 40)), rng.uniform(0, 1, (6, 40))
    shares = unmix(values, spectra, np.ones(40))
    for row, value in zip(shares, values, strict=True):
        exact, distance = nnls(spectra.T, value)
        assert np.linalg.norm(value - row @ spectra) <= distance * (1 + 1e-5)
        assert np.all(row >= 0)
        assert np.allclose(row, exact, atol=1e-4)


def test_spectra_that_are_much_alike_are_unmixed_to_the_end():
    """A descent that stops early is decibels off in a gap, and its fit hardly shows it."""
    from scipy.optimize import nnls

    axis = Axis.of(BandTable(len(GRID), GRID))
    library = library_for(axis, knowledge()).spectra
    rng = np.random.default_rng(4)
    seen = np.abs(GRID - 750) > 100
    shares = rng.dirichlet(np.full(len(library), 0.05), 20)
    values = shares @ library + 1e-3 * rng.standard_normal((20, len(GRID)))
    found = unmix(values, library, seen.astype(float))
    assert (found >= 0).all()
    for row, value in zip(found, values, strict=True):
        exact, distance = nnls(library[:, seen].T, value[seen], maxiter=20_000)
        assert np.linalg.norm((value - row @ library)[seen]) <= distance * (1 + 1e-2)
        assert np.abs((row - exact) @ library)[~seen].max() < 2e-3


def test_unmixing_survives_materials_that_are_the_same_and_pixels_that_are_none():
    spectra = np.vstack([np.full(12, 0.5), np.full(12, 0.5), np.zeros(12), np.linspace(0.1, 0.9, 12)])
    values = np.vstack([np.zeros(12), np.full(12, -1.0), np.full(12, 0.25), np.full(12, 1e30), np.full(12, np.nan)])
    shares = unmix(values, spectra, np.ones(12))
    assert np.isfinite(shares).all()
    assert not shares[[0, 1, 4]].any()
    assert (shares[2] @ spectra) == pytest.approx(np.full(12, 0.25), abs=1e-4)
    assert not shares[:, 2].any()


def test_a_scene_under_the_sun_gives_back_its_light():
    truth = mixtures()
    base = knowledge()
    axis = Axis.of(BandTable(len(GRID), GRID))
    library = library_for(axis, base)
    basis = shapes(GRID, base.windows)
    gain = np.exp(basis @ np.array([0.0, 0.8, 0.5, 0.0, 0.0]))
    found = fit_gain(truth.mean((1, 2)) * gain, truth.mean((1, 2)), np.ones(len(GRID)), basis)
    assert np.abs(np.log(found / gain)).max() < 0.05
    means = (truth * gain[:, None, None]).reshape(len(GRID), -1).T[::20]
    reading = read_scene(library, means, np.ones(len(GRID), bool), lit=True)
    flat = read_scene(library, means, np.ones(len(GRID), bool), lit=False)
    assert np.nanmedian(reading.misfit) < np.nanmedian(flat.misfit)
    assert reading.is_sunlit
    assert not flat.is_sunlit


def test_deep_water_is_not_taken_for_sunlight():
    """A reflectance scene of which no mixture explains most: a light of its own explains it no better."""
    made = whole_bands(make_scene(32, 32, sensor="enmap", seed=770_116, kind="coast").observed)
    struck = degrade(made, "wide:vapour_940_1130")
    seen = study(struck.cube, struck.reasons, knowledge())
    assert seen.sources.lit is not None
    assert not seen.sources.lit.is_sunlit
    assert corrected_gas(seen.sources)[seen.sources.everywhere].all()


def test_the_mapper_needs_no_index_of_materials():
    base = knowledge()
    axis = Axis.of(BandTable(len(GRID), GRID))
    spectrum = np.asarray(base.materials[0].spectrum) * 0 + 0.3
    spectrum = (0.3 + 0.2 * np.sin(base.grid_nm / 90)).astype(np.float32)
    added = replace(base.materials[0], iri="urn:new", label="striped paint", spectrum=spectrum, features=())
    larger = replace(base, materials=(*base.materials, added))
    library = library_for(axis, larger)
    means = np.interp(GRID, base.grid_nm, spectrum)[None] * np.array([[0.5], [0.9]])
    reading = read_scene(library, means, np.ones(len(GRID), bool), lit=False)
    shares = reading.shares(means)
    assert reading.materials[int(np.argmax(shares[0]))].iri == "urn:new"


def test_spectra_explained_to_the_last_bit_leave_every_band_a_witness():
    library = library_for(Axis.of(BandTable(len(GRID), GRID)), knowledge())
    reading = read_scene(library, np.zeros((5, len(GRID))), np.ones(len(GRID), bool), lit=True)
    assert (reading.weights[~library.shut] > 0).all()
    assert np.isfinite(reading.kinship).all()


def test_without_wavelengths_there_is_no_library():
    assert library_for(Axis.of(BandTable(5)), knowledge()) is None


def test_groups_hold_pixels_that_look_alike():
    view = view_all(cube_of(mixtures()))
    groups = group_pixels(view, np.ones(len(GRID), bool))
    member = groups.of(view)
    inside = sum(((view.values[member == g] - groups.centres[g]) ** 2).sum() for g in range(len(groups.centres)))
    assert inside < 0.3 * ((view.values - view.values.mean(0)) ** 2).sum()


def test_a_pile_is_organised_by_place_and_by_sensor():
    truth, other = mixtures(), mixtures(seed=9)
    vnir = GRID[GRID < 1000]
    pile = [
        cube_of(truth), cube_of(other), cube_of(truth * 0.8, seed=5), cube_of(mixtures(12, 12, 4)[:24], vnir),
        cube_of(truth[:24], vnir, seed=8),
    ]
    groups = organise(pile)
    assert [group.members for group in groups] == [(0, 2, 4), (1,), (3,)]
    assert groups[0].is_one_place
    assert is_one_place(pile[0], pile[2])
    assert not is_one_place(pile[0], pile[1])


def test_damage_becomes_runs():
    assert [(r.first, r.last) for r in runs_of(np.array([1, 0, 1, 1, 0], bool))] == [(0, 1), (2, 4)]


def made_context(gap: tuple[int, int] = (30, 40)):
    cube = with_gap(cube_of(mixtures()), *gap)
    return study(cube, cube.voxel_reasons(), knowledge())


def test_the_graph_is_made_of_attributes_and_judged_without_nan():
    context = made_context().context
    assert context.material_cell.shape[1] > 0
    assert all(np.isfinite(part).all() for part in (context.cell, context.candidate, context.group, context.error))
    network = load(None)
    with torch.no_grad():
        judged, alone = network(context), network(context, edges=False)
    assert torch.allclose(judged.weights.sum(1), torch.ones(len(judged.weights)))
    assert not torch.allclose(judged.weights, alone.weights), "edges must carry messages"


def test_renaming_materials_changes_nothing_in_the_judgement():
    cube = with_gap(cube_of(mixtures()), 30, 40)
    base = knowledge()
    renamed = replace(base, materials=tuple(replace(m, label="x" + m.label) for m in base.materials))
    network = load(None)
    with torch.no_grad():
        first, second = (
            network(study(cube, cube.voxel_reasons(), kb).context).weights for kb in (base, renamed)
        )
    assert torch.equal(first, second)


def test_the_encoder_attends_across_groups():
    torch.manual_seed(1)
    encoder = CorrelationEncoder(16).eval()
    groups = torch.randn(5, 24)
    moved = groups.clone()
    moved[4] += 1
    assert not torch.allclose(encoder(groups)[0], encoder(moved)[0])


def test_the_aligner_is_an_inverse_variance_mean_before_it_learns():
    aligner = Aligner(8)
    for layer in (aligner.key, aligner.bias):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    log_error = torch.tensor([[0.0, 1.0, -1.0]])
    speaks = torch.tensor([[True, True, False]])
    weights = aligner(torch.zeros(1, 8), torch.zeros(1, 3, 8), log_error, speaks)
    assert torch.allclose(weights, torch.tensor([[100 / 101, 1 / 101, 0.0]]), atol=1e-5)
    assert equal_weights(speaks).tolist() == [[0.5, 0.5, 0.0]]


def test_confidence_follows_the_error_of_those_who_are_believed():
    torch.manual_seed(0)
    estimator = Confidence(8)
    torch.nn.init.zeros_(estimator.net[2].weight)
    torch.nn.init.zeros_(estimator.net[2].bias)
    weights = torch.tensor([[1.0, 0.0]])
    expected = estimator(torch.zeros(1, 8), torch.zeros(1, 2, 8), torch.tensor([[0.7, -1.0]]), weights)
    assert torch.allclose(expected, torch.tensor([0.7]))


def test_kinds_of_defects_are_told_apart():
    seen = made_context((30, 40))
    assert set(defect_kind(seen.context.cells, seen.axis)) == {1}
    for end in ((0, 9), (78, 84)):
        seen = made_context(end)
        assert set(defect_kind(seen.context.cells, seen.axis)) == {3}
    cube = with_dead_columns(cube_of(mixtures()))
    seen = study(cube, cube.voxel_reasons(), knowledge())
    assert set(defect_kind(seen.context.cells, seen.axis)) == {2}
    assert seen.context.speaks[:, LOW_RANK].all()
    assert not seen.context.speaks[:, LIBRARY_RESIDUAL].any()


def hard(kind: str, **parameters: float) -> Rule:
    return Rule(f"urn:{kind}", kind, parameters, (), True, 1.0, f"{kind} holds")


def constrainer(*rules: Rule, units: str = "reflectance") -> Constrainer:
    bands = BandTable(5, np.array([500.0, 600, 700, 800, 900]))
    cube = Cube(np.ones((5, 1, 1), np.float32), bands, units=units)
    knowledge = KnowledgeBase("0" * 64, "test", np.arange(350.0, 2501), (), rules)
    return Constrainer.of(knowledge, cube, Axis.of(bands), 1.0)


def moved_by(given: Constrainer, values: np.ndarray, changed: np.ndarray) -> list[tuple[Rule, np.ndarray]]:
    return given.project(values, changed, np.ones(values.shape, bool), None, None)


def test_rules_move_changed_voxels_only_and_by_as_little_as_needed():
    values = np.array([[-0.2, 0.5, 1.5, 0.5, -0.3]])
    changed = np.array([[True, True, True, False, False]])
    holding = constrainer(hard("bounds", low=0.0, high=1.2))
    moved = moved_by(holding, values, changed)
    assert np.allclose(values, [[0.0, 0.5, 1.2, 0.5, -0.3]])
    assert [rule.iri for rule, _ in moved] == ["urn:bounds"]
    assert np.allclose(moved[0][1], [[0.2, 0, -0.3, 0, 0]])
    assert holding.broken == {"urn:bounds": 1}  # by the measured voxel at -0.3, which stays


def test_a_monotone_rule_is_the_isotonic_projection_between_measured_walls():
    values = np.array([[0.1, 0.4, 0.2, 0.3, 0.5]])
    changed = np.array([[False, True, True, True, False]])
    moved_by(constrainer(hard("monotone", from_nm=500.0, to_nm=900.0, direction=1.0)), values, changed)
    assert np.allclose(values, [[0.1, 0.3, 0.3, 0.3, 0.5]])


def test_an_order_of_bands_meets_in_the_middle():
    values = np.array([[0.2, 0.0, 0.0, 0.4, 0.0], [0.2, 0.0, 0.0, 0.4, 0.0]])
    changed = np.array([[True, False, False, True, False], [True, False, False, False, False]])
    moved_by(constrainer(hard("band_order", first_nm=500.0, second_nm=800.0, ratio=1.0)), values, changed)
    assert np.allclose(values[:, [0, 3]], [[0.3, 0.3], [0.4, 0.4]])


def test_of_raw_numbers_rules_say_only_that_nothing_is_negative():
    rules = hard("bounds", low=0.0, high=1.2), hard("band_order", first_nm=500.0, second_nm=800.0, ratio=1.0)
    values = np.array([[-0.2, 0.5, 1.5, 0.5, 0.3]])
    moved_by(constrainer(*rules, units="counts"), values, np.ones((1, 5), bool))
    assert np.allclose(values, [[0.0, 0.5, 1.5, 0.5, 0.3]])


def test_a_value_that_nobody_knows_breaks_no_rule():
    values = np.array([[0.2, 0.0, 0.0, 0.4, 0.0]])
    changed = np.array([[True, False, False, False, False]])
    rule = hard("band_order", first_nm=500.0, second_nm=800.0, ratio=1.0)
    assert constrainer(rule).project(values, changed, changed, None, None) == []
    assert values[0, 0] == 0.2


def test_rules_with_a_scope_wait_for_their_materials():
    snow = Material("urn:snow", "snow", (), None)
    rule = replace(hard("bounds", low=0.0), scope=("urn:snow",))
    knowledge = KnowledgeBase("0" * 64, "test", np.arange(350.0, 2501), (snow,), (rule,))
    bands = BandTable(5, np.array([500.0, 600, 700, 800, 900]))
    cube = Cube(np.ones((5, 1, 1), np.float32), bands, units="reflectance")
    waiting = Constrainer.of(knowledge, cube, Axis.of(bands), 1.0)
    assert waiting.compiled is not None
    assert len(waiting.compiled.hard) == 1
    assert moved_by(waiting, np.array([[-0.2] * 5]), np.ones((1, 5), bool)) == []


def test_wrong_weights_and_parts_are_refused(tmp_path):
    with pytest.raises(ModelMissing, match="not installed"):
        load(tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(ModelMissing, match="not the weights"):
        load(broken)
    with pytest.raises(UsageError, match="no such part"):
        check_parts(["heart"])


def test_nothing_usable_is_refused():
    cube = replace(cube_of(mixtures(2, 2)), reasons=np.full((len(GRID), 2, 2), Reason.NODATA, np.uint8))
    with pytest.raises(CubeRefused, match="no voxel is usable"):
        unit_of(cube, cube.voxel_reasons())


def test_sources_have_one_name_each():
    assert len(set(SOURCES)) == len(SOURCES)
