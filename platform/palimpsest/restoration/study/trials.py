"""Trials as they were made, one by one: what was hidden where, how it looked, and how far each source was off.

A mean over trials forgets which of them resembles the gap. Here each trial of each pixel group keeps its numbers, and
the gap itself is described by the same ones (all but the error, which nobody knows): its width and place, how its rims
are framed, how well the library reads the bands beside it, how clear the air is there, how far the sources are apart.
Which trials are evidence for which gap is left to the network
(:mod:`~palimpsest.restoration.integrator.trial_stacking`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.study.sources import LINEAR, PCHIP, SOURCES, Run, Sources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.restoration.library.semantic_mapper import Reading
    from palimpsest.restoration.study.sources import Proposals
    from palimpsest.restoration.view import Axis, View

STRETCH_FEATURES = 16
STRETCH_NOISE = 12  # which of them tells the noise
TRIAL_EDGE = 5
AVERAGED = 4  # what a cell is told of each source's trials without edges
PARTS = 2  # of a stretch: at its rims, deep in it
RIM = 4  # bands on each side of a stretch that tell how it is framed
CALM = 0.6  # 1: every trial counts by its errors against its best source's, 0: by its errors as they are
CLOSED = 0.3  # of a stretch's bands, beyond which it tells nothing of an open gap
EVERYONE = -1  # the group of a row that stands for all pixels
_FEWEST_PIXELS = 3
_TINY = 1e-4


@dataclass(frozen=True, slots=True)
class Stretches:
    """Runs of bands, lost or hidden, each in the eyes of one pixel group.

    Args:
        first, last: of the run, ascending bands, ``(stretch,)``.
        group: pixel group, :data:`EVERYONE` for all pixels, ``(stretch,)``.
        home: the damaged run that a trial was made for; a gap's own, ``(stretch,)``.
        described: ``(stretch, STRETCH_FEATURES)`` float32.
        speaks: ``(stretch, source)``.
        apart: log distance of each source from the mean of all, ``(stretch, source)`` float32.
        error: log error of each source, ``(stretch, source)`` float32; zeros for gaps.
        moment: mean products of the errors of each two sources, scaled units, at the rims of the stretch and deep in
            it (:func:`deep`), ``(stretch, 2, source, source)`` float32; zeros for gaps.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    group: NDArray[np.int64]
    home: NDArray[np.int64]
    described: NDArray[np.float32]
    speaks: NDArray[np.bool_]
    apart: NDArray[np.float32]
    error: NDArray[np.float32]
    moment: NDArray[np.float32]

    def some(self, rows: NDArray[np.intp]) -> Stretches:
        """Those of the given rows."""
        return Stretches(*(getattr(self, name)[rows] for name in Stretches.__dataclass_fields__))


def none() -> Stretches:
    """No stretch at all."""
    nothing, sources = np.zeros(0, np.int64), len(SOURCES)
    return Stretches(
        nothing, nothing, nothing, nothing, np.zeros((0, STRETCH_FEATURES), np.float32), np.zeros((0, sources), bool),
        np.zeros((0, sources), np.float32), np.zeros((0, sources), np.float32),
        np.zeros((0, PARTS, sources, sources), np.float32),
    )


def together(parts: Sequence[Stretches]) -> Stretches:
    """Several as one."""
    if not parts:
        return none()
    return Stretches(*(
        np.concatenate([getattr(part, name) for part in parts]) for name in Stretches.__dataclass_fields__
    ))


def log(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Common logarithm of a distance, shifted by two, as all features of the context have it."""
    return np.log10(np.maximum(np.nan_to_num(values, nan=_TINY), 0) + _TINY) + 2.0


def unlog(told: NDArray[np.floating]) -> NDArray[np.float64]:
    """The distance of which :func:`log` was taken."""
    return np.maximum(10.0 ** (told.astype(np.float64) - 2.0) - _TINY, 0.0)


def stretches_of(
    view: View, member: NDArray[np.intp], groups: int, run: Run, home: int, proposals: Proposals, sources: Sources,
    noise: NDArray[np.float64], truth: NDArray[np.floating] | None = None,
) -> Stretches:
    """One run in the eyes of all pixels and of each group that has enough of them.

    Args:
        view: pixels with the run's bands unusable.
        member: their group, ``(pixel,)``.
        groups: number of groups.
        run: the bands.
        home: number of the damaged run.
        proposals: of the sources for the view.
        sources: as they were fitted without the run.
        noise: standard deviation per band.
        truth: ``(pixel, band)``, in trials; None for a gap. NaN where it is not known.
    """
    inside = slice(run.first, run.last)
    values = proposals.values[:, :, inside].astype(np.float64)
    heard = proposals.speaks[:, :, inside]
    count = np.maximum(heard.sum(0), 1)
    consensus = np.where(heard, values, 0.0).sum(0) / count
    values = np.where(heard, values, consensus)
    known = np.ones(values.shape[1:], bool) if truth is None else np.isfinite(truth[:, inside])
    off = None if truth is None else values - np.where(known, truth[:, inside], 0.0)
    rows = []
    for group in (EVERYONE, *range(groups)):
        chosen = np.flatnonzero(known.any(1) & ((member == group) | (group == EVERYONE)))
        if chosen.size < _FEWEST_PIXELS:
            continue
        rows.append(_row(
            view, chosen, known[chosen], group, run, home, values[:, chosen], heard[:, chosen], consensus[chosen],
            None if off is None else off[:, chosen], sources, noise,
        ))
    return together(rows)


def _row(
    view: View, chosen: NDArray[np.intp], known: NDArray[np.bool_], group: int, run: Run, home: int,
    values: NDArray[np.float64], heard: NDArray[np.bool_], consensus: NDArray[np.float64],
    off: NDArray[np.float64] | None, sources: Sources, noise: NDArray[np.float64],
) -> Stretches:
    inside = slice(run.first, run.last)
    number = max(int(known.sum()), 1)
    flat = (values - consensus)[:, known]
    squares = (flat**2).sum(1)
    speaks = heard[:, known].mean(1) > 0.5
    bend = float(np.sqrt(((flat[LINEAR] - flat[PCHIP]) ** 2).sum() / number))
    error, moment = np.zeros(len(SOURCES)), np.zeros((PARTS, len(SOURCES), len(SOURCES)))
    if off is not None:
        moment = _moments(off, known, run, sources.everywhere)
        raw = (off[:, known] ** 2).sum(1) / number
        quiet = float(np.broadcast_to(noise[inside] ** 2, known.shape)[known].mean())
        error = np.asarray(log(np.sqrt(np.maximum(raw - quiet, 0.03 * raw))))
    described = _described(view.rows(chosen), run, sources, noise, bend)
    return Stretches(
        np.array([run.first]), np.array([run.last]), np.array([group]), np.array([home]),
        described[None].astype(np.float32), speaks[None], log(np.sqrt(squares / number))[None].astype(np.float32),
        error[None].astype(np.float32), moment[None].astype(np.float32),
    )


def _moments(
    off: NDArray[np.float64], known: NDArray[np.bool_], run: Run, everywhere: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Mean products of errors, ``(part, source, source)``; a part that nobody shows has those of the whole.

    The noise of the truth adds the same to every product, and so does not say whom to believe.
    """
    place = deep(run, everywhere)
    out = np.zeros((PARTS, len(off), len(off)))
    for part in range(PARTS):
        chosen = known & (place == part)
        errors = off[:, chosen if chosen.any() else known]
        out[part] = errors @ errors.T / max(errors.shape[1], 1)
    return out


def deep(run: Run, everywhere: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Which bands of a run lie deep in it: 1 beyond a quarter of its width from every rim, else 0, ``(band of run,)``.

    At the ends of the range there is one rim, and deep is what lies beyond half of the width.
    """
    width = run.last - run.first
    step = np.arange(width) + 0.5
    seen = np.flatnonzero(~everywhere)
    before = bool(seen.size) and seen[0] < run.first
    after = bool(seen.size) and seen[-1] >= run.last
    away = np.minimum(step if before else np.inf, width - step if after else np.inf)
    return (away > width / (4 if before and after else 2)).astype(np.int64)


def _described(
    view: View, run: Run, sources: Sources, noise: NDArray[np.float64], bend: float
) -> NDArray[np.float64]:
    axis = view.axis
    nm = steps_nm(axis)
    count = view.usable.sum(0)
    mean = (view.values * view.usable).sum(0) / np.maximum(count, 1)
    shown = (count > 0) & ~sources.everywhere
    shown[run.first : run.last] = False
    level = max(float(mean[shown].mean()) if shown.any() else 1.0, _TINY)
    is_end = not (shown[: run.first].any() and shown[run.last :].any())
    misfits = [_median(sources.flat), _median(sources.lit)]
    return np.array([
        np.log10(nm[run.last - 1] - nm[run.first] + 10.0) - 1.5, np.log10(run.last - run.first) - 0.5, float(is_end),
        (nm[run.first : run.last].mean() - 1400.0) / 1000.0 if axis.centre_nm is not None else 0.0,
        float(axis.centre_nm is not None), *framed(run, mean, shown, level), rim_misfit(sources.flat, run),
        rim_misfit(sources.lit, run), *log(np.array([bend, noise[run.first : run.last].mean()])), *misfits,
        air_in(sources.flat, run),
    ])


def _median(reading: Reading | None) -> float:
    return 0.0 if reading is None else float(log(np.array([np.nanmedian(reading.misfit)]))[0])


def steps_nm(axis: Axis) -> NDArray[np.float64]:
    """Places of the bands in nm; without wavelengths a band counts as ten, which is what most sensors have."""
    return axis.along if axis.centre_nm is not None else axis.along * 10.0


def framed(run: Run, mean: NDArray[np.float64], seen: NDArray[np.bool_], level: float) -> tuple[float, ...]:
    """Level at the rim, step across the gap, slope at it and roughness beside it, all relative to the mean level."""
    before, after = np.flatnonzero(seen[: run.first]), run.last + np.flatnonzero(seen[run.last :])
    sides = [before[-2 * RIM :][::-1], after[: 2 * RIM]]
    lines = [mean[side] / level for side in sides if side.size]
    if not lines:
        return 0.0, 0.0, 0.0, 0.0
    step = abs(lines[0][0] - lines[-1][0])
    slope = max(float(np.abs(line[0] - line[: RIM + 1].mean())) for line in lines)
    bends = [np.diff(line, 2) for line in lines if line.size > 2]
    rough = float(np.sqrt(np.mean(np.concatenate(bends) ** 2))) if bends else 0.0
    low = min(float(line[0]) for line in lines)
    return tuple(float(log(np.array([value]))[0]) for value in (low, step, slope, rough))


def air_in(reading: Reading | None, run: Run) -> float:
    """Mean optical depth of the air in the bands of a run, by the release; zero where nobody knows.

    Gases that a correction took off badly, or bridged by a line, are there.
    """
    return 0.0 if reading is None else float(reading.opacity[run.first : run.last].mean())


def rim_misfit(reading: Reading | None, run: Run) -> float:
    """Log of how far a reading is off in the bands beside a run; zero without a reading."""
    if reading is None:
        return 0.0
    beside = np.concatenate([reading.misfit[max(run.first - RIM, 0) : run.first], reading.misfit[run.last :][:RIM]])
    known = beside[np.isfinite(beside)]
    return float(log(np.array([np.sqrt((known**2).mean())]))[0]) if known.size else 0.0


def evidence_edges(
    trials: Stretches, gaps: Stretches, axis: Axis, closed: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Edges from trials to the gaps that they may speak for, ``(2, edge)``, and attributes ``(edge, TRIAL_EDGE)``.

    A gap hears the trials of its own pixel group and those of all pixels together, wherever they were made; but an
    open one none that were made where bands are ``closed``, ``(band,)``: among fills a line is always right.
    Attributes: distance in widths of the gap, ratio of widths, made for this gap, of all pixels, on its blue side.
    """
    if not len(trials.first) or not len(gaps.first):
        return np.zeros((2, 0), np.int64), np.zeros((0, TRIAL_EDGE), np.float32)
    alike = (trials.group[:, None] == gaps.group) | (trials.group[:, None] == EVERYONE)
    told, asked = (_closed_share(part, closed) > CLOSED for part in (trials, gaps))
    sender, receiver = (alike & ~(told[:, None] & ~asked)).nonzero()
    nm = steps_nm(axis)
    middle = [(nm[part.first] + nm[part.last - 1]) / 2 for part in (trials, gaps)]
    width = [nm[part.last - 1] - nm[part.first] + 10.0 for part in (trials, gaps)]
    moved = middle[0][sender] - middle[1][receiver]
    attributes = np.stack([
        np.log10(np.abs(moved) / width[1][receiver] + 0.1), np.log10(width[0][sender] / width[1][receiver]),
        trials.home[sender] == gaps.home[receiver], trials.group[sender] == EVERYONE, np.sign(moved),
    ], 1)
    return np.stack([sender, receiver]).astype(np.int64), attributes.astype(np.float32)


def _closed_share(stretches: Stretches, closed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of each stretch's bands that are closed, ``(stretch,)``."""
    before = np.concatenate([[0], np.cumsum(closed)])
    return np.asarray((before[stretches.last] - before[stretches.first]) / (stretches.last - stretches.first))


def gaps_of(
    view: View, member: NDArray[np.intp], groups: int, proposals: Proposals, sources: Sources,
    noise: NDArray[np.float64], runs: Sequence[Run],
) -> Stretches:
    """The shared ones of a scene's damaged runs as each group sees them; ``home`` counts the shared ones.

    Arguments as of :func:`stretches_of`.
    """
    shared = [number for number, run in enumerate(runs) if sources.everywhere[run.first]]
    return together([
        stretches_of(view, member, groups, runs[number], number, proposals, sources, noise) for number in shared
    ])


def placed(gaps: Stretches, run: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """The gap of each cell, given the cells' run and group; -1 where it is in no shared run."""
    where = {(int(home), int(seer)): k for k, (home, seer) in enumerate(zip(gaps.home, gaps.group, strict=True))}
    # A group with too few pixels in the sample is judged as all of them are.
    return np.asarray([
        where.get((int(r), int(g)), where.get((int(r), EVERYONE), -1)) for r, g in zip(run, group, strict=True)
    ], np.int64)


def averaged(
    trials: Stretches, gaps: int, edges: NDArray[np.int64], attributes: NDArray[np.float32], gap_of: NDArray[np.int64],
    error: NDArray[np.float32],
) -> NDArray[np.float32]:
    """What an average tells of the trials without asking which resemble the gap, ``(cell, source, 4)``."""
    sender, receiver = edges
    out = np.zeros((len(gap_of), len(SOURCES), AVERAGED), np.float32)
    if not gaps or not sender.size:
        return out
    speaks, said = trials.speaks[sender], trials.error[sender]

    def mean(values: NDArray[np.floating], weight: NDArray[np.floating]) -> tuple[NDArray[np.float64], ...]:
        total, number = np.zeros((gaps, len(SOURCES))), np.zeros((gaps, len(SOURCES)))
        np.add.at(total, receiver, weight * values)
        np.add.at(number, receiver, weight)
        return total / np.maximum(number, 1e-9), number

    usual, number = mean(said, speaks.astype(float))
    scatter, _ = mean((said - usual[receiver]) ** 2, speaks.astype(float))
    own, own_number = mean(said, speaks * attributes[:, 2:3])
    has, at = gap_of >= 0, np.maximum(gap_of, 0)
    out[..., 0] = np.where(number[at] > 0, usual[at] - error, 0.0)
    out[..., 1] = np.where(own_number[at] > 0, own[at] - error, 0.0)
    out[..., 2], out[..., 3] = np.sqrt(scatter)[at], number[at] > 0
    return out * has[:, None, None].astype(np.float32)
