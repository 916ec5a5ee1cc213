"""What compression does to meaning: labels, feature depths and positions at equal rate, ours and the rival's.

Curves at three rates and three strengths, judged by cramm on both sides. On made scenes the reference is the judge's
word on the clean cube, so that noise which a codec takes away is not held against it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from palimpsest.measure import bpppc, psnr_db
from palimpsest_pipelines.codec_benchmark import judge
from palimpsest_pipelines.codec_benchmark.distortion import coded, importance
from palimpsest_pipelines.codec_benchmark.ledger import code_of, own_code
from palimpsest_pipelines.codec_benchmark.rivals import PCA_JPEG2000

if TYPE_CHECKING:
    from palimpsest.cubes import Cube
    from palimpsest_pipelines.codec_benchmark.judge import Judged
    from palimpsest_pipelines.codec_benchmark.ledger import Ledger
    from palimpsest_pipelines.codec_benchmark.rivals import RivalCodec
    from palimpsest_pipelines.codec_benchmark.scenes import Scene

PART = "semantics"
RATES = (0.1, 0.25, 0.5)
STRENGTHS = (0.0, 0.5, 1.0)


def measure(scene: Scene, ledger: Ledger, rival: RivalCodec | None) -> None:
    """Curves of one scene with true wavelengths; the rival at the rates that ours came out at."""
    from palimpsest.codec.contract import EncodeSettings

    reference = scene.cube if scene.truth is None else scene.truth
    told: list[Judged] = []  # asked once, and only if something must be measured

    def meant(decoded: Cube) -> dict[str, object]:
        if not told:
            told.append(judge.judged(reference))
        after = judge.judged(decoded)
        return {
            "psnr_db": psnr_db(scene.cube, decoded), "agreement": judge.agreement(told[0], after),
            "depth_error": judge.depth_error(told[0], after),
            "depth_everywhere": judge.depth_error_everywhere(reference, decoded, told[0].names),
            "position_nm": judge.position_error_nm(reference, decoded, told[0].names),
        }

    def ours(rate: float, strength: float) -> dict[str, object]:
        settings = EncodeSettings(bpppc=rate, strength=strength, model=scene.model)
        report, decoded = coded(scene.cube, settings, importance(scene.cube, strength))
        return {"bpppc": report.bpppc, **meant(decoded)}

    def theirs(rate: float, codec: RivalCodec) -> dict[str, object]:
        found = codec.at_rate(scene.cube, rate)
        decoded = replace(scene.cube, data=found.values)
        return {"bpppc": bpppc(found.size, scene.cube.shape), **meant(decoded)}

    judges = code_of("palimpsest_pipelines.codec_benchmark.judge")
    for rate in RATES:
        for strength in STRENGTHS:
            ledger.measured(
                scene, PART, f"strength={strength:g}", {"asked": rate}, own_code() + judges,
                lambda rate=rate, strength=strength: ours(rate, strength),  # type: ignore[misc] # bound now
            )
        if rival is not None:
            ledger.measured(
                scene, PART, PCA_JPEG2000, {"asked": rate}, rival.code + judges,
                lambda rate=rate: theirs(rate, rival),  # type: ignore[misc] # bound now
            )
    if scene.truth is not None:
        ledger.measured(
            scene, PART, "uncoded", {}, judges, lambda: {"bpppc": 0.0, **meant(scene.cube)}
        )
