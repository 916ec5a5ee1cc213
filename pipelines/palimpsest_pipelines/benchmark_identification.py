"""Identification against the outside judge in one run: who is named alike, what is not, and the time of both.

Scenes with true wavelengths and made ones; the judge is the PyPI package cramm, which evaluates the same published
expert rules by code of its own. Time is processor time of one thread; both are asked once before the clock starts, so
that neither pays for being compiled or loaded.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import Window
from palimpsest.errors import UsageError
from palimpsest_pipelines.codec_benchmark import judge
from palimpsest_pipelines.codec_benchmark.scenes import scenes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase

WARM_ROWS = 4
MOST_DISAGREEMENTS = 5


@dataclass(frozen=True, slots=True)
class Result:
    """One scene.

    Args:
        scene: its name.
        pixels: of the scene.
        named: pixels that either side names.
        agreement: share of those that both name alike.
        disagreements: the most frequent pairs (ours, theirs) with the number of their pixels.
        seconds: processor time of ours.
        judge_seconds: processor time of the outside judge.
    """

    scene: str
    pixels: int
    named: int
    agreement: float
    disagreements: tuple[tuple[str, int], ...]
    seconds: float
    judge_seconds: float


def run(
    *, places: tuple[Path, ...], only: tuple[str, ...] = (), made: bool = False, out: Path | None = None,
    note: Callable[[str], None],
) -> dict[str, float]:
    """Agreement and time by scene, and the least agreement of all.

    Args:
        places: folders of ENVI cubes, or single cubes.
        only: names to take; empty takes all with true wavelengths.
        made: also made scenes.
        out: file for one JSON line a scene; lines are added.
        note: told every result.

    Raises:
        UsageError: no scene has wavelengths that a feature may be judged on, or cramm is not installed.
    """
    from palimpsest.knowledge.releases.release import load

    knowledge = load(None)
    results = []
    for scene in scenes(places, only, made=made):
        if not scene.has_true_wavelengths:
            note(f"{scene.name}: no true wavelengths, nothing to name")
            continue
        result = compare(scene.name, scene.cube, knowledge)
        results.append(result)
        pairs = ", ".join(f"{pair}: {count}" for pair, count in result.disagreements)
        note(
            f"{scene.name:<32} named {result.named:6d} of {result.pixels:6d}  alike {100 * result.agreement:7.3f} %  "
            f"{result.seconds:6.2f} s, judge {result.judge_seconds:6.2f} s  {pairs}"
        )
        if out is not None:
            with out.open("a") as lines:
                lines.write(json.dumps(asdict(result)) + "\n")
    if not results:
        raise UsageError("no scene with true wavelengths", where=", ".join(map(str, places)), got=only)
    table = {f"{r.scene} agreement": r.agreement for r in results}
    table |= {f"{r.scene} time against the judge": r.seconds / max(r.judge_seconds, 1e-9) for r in results}
    table["least agreement"] = float(np.nanmin([1.0, *(r.agreement for r in results)]))
    return table


def compare(name: str, cube: Cube, knowledge: KnowledgeBase) -> Result:
    """Both sides on one cube."""
    from palimpsest.knowledge.identification.identify import identify

    first = cube.window(Window(0, min(WARM_ROWS, cube.shape.rows), 0, cube.shape.cols))
    identify(first, knowledge)
    judge.judged(first)
    start = time.process_time()
    found = identify(cube, knowledge)
    middle = time.process_time()
    theirs = judge.judged(cube).names
    end = time.process_time()
    notations = [judge.UNNAMED, *(str(m.extra.get("notation", m.label)) for m in knowledge.materials)]
    ours = np.array(notations)[found.labels]
    either = (ours != judge.UNNAMED) | (theirs != judge.UNNAMED)
    alike = float((ours == theirs)[either].mean()) if either.any() else float("nan")
    return Result(
        name, ours.size, int(either.sum()), alike, _differing(ours, theirs), middle - start, end - middle
    )


def _differing(ours: NDArray[np.str_], theirs: NDArray[np.str_]) -> tuple[tuple[str, int], ...]:
    where = ours != theirs
    pairs = Counter(f"{a or 'nothing'} / {b or 'nothing'}" for a, b in zip(ours[where], theirs[where], strict=True))
    return tuple(pairs.most_common(MOST_DISAGREEMENTS))
