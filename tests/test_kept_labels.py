"""The closed loop keeps every label, says so in a certificate, and the certificate can be checked."""

from __future__ import annotations

import numpy as np
import pytest

from palimpsest.codec.contract import EncodeSettings
from palimpsest.codec.decoder import decode
from palimpsest.codec.encoder import encode
from palimpsest.codec.inspect import verify
from palimpsest.codec.keeping.thinning import thinned
from palimpsest.codec.label_map import read_labels
from palimpsest.commands import main
from palimpsest.cubes import BandTable, Cube
from palimpsest.errors import PromiseBroken


class ThresholdJudge:
    """Names a pixel by which of two bands is larger, and by how much: a judge without a release."""

    release = "thresholds"
    label_names = ("unnamed", "first", "second")

    def labels_of(self, spectra, cube, usable=None):
        gap = spectra[:, 3].astype(float) - spectra[:, 9]
        return np.where(gap > 40, 1, np.where(gap < -40, 2, 0)).astype(np.uint16)

    def labels(self, cube):
        bands, rows, cols = cube.shape
        return self.labels_of(cube.data.reshape(bands, -1).T, cube).reshape(rows, cols)

    def decision_bands(self, cube, labels):
        bands = np.zeros((3, cube.shape.bands), bool)
        bands[:, [3, 9]] = True
        return bands


def noisy_scene(seed: int = 0) -> Cube:
    rng = np.random.default_rng(seed)
    fields = np.cumsum(np.cumsum(rng.normal(size=(3, 40, 40)), 1), 2)
    data = np.tensordot(rng.normal(size=(14, 3)), fields / np.abs(fields).max(), 1) * 900 + 3000
    noisy = np.rint(data + rng.normal(size=data.shape) * 30).astype(np.int16)
    return Cube(noisy, BandTable(14, np.linspace(500.0, 2300.0, 14)), name="noisy")


def test_every_label_is_kept_and_certified(tmp_path):
    cube, judge, path = noisy_scene(), ThresholdJudge(), tmp_path / "kept.plm"
    truth = judge.labels(cube)
    assert len(np.unique(truth)) == 3
    plain = encode(cube, EncodeSettings(bpppc=0.4, strength=0), out=tmp_path / "plain.plm")
    assert not np.array_equal(judge.labels(decode(tmp_path / "plain.plm")), truth)
    report = encode(cube, EncodeSettings(bpppc=None, strength=0, keep_labels=True), judge=judge, out=path)
    assert report.labels_kept == 1.0
    assert report.bpppc < 8 * plain.bpppc
    assert np.array_equal(judge.labels(decode(path)), truth)
    names, mapped = read_labels(path)
    assert np.array_equal(np.array([judge.label_names.index(name) for name in names])[mapped], truth)
    assert verify(path, judge)["labels"] == "all 1600 agree"
    part = decode(path, bands=slice(2, 5))
    assert np.array_equal(part.data, decode(path).data[2:5])


def test_corrections_that_no_label_asks_for_are_left_out():
    rng = np.random.default_rng(5)
    steps = rng.integers(-2, 3, (50, 70)).astype(np.int32)
    needed = rng.integers(0, 70, 50)
    steps[np.arange(50), needed] = 1

    def agrees(tried, which):
        return tried[np.arange(which.size), needed[which]] == 1

    kept = thinned(steps, agrees)
    assert agrees(kept, np.arange(50)).all()
    assert ((kept == steps) | (kept == 0)).all()
    assert (kept != 0).sum(axis=1).max() <= 2  # of 70 bands, cut into 64 ranges at last
    assert np.array_equal(thinned(steps, lambda tried, which: np.zeros(which.size, bool)), steps)


def test_a_rate_that_was_asked_for_is_used(tmp_path):
    cube, judge, path = noisy_scene(), ThresholdJudge(), tmp_path / "kept.plm"
    least = encode(cube, EncodeSettings(bpppc=None, strength=0, keep_labels=True), judge=judge)
    asked = 1.4 * least.bpppc
    report = encode(cube, EncodeSettings(bpppc=asked, strength=0, keep_labels=True), judge=judge, out=path)
    assert 0.95 * asked < report.bpppc <= asked
    assert report.psnr_db > least.psnr_db + 0.5
    assert np.array_equal(judge.labels(decode(path)), judge.labels(cube))


def test_a_ceiling_that_cannot_hold_the_labels_is_a_broken_promise():
    with pytest.raises(PromiseBroken, match="label"):
        encode(
            noisy_scene(), EncodeSettings(bpppc=0.3, strength=0, keep_labels=True), judge=ThresholdJudge()
        )


def test_labels_need_wavelengths_and_knowledge(tmp_path, capsys):
    from palimpsest.formats import write

    cube = noisy_scene()
    write(cube, tmp_path / "with.hdr")
    write(Cube(cube.data, BandTable(14)), tmp_path / "without.hdr")
    out = str(tmp_path / "x.plm")
    assert main(["compress", str(tmp_path / "without.hdr"), out, "--keep", "labels"]) == 3
    assert main(["compress", str(tmp_path / "with.hdr"), out, "--keep", "labels", "--knowledge", "none"]) == 3
    for wrong in ("secrets", "features", "features=0", "features=1.5", "labels,features=x"):
        assert main(["compress", str(tmp_path / "with.hdr"), out, "--keep", wrong]) == 2
    assert "wavelengths" in capsys.readouterr().err


def test_noise_of_full_thirty_two_bits_is_certified_too(tmp_path):
    data = np.random.default_rng(3).integers(-(2**31), 2**31 - 1, (14, 16, 18)).astype(np.int32)
    cube = Cube(data, BandTable(14, np.linspace(500.0, 2300.0, 14)), name="noise")
    judge = ThresholdJudge()
    encode(cube, EncodeSettings(bpppc=None, keep_labels=True), judge=judge, out=tmp_path / "n.plm")
    verify(tmp_path / "n.plm")
    assert np.array_equal(judge.labels(decode(tmp_path / "n.plm")), judge.labels(cube))
