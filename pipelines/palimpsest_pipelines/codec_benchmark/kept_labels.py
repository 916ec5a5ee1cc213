"""``--keep labels``: what it costs, and whether an outside judge finds the labels kept too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest_pipelines.codec_benchmark import judge
from palimpsest_pipelines.codec_benchmark.distortion import coded, importance
from palimpsest_pipelines.codec_benchmark.ledger import code_of, own_code

if TYPE_CHECKING:
    from palimpsest_pipelines.codec_benchmark.ledger import Ledger
    from palimpsest_pipelines.codec_benchmark.scenes import Scene

PART = "labels"
STRENGTH = 0.5


def measure(scene: Scene, ledger: Ledger) -> None:
    """One stream with every label kept; its pixels judged once more after decoding the file."""
    code = own_code() + code_of("palimpsest_pipelines.codec_benchmark.judge")
    ledger.measured(scene, PART, f"strength={STRENGTH:g}", {}, code, lambda: _kept(scene))


def _kept(scene: Scene) -> dict[str, object]:
    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.knowledge.identification.judge import ReleaseJudge
    from palimpsest.knowledge.releases.release import load

    ours = ReleaseJudge(load(None))
    settings = EncodeSettings(bpppc=None, strength=STRENGTH, keep_labels=True, model=scene.model)
    report, decoded = coded(scene.cube, settings, importance(scene.cube, STRENGTH), ours)
    before, after = ours.labels(scene.cube), ours.labels(decoded)
    kept: dict[str, object] = {
        "bpppc": report.bpppc, "psnr_db": report.psnr_db, "pixels": int(before.size),
        "named": int((before > 0).sum()), "kept": float(np.mean(before == after)),
    }
    if judge.is_installed():
        kept["outside"] = judge.agreement(judge.judged(scene.cube), judge.judged(decoded))
    return kept
