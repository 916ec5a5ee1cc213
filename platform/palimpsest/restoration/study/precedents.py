"""What the same step would have done beside the gap, where the truth was measured.

A step of knowledge is the way from the scene's own answer to the one that hears the library. Trials beside a gap tell
what each of the two mixtures would have missed there, and how their errors go together: from these follows the share
of the step that would have erred least. Beside a gap it is easier than in it, so a step that did well there proves
little; one that would have done harm even there has a precedent against it. Rehearsals have no say: their truth is the
library's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.study.trials import CALM, PARTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.study.context import Context

_LEAST = 1e-9


def share_beside(
    context: Context, here: NDArray[np.bool_], voxels: NDArray[np.floating], aided: NDArray[np.float64],
    plain: NDArray[np.float64],
) -> float:
    """Share of the step from ``plain`` to ``aided`` that would have erred least in the trials beside a gap, 0 to 1.

    Args:
        context: the scene, with knowledge.
        here: the cells of the gap, ``(cell,)``.
        voxels: how many damaged ones each cell has, ``(cell,)``.
        aided: weights of the sources with knowledge, ``(cell, source)``.
        plain: those without, ``(cell, source)``.

    Returns:
        One where nothing was tried, or where both answers are the same.
    """
    trials, gaps = context.trials, context.gaps
    sender, receiver = context.trial_gap
    is_beside = ~np.logical_and.reduce([
        getattr(gaps, name)[receiver] == getattr(trials, name)[sender] for name in ("first", "last", "home")
    ])
    missed = np.zeros(3)  # squared by the scene's own answer, squared by the aided one, and their product
    for gap in np.unique(context.gap_of[here]):
        heard = sender[(receiver == gap) & is_beside] if gap >= 0 else sender[:0]
        for part in range(PARTS):
            cells = here & (context.gap_of == gap) & (context.part == part)
            if not heard.size or not cells.any():
                continue
            moment = trials.moment[heard, part].astype(np.float64)
            own = np.where(trials.speaks[heard], np.diagonal(moment, axis1=1, axis2=2), np.inf).min(1)
            moment = moment / np.maximum(own, _LEAST)[:, None, None] ** CALM
            summed = moment.sum(0) * float(voxels[cells].sum())
            without, with_it = plain[cells].mean(0), aided[cells].mean(0)
            missed += without @ summed @ without, with_it @ summed @ with_it, without @ summed @ with_it
    step = missed[0] + missed[1] - 2 * missed[2]
    return float(np.clip((missed[0] - missed[2]) / step, 0, 1)) if step > 0 else 1.0
