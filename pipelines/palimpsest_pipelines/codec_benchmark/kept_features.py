"""``--keep features=D``: what it costs, and whether every feature's depth is kept when the file is read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest_pipelines.codec_benchmark.distortion import coded, importance
from palimpsest_pipelines.codec_benchmark.ledger import own_code

if TYPE_CHECKING:
    from palimpsest_pipelines.codec_benchmark.ledger import Ledger
    from palimpsest_pipelines.codec_benchmark.scenes import Scene

PART = "features"
STRENGTH = 0.5
TOLERANCE = 0.1


def measure(scene: Scene, ledger: Ledger) -> None:
    """One stream with every depth kept to a tenth of itself; depths measured once more after decoding the file."""
    asked = {"tolerance": TOLERANCE}
    ledger.measured(scene, PART, f"strength={STRENGTH:g}", asked, own_code(), lambda: _kept(scene))


def _kept(scene: Scene) -> dict[str, object]:
    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.knowledge.identification.judge import ReleaseJudge
    from palimpsest.knowledge.releases.release import load

    judge, cube = ReleaseJudge(load(None)), scene.cube
    settings = EncodeSettings(bpppc=None, strength=STRENGTH, keep_depths=TOLERANCE, model=scene.model)
    report, decoded = coded(cube, settings, importance(cube, STRENGTH), judge)
    checked, worst, off = 0, 0.0, 0
    usable = cube.usable()
    for row in range(cube.shape.rows):
        pixels = usable[:, row].T
        before, counts = judge.features_of(np.asarray(cube.data[:, row]).T, cube, pixels)
        after, _ = judge.features_of(np.asarray(decoded.data[:, row]).T, cube, pixels)
        error = np.abs(np.nan_to_num(after) - before)[counts] / np.abs(before[counts])
        checked, off = checked + error.size, off + int((error > TOLERANCE).sum())
        worst = max(worst, float(error.max(initial=0)))
    return {
        "bpppc": report.bpppc, "psnr_db": report.psnr_db, "depths": checked, "off": off, "worst": worst,
    }
