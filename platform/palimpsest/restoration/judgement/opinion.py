"""What is thought of each cell: whom to believe there, how far to follow knowledge, how large an error to expect.

Where the library speaks about a gap that all pixels share, the network is asked twice, with knowledge and without, and
the step from the scene's own answer to that of knowledge is taken as far as it is larger than the error which network
and trials let expect of it: a step within its own error is shrunk towards the scene, one well beyond it is taken nearly
whole. Wrong knowledge fails in small steps with great confidence; what right knowledge is worth lies in large ones. At
an end of the range, where no rim holds a wrong answer, a step has to be larger. A step that would have done harm in the
trials beside the gap has a precedent against it, however large it is. A gap about which no library speaks is judged as
if there were none. In single voxels, of which the library never speaks, hidden ones may outvote the network
(:mod:`~palimpsest.restoration.study.hidden_voxels`).

Scenes are judged by this, and so are the examples that intervals are calibrated on (hidden voxels alone are not asked
there): what is promised is promised of the answer that is given.

Source: shrinkage towards a guess, James and Stein 1961, Proc. 4th Berkeley Symposium 1, 361-379. Where half of a step
is taken was chosen with sixteen made scenes and the four recorded ones that have wavelengths in view, under right,
shuffled and mineral knowledge: the farthest at which one case of all lost more than 0.3 dB to wrong knowledge, as at
all that were tried. So was the half of inverse variances, on these and on the examples of training.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.integrator.confidence import with_own_doubt, with_own_trials
from palimpsest.restoration.study.hidden_voxels import SINGLE, outvoted
from palimpsest.restoration.study.precedents import share_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from numpy.typing import NDArray

    from palimpsest.restoration.integrator.network import Integrator
    from palimpsest.restoration.study.context import Context
    from palimpsest.restoration.view import Axis

AS_TRIED = 2.5  # an error is not expected to be more than that much larger than those believed showed in trials
# Squared ratio of a step's square to the squared error expected of it, at which half of the step is taken.
EVEN_INSIDE, EVEN_AT_END = 0.4, 2.2
PRECEDENT = 0.3  # of a step: where trials beside the gap would have taken less, it is shortened in proportion
AT_LEAST_AT_END = 0.5  # of what inverse variances would give to knowledge
HARDLY_A_RIM = 0.25  # of a gap's own bands: a gap with fewer beyond it is at an end of the range
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Grounds:
    """What an opinion rests on, beside the network.

    Args:
        axis: the band axis.
        context: the scene, with knowledge.
        unaided: the same without; None where there is nothing to do without, or nobody asked.
        voxels: how many damaged ones each cell has, ``(cell,)``, in any unit.
        is_spoken: whether the library speaks about the cell's band, ``(cell,)``.
        steps: of two tables of weights ``(cell, source)``: the squared difference of what they answer, summed over the
            voxels of each cell, ``(cell,)``, scaled, in the unit of ``voxels``.
        hidden: what hidden voxels say of those who speak for single ones (``hidden_voxels``); None where nobody asked.
    """

    axis: Axis
    context: Context
    unaided: Context | None
    voxels: NDArray[np.floating]
    is_spoken: NDArray[np.bool_]
    steps: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
    hidden: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is thought of each cell.

    Args:
        weights: of the sources, ``(cell, source)``.
        unshrunk: the same before a step of knowledge was shrunk: those believed, whose disagreement widens intervals.
            What a shrunk step leaves out is no disagreement: it makes the error smaller.
        log_error: common logarithm of a hundred times the expected error, scaled, ``(cell,)``.
        followed: for each shared gap about which the library speaks, by its first and last band as stored
            (``'12-26'``): the share of the step to knowledge's answer that is taken.
    """

    weights: NDArray[np.float64]
    unshrunk: NDArray[np.float64]
    log_error: NDArray[np.float64]
    followed: dict[str, float] = field(default_factory=dict)


def opinion_of(
    network: Integrator, grounds: Grounds, *, edges: bool = True, left_out: Collection[str] = (),
    is_claimed: bool = False,
) -> Opinion:
    """Ask the network, and follow knowledge as far as that is borne out.

    Args:
        network: whom to ask.
        grounds: what of.
        edges: False removes the edges of the graph.
        left_out: parts of the integrator to do without.
        is_claimed: expect of single voxels what network and trials do, and not what the scene's factors doubt.
    """
    context = grounds.context
    weights, log_error = _asked(network, context, edges, left_out)
    is_single = ~context.cells.everywhere & context.speaks[:, SINGLE].all(1)
    weights = outvoted(weights, grounds.voxels, is_single, grounds.hidden)
    tried = (weights * context.error).sum(-1)
    if is_claimed:
        log_error = with_own_trials(log_error, tried, context.cells.everywhere)
    elif "confidence" not in left_out:
        log_error = with_own_doubt(log_error, context)
    if grounds.unaided is None:
        return Opinion(weights, weights, log_error)
    plain, plain_error = _asked(network, grounds.unaided, edges, left_out)
    error = 10.0 ** (np.minimum(log_error, tried + np.log10(AS_TRIED)) - 2.0)
    share, followed = _followed(grounds, (weights, error), (plain, 10.0 ** (plain_error - 2.0)))
    is_silent = share == 0
    return Opinion(
        share[:, None] * weights + (1 - share)[:, None] * plain, np.where(is_silent[:, None], plain, weights),
        np.where(is_silent, plain_error, log_error), followed,
    )


def _asked(
    network: Integrator, context: Context, edges: bool, left_out: Collection[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights ``(cell, source)`` and logarithms of the expected errors ``(cell,)``."""
    import torch

    with torch.no_grad():
        found = network.verdict(context, edges=edges, left_out=left_out)
    return found.weights.numpy().astype(np.float64), found.log_error.numpy().astype(np.float64)


def _followed(
    grounds: Grounds, aided: tuple[NDArray[np.float64], NDArray[np.float64]],
    plain: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """How much of the step from ``plain`` to ``aided`` is taken, ``(cell,)``, and by gap; 1 outside of shared gaps.

    Both are weights ``(cell, source)`` and the errors expected of them ``(cell,)``, scaled.
    """
    cells, axis = grounds.context.cells, grounds.axis
    step = grounds.steps(aided[0], plain[0])
    # Errors are expected of a group in a band: those of the voxels are their means, by the voxels there are.
    expected, without = (grounds.voxels * np.square(error) for error in (aided[1], plain[1]))
    share, by_gap = np.ones(len(cells.band)), {}
    for run in np.unique(cells.run[cells.everywhere]):
        here = cells.run == run
        bands = np.unique(cells.band[here])
        if not grounds.is_spoken[here].any():
            share[here] = 0.0
            continue
        rim = min(int(bands[0]), axis.count - 1 - int(bands[-1]))
        is_end = rim < HARDLY_A_RIM * (int(bands[-1]) - int(bands[0]) + 1)
        sizes = (float(squared[here].sum()) for squared in (step, expected, without))
        taken = share_of_step(*sizes, is_end=is_end)
        taken *= min(1.0, share_beside(grounds.context, here, grounds.voxels, aided[0], plain[0]) / PRECEDENT)
        share[here] = taken
        stored = axis.order[bands]
        by_gap[f"{stored.min()}-{stored.max()}"] = round(taken, 4)
    return share, by_gap


def share_of_step(step: float, error: float, without: float, *, is_end: bool) -> float:
    """How much of a step of knowledge is taken, 0 to 1.

    Args:
        step: squared size of the step.
        error: squared error expected of where it leads.
        without: squared error expected of where it begins, the answer without knowledge.
        is_end: whether the gap lies at an end of the range, where no rim holds a wrong answer.
    """
    ratio = (step / max(error, _TINY)) ** 2
    taken = ratio / (ratio + (EVEN_AT_END if is_end else EVEN_INSIDE))
    return max(taken, AT_LEAST_AT_END * without / max(without + error, _TINY)) if is_end else taken
