"""The closed loop keeps feature depths within a share of themselves, alone and with labels, and can show it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from palimpsest.codec.container import stream
from palimpsest.codec.contract import EncodeSettings, asked_to_keep
from palimpsest.codec.decoder import decode
from palimpsest.codec.encoder import encode
from palimpsest.codec.inspect import verify
from palimpsest.codec.keeping import depths, label_loop
from palimpsest.codec.reader import open_stream
from palimpsest.commands import main
from palimpsest.cubes import BandTable, Cube, Window
from palimpsest.errors import StreamCorrupt, UsageError
from palimpsest.formats import write
from palimpsest.knowledge.identification.judge import ReleaseJudge
from palimpsest.knowledge.releases.release import load
from palimpsest.scenes import make_scene

TOLERANCE = 0.1


@pytest.fixture(scope="module")
def scene() -> Cube:
    return make_scene(24, 26, seed=8, kind="vegetation").observed


@pytest.fixture(scope="module")
def judge(scene) -> ReleaseJudge:
    made = ReleaseJudge(load(None))
    made.labels(scene)
    return made


def measured(judge: ReleaseJudge, cube: Cube):
    return judge.features_of(np.asarray(cube.data).reshape(cube.shape.bands, -1).T, cube)


def worst(judge: ReleaseJudge, before: Cube, after: Cube) -> float:
    (old, counts), (new, _) = measured(judge, before), measured(judge, after)
    assert counts.sum() > 200
    return float((np.abs(np.nan_to_num(new) - old)[counts] / np.abs(old[counts])).max())


@pytest.fixture(scope="module")
def kept(scene, judge, tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "features.plm"
    settings = EncodeSettings(bpppc=None, strength=0, keep_depths=TOLERANCE, tile=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_loop, "BASE_RATES", (0.3,))  # the search for the best one is not what is tested
        return path, encode(scene, settings, judge=judge, out=path)


def test_no_depth_is_further_off_than_promised(scene, judge, kept):
    path, report = kept
    plain = path.parent / "plain.plm"
    encode(scene, EncodeSettings(bpppc=report.bpppc, strength=0), out=plain)
    assert worst(judge, scene, decode(plain)) > TOLERANCE
    assert report.labels_kept is None
    assert worst(judge, scene, decode(path)) == pytest.approx(report.depth_error)
    assert report.depth_error <= TOLERANCE
    opened = stream.open_stream(path)
    assert any(kind == stream.DEPTHS for kind, _ in opened.sections)
    assert opened.head["certificate"]["features"]["worst"] == report.depth_error
    assert "agreement" not in opened.head["certificate"]


def test_the_check_is_repeated_with_the_original_and_fails_with_another(scene, judge, kept):
    path, _ = kept
    assert "original" in verify(path, judge)["features"]
    assert "within 0.1" in verify(path, judge, scene)["features"]
    deeper = replace(scene, data=np.where(np.arange(scene.shape.cols) < 13, scene.data // 2, scene.data))
    with pytest.raises(StreamCorrupt, match="not as deep"):
        verify(path, judge, deeper)
    with pytest.raises(UsageError):
        verify(path, judge, replace(scene, data=scene.data[:, :-1]))


def test_pixels_windows_and_bands_of_such_a_stream_are_those_of_the_whole(kept):
    path, _ = kept
    whole = decode(path).data
    with open_stream(path) as opened:
        for row, col in ((0, 0), (23, 25), (15, 16), (11, 20)):
            assert np.array_equal(opened.spectrum(row, col), whole[:, row, col])
        part = opened.window(Window(10, 20, 7, 23), bands=slice(40, 90))
        assert np.array_equal(part.data, whole[40:90, 10:20, 7:23])


def test_labels_and_features_are_kept_together_by_the_command(scene, judge, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(label_loop, "BASE_RATES", (0.3,))
    write(scene, tmp_path / "scene.hdr")
    out = str(tmp_path / "both.plm")
    words = ["compress", str(tmp_path / "scene.hdr"), out, "--keep", "labels", "--keep", "features=0.2", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["labels_kept"] == 1.0
    assert told["depth_error"] <= 0.2
    assert np.array_equal(judge.labels(scene), judge.labels(decode(out)))
    assert main(["info", out, "--verify", "--original", str(tmp_path / "scene.hdr"), "--json"]) == 0
    verified = json.loads(capsys.readouterr().out)["verified"]
    assert verified["labels"] == f"all {24 * 26} agree"
    assert "within 0.2" in verified["features"]


def test_a_cube_in_which_nothing_is_named_has_nothing_to_keep(judge, tmp_path):
    flat = Cube(np.full((12, 9, 9), 1000, np.int16), BandTable(12, np.linspace(500, 2300, 12)), units="reflectance")
    report = encode(
        flat, EncodeSettings(bpppc=None, strength=0, keep_depths=0.1), judge=ReleaseJudge(load(None)),
        out=tmp_path / "flat.plm",
    )
    assert report.depth_error == 0


def test_bumps_vanish_outside_their_span_and_their_sections_come_back():
    bumps = depths.Bumps(*(np.array(row, np.int64) for row in ([0, 0, 2], [1, 4, 0], [3, 8, 9], [500, 90_000, 1])))
    shares = bumps.shares(np.arange(10))
    assert (shares[0, [0, 4, 9]] == 0).all()
    assert shares[1].argmax() == 6
    assert shares[1, 6] == 90_000
    back = depths.unpack_bumps(depths.pack_bumps(bumps), labels=3, bands=10)
    for name in ("label", "first", "last", "height"):
        assert np.array_equal(getattr(back, name), getattr(bumps, name))
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, (7, 6)).astype(np.int32)
    numbers = np.where(labels == 0, rng.integers(-9, 9, (2, 7, 6)), 0).astype(np.int32)
    coded = depths.encode_numbers(numbers, labels, bumps)
    assert np.array_equal(depths.decode_numbers(coded, labels, bumps), numbers)
    for labels_there, bands in ((2, 10), (3, 9)):
        with pytest.raises(StreamCorrupt):
            depths.unpack_bumps(depths.pack_bumps(bumps), labels_there, bands)


def test_what_can_be_kept_is_said_in_words():
    assert asked_to_keep("") == (False, None)
    assert asked_to_keep("features=0.05,labels") == (True, 0.05)
    for wrong in ("feature=0.1", "features=-1", "features=nan", "labels,", "features=1e400"):
        with pytest.raises(UsageError):
            asked_to_keep(wrong)
