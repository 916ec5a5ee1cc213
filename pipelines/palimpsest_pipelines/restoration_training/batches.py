"""Several examples as one graph: thinned, struck dumb here and there, and merged, for one step of training.

Scenes of a batch stay strangers: no edge and no attention crosses from one to another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.study.context import (
    BEND_OVER_NOISE,
    CELL_NOISE,
    LINES_OVER_NOISE,
    TRIED_OVER_NOISE,
    Cells,
    Context,
)
from palimpsest.restoration.study.sources import LINEAR, LOW_RANK, PCHIP, SOURCES
from palimpsest.restoration.study.trials import AVERAGED, STRETCH_NOISE, together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from palimpsest_pipelines.restoration_training.examples import Example

GROUPS_A_STEP = 4
SILENCED = 0.12  # share of sources that are silent in a step
# Trials on made scenes are more honest than those on recorded ones: a source does in the gap as it does beside it. So
# all trials of a source are moved by one random amount (common logarithm of an error), each by another, or none heard.
OFF, OFF_EACH, UNTRIED = 0.25, 0.1, 0.25
# Noise is white on made scenes and seldom on recorded ones, where it is told worse: what a step is told of it is moved
# by one random amount for the scene and by another for each run (common logarithm).
NOISE_OFF, NOISE_OFF_EACH = 0.3, 0.3


def thinned(example: Example, rng: np.random.Generator) -> Example:
    """The example with a few of its pixel groups, and with some sources struck dumb.

    Groups of a scene resemble each other: a step need not look at all of them. Who is believed must not hang on who
    else is there.
    """
    context = example.context
    cells = context.cells
    groups = len(context.group)
    there = np.unique(cells.group[example.valid.any(1)])
    chosen = rng.choice(there if there.size else groups, min(there.size or 1, GROUPS_A_STEP), False)
    kept = np.isin(cells.group, chosen)
    place = np.cumsum(kept) - 1
    heard = kept[context.material_cell[1]]
    to_cell = np.stack([context.material_cell[0][heard], place[context.material_cell[1][heard]]])
    silent = rng.random(len(SOURCES)) < SILENCED
    silent[[LINEAR, PCHIP, LOW_RANK]] = False
    asked = np.unique(context.gap_of[kept])
    asked = asked[asked >= 0]
    renumbered = np.full(len(context.gaps.first) + 1, -1)
    renumbered[asked] = np.arange(asked.size)
    of_those = np.isin(context.trial_gap[1], asked)
    fewer = replace(
        context, gaps=context.gaps.some(asked), gap_speaks=context.gap_speaks[asked] & ~silent,
        gap_of=renumbered[context.gap_of[kept]], part=context.part[kept],
        trial_gap=np.stack([context.trial_gap[0][of_those], renumbered[context.trial_gap[1][of_those]]]),
        trial_edge=context.trial_edge[of_those],
        cells=Cells(cells.group[kept], cells.band[kept], cells.run[kept], cells.everywhere[kept], cells.scene[kept]),
        cell=context.cell[kept], speaks=context.speaks[kept] & ~silent, error=context.error[kept],
        candidate=context.candidate[kept], material_cell=to_cell, material_edge=context.material_edge[heard],
    )
    share = example.share[kept]
    doubted = _noise_doubted(_doubted(fewer, rng), rng)
    return replace(
        example, context=doubted, errors=example.errors[kept], valid=example.valid[kept],
        share=share / max(float(share.sum()), 1e-9), kind=example.kind[kept], band_group=example.band_group[kept],
        held=example.held.of_groups(chosen, kept),
    )


def _doubted(context: Context, rng: np.random.Generator) -> Context:
    """The context with its trials, and what is averaged of them, less reliable than they are."""
    off = (OFF * rng.standard_normal(len(SOURCES))).astype(np.float32)
    error = context.trials.error + off
    error = error + (OFF_EACH * rng.standard_normal(error.shape)).astype(np.float32)
    told = context.candidate.copy()
    told[..., 0] += off * (told[..., 3] > 0)
    told[..., 1] += off * (told[..., 1] != 0)
    scale = 10.0**off
    moment = context.trials.moment * scale[:, None] * scale
    heard = replace(context, candidate=told, trials=replace(context.trials, error=error, moment=moment))
    if rng.random() >= UNTRIED:
        return heard
    told[..., :AVERAGED] = 0.0
    return replace(heard, trial_gap=context.trial_gap[:, :0], trial_edge=context.trial_edge[:0])


def _noise_doubted(context: Context, rng: np.random.Generator) -> Context:
    """The context with its noise told less well than it is known."""
    scene = NOISE_OFF * rng.standard_normal()
    off = (scene + NOISE_OFF_EACH * rng.standard_normal(len(context.run))).astype(np.float32)
    cell, run, candidate = context.cell.copy(), context.run.copy(), context.candidate.copy()
    by_cell = off[context.cells.run]
    cell[:, CELL_NOISE] += by_cell
    cell[:, BEND_OVER_NOISE] -= by_cell
    candidate[..., TRIED_OVER_NOISE] = np.minimum(candidate[..., TRIED_OVER_NOISE] * 10.0 ** -by_cell[:, None], 1.0)
    run[:, LINES_OVER_NOISE] -= np.where(run[:, LINES_OVER_NOISE] != 0, off, 0)  # zero where no line was tried
    described = context.trials.described.copy()
    described[:, STRETCH_NOISE] += scene + NOISE_OFF_EACH * rng.standard_normal(len(described))
    trials = replace(context.trials, described=described)
    return replace(context, cell=cell, run=run, candidate=candidate, trials=trials)


def merged(contexts: Sequence[Context]) -> Context:
    """One context with all nodes and edges of several."""
    count = np.array([
        [len(c.cells.band), len(c.run), len(c.group), len(c.material), len(c.rule), len(c.trials.first),
         len(c.gaps.first)]
        for c in contexts
    ])
    before = np.cumsum(count, axis=0) - count
    cells = Cells(
        np.concatenate([c.cells.group + b[2] for c, b in zip(contexts, before, strict=True)]),
        np.concatenate([c.cells.band for c in contexts]),
        np.concatenate([c.cells.run + b[1] for c, b in zip(contexts, before, strict=True)]),
        np.concatenate([c.cells.everywhere for c in contexts]),
        np.concatenate([np.full(n, k, np.int64) for k, n in enumerate(count[:, 0])]),
    )

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(context, name) for context in contexts])

    def shifted(name: str, sender: int, receiver: int) -> np.ndarray:
        return np.concatenate([
            getattr(context, name) + start[[sender, receiver]][:, None]
            for context, start in zip(contexts, before, strict=True)
        ], axis=1)

    return Context(
        cells, joined("cell"), joined("speaks"), joined("error"), joined("candidate"), joined("source"), joined("run"),
        joined("group"), joined("material"), joined("rule"), shifted("material_cell", 3, 0), joined("material_edge"),
        shifted("rule_run", 4, 1), joined("rule_edge"),
        np.concatenate([np.full(n, k, np.int64) for k, n in enumerate(count[:, 2])]),
        together([c.gaps for c in contexts]), joined("gap_speaks"),
        np.concatenate([np.where(c.gap_of < 0, -1, c.gap_of + b[6]) for c, b in zip(contexts, before, strict=True)]),
        joined("part"), together([c.trials for c in contexts]), shifted("trial_gap", 5, 6), joined("trial_edge"),
    )
