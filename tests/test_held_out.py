"""Materials kept from training: none is on the ground or in the library, and each comes back as Turtle."""

from __future__ import annotations

import json

import numpy as np
import pytest

from palimpsest.cubes.bands import Reason
from palimpsest.knowledge.releases.release import load
from palimpsest.restoration.repair import repair
from palimpsest.scenes import make_scene
from palimpsest_pipelines.restoration_benchmark import held_out as held
from palimpsest_pipelines.restoration_benchmark.cases import scene_cases, whole_bands
from palimpsest_pipelines.restoration_benchmark.held_out import HELD_OUT, SUBJECTS, added, without, word_of
from palimpsest_pipelines.restoration_benchmark.scores import Result, by_ground, intervals, pooled


@pytest.fixture(scope="module")
def packaged():
    return load("packaged")


def test_made_scenes_of_the_release_that_training_knows_hold_none_of_them(packaged):
    known = without(packaged, HELD_OUT)
    assert 0 < len(packaged.materials) - len(known.materials) < 20
    for kind in ("geology", "urban", "mixed"):
        for seed in range(2):
            scene = make_scene(8, 8, kind=kind, seed=seed, knowledge=known)
            words = [iri.rsplit("/", 1)[-1] for iri in scene.material_iris]
            assert not [word for word in words if any(part in word for part in HELD_OUT)]


def test_each_subject_is_in_the_release_and_goes_with_its_kin(packaged):
    words = {word_of(one) for one in packaged.materials}
    for subject in SUBJECTS:
        assert subject.word in words
        rest = without(packaged, subject.kin)
        assert subject.word not in {word_of(one) for one in rest.materials}
        assert subject.is_held_out == any(part in subject.word for part in HELD_OUT)


def test_an_added_material_is_the_one_that_was_taken_under_its_own_name(packaged):
    material = next(one for one in packaged.materials if word_of(one) == "buddingtonite")
    release, iri = added(packaged, material)
    mine = next(one for one in release.materials if one.iri == iri)
    assert mine.label == "added buddingtonite"
    assert len(mine.features) == len(material.features)
    np.testing.assert_allclose(mine.spectrum, material.spectrum, atol=1e-4)
    assert len(release.materials) == len(without(packaged, HELD_OUT).materials) + 1


def _scene_with(subject, knowledge):
    """A small scene, the subject's pixels or, where it is not there, those of its first material."""
    scene = make_scene(12, 12, kind=subject.kind, seed=5, knowledge=knowledge)
    words = [iri.rsplit("/", 1)[-1] for iri in scene.material_iris]
    label = words.index(subject.word) + 1 if subject.word in words else int(scene.labels[0, 0])
    here = scene.labels == label
    return scene, here if here.any() else scene.labels == scene.labels[0, 0]


def test_the_part_says_what_an_added_material_is_worth_and_whether_it_is_named(monkeypatch):
    monkeypatch.setattr(held, "SUBJECTS", tuple(one for one in SUBJECTS if one.word in ("buddingtonite", "hematite")))
    monkeypatch.setattr(held, "scene_with", _scene_with)
    monkeypatch.setattr(held, "TOLD_PIXELS", 1)
    monkeypatch.setattr(held, "CASES", ("wide:swir_1450_1800",))
    notes = []
    table = held.measured(notes.append)
    assert np.isfinite(table["held_out buddingtonite wide:swir_1450_1800 added"])
    assert "held_out: added, of trained materials' gain" in table
    assert 0 <= table["held_out: share of paragraphs that name it"] <= 1
    assert any("named" in note for note in notes)


def test_intervals_are_counted_by_kind_of_ground(packaged):
    scene = make_scene(12, 12, kind="geology", sensor="hymap", seed=3)
    case = next(iter(scene_cases("made", whole_bands(scene.observed), ("wide:swir_1450_1800",))))
    done = repair(case.struck, knowledge=None, mask=case.usable, is_searched=False)
    grounds = by_ground(case, done)
    groups = intervals(case, done)
    assert sum(row[0] for row in grounds.values()) == sum(row[0] for row in groups.values())
    assert set(grounds) & {"mineral", "unnamed"}
    assert not (case.reasons == Reason.OPAQUE).any()
    result = Result("made", case.name, "palimpsest", 0, 0, 0, 0, groups=groups, grounds=grounds)
    total = pooled([result])
    assert total["overall"][0] == sum(row[0] for row in groups.values())
    assert {f"ground {name}" for name in grounds} <= set(total)
    json.dumps(total)
