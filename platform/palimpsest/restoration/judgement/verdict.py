"""The judgement of one studied scene: whom to believe in each cell, and how far off that may be.

What is thought of each cell (:mod:`~palimpsest.restoration.judgement.opinion`), laid out over the scene's groups and
bands, with other cubes of the place heard where there are some, and with the conformal factors of the network's
intervals.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import UsageError
from palimpsest.restoration.integrator.confidence import Expectation, band_group, defect_kind
from palimpsest.restoration.judgement.correlation_decoder import mixture
from palimpsest.restoration.judgement.opinion import Grounds, opinion_of
from palimpsest.restoration.study.hidden_voxels import missed_together
from palimpsest.restoration.study.sources import GROUP, KNOWLEDGE, SOURCES

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from palimpsest.restoration.companions.together import Hearing
    from palimpsest.restoration.integrator.network import Integrator
    from palimpsest.restoration.study.context import Cells, Context
    from palimpsest.restoration.study.study import Study

_MOST_ODDS = 999.0
_LEAST_LEFT = 0.3  # of the squared error: more than that, other dates are not said to take off


@dataclass(frozen=True, slots=True)
class Verdict:
    """Trust and expected error of a scene.

    Args:
        weights: of the sources, ``(group, band, source)``; zero in bands without damage.
        unshrunk: the same before a step of knowledge was shrunk: those believed, whose disagreement widens intervals.
            What a shrunk step leaves out is no disagreement: it makes the error smaller.
        expected: what intervals are made of.
        followed: for each shared gap about which the library speaks, by its first and last band as stored
            (``'12-26'``): the share of the step to knowledge's answer that is taken.
    """

    weights: NDArray[np.float64]
    unshrunk: NDArray[np.float64]
    expected: Expectation
    followed: dict[str, float] = field(default_factory=dict)


def judge(
    seen: Study, network: Integrator, *, edges: bool = True, left_out: Collection[str] = (),
    others: Hearing | None = None, is_claimed: bool = False,
) -> Verdict:
    """Trust and expected error of a studied scene.

    Args:
        seen: the scene.
        network: whom to ask.
        edges: False removes the edges of the graph.
        left_out: parts of the integrator to do without.
        others: how far other cubes of the place are to be believed; None where there are none.
        is_claimed: what is expected of single voxels is to meet a denoiser's doubt, and is what network and trials say:
            the denoiser rests on factors of the scene as well, and whose factors err, no doubt of theirs tells.

    Raises:
        UsageError: a scene without damage.
    """
    context = seen.context
    if context is None:
        raise UsageError("nothing to judge", got="a scene without damage")
    cells = context.cells
    grounds = _grounds(seen, context)
    found = opinion_of(network, grounds, edges=edges, left_out=left_out, is_claimed=is_claimed)
    weights, unshrunk, log_error = found.weights, found.unshrunk, found.log_error
    if others is not None:
        heard, squared = _shared(10.0 ** (2 * (log_error - 2.0)), others, cells.band, is_nested=~cells.everywhere)
        weights, unshrunk = (table * (1 - heard[:, None]) for table in (weights, unshrunk))
        weights[:, GROUP] = unshrunk[:, GROUP] = heard
        log_error = 0.5 * np.log10(squared) + 2.0
    name = "conformal_plain" if "confidence" in left_out else "conformal"
    factors = getattr(network, name).numpy().astype(np.float64)
    table = _table(seen, cells, weights)
    error, factor, kind = np.zeros(table.shape[:2]), np.zeros(table.shape[:2]), np.zeros(table.shape[:2], np.intp)
    kind[cells.group, cells.band] = defect_kind(cells, seen.axis)
    error[cells.group, cells.band] = 10.0 ** (log_error - 2.0)
    factor[cells.group, cells.band] = factors[band_group(seen.axis)[cells.band], kind[cells.group, cells.band]]
    expected = Expectation(error, factor, kind, _unforetold(seen))
    if is_claimed:
        expected = expected.claimed(seen.noise)
    return Verdict(table, _table(seen, cells, unshrunk), expected, found.followed)


def _grounds(seen: Study, context: Context) -> Grounds:
    """What an opinion of a studied scene rests on: the voxels of the pixels that the judgement looks at."""
    cells, member, dead = context.cells, seen.groups.of(seen.judged), ~seen.judged.usable

    def in_cells(values: NDArray[np.generic]) -> NDArray[np.float64]:
        """Sums over the pixels of each cell's group, ``(cell,)``, of values ``(pixel, band)``."""
        total = np.zeros((len(seen.groups.centres), seen.axis.count))
        np.add.at(total, member, values)
        return np.asarray(total[cells.group, cells.band])

    def steps(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = (
            mixture(seen.proposals, np.moveaxis(_table(seen, cells, weights)[member], 2, 0))
            for weights in (one, other)
        )
        return in_cells(np.where(dead, np.square(first - second), 0.0))

    hidden = None if cells.everywhere.all() else missed_together(seen.sources, seen.judged)
    return Grounds(seen.axis, context, seen.unaided, in_cells(dead), spoken_of(seen)[cells.band], steps, hidden)


def _unforetold(seen: Study) -> NDArray[np.float64]:
    """What a measurement differs by from what the scene's factors tell of it, ``(band,)``, scaled; noise at least."""
    model = seen.sources.low_rank
    return seen.noise if model is None else np.maximum(seen.noise, np.sqrt(model.noise))


def spoken_of(seen: Study) -> NDArray[np.bool_]:
    """Whether the library speaks about each band of a studied scene, ``(band,)``."""
    return np.asarray(seen.proposals.speaks[list(KNOWLEDGE)].any(axis=(0, 1)))


def _table(seen: Study, cells: Cells, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    table = np.zeros((len(seen.groups.centres), seen.axis.count, len(SOURCES)))
    table[cells.group, cells.band] = weights
    return table


def _shared(
    rest: NDArray[np.float64], others: Hearing, band: NDArray[np.intp], is_nested: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight of the other cubes against the rest, and squared errors to expect of the mix, each ``(cell,)``."""
    # Where a band is lost here they are measurements and not opinions: they meet the judgement by variance.
    variance = others.variance[band]
    heard = np.isfinite(variance)
    odds = np.where(heard, rest / np.where(heard, variance, 1.0), 0.0)
    carried = np.minimum(odds, _MOST_ODDS)
    # Where this cube has the band, all dates together hold what its own statistics say: how far they say it better
    # was tried. A part is left to the rest, which must answer alone where the others are silent.
    known = np.minimum(others.share[band], _MOST_ODDS / (1 + _MOST_ODDS))
    left = np.maximum(rest - others.gained[band], _LEAST_LEFT * rest)
    return np.where(is_nested, known, carried / (1 + carried)), np.where(is_nested, left, rest / (1 + odds))
