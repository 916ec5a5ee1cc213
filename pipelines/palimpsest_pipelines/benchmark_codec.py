"""The codec against what a user would take instead, in one run on the same scenes: claims, tables, pictures.

Parts, each a module of ``codec_benchmark``: distortion (rate, PSNR and spectral angle against PCA + JPEG 2000, with the
ablation), semantics (labels, feature depths and positions by an outside judge), labels (``--keep labels``), features
(``--keep features=0.1``), lossless (against CCSDS-123), bound (against SZ3, SPERR and LERC), speed, scale, access,
tiles, hostile (mutated streams). Every measurement is one JSON line; a run that was stopped goes on where it was.
Indian Pines and GatorSense are measured with models that did not see them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.errors import UsageError
from palimpsest_pipelines.codec_benchmark import (
    access,
    claims,
    distortion,
    exact,
    judge,
    kept_features,
    kept_labels,
    mutations,
    page,
    plots,
    semantics,
    speed,
)
from palimpsest_pipelines.codec_benchmark.ledger import Ledger
from palimpsest_pipelines.codec_benchmark.rivals import RivalCodec
from palimpsest_pipelines.codec_benchmark.scenes import MADE_SIDE, scenes

if TYPE_CHECKING:
    from collections.abc import Callable

    from palimpsest_pipelines.codec_benchmark.scenes import Scene

SCENE_PARTS = ("distortion", "semantics", "labels", "features", "lossless", "bound")
OTHER_PARTS = ("speed", "scale", "access", "tiles", "hostile")
PARTS = (*SCENE_PARTS, *OTHER_PARTS)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: see the options of ``palimpsest benchmark codec``.

    Raises:
        UsageError: fewer than four rates, or a part that there is not.
    """

    scenes: tuple[Path, ...]
    only: tuple[str, ...] = ()
    parts: tuple[str, ...] = PARTS
    rivals: Path | None = None
    made: bool = False
    made_side: int = MADE_SIDE
    rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
    strengths: tuple[float, ...] = (0.0,)
    ablation: bool = False
    levels: bool = False
    timed_side: int = speed.SIDE
    gigabytes: tuple[float, ...] = (0.1, 0.4)
    mutations: int = 20_000
    lines: Path = Path("palimpsest-benchmark.jsonl")
    fresh: bool = False
    pictures: Path | None = None
    tables: Path | None = None

    def __post_init__(self) -> None:
        if len(self.rates) < 4:
            raise UsageError("too few rates for a BD-rate", got=len(self.rates), wanted="four or more")
        if not set(self.parts) <= set(PARTS):
            raise UsageError("no such part of the benchmark", got=self.parts, wanted=", ".join(PARTS))


def run(plan: Plan, note: Callable[[str], None]) -> dict[str, str]:
    """What each claim came out at, with its floor, goal and verdict; tables and pictures where they were asked for.

    Raises:
        UsageError: no scene of the names asked for, or a rival that cannot be loaded.
    """
    ledger = Ledger(plan.lines, note, fresh=plan.fresh)
    rival = None if plan.rivals is None else RivalCodec.at(plan.rivals)
    if set(plan.parts) & set(SCENE_PARTS):
        for scene in scenes(plan.scenes, plan.only, made=plan.made, side=plan.made_side):
            _measure(scene, plan, ledger, rival, note)
    _measure_once(plan, ledger)
    if plan.pictures is not None:
        for path in plots.draw(ledger.rows, plan.pictures):
            note(f"wrote {path}")
    if plan.tables is not None:
        plan.tables.write_text(page.markdown(ledger.rows))
    return {claim.name: _told(claim) for claim in claims.claims(ledger.rows) if claim.value is not None}


def _measure(
    scene: Scene, plan: Plan, ledger: Ledger, rival: RivalCodec | None, note: Callable[[str], None]
) -> None:
    """Everything that is asked of one scene and can be asked of it."""
    if "distortion" in plan.parts and scene.is_whole:
        distortion.measure(
            scene, ledger, rival, rates=plan.rates, strengths=plan.strengths, ablation=plan.ablation,
            levels=plan.levels,
        )
    if scene.has_true_wavelengths and not judge.is_installed():
        note(f"{scene.name}: nothing is said of meaning, for want of the outside judge (the extra 'benchmark')")
    elif scene.has_true_wavelengths and scene.is_whole and "semantics" in plan.parts:
        semantics.measure(scene, ledger, rival)
    if scene.has_true_wavelengths and "labels" in plan.parts:
        kept_labels.measure(scene, ledger)
    if scene.has_true_wavelengths and "features" in plan.parts:
        kept_features.measure(scene, ledger)
    if "lossless" in plan.parts:
        exact.measure_lossless(scene, ledger)
    if "bound" in plan.parts and scene.is_whole:
        exact.measure_bound(scene, ledger)


def _measure_once(plan: Plan, ledger: Ledger) -> None:
    """What hangs on no scene of the user's."""
    if set(plan.parts) & {"speed", "scale", "access", "tiles"}:
        scene = speed.timed_scene(plan.timed_side)
        if "speed" in plan.parts:
            speed.measure(scene, ledger, plan.rivals)
        if "scale" in plan.parts:
            speed.measure_scale(scene, ledger, plan.gigabytes)
        if "access" in plan.parts:
            access.measure(scene, ledger)
        if "tiles" in plan.parts:
            access.measure_tiles(scene, ledger)
    if "hostile" in plan.parts:
        mutations.measure(ledger, plan.mutations)


def _told(claim: claims.Claim) -> str:
    goal = "" if claim.goal is None else f", goal {claim.goal:.4g}"
    return f"{claim.value:.4g} (floor {claim.floor:.4g}{goal}): {claim.verdict}"
