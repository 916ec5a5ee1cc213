"""What speaks for and against each source before anybody is believed: trials on voxels whose truth is known.

Damage is repeated where the answer was measured: every gap that all pixels share is hidden again beside itself, to its
left and to its right, and one at the end of the range with all that lies between, so that it is an end again; dead
voxels of one pixel are hidden in another pixel that has them. Each source is asked, and its error is evidence. It is
evidence and no verdict: choosing by it alone was measured to fail, because the band next to a red edge is not the red
edge; the judge weighs it together with what it knows of the gap and of the materials.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.library.semantic_mapper import narrowed, read_scene
from palimpsest.restoration.study.rehearsal import rehearsed
from palimpsest.restoration.study.sources import KRIGING, LINEAR, PCHIP, SOURCES, Run, Sources, propose, runs_of
from palimpsest.restoration.study.trials import CLOSED, Stretches, stretches_of, together
from palimpsest.restoration.view import mute_bands

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from palimpsest.restoration.library.semantic_mapper import Library
    from palimpsest.restoration.organiser import PixelGroups
    from palimpsest.restoration.spectrum.kernel_blend import KernelBlend
    from palimpsest.restoration.study.sources import Proposals
    from palimpsest.restoration.view import View


TRIAL_PIXELS = 240
ALONG = (LINEAR, PCHIP, KRIGING)
STEPS_OUT = 3
HALVES = tuple(((side, step), 0.5) for side in (-1, 1) for step in range(2))  # of a wide run: beside it, half as wide
_TINY = 1e-12
_LEAST_SHARE = 0.03  # of a trial's error that is never explained by the noise of the truth


@dataclass(frozen=True, slots=True)
class Evidence:
    """Mean squared errors in trials.

    Args:
        error: per source and band, ``(source, band)``; NaN where nothing was tried. Bands of a shared run hold the mean
            over the run's trials, those of a short run the geometric mean over trials further out too.
        noise: mean squared noise of the bands that the trials were judged by, ``(band,)``.
        along: squared errors of those who look along the spectrum alone (:data:`ALONG`), in trials further out too,
            geometric mean over the places, ``(source, band)``; NaN where nothing was tried. They cost little, so that
            more places can be asked; which of them is better is told by these places.
        trials: of gaps that all pixels share, one by one.
        closed: bands that tell nothing of open ones, ``(band,)``: the air is shut there, or a fill stands for what was
            not measured.
    """

    error: NDArray[np.float64]
    noise: NDArray[np.float64]
    along: NDArray[np.float64]
    trials: Stretches
    closed: NDArray[np.bool_]


def gather(
    sources: Sources, sample: View, means: NDArray[np.float64], library: Library | None, noise: NDArray[np.float64],
    groups: PixelGroups,
) -> Evidence:
    """Evidence from a sample of pixels.

    Args:
        sources: fitted to the scene.
        sample: pixels to repeat the damage in.
        means: spectra for reading the scene again without the hidden bands, ``(spectrum, band)``.
        library: the materials at the bands, or None.
        noise: standard deviation per band, ``(band,)``.
        groups: of pixels.
    """
    bands = sample.axis.count
    error = np.full((len(SOURCES), bands), np.nan)
    tried_noise = noise.astype(np.float64) ** 2
    step = max(1, len(sample.pixels) // TRIAL_PIXELS)
    some = sample.rows(np.arange(0, len(sample.pixels), step))
    member = groups.of(some)
    told = [rehearsed(sources, some, member, len(groups.centres), library, noise)]
    if library is not None:
        library = narrowed(library, (sources.flat, sources.lit))
    runs = runs_of(sources.everywhere)
    everyone: dict[Run, list[NDArray[np.float64]]] = {run: [] for run in runs}
    alone: dict[Run, list[NDArray[np.float64]]] = {run: [] for run in runs}
    closed = mute_bands(sample, sources.everywhere)
    if library is not None:
        closed |= library.shut
    nearest: set[tuple[Run, int]] = set()  # runs that were tried on a side of theirs
    for (side, step), share in (*itertools.product(itertools.product((-1, 1), range(STEPS_OUT)), (1.0,)), *HALVES):
        places = {run: _beside(run, side, sources.everywhere, step, share, closed) for run in runs}
        if share < 1:
            places = {run: None if run in sources.blends else place for run, place in places.items()}
        hidden = np.zeros(bands, bool)
        for run, place in places.items():
            if place is not None:
                hidden[place] = True
                hidden[_between(place, run, sources.everywhere)] = True
        if not hidden.any():
            continue
        blind = _without(sources, library, means, hidden, {
            Run(place.start, place.stop): sources.blends[run]
            for run, place in places.items() if place is not None and run in sources.blends
        })
        squared, counted, found, shown = _trial(blind, some, np.tile(hidden, (len(some.pixels), 1)))
        truth = np.where(some.usable, some.values, np.float32(np.nan))
        for number, (run, place) in enumerate(places.items()):
            if place is None:
                continue
            tried = Run(place.start, place.stop)
            told.append(stretches_of(
                shown, member, len(groups.centres), tried, number, found, blind, noise, truth
            ))
            if share == 1:
                error_there = _mean_error(squared[:, place], counted[:, place], tried_noise[place])
                alone[run].append(error_there)
                everyone[run] += [error_there] if (run, side) not in nearest or run in sources.blends else []
                nearest.add((run, side))
    along = np.full((len(SOURCES), bands), np.nan)
    for run in runs:
        inside = slice(run.first, run.last)
        if run in sources.blends:
            if everyone[run]:
                error[:, inside] = _typical(everyone[run])[:, None]
            along[list(ALONG), inside] = sources.blends[run].error[:, None]
            continue
        if everyone[run]:
            error[:, inside] = _nanmean(everyone[run])[:, None]
        if alone[run]:
            along[list(ALONG), inside] = _typical(alone[run])[list(ALONG), None]
    for source in ALONG:
        ratio = along[source] / along[LINEAR]
        error[source] = np.where(np.isfinite(ratio * error[LINEAR]), ratio * error[LINEAR], error[source])
    _scattered(sources, sample, error, tried_noise)
    return Evidence(error, tried_noise, along, together(told), closed)


def _mean_error(
    squared: NDArray[np.float64], counted: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean squared error of each source less the noise of the truth, ``(source,)``; NaN where nothing was tried."""
    number = counted.sum(1)
    raw = squared.sum(1) / np.maximum(number, 1)
    quiet = (counted * noise).sum(1) / np.maximum(number, 1)
    return np.where(number > 0, np.maximum(raw - quiet, _LEAST_SHARE * raw), np.nan)


def _scattered(
    sources: Sources, sample: View, error: NDArray[np.float64], noise: NDArray[np.float64]
) -> None:
    dead = ~sample.usable & ~sources.everywhere
    struck = np.flatnonzero(dead.any(1))
    if not struck.size:
        return
    struck = struck[:: max(1, struck.size // TRIAL_PIXELS)]
    # A pixel far away in the sample lends its truth to the damage of this one.
    lenders = (struck + len(sample.pixels) // 2) % len(sample.pixels)
    view = sample.rows(lenders)
    squared, counted, _, _ = _trial(sources, view, dead[struck] & view.usable)
    tried = counted.any(0) & ~sources.everywhere
    for band in np.flatnonzero(tried):
        error[:, band] = _mean_error(squared[:, [band]], counted[:, [band]], noise[[band]])
    untried = dead.any(0) & ~tried
    error[:, untried] = _mean_error(squared[:, tried], counted[:, tried], noise[tried])[:, None]


def _trial(
    sources: Sources, view: View, hidden: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], Proposals, View]:
    hidden = hidden & view.usable
    shown = view.hiding(hidden)
    found = propose(sources, shown)
    judged = hidden[None] & found.speaks
    squared = np.where(judged, (found.values - view.values[None]).astype(np.float64) ** 2, 0.0)
    return squared.sum(1), judged.sum(1).astype(np.float64), found, shown


def _without(
    sources: Sources, library: Library | None, means: NDArray[np.float64], hidden: NDArray[np.bool_],
    blends: Mapping[Run, KernelBlend],
) -> Sources:
    everywhere = sources.everywhere | hidden
    flat, lit = sources.flat, sources.lit
    if library is None:
        flat = lit = None
    else:
        flat = None if flat is None else read_scene(library.references, means, ~everywhere, lit=False)
        lit = None if lit is None else read_scene(library, means, ~everywhere, lit=True)
    # A trial of a shared gap asks what can be said without any pixel that shows it.
    return Sources(everywhere, None, flat, lit, {**sources.blends, **blends})


def _beside(
    run: Run, side: int, everywhere: NDArray[np.bool_], step: int, share: float, closed: NDArray[np.bool_]
) -> slice | None:
    """Bands ``share`` as wide as a run, ``step`` widths out from it; None where the cube ends or other gaps are.

    Nor is anything learned for an open gap where bands are ``closed``, ``(band,)``.
    """
    bands = everywhere.size
    width = max(1, round(share * min(run.last - run.first, max(2, int((~everywhere).sum()) // 5))))
    out = 1 + step * (width + 1)
    first = run.first - out - width if side < 0 else run.last + out
    if step == 0:
        first = min(max(first, 0), bands - width)
    place = slice(first, first + width)
    if first < 0 or place.stop > bands or everywhere[place].any():
        return None
    if closed[place].mean() > CLOSED >= closed[run.first : run.last].mean():
        return None
    return place


def _between(place: slice, run: Run, everywhere: NDArray[np.bool_]) -> slice:
    """Bands from a trial's place to a run at an end of the range: a trial of such a run has no rim on that side."""
    if everywhere[run.last :].all() and place.stop <= run.first:
        return slice(place.stop, run.first)
    if everywhere[: run.first].all() and place.start >= run.last:
        return slice(run.last, place.start)
    return slice(0, 0)


def _typical(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The geometric mean: one rough place must not outvote all others."""
    return np.exp(_nanmean([np.log(row + _TINY) for row in rows]))


def _nanmean(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    stacked = np.stack(rows)
    known = np.isfinite(stacked)
    return np.where(known.any(0), np.where(known, stacked, 0.0).sum(0) / np.maximum(known.sum(0), 1), np.nan)
