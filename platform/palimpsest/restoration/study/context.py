"""The subgraph that one scene's judgement needs: typed nodes with attributes, typed edges, nothing learned by index.

Nodes: *cells* (one pixel group in one damaged band), *candidates* (one source speaking about one cell), *sources*,
*runs* (contiguous damaged bands), *groups* of pixels, *materials* that were retrieved, *rules* of the release. A
material is known by what its spectrum does in the gap, by its share, its features and its source's reliability; a rule
by its strength, its hardness and the bands that it covers. All numbers are plain attributes, so that what was added to
the ontology this morning is one more row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.study.sources import (
    FLAT_READING,
    KNOWLEDGE,
    KRIGING,
    LINEAR,
    LIT_READING,
    LOW_RANK,
    PCHIP,
    SOURCES,
    Proposals,
    Run,
    Sources,
    runs_of,
)
from palimpsest.restoration.study.trials import (
    AVERAGED,
    Stretches,
    air_in,
    averaged,
    deep,
    evidence_edges,
    framed,
    gaps_of,
    log,
    placed,
    rim_misfit,
    steps_nm,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.library.semantic_mapper import Reading
    from palimpsest.restoration.study.evidence import Evidence
    from palimpsest.restoration.view import View

CELL_FEATURES = 13
CELL_NOISE, BEND_OVER_NOISE, CELL_DOUBT = 4, 7, 8  # which of them tell the noise, and what the scene's factors doubt
CANDIDATE_FEATURES = AVERAGED + 6 + len(SOURCES)
TRIED_OVER_NOISE = AVERAGED + 5
MATERIAL_FEATURES = 6
RULE_FEATURES = 3
GROUP_FEATURES = 24
RUN_FEATURES = 17
LINES_OVER_NOISE = 13
SOURCE_FEATURES = 5 + len(SOURCES)
_LEAST_SHARE = 0.04  # of a pixel group, from which a material is heard about it
_TINY = 1e-4


@dataclass(frozen=True, slots=True)
class Cells:
    """What is to be judged.

    Args:
        group: pixel group of each cell, ``(cell,)``.
        band: ascending band of each cell, ``(cell,)``.
        run: run of each cell, ``(cell,)``.
        everywhere: whether no pixel shows the band, ``(cell,)``.
        scene: number of the scene, ``(cell,)``: several are learnt from at once.
    """

    group: NDArray[np.int64]
    band: NDArray[np.int64]
    run: NDArray[np.int64]
    everywhere: NDArray[np.bool_]
    scene: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Context:
    """A scene's subgraph.

    Args:
        cells: the cells, ``(cell, CELL_FEATURES)`` float32 in ``cell``.
        speaks: ``(cell, source)``.
        error: the sources' expected logarithmic error, ``(cell, source)`` float32, from trials or their own estimate.
        candidate, source, run, group, material, rule: attributes of the nodes, float32.
        material_cell, rule_run: edges, ``(2, edge)`` int64 (from, to); with attributes in ``material_edge``,
            ``rule_edge``, ``(edge, 3)`` and ``(edge, 2)``.
        group_scene: number of the scene of each group, ``(group,)``.
        gaps: shared runs in the eyes of each pixel group.
        gap_speaks: ``(gap, source)``.
        gap_of: gap of each cell, -1 without one, ``(cell,)``.
        part: whether a cell lies at a rim of its run or deep in it, ``(cell,)``.
        trials: what was tried, one by one.
        trial_gap: edges, ``(2, edge)`` int64 (trial, gap), with attributes in ``trial_edge``.
    """

    cells: Cells
    cell: NDArray[np.float32]
    speaks: NDArray[np.bool_]
    error: NDArray[np.float32]
    candidate: NDArray[np.float32]  # (cell, source, feature)
    source: NDArray[np.float32]
    run: NDArray[np.float32]
    group: NDArray[np.float32]
    material: NDArray[np.float32]
    rule: NDArray[np.float32]
    material_cell: NDArray[np.int64]
    material_edge: NDArray[np.float32]
    rule_run: NDArray[np.int64]
    rule_edge: NDArray[np.float32]
    group_scene: NDArray[np.int64]
    gaps: Stretches
    gap_speaks: NDArray[np.bool_]
    gap_of: NDArray[np.int64]
    part: NDArray[np.int64]
    trials: Stretches
    trial_gap: NDArray[np.int64]
    trial_edge: NDArray[np.float32]


def build(
    view: View, member: NDArray[np.intp], proposals: Proposals, sources: Sources, evidence: Evidence,
    noise: NDArray[np.float64], knowledge: KnowledgeBase | None, groups: int,
) -> Context:
    """The subgraph of a scene.

    Args:
        view: the pixels that are looked at, all with damage.
        member: their group, ``(pixel,)``.
        proposals: every source's candidates for them.
        sources: what was fitted.
        evidence: errors in trials.
        noise: standard deviation per band.
        knowledge: the release, or None.
        groups: number of groups.
    """
    dead = ~view.usable
    bands = np.flatnonzero(dead.any(0))
    hit = np.asarray(dead.any(axis=0))
    runs, run_of = _runs(hit, sources.everywhere)
    cells = Cells(
        np.repeat(np.arange(groups), bands.size), np.tile(bands, groups), np.tile(run_of[bands], groups),
        np.tile(sources.everywhere[bands], groups), np.zeros(groups * bands.size, np.int64),
    )
    statistics = _statistics(view, member, proposals, cells)
    cell = _cell_features(view, member, sources, noise, cells, runs, statistics)
    gaps = gaps_of(view, member, groups, proposals, sources, noise, runs)
    gap_of = placed(gaps, cells.run, cells.group)
    trial_gap, trial_edge = evidence_edges(evidence.trials, gaps, view.axis, evidence.closed)
    candidate, error = _candidate_features(evidence, sources, cells, statistics)
    plain = averaged(evidence.trials, len(gaps.first), trial_gap, trial_edge, gap_of, error)
    candidate = np.concatenate([plain, candidate], 2)
    source = _source_features(sources, statistics.speaks, error)
    material, material_cell, material_edge = _materials(view, member, proposals, sources, cells, runs, knowledge)
    rule, rule_run, rule_edge = _rules(view, runs, knowledge)
    return Context(
        cells, cell, statistics.speaks, error, candidate, source, _run_features(view, runs, sources, evidence, noise),
        _group_features(view, member, groups), material, rule, material_cell, material_edge, rule_run, rule_edge,
        np.zeros(groups, np.int64), gaps, gaps.speaks, gap_of, _parts(cells, runs, sources), evidence.trials,
        trial_gap, trial_edge,
    )


@dataclass(frozen=True, slots=True)
class _Statistics:
    speaks: NDArray[np.bool_]  # (cell, source)
    apart: NDArray[np.float64]  # (cell, source): rms distance from the consensus
    bend: NDArray[np.float64]  # (cell,): rms distance of line and cubic
    spread: NDArray[np.float64]  # (cell,): of the low-rank model
    level: NDArray[np.float64]  # (cell,): mean of the consensus


def _statistics(view: View, member: NDArray[np.intp], proposals: Proposals, cells: Cells) -> _Statistics:
    count = len(cells.band)
    speaks = np.zeros((count, len(SOURCES)), bool)
    apart = np.zeros((count, len(SOURCES)))
    bend, spread, level = np.zeros(count), np.zeros(count), np.zeros(count)
    for number in range(count):
        band = cells.band[number]
        dead = ~view.usable[:, band]
        inside = np.flatnonzero(dead & (member == cells.group[number]))
        if inside.size < 3:
            # A group without damage in the sample may have some in the scene: it is judged like the others.
            inside = np.flatnonzero(dead)
        inside = inside[:400]
        values = proposals.values[:, inside, band].astype(np.float64)
        heard = proposals.speaks[:, inside, band]
        speaks[number] = heard.mean(1) > 0.5
        weight = heard / np.maximum(heard.sum(0), 1)
        consensus = (values * weight).sum(0)
        apart[number] = np.sqrt((((values - consensus) ** 2) * heard).sum(1) / np.maximum(heard.sum(1), 1))
        bend[number] = np.sqrt(((values[LINEAR] - values[PCHIP]) ** 2).mean())
        spread[number] = np.sqrt((proposals.spread[inside, band].astype(np.float64) ** 2).mean())
        level[number] = consensus.mean()
    return _Statistics(speaks, apart, bend, spread, level)


def _cell_features(
    view: View, member: NDArray[np.intp], sources: Sources, noise: NDArray[np.float64], cells: Cells, runs: list[Run],
    statistics: _Statistics,
) -> NDArray[np.float32]:
    nm, bands = steps_nm(view.axis), view.axis.count
    first = np.array([run.first for run in runs])[cells.run]
    last = np.array([run.last for run in runs])[cells.run]
    left, right = np.maximum(first - 1, 0), np.minimum(last, bands - 1)
    to_left = np.where(first > 0, nm[cells.band] - nm[left], 1e4)
    to_right = np.where(last < bands, nm[right] - nm[cells.band], 1e4)
    near = np.minimum(np.minimum(to_left, to_right), 3000.0)
    share = view.usable[:, cells.band].mean(0)
    weight = np.bincount(member, minlength=int(cells.group.max()) + 1)[cells.group] / len(member)
    gain = np.ones(bands) if sources.lit is None else sources.lit.gain
    features = np.stack([
        np.log10(near + 1) - 1.5, np.clip((cells.band - first) / np.maximum(last - first, 1), 0, 1),
        cells.everywhere * 1.0, share, log(noise[cells.band]), log(statistics.level), log(statistics.bend),
        log(statistics.bend) - log(noise[cells.band]), log(statistics.spread), weight,
        np.log(gain)[cells.band] - np.mean(np.log(gain)),
        statistics.speaks[:, LOW_RANK] * 1.0, statistics.speaks[:, KNOWLEDGE[0]] * 1.0,
    ], 1)
    return features.astype(np.float32)


def _parts(cells: Cells, runs: list[Run], sources: Sources) -> NDArray[np.int64]:
    place = np.zeros(sources.everywhere.size, np.int64)
    for run in runs:
        place[run.first : run.last] = deep(run, sources.everywhere)
    return place[cells.band]


def _fit_quality(reading: Reading | None) -> float:
    return 0.0 if reading is None else float(log(np.array([np.nanmedian(reading.misfit)]))[0])


def _source_features(
    sources: Sources, speaks: NDArray[np.bool_], error: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What is known of each source as a whole: how well it reads the scene, how it did in all trials."""
    best = np.where(speaks, error, np.inf).min(1, keepdims=True)
    behind = np.where(speaks & np.isfinite(best), error - np.where(np.isfinite(best), best, 0.0), 0.0)
    number = np.maximum(speaks.sum(0), 1)
    rows = np.zeros((len(SOURCES), 5))
    rows[:, 0], rows[:, 1] = np.where(speaks, error, 0.0).sum(0) / number, behind.sum(0) / number
    for reading, kinds in ((sources.flat, FLAT_READING), (sources.lit, LIT_READING)):
        if reading is not None:
            rows[list(kinds), 2:] = _fit_quality(reading), float(np.std(np.log(reading.gain))), 5 * reading.dark
    return np.concatenate([rows, np.eye(len(SOURCES))], 1).astype(np.float32)


def _candidate_features(
    evidence: Evidence, sources: Sources, cells: Cells, statistics: _Statistics
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    count = len(cells.band)
    tried = np.sqrt(np.maximum(evidence.error[:, cells.band].T, 0.0))  # (cell, source)
    quiet = np.sqrt(evidence.noise[cells.band])[:, None]
    own = np.tile(statistics.bend[:, None], (1, len(SOURCES)))
    own[:, LOW_RANK] = statistics.spread
    for reading, kinds in ((sources.flat, FLAT_READING), (sources.lit, LIT_READING)):
        if reading is not None:
            own[:, list(kinds)] = float(np.nanmedian(reading.misfit))
    known = np.isfinite(tried)
    error = np.where(known, tried, own + 0.5 * statistics.apart)
    best = np.where(statistics.speaks, error, np.inf).min(1, keepdims=True)
    best = np.where(np.isfinite(best), best, 1.0)
    numbers = np.stack([
        log(error), known * 1.0, log(error) - log(best), log(statistics.apart), log(own),
        np.clip(error / (quiet + _TINY), 0, 10) / 10,
    ], 2)
    names = np.tile(np.eye(len(SOURCES))[None], (count, 1, 1))
    return np.concatenate([numbers, names], 2).astype(np.float32), log(error).astype(np.float32)


def _runs(damaged: NDArray[np.bool_], everywhere: NDArray[np.bool_]) -> tuple[list[Run], NDArray[np.int64]]:
    runs = runs_of(everywhere & damaged)
    runs += [Run(int(band), int(band) + 1) for band in np.flatnonzero(damaged & ~everywhere)]
    run_of = np.full(damaged.size, -1)
    for number, run in enumerate(runs):
        run_of[run.first : run.last] = number
    return runs, run_of


def _run_features(
    view: View, runs: list[Run], sources: Sources, evidence: Evidence, noise: NDArray[np.float64]
) -> NDArray[np.float32]:
    nm, axis = steps_nm(view.axis), view.axis
    seen = view.usable.sum(0)
    mean = (view.values * view.usable).sum(0) / np.maximum(seen, 1)
    level = max(float(mean[seen > 0].mean()) if (seen > 0).any() else 1.0, _TINY)
    rows = [
        [
            np.log10(nm[run.last - 1] - nm[run.first] + 10.0) - 1.5, np.log10(run.last - run.first) - 0.5,
            float(run.first == 0), float(run.last == axis.count), float(sources.everywhere[run.first]),
            float(axis.centre_nm is not None),
            (float(nm[run.first]) - 1400.0) / 1000.0 if axis.centre_nm is not None else 0.0,
            *framed(run, mean, seen > 0, level), rim_misfit(sources.flat, run), rim_misfit(sources.lit, run),
            *_along(evidence, run, noise), air_in(sources.flat, run),
        ]
        for run in runs
    ]
    return np.asarray(rows, np.float32).reshape(-1, RUN_FEATURES)


def _along(evidence: Evidence, run: Run, noise: NDArray[np.float64]) -> tuple[float, float, float]:
    """How lines did in trials further out, against the noise, and cubics and kriging against lines."""
    tried = np.sqrt(evidence.along[:, run.first])
    if not np.isfinite(tried[LINEAR]):
        return 0.0, 0.0, 0.0
    lines, cubics, kriged = (float(log(np.array([tried[source]]))[0]) for source in (LINEAR, PCHIP, KRIGING))
    behind = kriged - lines if np.isfinite(tried[KRIGING]) else 0.0
    return lines - float(log(noise[[run.first]])[0]), cubics - lines, behind


def _group_features(view: View, member: NDArray[np.intp], groups: int) -> NDArray[np.float32]:
    # A spectrum cut to a fixed number of places: means, then the scatter inside the group, then its size.
    places = np.array_split(np.arange(view.axis.count), (GROUP_FEATURES - 2) // 2)
    out = np.zeros((groups, GROUP_FEATURES), np.float32)
    for g in range(groups):
        inside = member == g
        if not inside.any():
            continue
        seen = view.usable[inside].astype(np.float64)
        mean = (view.values[inside] * seen).sum(0) / np.maximum(seen.sum(0), 1)
        scatter = np.sqrt((((view.values[inside] - mean) ** 2) * seen).sum(0) / np.maximum(seen.sum(0), 1))
        for k, place in enumerate(places):
            if place.size:
                out[g, 2 * k], out[g, 2 * k + 1] = mean[place].mean(), log(scatter[place].mean())
        out[g, -2], out[g, -1] = inside.mean(), seen.mean()
    return out


def _materials(
    view: View, member: NDArray[np.intp], proposals: Proposals, sources: Sources, cells: Cells, runs: list[Run],
    knowledge: KnowledgeBase | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    nothing = np.zeros((0, MATERIAL_FEATURES), np.float32), np.zeros((2, 0), np.int64), np.zeros((0, 3), np.float32)
    reading, shares = sources.flat, proposals.shares[0]
    if reading is None or shares is None or knowledge is None:
        return nothing
    reliability = {source.iri: source.reliability for source in knowledge.sources}
    groups = int(cells.group.max()) + 1
    by_group = np.stack([
        shares[member == g].mean(0) if (member == g).any() else shares.mean(0) for g in range(groups)
    ])  # (group, material)
    total = np.maximum(by_group.sum(1, keepdims=True), 1e-6)
    part = by_group / total
    attributes = np.stack([
        part.mean(0), part.max(0), np.array([m.priority for m in reading.materials]) - 1.0,
        np.array([reliability.get(m.source, 0.5) for m in reading.materials]),
        np.array([min(len(m.features), 6) / 6 for m in reading.materials]), reading.spectra.mean(1),
    ], 1)
    x = view.axis.along
    bump = np.zeros_like(reading.spectra)  # what a straight line across the gap would miss of each material
    for run in runs:
        inside = np.arange(run.first, run.last)
        ends = [max(run.first - 1, 0), min(run.last, x.size - 1)]
        line = np.stack([np.interp(x[inside], x[ends], row[ends]) for row in reading.spectra])
        bump[:, inside] = reading.spectra[:, inside] - line
    cell, material = np.nonzero(cells.everywhere[:, None] & (part[cells.group] > _LEAST_SHARE))
    edge = np.stack([
        part[cells.group[cell], material], 4 * bump[material, cells.band[cell]],
        4 * np.abs(bump[material, cells.band[cell]]),
    ], 1)
    return attributes.astype(np.float32), np.stack([material, cell]).astype(np.int64), edge.astype(np.float32)


def _rules(
    view: View, runs: list[Run], knowledge: KnowledgeBase | None
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    centre = view.axis.centre_nm
    rows: list[list[float]] = []
    edges: list[tuple[int, int]] = []
    attributes: list[tuple[float, float]] = []
    for number, rule in enumerate(() if knowledge is None else knowledge.rules):
        if centre is None:
            break
        low, high = rule.parameters.get("from_nm", 0.0), rule.parameters.get("to_nm", 1e9)
        rows.append([min(rule.weight, 10.0) / 10, float(rule.is_hard), float(not rule.scope)])
        for place, run in enumerate(runs):
            inside = centre[run.first : run.last]
            covered = float(((inside >= low) & (inside <= high)).mean())
            if covered > 0:
                edges.append((number, place))
                attributes.append((float(np.log10(min(high - low, 3000.0) + 1)) / 3, covered))
    return (
        np.asarray(rows, np.float32).reshape(-1, RULE_FEATURES), np.asarray(edges, np.int64).reshape(-1, 2).T,
        np.asarray(attributes, np.float32).reshape(-1, 2),
    )
