"""The judges that the integrator is compared with: no edges, and weights that are fixed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from restoration_cubes import gap_context as context
from shared_data import RIVALS, needs_shared

from palimpsest.errors import ModelMissing
from palimpsest.restoration.integrator.network import Integrator
from palimpsest.restoration.integrator.network import load as load_integrator
from palimpsest.restoration.study.sources import LIBRARY, SOURCES
from palimpsest.scenes import make_scene
from palimpsest_pipelines import benchmark_restoration as bench
from palimpsest_pipelines.restoration_benchmark.cases import clean_case, scene_cases, whole_bands
from palimpsest_pipelines.restoration_benchmark.judges import FixedWeights, PerNode, Rivals, alone, load, save
from palimpsest_pipelines.restoration_benchmark.rivals import interpolated, ridge, rivals_for
from palimpsest_pipelines.restoration_benchmark.scores import score
from palimpsest_pipelines.restoration_benchmark.sources import SOURCE, answers


def seeded(kind: type[Integrator] = Integrator, members: int = 1) -> Integrator:
    torch.manual_seed(5)
    network = kind(members=members)
    for member in network.members:
        for layer in (member.aligner.key, member.aligner.bias):
            torch.nn.init.normal_(layer.weight, std=0.5)
    return network.eval()


def test_a_per_node_network_hears_no_edge_however_it_is_asked():
    torn = replace(context(), material_cell=np.zeros((2, 0), np.int64), material_edge=context().material_edge[:0])
    network, whole = seeded(PerNode), seeded()
    with torch.no_grad():
        assert torch.equal(network(context(), edges=True).weights, network(torn, edges=True).weights)
        assert not torch.equal(whole(context()).weights, whole(torn).weights)


def test_fixed_weights_are_shared_by_those_who_speak():
    judge = FixedWeights(hears_trials=False)
    with torch.no_grad():
        judge.score[LIBRARY] = 2.0
        weights = judge(context()).weights
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)))
    assert (weights[~torch.from_numpy(context().speaks)] == 0).all()
    speaking = torch.from_numpy(context().speaks).sum(1)
    assert torch.allclose(weights[:, LIBRARY], np.e**2 / (np.e**2 + speaking - 1))
    assert judge.score.shape == (len(SOURCES),)


def test_judges_are_found_again_as_they_were_saved(tmp_path):
    rivals = Rivals(seeded(PerNode, 2), FixedWeights(hears_trials=False), FixedWeights(hears_trials=True))
    with torch.no_grad():
        rivals.by_trials.trust.fill_(0.7)
    save(rivals, tmp_path / "rivals.safetensors")
    back = load(tmp_path / "rivals.safetensors")
    with torch.no_grad():
        for name in ("per_node", "fixed", "by_trials"):
            assert torch.equal(getattr(back, name)(context()).weights, getattr(rivals, name)(context()).weights)
        each = [alone(back.per_node, number)(context()).weights for number in range(2)]
        assert torch.allclose(torch.stack(each).mean(0), back.per_node(context()).weights, atol=1e-6)
    with pytest.raises(ModelMissing, match="not installed"):
        load(tmp_path / "none.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelMissing, match="not the weights"):
        load(tmp_path / "torn.safetensors")


def test_a_member_alone_keeps_the_intervals_of_all():
    whole = load_integrator(None)
    single = alone(whole, 1)
    assert len(single.members) == 1
    assert torch.equal(single.get_buffer("conformal"), whole.get_buffer("conformal"))


def test_every_scene_has_judges_that_did_not_see_it():
    for scene in ("elsewhere", *bench.LEARNED_FROM):
        judges = bench.unseen_judges(scene)
        assert {bench.PER_NODE, bench.FIXED, bench.FIXED_BY_TRIALS, "palimpsest seed 2"} <= set(judges)
    first, second = (bench.unseen_judges(scene)[bench.PER_NODE] for scene in bench.LEARNED_FROM)
    assert first.digest != second.digest


def test_the_table_says_what_edges_are_worth():
    def result(method: str, figure: float, sharpness: float | None = None) -> bench.Result:
        return bench.Result("s", "wide:x", method, figure, figure, 1.0, 0.1, sharpness=sharpness)

    names = [bench.OURS, bench.PER_NODE, bench.FIXED, bench.FIXED_BY_TRIALS]
    names += [f"{of} seed {number}" for of in (bench.OURS, bench.PER_NODE) for number in range(2)]
    figures = [24.0, 23.0, 21.0, 22.0, 23.0, 25.0, 22.5, 22.5]
    rows = [result("linear", 20.0), result("pchip", 19.0)]
    for name, figure in zip(names, figures, strict=True):
        rows.append(result(name, figure, 0.1 if name == bench.OURS else 0.2))
    table = bench.summary(rows)
    assert table["judges: edges are worth, seed by seed"] == pytest.approx(1.5)
    assert table["judges: edges are worth, all seeds asked together"] == pytest.approx(1.0)
    assert table["judges: spread of the seeds"] == pytest.approx(2.0)
    assert table["judges: best fixed weights"] == pytest.approx(2.0)
    assert table["judges: width of intervals over per-node's, equal coverage"] == pytest.approx(0.5)


def test_each_source_alone_answers_in_the_gap_and_nowhere_else():
    cube = make_scene(12, 12, seed=2, kind="vegetation", sensor="enmap").observed
    (case,) = scene_cases("s", whole_bands(cube), ("wide:red_edge",))
    found = dict(answers(case))
    assert {"interpolation.linear", "library"} < set(found)
    for name, values in found.items():
        assert np.array_equal(values[case.usable], np.asarray(case.struck.data, np.float32)[case.usable]), name
        assert np.isfinite(values).all()
    line = interpolated(case.struck, case.usable, "linear")
    assert score(case, found["interpolation.linear"])[0] == pytest.approx(score(case, line)[0], abs=0.5)
    assert score(case, found["library"])[0] != pytest.approx(score(case, line)[0], abs=0.1)


def test_the_table_says_how_far_the_best_source_in_hindsight_is():
    rows = [
        bench.Result(scene, "wide:x", method, figure, figure, 1.0, 0.1)
        for scene, figures in (("s", (20.0, 30.0, 28.0, 31.0)), ("t", (20.0, 30.0, 32.0, 29.0)))
        for method, figure in zip(("linear", bench.OURS, f"{SOURCE}a", f"{SOURCE}b"), figures, strict=True)
    ]
    table = bench.summary(rows)
    assert table["s wide:x margin over its best source in hindsight (b)"] == pytest.approx(-1.0)
    assert table["t wide:x margin over its best source in hindsight (a)"] == pytest.approx(-2.0)
    assert table["best source in hindsight: mean margin over it (2 cases)"] == pytest.approx(-1.5)
    assert table["best source in hindsight: cases more than 0.3 dB behind it"] == 2
    assert table["s wide:x margin over linear"] == pytest.approx(10.0)  # a source is no rival
    assert not any("source" in name for name in bench.summary([r for r in rows if not r.method.startswith(SOURCE)]))


def test_ridge_on_clean_pixels_learns_what_they_show():
    rng = np.random.default_rng(3)
    spectra = rng.random((400, 2)) @ rng.random((2, 30)) + 0.2
    mask = np.ones((20, 20, 30), bool)
    mask[..., 10:18] = False
    mask.reshape(400, 30)[rng.choice(400, 10, replace=False)] = True
    y = np.where(mask, spectra.reshape(20, 20, 30), 0).astype(np.float32)
    found = np.where(mask, y, ridge(y, mask)).reshape(400, 30)
    assert np.abs(found - spectra).max() < 0.05
    assert np.abs(spectra - spectra.mean(0)).max() > 0.3


@needs_shared
def test_the_library_recipe_and_the_ridge_are_rivals_where_clean_pixels_are_few():
    case = clean_case("s", make_scene(12, 12, seed=3).observed, "clean:10:red_edge")
    rivals = rivals_for(RIVALS, case)
    for name in ("nnls_residual", "ridge on the clean pixels"):
        values = rivals[name]()
        assert values.shape == case.truth.shape
        assert np.isfinite(values).all()
        assert np.allclose(values[case.usable], np.asarray(case.struck.data)[case.usable], rtol=1e-5)
