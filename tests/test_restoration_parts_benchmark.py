"""Restoration after coding, and its cost: the two parts of the benchmark run and say what they should."""

from palimpsest_pipelines.benchmark_restoration import Plan
from palimpsest_pipelines.restoration_benchmark import parts


def test_cost_is_measured_in_a_process_of_its_own():
    told = parts.cost((12, 10, 120))
    assert told["voxels"] > 0
    assert 0 < told["seconds"] < 120
    assert told["peak_gb"] >= told["before_gb"] > 0
    assert told["processor_seconds"] > 0


def test_a_noisy_scene_comes_back_from_a_stream_with_less_noise(monkeypatch, tmp_path):
    monkeypatch.setattr(parts, "MADE_SIDE", 20)
    monkeypatch.setattr(parts, "RATES", (1.0,))
    monkeypatch.setattr(parts, "MADE", parts.MADE[:1])
    notes = []
    table = parts.run_parts(("coded",), Plan((tmp_path,), ("made",)), notes.append)
    assert len(notes) == len(table) == 7
    assert table["made-vegetation at 1.0 bpppc palimpsest rate"] <= 1.02
    after, before = (
        table[f"made-vegetation at 1.0 bpppc {name} mpsnr"] for name in ("palimpsest", "palimpsest compress-denoise")
    )
    assert before > after > 30
    assert 0 < table["made-vegetation noisy labels as the clean ones'"] <= 1
