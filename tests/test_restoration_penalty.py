"""Rules as a penalty in training: what the judge's mixture breaks and the truth does not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from restoration_cubes import GRID, cube_of, knowledge, mixtures, with_gap

from palimpsest.cubes import BandTable, Cube
from palimpsest.knowledge.hard_rules.rule_forms import SensorRule, compile_rules, scope_labels
from palimpsest.restoration.view import Axis
from palimpsest_pipelines.restoration_training import loss as restoration_loss
from palimpsest_pipelines.restoration_training.batches import thinned
from palimpsest_pipelines.restoration_training.examples import example_of
from palimpsest_pipelines.restoration_training.penalty import Held, Places, held_to, rows_of

if TYPE_CHECKING:
    from palimpsest.knowledge.rules import Material
    from palimpsest_pipelines.restoration_training.examples import Example

CENTRE = np.linspace(380.0, 2500.0, 224)  # as AVIRIS has them
RULES = {rule.iri.rsplit("/", 1)[1]: rule for rule in knowledge().rules}
COMPILED = {
    one.rule.iri.rsplit("/", 1)[1]: one for one in compile_rules(knowledge(), CENTRE, np.full(224, 10.0)).rules
}


def materials_of(name: str) -> tuple[Material, ...]:
    labels = sorted(scope_labels(knowledge(), RULES[name].scope))
    return (knowledge().materials[labels[0] - 1],) if labels else ()


def held(name: str, true: np.ndarray, errors: np.ndarray, units: str = "reflectance") -> Held:
    """What one rule of the release holds wholly damaged pixels to; errors ``(pixel, source, band)``."""
    pixels, bands = true.shape
    axis = Axis.of(BandTable(bands, centre_nm=CENTRE))
    materials = materials_of(name)
    seen = SimpleNamespace(
        axis=axis, unit=1.0, sources=SimpleNamespace(flat=SimpleNamespace(materials=materials)),
        proposals=SimpleNamespace(shares=(np.ones((pixels, len(materials))), None)),
    )
    cell = np.tile(np.arange(bands, dtype=np.int32), (pixels, 1))
    voxel = np.tile(np.arange(pixels, dtype=np.uint8)[:, None], (1, bands))
    places = Places(np.arange(pixels), np.zeros(pixels, np.intp), np.arange(bands), cell, voxel)
    cube = Cube(np.zeros((bands, 1, 1), np.float32), BandTable(bands, centre_nm=CENTRE), units=units)
    known = replace(knowledge(), rules=(RULES[name],))
    return held_to(seen, cube, known, true, places, in_cells(errors))  # type: ignore[arg-type] # as much as is looked at


def in_cells(errors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(errors.transpose(2, 1, 0).astype(np.float32))  # (cell, source, voxel)


def broken(rule: SensorRule, spectra: np.ndarray, true: np.ndarray) -> float:
    """The penalty from the inequalities themselves, row by row."""
    form, meant = rows_of(rule, true)
    over = np.maximum(spectra @ form.matrix.T - form.bound, 0) - np.maximum(true @ form.matrix.T - form.bound, 0)
    weight = 1.0 if rule.rule.is_hard else rule.rule.weight
    return float((weight * (np.maximum(over, 0) * meant).sum(1) / meant.sum(1)).mean())


@pytest.mark.parametrize("name", sorted(COMPILED))
def test_every_spectral_rule_of_the_release_is_heard_and_charged_exactly(name):
    rng = np.random.default_rng(3)
    true = np.clip(0.3 + 0.04 * rng.standard_normal((5, 224)).cumsum(1), 0.05, 1.0)
    errors = 0.4 * rng.standard_normal((5, 3, 224))
    weights = torch.from_numpy(rng.dirichlet(np.ones(3), 224).astype(np.float32))
    found = held(name, true, errors)
    assert set(found.rules) == {RULES[name].iri}
    mixed = np.einsum("psb,bs->pb", errors, weights.numpy())
    charged = float(found.penalty(in_cells(errors), weights))
    assert charged > 0
    assert charged == pytest.approx(broken(COMPILED[name], true + mixed, true), rel=1e-4)


def test_the_truth_itself_is_not_charged_whatever_it_breaks():
    rng = np.random.default_rng(4)
    true = 0.3 + 0.5 * rng.standard_normal((4, 224))  # negative here and there, no red edge, all teeth
    errors = np.stack([np.zeros((4, 224)), rng.standard_normal((4, 224))], 1)
    believed = torch.tensor([[1.0, 0.0]]).repeat(224, 1)
    for name in COMPILED:
        assert float(held(name, true, errors).penalty(in_cells(errors), believed)) == 0


def test_trust_moves_from_the_source_that_turns_the_red_edge_back_to_the_one_that_does_not():
    true = np.interp(CENTRE, [380, 690, 750, 2500], [0.05, 0.05, 0.5, 0.4])[None]
    back = np.where((CENTRE > 715) & (CENTRE < 735), -0.3, 0.0)
    errors = np.stack([np.full((1, 224), 0.02), back[None]], 1)
    score = torch.zeros((224, 2), requires_grad=True)
    charged = held("red-edge-rises", true, errors).penalty(in_cells(errors), torch.softmax(score, 1))
    charged.backward()
    assert float(charged.detach()) > 0.01
    assert float(score.grad[:, 1].sum()) > 0  # less trust in whom breaks the rule lowers the charge
    assert float(score.grad[:, 0].sum()) < 0
    alone = torch.tensor([[1.0, 0.0]]).repeat(224, 1)
    assert float(held("red-edge-rises", true, errors).penalty(in_cells(errors), alone)) == 0


def test_of_other_light_than_reflectance_only_what_is_negative_is_charged():
    true = np.full((1, 224), 0.2)
    errors = np.stack([np.full((1, 224), 1.5), np.full((1, 224), -0.5)], 1)
    found = held("reflectance-bounds", true, errors, units="radiance")
    high, low = (torch.eye(2)[[source]].repeat(224, 1) for source in (0, 1))
    assert float(found.penalty(in_cells(errors), high)) == 0
    assert float(found.penalty(in_cells(errors), low)) == pytest.approx(0.3, rel=1e-4)
    assert not held("red-edge-rises", true, errors, units="radiance").rules
    assert float(held("red-edge-rises", true, errors, units="radiance").penalty(in_cells(errors), high)) == 0


@cache
def example() -> Example:
    clean = mixtures()
    made = example_of(with_gap(cube_of(clean), 0, 8), clean * 10000, knowledge(), ("made-town-0", "gap", "full"), 0)
    assert made is not None
    return made


def only(source: int) -> torch.Tensor:
    """Weights of a judge of the example who believes one source."""
    return torch.eye(example().errors.shape[1])[[source]].repeat(len(example().share), 1)


def alone() -> np.ndarray:
    made = example()
    return np.array([float(made.held.penalty(made.errors, only(s))) for s in range(made.errors.shape[1])])


def test_spectra_are_put_together_of_one_pixels_voxels():
    made = example()
    pixel = made.held.cell >= 0
    assert pixel.all()  # the gap is everybody's
    assert made.valid[made.held.cell, made.held.voxel].all()
    assert (made.context.cells.group[made.held.cell] == made.held.group[:, None]).all()
    assert (np.diff(made.context.cells.band[made.held.cell], axis=1) > 0).all()
    assert made.held.rules


def test_a_thinned_example_keeps_what_its_pixels_are_held_to():
    made, weights = example(), only(int(alone().argmax()))
    fewer = thinned(made, np.random.default_rng(5))
    groups = np.unique(fewer.context.cells.group)
    kept, here = np.isin(made.context.cells.group, groups), np.isin(made.held.group, groups)
    assert 0 < here.sum() < here.size
    same = replace(
        made.held, group=made.held.group[here], cell=made.held.cell[here], voxel=made.held.voxel[here],
        slack=made.held.slack[here], weight=made.held.weight[here],
    )
    expected = float(same.penalty(made.errors, weights))
    assert expected > 0
    assert float(fewer.held.penalty(fewer.errors, weights[torch.from_numpy(kept)])) == pytest.approx(expected)


def test_the_loss_charges_a_judge_whose_mixture_breaks_rules(monkeypatch):
    made = example()
    breaks, keeps = int(alone().argmax()), int(alone().argmin())

    def loss(source: int) -> float:
        said = SimpleNamespace(weights=only(source), log_error=torch.ones(len(made.share)))
        return float(restoration_loss.loss_of(lambda _context, **_options: said, [made], edges=True))

    charged = {source: loss(source) for source in (breaks, keeps)}
    monkeypatch.setattr(restoration_loss, "RULES", 0.0)
    assert charged[breaks] > loss(breaks) + 0.01
    assert charged[keeps] == loss(keeps)


def test_without_wavelengths_or_knowledge_no_rule_is_heard():
    clean = mixtures()
    nameless = with_gap(cube_of(clean, None), 10, 16)
    for cube, known in ((nameless, knowledge()), (with_gap(cube_of(clean, GRID), 10, 16), None)):
        made = example_of(cube, clean * 10000, known, ("made-town-0", "gap", "none"), 0)
        assert not made.held.rules
        weights = torch.full((len(made.share), made.errors.shape[1]), 1 / made.errors.shape[1])
        assert float(made.held.penalty(made.errors, weights)) == 0
