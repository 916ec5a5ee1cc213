"""Each source alone in bands that no pixel shows: what it would have answered, and what the best would have.

Nobody knows beforehand which source is the best one; a judge that always did as well would be an oracle. How far the
integrator stays behind that is what is left to be gained by judging.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest_pipelines.restoration_benchmark.clean import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from palimpsest_pipelines.restoration_benchmark.cases import Case
    from palimpsest_pipelines.restoration_benchmark.scores import Result

SOURCE = f"{OURS} source "  # and its name
ALLOWED_DB = 0.3  # behind the best source
_MOSTLY = 0.99  # of the damaged voxels: a source that speaks about less is left out


def answers(case: Case) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The case's cube as each source alone would restore it, stored units, ``(band, row, col)``, by the source's name.

    Args:
        case: whose damaged bands no pixel shows, told by its mask.
    """
    from palimpsest.knowledge.releases.release import load
    from palimpsest.restoration.restorer import damage_of
    from palimpsest.restoration.study.sources import SOURCES, propose
    from palimpsest.restoration.study.study import study
    from palimpsest.restoration.view import view_of

    shape = case.struck.data.shape
    reasons = damage_of(case.struck, case.usable)
    seen = study(case.struck, reasons, load(None))
    said = propose(seen.sources, view_of(case.struck, reasons, seen.axis, np.arange(shape[1] * shape[2]), seen.unit))
    damaged = ~case.usable.reshape(len(reasons), -1)[seen.axis.order].T
    for source, name in enumerate(SOURCES):
        if said.speaks[source][damaged].mean() < _MOSTLY:
            continue
        told = np.empty((shape[0], shape[1] * shape[2]), np.float32)
        told[seen.axis.order] = said.values[source].T * seen.unit
        yield name, np.where(case.usable, case.struck.data, told.reshape(shape)).astype(np.float32)


def sources_table(results: Sequence[Result]) -> dict[str, float]:
    """How far ours is above the best source of each case, chosen with the truth in view."""
    best: dict[tuple[str, str], tuple[float, str]] = {}
    ours = {(r.scene, r.case): r.figure for r in results if r.method == OURS}
    for r in results:
        if r.method.startswith(SOURCE):
            key = r.scene, r.case
            best[key] = max(best.get(key, (-np.inf, "")), (r.figure, r.method.removeprefix(SOURCE)))
    margins = {key: ours[key] - figure for key, (figure, _) in best.items() if key in ours}
    if not margins:
        return {}
    values = np.array(list(margins.values()))
    table = {
        f"{scene} {name} margin over its best source in hindsight ({best[scene, name][1]})": margin
        for (scene, name), margin in margins.items()
    }
    return table | {
        f"best source in hindsight: mean margin over it ({len(values)} cases)": float(values.mean()),
        "best source in hindsight: least margin over it": float(values.min()),
        f"best source in hindsight: cases more than {ALLOWED_DB:g} dB behind it": float((values < -ALLOWED_DB).sum()),
    }
