"""What a draft would change on a cube."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from palimpsest.cubes import BandTable, Cube
from palimpsest.knowledge.preview import preview
from palimpsest.knowledge.release import load
from palimpsest.spectra import resample


def cube_of(knowledge, names):
    """A cube of one row whose pixels are the reference spectra of materials."""
    centres, widths = np.arange(400.0, 2450.0, 10.0), np.full(205, 10.0)
    spectra = [next(one.spectrum for one in knowledge.materials if one.label == name) for name in names]
    values = resample(np.stack(spectra), knowledge.grid_nm, centres, widths)
    data = np.nan_to_num(values, nan=0.2).T[:, None, :].astype(np.float32)
    return Cube(data, BandTable(205, centres, widths), units="reflectance")


def test_a_draft_that_is_the_active_release_changes_nothing():
    knowledge = load("packaged")
    found = preview(cube_of(knowledge, ["calcite", "vegetation_green", "alunite_K_250C"]), knowledge, knowledge)
    assert not found.is_changed.any()
    assert found.transitions == ()


def test_a_draft_without_a_material_renames_its_pixels_and_no_others():
    knowledge = load("packaged")
    cube = cube_of(knowledge, ["vegetation_green", "vegetation_green", "alunite_K_250C"])
    kept = tuple(one for one in knowledge.materials if one.label != "alunite_K_250C")
    kept = tuple(
        replace(one, not_features=tuple(
            other for other in one.not_features if other.material_iri in {material.iri for material in kept}
        )) for one in kept
    )
    found = preview(cube, knowledge, replace(knowledge, materials=kept, release="draft"))
    assert found.is_changed.tolist() == [[False, False, True]]
    assert found.transitions[0][0] == "alunite_K_250C"
    assert found.summary()["labels_changed"] == 1
