"""Rate and distortion at strength 0, and what each trained part brings, against PCA + JPEG 2000 on the same scene."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest_pipelines.codec_benchmark.ledger import own_code
from palimpsest_pipelines.codec_benchmark.rivals import PCA_JPEG2000

if TYPE_CHECKING:
    from collections.abc import Iterator

    from palimpsest.codec.contract import EncodeReport, EncodeSettings
    from palimpsest.cubes import Cube, ImportanceMap
    from palimpsest_pipelines.codec_benchmark.ledger import Ledger
    from palimpsest_pipelines.codec_benchmark.rivals import RivalCodec
    from palimpsest_pipelines.codec_benchmark.scenes import Scene

PART = "distortion"
PLAIN, HAND_MADE = "plain", "cdf97"
SPATIAL_LEVELS = (1, 2, 3, 4)  # those that are trained

Variant = tuple[str, float, tuple[int, ...] | None]  # name, strength, trained levels


def measure(
    scene: Scene, ledger: Ledger, rival: RivalCodec | None, *, rates: tuple[float, ...],
    strengths: tuple[float, ...], ablation: bool, levels: bool = False,
) -> None:
    """Curves of our variants and of the rival on one scene."""
    if rival is not None:
        ledger.measured(
            scene, PART, PCA_JPEG2000, {"lowest": min(rates), "highest": max(rates)}, rival.code,
            lambda: {"points": rival.curve(scene.cube, rates)},
        )
    for variant in variants(scene, strengths, ablation=ablation, levels=levels):
        for rate in rates:
            ledger.measured(
                scene, PART, variant[0], {"asked": rate}, own_code(),
                lambda variant=variant, rate=rate: _point(scene, variant, rate),  # type: ignore[misc] # bound now
            )


def variants(scene: Scene, strengths: tuple[float, ...], *, ablation: bool, levels: bool) -> Iterator[Variant]:
    """Variants that say something on this scene.

    'cdf97' has hand-made levels under the same trained contexts; 'plain' has nothing trained at all.
    """
    for strength in strengths:
        if strength == 0 or scene.cube.bands.has_wavelengths:
            yield f"strength={strength:g}", strength, None
    if ablation:
        yield PLAIN, 0.0, ()
        yield HAND_MADE, 0.0, ()
    for level in SPATIAL_LEVELS if levels else ():
        yield f"without-level-{level}", 0.0, tuple(other for other in SPATIAL_LEVELS if other != level)


def _point(scene: Scene, variant: Variant, rate: float) -> dict[str, object]:
    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.measure import psnr_db, sam_deg

    name, strength, levels = variant
    model = PLAIN if name == PLAIN else scene.model
    settings = EncodeSettings(bpppc=rate, strength=strength, trained_levels=levels, model=model)
    report, decoded = coded(scene.cube, settings, importance(scene.cube, strength))
    return {
        "bpppc": report.bpppc, "psnr_db": psnr_db(scene.cube, decoded), "sam_deg": sam_deg(scene.cube, decoded),
    }


def importance(cube: Cube, strength: float) -> ImportanceMap | None:
    """The packaged release's weights; None at strength 0 or without wavelengths."""
    if strength == 0 or not cube.bands.has_wavelengths:
        return None
    from palimpsest.knowledge.identification.importance import importance_map
    from palimpsest.knowledge.releases.release import load

    return importance_map(cube, load(None), strength)


def coded(
    cube: Cube, settings: EncodeSettings, weights: ImportanceMap | None = None, judge: object = None
) -> tuple[EncodeReport, Cube]:
    """Encode into a file and decode that file."""
    from palimpsest.codec.decoder import decode
    from palimpsest.codec.encoder import encode

    with tempfile.TemporaryDirectory() as folder:
        stream = Path(folder) / "scene.plm"
        report = encode(cube, settings, importance=weights, judge=judge, out=stream)  # type: ignore[arg-type] # a judge
        return report, decode(stream)
