"""Examples that belief in ways of telling is learnt from: wide gaps of made scenes, a few of whose pixels are clean.

Scenes of 32 x 32 pixels, the six kinds of place in turn, the sensor drawn of four, noise of 0.3 to 2 times the
sensor's. Of five rounds of the kinds three are stored as reflectance (0.4), radiance (0.25) or raw numbers (0.35), a
fifth of these without wavelengths and a tenth restored without knowledge, with the faults of recorded scenes
(:mod:`~palimpsest_pipelines.restoration_training.faults`); two rounds are as their sensor measured them, without
faults, since not every judgement is wrong. Scene seeds lie above those that the judge learns from. Of each scene up to
three wide gaps are struck in all pixels, studied once and judged. From 300 pixels of a gap 1, 2, 3, 5, 10 and 20 are
drawn as clean, three times each (one pixel of a bent gap: once): they show what was measured; the ways they tell it in
are measured on up to 200 of the others against the truth without noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import BandTable
from palimpsest.restoration.judgement.spared import apart_from, judged_as_lost, likeness_of, shut_in, spoken
from palimpsest.restoration.judgement.spared_habits import kernels_at, products, signs
from palimpsest.restoration.judgement.spared_tellers import KERNELS, NAMES, Tellers, strain, tellers
from palimpsest.restoration.judgement.verdict import judge
from palimpsest.restoration.restorer import damage_of
from palimpsest.restoration.study.sources import runs_of
from palimpsest.restoration.study.study import study
from palimpsest.restoration.view import view_of
from palimpsest.scenes import KINDS, make_scene
from palimpsest_pipelines.restoration_benchmark.cases import Case, case_names, scene_cases, whole_bands
from palimpsest_pipelines.restoration_training.examples import LIGHTS, SENSORS, stored_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.integrator.network import Integrator

SIDE, GAPS, POOL, MEASURED = 32, 3, 300, 200
ROUNDS, AS_MEASURED = 5, (0, 1)  # of the kinds of place, and those without faults
NUMBERS, DRAWS = (1, 2, 3, 5, 10, 20), 3
JUDGED, RIDGE = NAMES.index("judged"), NAMES.index("regressed")
_CARRIED, _WARILY = NAMES.index("carried"), NAMES.index("restacked warily")
_SEED = 880_001


@dataclass(frozen=True, slots=True)
class Gap:
    """One wide gap of a made scene: what spared pixels would tell of it, in units of one.

    Args:
        scene: number of the scene.
        runs: indices into the gap's bands, of what is told together: the open and the shut bands of each run.
        shown: what was measured of some pixels, ``(pixel, band)``.
        truth: the same without noise.
        judged: what the judgement says of them, ``(pixel, band)``.
        apart: the sources less the judgement, ``(source, pixel, band)``.
        speaks: where they speak, ``(source, pixel, band)``.
        places: of those pixels among the components of the scene, then beside each run,
            ``(1 + run, pixel, component)``.
        seen: their values in the bands that all show, ``(pixel, told band)``.
        level: mean judgement of the scene, ``(band,)``.
        differing: variance of it over pixels, ``(band,)``.
        elsewhere: places among the scene's components and values of other pixels.
        spread: standard deviation of each component, ``(1 + run, component)``.
        dark: where a spectrum of zeros stands, ``(component + 1,)``.
        shared: part of the squared error that all pixels share where bands show it.
        beside: number of the run that each of ``runs`` is of.
        is_bent: whether judgement and sources were made wrong on purpose.
    """

    scene: int
    runs: tuple[NDArray[np.intp], ...]
    shown: NDArray[np.float64]
    truth: NDArray[np.float64]
    judged: NDArray[np.float64]
    apart: NDArray[np.float32]
    speaks: NDArray[np.bool_]
    places: NDArray[np.float64]
    seen: NDArray[np.float64]
    level: NDArray[np.float64]
    differing: NDArray[np.float64]
    elsewhere: tuple[NDArray[np.float64], NDArray[np.float64]]
    spread: NDArray[np.float64]
    dark: NDArray[np.float64]
    shared: float
    beside: tuple[int, ...]
    is_bent: bool = False


@dataclass(frozen=True, slots=True)
class Draws:
    """What the ways of telling come to, a row for each run of each draw of clean pixels.

    Args:
        number: of clean pixels, ``(row,)``.
        draw: which draw a row belongs to, ``(row,)``, from zero without gaps.
        weight: of the row in its draw, by bands, ``(row,)``.
        about: what habits are multiplied by, ``(row, 10)``; see
            :func:`~palimpsest.restoration.judgement.spared_habits.signs`.
        alone: logarithm of what each way misses of the clean pixels, ``(row, way)``.
        missed: mean product of what the ways miss of them, ``(row, way, way)``.
        strained: ``(row, way)``.
        product: mean product of the ways' errors elsewhere, ``(row, way, way)``.
    """

    number: NDArray[np.float64]
    draw: NDArray[np.intp]
    weight: NDArray[np.float64]
    about: NDArray[np.float64]
    alone: NDArray[np.float64]
    missed: NDArray[np.float64]
    strained: NDArray[np.float64]
    product: NDArray[np.float64]

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Clean pixels of each draw, ``(draw,)``."""
        return self.number[np.unique(self.draw, return_index=True)[1]]

    @property
    def better(self) -> NDArray[np.float64]:
        """Mean square of the better of judgement and ridge, ``(draw,)``."""
        each = self.product[:, [JUDGED, RIDGE], [JUDGED, RIDGE]] * self.weight[:, None]
        total = np.zeros((int(self.draw.max()) + 1, 2))
        np.add.at(total, self.draw, each)
        return np.asarray(total.min(1))


def gaps_of(
    number: int, seed: int, knowledge: KnowledgeBase, network: Integrator, note: Callable[[str], None],
    side: int = SIDE, most: int = GAPS,
) -> Iterator[Gap]:
    """The gaps of one made scene; it depends on seed and number alone."""
    rng = np.random.default_rng([_SEED, seed, number])
    kind, sensor = KINDS[number % len(KINDS)], SENSORS[int(rng.integers(len(SENSORS)))]
    made = make_scene(
        side, side, sensor=sensor, seed=int(rng.integers(1 << 30)) + (1 << 30), kind=kind,
        noise=float(rng.uniform(0.3, 2)), knowledge=knowledge,
    )
    light = "as measured"
    known: KnowledgeBase | None = knowledge
    if number // len(KINDS) % ROUNDS in AS_MEASURED:
        recorded, truth = made.observed, np.asarray(made.clean.data, np.float64)
    else:
        light = LIGHTS[int(rng.choice(3, p=[0.4, 0.25, 0.35]))]
        recorded, truth = stored_of(rng, made, light, knowledge)
        if rng.random() < 0.2:
            recorded = replace(recorded, bands=BandTable(recorded.shape.bands))
        known = None if rng.random() < 0.1 else knowledge
    whole = recorded.usable().reshape(recorded.shape.bands, -1).all(axis=1)
    cube, clean = whole_bands(recorded), truth[whole].reshape(int(whole.sum()), -1)
    names = [name for name in case_names(cube) if name.startswith("wide:")]
    for name in rng.permutation(names)[:most]:
        yield _gap(number, next(scene_cases(f"made-{number}", cube, (str(name),))), clean, known, network, rng)
    note(f"scene {number + 1}: {kind}, {sensor}, {light}, {min(len(names), most)} gaps")


def _gap(
    scene: int, case: Case, clean: NDArray[np.float64], knowledge: KnowledgeBase | None, network: Integrator,
    rng: np.random.Generator,
) -> Gap:
    """One gap; ``clean`` is the scene without noise, ``(band, pixel)``."""
    reasons = damage_of(case.struck, case.usable)
    seen = study(case.struck, reasons, knowledge, doubted=True)
    table = judge(seen, network).weights
    lost = seen.sources.everywhere
    gap = np.flatnonzero(lost)
    count = case.truth[0].size
    pixels = np.sort(rng.choice(count, min(POOL, count), replace=False))
    view = view_of(case.struck, reasons, seen.axis, pixels, seen.unit)
    said, judged = judged_as_lost(seen, view, table)
    likeness = likeness_of(seen, table)
    values = likeness.values(view)
    places = np.stack([likeness.places(values, number) for number in range(len(likeness.turned))])
    usual = likeness.judged[:, gap]
    shown, truth = (
        each.reshape(len(lost), -1)[:, pixels][seen.axis.order][gap].T.astype(np.float64) / seen.unit
        for each in (np.asarray(case.truth), clean)
    )
    apart = [apart_from(said, judged, source)[:, gap] for source in range(len(said.values))]
    shut = shut_in(seen)[gap]
    parts = [
        (number, np.flatnonzero((gap >= run.first) & (gap < run.last) & (shut == is_shut)))
        for number, run in enumerate(runs_of(lost)) for is_shut in (False, True)
    ]
    beside, runs = zip(*((number, part) for number, part in parts if part.size), strict=True)
    return Gap(
        scene, runs,
        shown, truth, judged[:, gap].astype(np.float64), np.asarray(apart, np.float32), said.speaks[:, :, gap],
        places, values, usual.mean(0), usual.var(0), (likeness.places(likeness.elsewhere), likeness.elsewhere),
        likeness.spread, likeness.dark, likeness.shared, beside,
    )


def draws(gaps: Sequence[Gap], logits: NDArray[np.float64], seed: int, numbers: Sequence[int] = NUMBERS) -> Draws:
    """Clean pixels drawn from gaps, and what every way of telling makes of them.

    Args:
        gaps: to draw from.
        logits: what is believed of kernels, as
            :class:`~palimpsest.restoration.judgement.spared_habits.Habits` keeps it.
        seed: of the draws.
        numbers: of clean pixels.
    """
    rows = []
    for draw, (gap, clean, others) in enumerate(_drawn(gaps, seed, numbers)):
        usual = kernels_at(logits, gap.shared)
        strained = strain((gap.places[0, clean], gap.seen[clean]), gap.elsewhere, gap.spread[0], gap.dark)
        for run, bands in enumerate(gap.runs):
            ways, errors = _told(gap, clean, others, run, usual)
            about, alone, by_way = signs(ways.missed, float(gap.differing[bands].mean()), strained, gap.shared)
            product = errors @ errors.T / errors.shape[1]
            weight = bands.size / gap.shown.shape[1]
            rows.append((float(clean.size), draw, weight, about, alone, products(ways.missed), by_way, product))
    return Draws(*(np.array(column) for column in zip(*rows, strict=True)))


def kernels(gaps: Sequence[Gap], seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each kernel makes of an only clean pixel.

    Returns:
        Mean products of errors by kernel, the base alone last, ``(row, kernel, kernel)``; the shared part, ``(row,)``.
    """
    out, shared = [], []
    each = np.eye(KERNELS[0] * KERNELS[1]).reshape(-1, *KERNELS)
    for gap, clean, others in _drawn(gaps, seed, (1,)):
        for run, bands in enumerate(gap.runs):
            told = [_told(gap, clean, others, run, one) for one in each]
            missed = told[0][1][JUDGED]
            followed = np.einsum(
                "sb,spb->pb", told[0][0].follows[_WARILY], _heard(gap, clean, bands)[:, others]
            ).reshape(-1)
            for way, base in ((_CARRIED, missed), (_WARILY, missed + followed)):
                errors = np.stack([*(answer[1][way] for answer in told), base])
                out.append(errors @ errors.T / errors.shape[1])
                shared.append(gap.shared)
    return np.stack(out), np.array(shared)


def _drawn(
    gaps: Iterable[Gap], seed: int, numbers: Sequence[int]
) -> Iterator[tuple[Gap, NDArray[np.intp], NDArray[np.intp]]]:
    """Clean pixels and those to measure on."""
    rng = np.random.default_rng([_SEED, seed])
    for gap in gaps:
        for number in numbers:
            # A bent judgement is plain to see by several pixels; an only one may as well be odd itself.
            for _ in range(1 if number == 1 and gap.is_bent else DRAWS):
                order = rng.permutation(len(gap.shown))
                yield gap, order[:number], order[number:][:MEASURED]


def _heard(gap: Gap, clean: NDArray[np.intp], bands: NDArray[np.intp]) -> NDArray[np.float64]:
    """The sources that speak of a run, less the judgement, ``(source, pixel, band)``."""
    speaking = spoken(gap.speaks[:, clean][:, :, bands])
    return gap.apart[speaking][:, :, bands].astype(np.float64)


def _told(
    gap: Gap, clean: NDArray[np.intp], others: NDArray[np.intp], run: int, usual: NDArray[np.float64]
) -> tuple[Tellers, NDArray[np.float64]]:
    """The ways of telling a run, and their errors elsewhere, ``(way, voxel)``."""
    bands, beside = gap.runs[run], 1 + gap.beside[run]
    places, spread = np.concatenate([gap.places[0], gap.places[beside]], 1), np.concatenate(gap.spread[[0, beside]])
    apart, judged = _heard(gap, clean, bands), gap.judged[:, bands]
    ways = tellers(
        gap.shown[np.ix_(clean, bands)], judged[clean], apart[:, clean], gap.level[bands], places[clean], spread,
        gap.dark, usual,
    )
    answers = ways.answers(places[others], judged[others], apart[:, others])
    return ways, (answers - gap.truth[np.ix_(others, bands)]).reshape(len(NAMES), -1)

