"""Restoration measured against rivals in one run, on the same struck cubes.

Cases: :mod:`~palimpsest_pipelines.restoration_benchmark.cases`. Rivals: linear and PCHIP interpolation along the
spectrum, and, where their folder is given, the restorers there; their figures are cached by cube, case and code. Ours:
as ``palimpsest restore`` does it (noise is taken off where noise was added); with ``ablation`` also without edges and
without each part; with ``wrong`` under knowledge that misleads: minerals alone, and a shuffled graph; with ``judges``
as each seed of training alone would judge, as a network without edges and as fixed weights would, and as each source
alone would answer.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import UsageError
from palimpsest_pipelines.restoration_benchmark.cases import DECODED, Case, cases_of, cell_of, draw_of
from palimpsest_pipelines.restoration_benchmark.clean import LIBRARY_ONLY, OURS, clean_table
from palimpsest_pipelines.restoration_benchmark.judges import StackedTrials, alone, rivals_beside
from palimpsest_pipelines.restoration_benchmark.judges import load as load_judges
from palimpsest_pipelines.restoration_benchmark.pictures import draw
from palimpsest_pipelines.restoration_benchmark.rivals import ORACLE, RIDGE, cached, interpolated, rivals_for
from palimpsest_pipelines.restoration_benchmark.scores import (
    MANY,
    Result,
    by_ground,
    by_reason,
    intervals,
    pooled,
    ranking,
    score,
    sharpness,
    total,
)
from palimpsest_pipelines.restoration_benchmark.sources import SOURCE, answers, sources_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.integrator.network import Integrator
    from palimpsest.restoration.result import Restoration

INTERPOLATORS = ("linear", "pchip")
NO_KNOWLEDGE = "palimpsest no-knowledge"
REPAIRED = "palimpsest not-denoised"  # what is missing brought back, noise left as it is
PER_NODE = "palimpsest per-node"  # trained without edges on the same inputs
FIXED = "palimpsest fixed-weights"
FIXED_BY_TRIALS = "palimpsest fixed-weights-by-trials"
STACKED = "palimpsest stacked-trials"
LEARNED_FROM = ("indian_pines", "gatorsense")  # real scenes that shipped weights may learn from


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    Args:
        scenes: folders of ENVI cubes, or single cubes of any format.
        only: names of the scenes to take; 'made' is the name of the made ones.
        cases: cases to run; all that apply when empty. 'wide' stands for every wide run.
        side: rows and columns cut from the middle of each scene; None takes it whole.
        rivals: folder with a ``restorers.py``.
        rival_cache: file of the rivals' figures, JSON lines; read and added to.
        ablation: also without edges and without each part of the integrator.
        wrong: also with minerals alone and with a shuffled graph.
        judges: also each seed alone, a per-node network that never had edges, fixed weights, and each source alone.
        saw: weights that learned from the materials held out too, for the part 'held_out'.
        out: file for one JSON line a result; lines are added.
        pictures: folder for the results as PNG.
    """

    scenes: tuple[Path, ...]
    only: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    side: int | None = None
    rivals: Path | None = None
    rival_cache: Path | None = None
    ablation: bool = False
    wrong: bool = False
    judges: bool = False
    out: Path | None = None
    saw: Path | None = None
    pictures: Path | None = None


def run(plan: Plan, note: Callable[[str], None]) -> dict[str, float]:
    """Decibels by ``scene case method``, margins, means, coverage and sharpness.

    Args:
        plan: what to run.
        note: told every result.

    Raises:
        UsageError: no scene or no case of the names asked for.
        ModelMissing: the integrator's weights are not installed.
    """
    results: list[Result] = []
    hidden: dict[tuple[str, str], Restoration] = {}
    for case in cases_of(plan.scenes, plan.only, plan.cases, plan.side):
        for result in _results(case, plan, note, hidden):
            results.append(result)
            held = "" if result.coverage is None else f"  90 %: {result.coverage:.3f} +-{result.half_width:.4f}"
            note(
                f"{case.scene:<14} {case.name:<22} {result.method:<36} {result.dmg_psnr:7.2f} {result.mpsnr:7.2f} dB "
                f"{result.sam:6.2f} deg {result.seconds:7.1f} s{held}"
            )
            if plan.out is not None:
                with plan.out.open("a") as lines:
                    lines.write(json.dumps(asdict(result)) + "\n")
    if not results:
        raise UsageError("no such scene or case", where=", ".join(map(str, plan.scenes)),
                         got=(plan.only, plan.cases), wanted="names of cubes there, and of cases")
    if plan.pictures is not None:
        shown = [one for one in results if draw_of(one.case) == 0 and not one.method.startswith(SOURCE)]
        for path in draw(shown, plan.pictures):
            note(f"wrote {path}")
    return summary(results)


def summary(results: list[Result]) -> dict[str, float]:
    """What the results come to: figures, margins over interpolation and over the best rival, coverage and sharpness."""
    drawn, results = results, [r for r in results if draw_of(r.case) == 0]
    table = {f"{r.scene} {r.case} {r.method}": r.figure for r in results}
    margins: dict[str, list[float]] = {}
    beside: dict[str, list[tuple[float, float]]] = {}
    dearest: dict[str, tuple[float, str]] = {}
    for scene, name in dict.fromkeys((r.scene, r.case) for r in results):
        there = {r.method: r for r in results if (r.scene, r.case) == (scene, name)}
        ours = there[OURS]
        rivals = [r for r in there.values() if not r.method.startswith(OURS) and r.method != ORACLE]
        if name == DECODED:  # nothing to repair: lines leave it as it is, and so must we
            table[f"{scene} {name} margin over linear and pchip"] = ours.figure - max(r.figure for r in rivals)
            table[f"{scene} {name} degrees worse"] = ours.sam - there["linear"].sam
            continue
        if not rivals:  # blind, and no folder of rivals
            continue
        best = max(rivals, key=lambda r: r.figure)
        table[f"{scene} {name} margin over {best.method}"] = ours.figure - best.figure
        beside.setdefault(name, []).append((ours.figure - best.figure, ours.sam - min(r.sam for r in rivals)))
        plain = [r.figure for r in rivals if r.method in INTERPOLATORS]
        if ORACLE in there:
            table[f"{scene} {name} below {ORACLE}"] = there[ORACLE].figure - ours.figure
        for method in (method for method in there if plain and method not in INTERPOLATORS):
            margins.setdefault(method, []).append(there[method].figure - max(plain))
        for method in (method for method in there if method.startswith(OURS)):
            worth = ours.figure - there[method].figure
            if worth > dearest.get(method, (0.0, ""))[0]:
                dearest[method] = worth, f"{scene} {name}"
    for method, values in margins.items():
        table[f"mean margin over interpolation {method} ({len(values)} cases)"] = float(np.mean(values))
        table[f"least margin over interpolation {method}"] = float(np.min(values))
    for method, (worth, where) in dearest.items():
        table[f"most lost {method} ({where})"] = worth
    table |= judges_table(results, margins) | sources_table(results) | clean_table(drawn)
    for name, pairs in beside.items():
        table[f"{name}: mean margin over the best rival ({len(pairs)} scenes)"] = float(np.mean([a for a, _ in pairs]))
        table[f"{name}: least margin over the best rival"] = float(min(a for a, _ in pairs))
        table[f"{name}: most degrees above the rivals' best angle"] = float(max(b for _, b in pairs))
    for method in dict.fromkeys(r.method for r in results if r.ranking is not None):
        ranked = [r.ranking for r in results if r.method == method and r.ranking is not None]
        table[f"mean rank correlation of interval and error {method} ({len(ranked)} cases)"] = float(np.mean(ranked))
        table[f"least rank correlation of interval and error {method}"] = min(ranked)
    for method in dict.fromkeys(r.method for r in results if r.groups):
        for name, (number, covered, width) in pooled([r for r in results if r.method == method]).items():
            if number >= MANY or (name == "overall" and number):
                table[f"coverage {method}, {name} ({number} voxels)"] = covered / number
                table[f"mean half width {method}, {name}"] = width / number
    return table


def judges_table(results: list[Result], margins: Mapping[str, list[float]]) -> dict[str, float]:
    """What the edges are worth over the seeds of training, dB of the mean margin, and sharpness at equal coverage."""
    own = [float(np.mean(v)) for m, v in margins.items() if m.startswith(f"{OURS} seed ")]
    node = [float(np.mean(v)) for m, v in margins.items() if m.startswith(f"{PER_NODE} seed ")]
    if not own or not node:
        return {}
    fixed = max(float(np.mean(margins[name])) for name in (FIXED, FIXED_BY_TRIALS))
    table = {
        "judges: mean over the seeds": float(np.mean(own)), "judges: spread of the seeds": float(np.ptp(own)),
        "judges: per-node, mean over the seeds": float(np.mean(node)),
        "judges: per-node, spread of the seeds": float(np.ptp(node)), "judges: best fixed weights": fixed,
        "judges: edges are worth, seed by seed": float(np.mean(own) - np.mean(node)),
        "judges: edges are worth, all seeds asked together":
            float(np.mean(margins[OURS]) - np.mean(margins[PER_NODE])),
    }
    if STACKED in margins:
        table["judges: stacked trials, nothing learned"] = float(np.mean(margins[STACKED]))
    sharp = {(r.scene, r.case, r.method): r.sharpness for r in results if r.sharpness}
    narrower = [
        np.log(value / sharp[scene, case, PER_NODE]) for (scene, case, method), value in sharp.items()
        if method == OURS and (scene, case, PER_NODE) in sharp
    ]
    if narrower:
        table["judges: width of intervals over per-node's, equal coverage"] = float(np.exp(np.mean(narrower)))
    return table


def is_told(case: Case) -> bool:
    """Whether restorers are told of voxels not to be believed."""
    return not case.is_blind and not bool(case.usable.all())


def unseen_weights(scene: str) -> Integrator:
    """The integrator that did not learn from a scene.

    Raises:
        ModelMissing: those weights are not installed.
    """
    from palimpsest.restoration.integrator.network import load

    with _weights_file(scene) as path:
        return load(path)


def unseen_judges(scene: str) -> dict[str, Integrator]:
    """Those that the integrator is compared with, none of which learned from a scene, by name.

    Raises:
        ModelMissing: their weights are not installed.
    """
    with _weights_file(scene) as path:
        rivals = load_judges(rivals_beside(path))
    network = unseen_weights(scene)
    found: dict[str, Integrator] = {
        FIXED: rivals.fixed, FIXED_BY_TRIALS: rivals.by_trials, PER_NODE: rivals.per_node, STACKED: StackedTrials(),
    }
    for number in range(len(network.members)):
        found[f"{OURS} seed {number}"] = alone(network, number)
    for number in range(len(rivals.per_node.members)):
        found[f"{PER_NODE} seed {number}"] = alone(rivals.per_node, number)
    return found


@contextmanager
def _weights_file(scene: str) -> Iterator[Path]:
    from importlib.resources import as_file, files

    name = f"without_{scene}" if scene in LEARNED_FROM else "integrator"
    folder = files("palimpsest.restoration") / "weights"
    with as_file(folder / f"{name}.safetensors") as path:
        yield path


def shuffled(knowledge: KnowledgeBase, seed: int = 0) -> KnowledgeBase:
    """A release whose materials have each other's spectra: a graph that says wrong things in the right form."""
    from dataclasses import replace

    order = np.random.default_rng(seed).permutation(len(knowledge.materials))
    materials = tuple(
        replace(mine, spectrum=knowledge.materials[other].spectrum, features=knowledge.materials[other].features)
        for mine, other in zip(knowledge.materials, order, strict=True)
    )
    rng = np.random.default_rng([seed, 1])
    twisted = tuple(
        material if material.spectrum is None else replace(
            material, spectrum=np.asarray(material.spectrum)[::-1] if rng.random() < 0.5 else material.spectrum
        )
        for material in materials
    )
    return replace(knowledge, materials=twisted)


def minerals(knowledge: KnowledgeBase) -> KnowledgeBase:
    """A release with nothing but minerals: the wrong library for a town."""
    from dataclasses import replace

    return replace(knowledge, materials=tuple(material for material in knowledge.materials if material.features))


def _results(
    case: Case, plan: Plan, note: Callable[[str], None], hidden: dict[tuple[str, str], Restoration]
) -> Iterator[Result]:
    if case.draw == 0 and (is_told(case) or not case.is_noisy):
        for kind in INTERPOLATORS:
            started = time.perf_counter()
            values = interpolated(case.struck, case.usable, kind)
            yield _result(case, kind, values, time.perf_counter() - started)
    if plan.rivals is not None:
        yield from _rivals(case, plan.rivals, plan.rival_cache, note)
    if plan.judges and case.kind in ("wide", "f"):
        started = time.perf_counter()
        for name, values in answers(case):
            yield _result(case, f"{SOURCE}{name}", values, time.perf_counter() - started)
    for name, done, seconds in _ours(case, plan, hidden):
        groups = intervals(case, done)
        number, covered, width = total(groups)
        yield Result(
            case.scene, case.name, name, *score(case, done.restored.data), round(seconds, 2),
            coverage=covered / number if number else None, half_width=width / number if number else None,
            sharpness=sharpness(case, done), ranking=ranking(case, done), is_exact=done.is_exact(),
            by_reason=by_reason(case, done.restored.data), groups=groups, grounds=by_ground(case, done),
        )


def _result(case: Case, name: str, values: NDArray[np.generic], seconds: float) -> Result:
    return Result(
        case.scene, case.name, name, *score(case, values), round(seconds, 2), by_reason=by_reason(case, values)
    )


def _rivals(case: Case, folder: Path, cache: Path | None, note: Callable[[str], None]) -> Iterator[Result]:
    for name, restore_by_rival in rivals_for(folder, case).items():
        if case.draw and name != RIDGE:
            continue  # what does not look at the clean pixels differs by nothing but the voxels that are judged
        key, figures = cached(cache, folder, case, name)
        if figures is not None:
            yield Result(**figures)  # type: ignore[arg-type] # what asdict wrote
            continue
        started = time.perf_counter()
        try:
            values = restore_by_rival()
        except ImportError as error:
            note(f"{case.scene:<14} {case.name:<22} {name:<36} left out: {error}")
            continue
        result = _result(case, name, values, time.perf_counter() - started)
        if cache is not None:
            with cache.open("a") as lines:
                lines.write(json.dumps({"key": key, "figures": asdict(result)}) + "\n")
        yield result


def _ours(
    case: Case, plan: Plan, hidden: dict[tuple[str, str], Restoration]
) -> Iterator[tuple[str, Restoration, float]]:
    from palimpsest.knowledge.releases.release import load
    from palimpsest.restoration.integrator.network import PARTS
    from palimpsest.restoration.repair import repair

    network, knowledge = unseen_weights(case.scene), load(None)
    variants: dict[str, tuple[KnowledgeBase | None, bool, tuple[str, ...]]] = {OURS: (knowledge, True, ())}
    judges = unseen_judges(case.scene) if plan.judges else {}
    variants |= dict.fromkeys(judges, (knowledge, True, ()))
    if case.is_noisy and is_told(case):
        variants[REPAIRED] = (knowledge, True, ())
    if not case.is_noisy and case.draw == 0:
        variants[NO_KNOWLEDGE] = (None, True, ())
    if case.kind == "clean":
        variants[LIBRARY_ONLY] = (knowledge, True, ())
    if plan.wrong and case.draw == 0:
        variants["palimpsest shuffled-graph"] = (shuffled(knowledge), True, ())
        variants["palimpsest minerals-alone"] = (minerals(knowledge), True, ())
    if plan.ablation and case.draw == 0:
        variants["palimpsest no-edges"] = (knowledge, False, ())
        variants |= {f"palimpsest without-{part}": (knowledge, True, (part,)) for part in PARTS}
    told, run_of_bands = is_told(case), (case.scene, cell_of(case.name).rpartition(":")[2])
    for name, (known, edges, left_out) in variants.items():
        started = time.perf_counter()
        if name == LIBRARY_ONLY and run_of_bands in hidden:
            # Hidden, the clean pixels of every draw leave the same cube: only the voxels that are judged differ.
            yield name, hidden[run_of_bands], 0.0
            continue
        mask = case.usable & ~case.gap[:, None, None] if name == LIBRARY_ONLY else case.usable
        done = repair(
            case.struck, knowledge=known, mask=mask if told else None,
            weights=judges.get(name, network),
            parts_left_out=left_out, edges=edges, is_decoded=case.is_decoded,
            is_searched=not told and not case.is_decoded, is_denoised=case.is_noisy and name != REPAIRED,
        )
        if name == LIBRARY_ONLY:
            hidden.clear()
            hidden[run_of_bands] = done
        yield name, done, time.perf_counter() - started
