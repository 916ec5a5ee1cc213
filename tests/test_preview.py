"""What a draft would change on a cube."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from palimpsest.cubes import BandTable, Cube
from palimpsest.knowledge.preview import preview
from palimpsest.knowledge.releases.release import load
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
    assert not found.weight_change.any()


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
    assert found.weight_change[0, 2] > 0.01
    assert found.weight_change.shape == (1, 3)
    assert found.band_change.shape == (205,)
    assert found.summary()["importance_largest_change"] > 0.01


def test_the_command_previews_a_folder_on_a_cube_in_a_file(tmp_path, capsys, monkeypatch):
    from palimpsest import formats
    from palimpsest.commands import main
    from palimpsest.knowledge.releases.contents import packaged

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PALIMPSEST_HOME", str(tmp_path / "home"))
    release = packaged()
    draft = tmp_path / "draft"
    draft.mkdir()
    for name, content in {**release.files, **release.resources}.items():
        (draft / name).write_bytes(content)
    text = (draft / "materials_mica.ttl").read_text()
    # a stricter gate for one material
    assert "plm:minimumDepth 0.2 ;" in text
    (draft / "materials_mica.ttl").write_text(text.replace("plm:minimumDepth 0.2 ;", "plm:minimumDepth 0.99 ;", 1))
    knowledge = load("packaged")
    cube = tmp_path / "cube.hdr"
    formats.write(cube_of(knowledge, ["vegetation_green", "alunite_K_250C"]), cube)
    assert main(["knowledge", "preview", str(draft), str(cube), "--against", "packaged", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    [summary] = answer["cubes"].values()
    assert summary["labels_changed"] == 1
    assert summary["transitions"][0]["from"] == "vegetation_green"
    assert main(["knowledge", "preview", str(draft), str(cube), "--against", "packaged"]) == 0
    assert "vegetation_green ->" in capsys.readouterr().out


def test_a_material_written_this_morning_is_named_and_weighed_this_afternoon(tmp_path, monkeypatch):
    from palimpsest.knowledge.releases.contents import packaged

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    draft = tmp_path / "draft"
    draft.mkdir()
    release = packaged()
    for name, content in {**release.files, **release.resources}.items():
        (draft / name).write_bytes(content)
    x = np.arange(400.0, 2501.0, 10.0)
    y = 0.5 * (1 - 0.3 * np.exp(-0.5 * ((x - 1650) / 25) ** 2))
    numbers = [" ".join(f"{value:.5f}" for value in values) for values in (x, y)]
    (draft / "mine.ttl").write_text(f"""
        @prefix plm: <https://w3id.org/palimpsest/vocabulary#> .
        @prefix skos: <http://www.w3.org/2004/02/skos/core#> .
        @prefix dcterms: <http://purl.org/dc/terms/> .
        @prefix src: <https://w3id.org/palimpsest/source/> .
        @prefix my: <http://my/> .
        my:stuff a plm:Material ; skos:prefLabel "stuff"@en ; dcterms:source src:practice ;
            skos:broader <https://w3id.org/palimpsest/material-group/mineral> ; plm:minimumFit 0.7 ;
            plm:minimumDepth 0.05 ; plm:diagnosticFeature my:band ; plm:referenceSpectrum my:spectrum .
        my:band a plm:DiagnosticFeature ; plm:weight 1.0 ; plm:ordinal 1 ; dcterms:source src:practice ;
            plm:leftContinuumFrom 1520 ; plm:leftContinuumTo 1560 ;
            plm:rightContinuumFrom 1740 ; plm:rightContinuumTo 1780 .
        my:spectrum a plm:ReferenceSpectrum ; dcterms:source src:practice ;
            plm:atWavelengths "{numbers[0]}"^^plm:numberList ; plm:reflectances "{numbers[1]}"^^plm:numberList .
    """)
    knowledge = load("packaged")
    plain = cube_of(knowledge, ["vegetation_green", "alunite_K_250C"])
    values = np.interp(plain.bands.centre_nm, x, y).astype(np.float32)
    cube = replace(plain, data=np.concatenate([plain.data, values[:, None, None]], axis=2))
    found = preview(cube, knowledge, load(draft))
    assert found.is_changed.tolist() == [[False, False, True]]
    assert found.transitions == (("", "stuff", 1),)
    band = int(np.abs(plain.bands.centre_nm - 1650).argmin())
    assert found.weight_change[0, 2] > 0.01
    assert found.band_change[band] > np.median(found.band_change)
