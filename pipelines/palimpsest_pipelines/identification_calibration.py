"""How sure identification may be: learnt on made scenes, judged on others that differ in place, sensor and seed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes.noise import noise_sigma
from palimpsest.knowledge.contents import packaged
from palimpsest.knowledge.facts import Facts
from palimpsest.knowledge.identify import identify, relative_noise
from palimpsest.knowledge.mixtures import compose
from palimpsest.knowledge.probability import (
    LEVELS,
    Calibration,
    Reliability,
    fitted,
    name_evidence,
    presence_evidence,
    reliability,
    sure,
    with_squares,
)
from palimpsest_pipelines.alignment_calibration import SEEDS, learnt, pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from palimpsest.knowledge.mixtures import Composition
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.scenes import MadeScene

TAUGHT_BY = tuple(
    (kind, sensor, 310_000 + number)
    for number, (kind, sensor) in enumerate(
        (kind, sensor) for kind in ("mixed", "geology", "vegetation", "urban") for sensor in ("aviris", "enmap", "emit")
    )
)
JUDGED_ON = tuple(
    (kind, sensor, 910_000 + number)
    for number, (kind, sensor) in enumerate((
        ("mixed", "hymap"), ("geology", "hymap"), ("vegetation", "emit"), ("urban", "aviris"), ("mixed", "enmap"),
        ("geology", "aviris"), ("coast", "enmap"), ("urban", "hymap"), ("vegetation", "aviris"), ("mixed", "aviris"),
    ))
)
SIDE = 48
PRESENT = 0.1  # share of a pixel from which a material counts as there
LEFT_OUT = 0.5  # share of a pixel of what was taken out of the library from which it should be called unknown
ALARMS = 0.03  # share of the pixels of known materials that may be called unknown
TAKEN_OUT = ("kind", "group", "material")
_LARGEST = 2  # materials of a scene that are taken out of the library in turn
_FEWEST, _MOST = 5, 300  # pixels of what was taken out: to count, and to be learnt from
_RIDGE = 20.0
NEUTRAL = Calibration(3 * ((0.0, 1.0, 0.0, 0.0),), (0.0, 1.0), np.inf)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one scene says: rows of evidence and whether the answers were right, for both questions.

    Args:
        presence: ``(named material, 4)``.
        is_present: on each level, ``(level, named material)``.
        name: ``(named pixel, 2)``.
        holds: ``(named pixel,)``.
        known: evidence of strangeness of every pixel, ``(pixel, 4)``.
    """

    presence: NDArray[np.float64]
    is_present: NDArray[np.bool_]
    name: NDArray[np.float64]
    holds: NDArray[np.bool_]
    known: NDArray[np.float64]


def gather(made: MadeScene, knowledge: KnowledgeBase, calibration: Calibration = NEUTRAL) -> Evidence:
    """Both questions asked of a made scene."""
    found = compose(made.observed, knowledge, calibration=calibration)
    names = np.array(found.names)  # (level, label)
    place = {material.iri: number for number, material in enumerate(knowledge.materials, start=1)}
    of = [place.get(iri, 0) for iri in made.material_iris]
    named = found.materials > 0
    there = np.zeros((len(names), *named.shape))
    for label, share in zip(of, made.abundances, strict=True):
        there += (names[:, found.materials] == names[:, label, None, None, None]) * share
    # The neutral calibration hands the evidence through: its probability is the evidence itself.
    rows = presence_evidence(
        found.probability[0].astype(np.float64), found.shares.astype(np.float64), found.misfit.astype(np.float64)[None]
    )
    seen = identify(made.observed, knowledge, margins=True)
    clean = identify(replace(made.clean, bands=made.observed.bands), knowledge)
    assert seen.margin is not None
    noise = relative_noise(made.observed, noise_sigma(made.observed))
    with_name = seen.labels > 0
    return Evidence(
        rows[named], there[:, named] >= PRESENT, name_evidence(seen.margin, noise)[with_name],
        (seen.labels == clean.labels)[with_name], _rows(found, np.isfinite(found.misfit)),
    )


def left_out(made: MadeScene, knowledge: KnowledgeBase) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Evidence of pixels that are filled by what the library lost: one of :data:`TAKEN_OUT`, and ``(pixel, 4)``.

    All of the main material's kind, and for each of the largest materials its group, and itself with all whose name
    begins alike.
    """
    order = np.argsort(-made.abundances.mean(axis=(1, 2)), kind="stable")
    largest = list(dict.fromkeys(made.material_iris[int(number)] for number in order))[:_LARGEST]
    lost: list[tuple[str, set[str]]] = []
    main = knowledge.material(largest[0])
    lost.append(("kind", {one.iri for one in knowledge.materials if main.broader[-2] in one.broader}))
    for iri in largest:
        group, stem = knowledge.material(iri).broader[0], _stem(iri)
        lost.append(("group", {iri, *(one.iri for one in knowledge.materials if group in one.broader)}))
        lost.append(("material", {one.iri for one in knowledge.materials if stem in _word(one.iri)}))
    for name, gone in lost:
        share = [part for part, iri in zip(made.abundances, made.material_iris, strict=True) if iri in gone]
        there = np.sum(share, axis=0) >= LEFT_OUT
        if there.sum() >= _FEWEST:
            rest = replace(knowledge, materials=tuple(one for one in knowledge.materials if one.iri not in gone))
            found = compose(made.observed, rest, calibration=NEUTRAL)
            yield name, _rows(found, there & np.isfinite(found.misfit))


def _stem(iri: str) -> str:
    return re.split(r"[-_.]", _word(iri))[0]


def _rows(found: Composition, where: NDArray[np.bool_]) -> NDArray[np.float64]:
    return found.evidence[:, where].T.astype(np.float64)


def _word(iri: str) -> str:
    return iri.replace("#", "/").rsplit("/", 1)[-1]


def _strange(
    known: NDArray[np.float64], unknown: list[NDArray[np.float64]],
) -> tuple[tuple[tuple[float, ...], ...], float]:
    """Coefficients of strangeness, and the value that 97 of 100 pixels of known materials stay under."""
    rng = np.random.default_rng(0)
    other = np.concatenate([rows[rng.permutation(len(rows))[:_MOST]] for rows in unknown])
    usual, spread = known.mean(axis=0), known.std(axis=0) + 1e-6
    alike = known[rng.permutation(len(known))[: len(other)]]  # as many of both: the odds are not those of the world
    rows = with_squares((np.concatenate([alike, other]) - usual) / spread)
    coefficients = fitted(rows, np.arange(len(rows)) >= len(alike), _RIDGE)
    scores = with_squares((known - usual) / spread) @ np.array(coefficients)
    return (tuple(usual.tolist()), tuple(spread.tolist()), coefficients), float(np.quantile(scores, 1 - ALARMS))


def learn(knowledge: KnowledgeBase, note: Callable[[str], None], scenes: tuple[tuple[str, str, int], ...] = TAUGHT_BY,
          side: int = SIDE) -> Calibration:
    """The calibration from made scenes; none of the scenes that it is judged on takes part."""
    from palimpsest.scenes import make_scene

    found, unknown = [], []
    for kind, sensor, seed in scenes:
        made = make_scene(side, side, kind=kind, sensor=sensor, seed=seed)
        found.append(gather(made, knowledge))
        unknown += [rows for _, rows in left_out(made, knowledge)]
        right = found[-1].is_present.mean(axis=1)
        note(f"{kind} by {sensor}: there of what was named, {dict(zip(LEVELS, right.round(2).tolist(), strict=True))}")
    rows, right = np.concatenate([one.presence for one in found]), np.hstack([one.is_present for one in found])
    of_strange, strange = _strange(np.concatenate([one.known for one in found]), unknown)
    return Calibration(
        tuple(fitted(rows, level) for level in right),
        fitted(np.concatenate([one.name for one in found]), np.concatenate([one.holds for one in found])),
        strange,
        "made scenes " + ", ".join(f"{kind}/{sensor}/{seed}" for kind, sensor, seed in scenes) + f", {side} x {side}"
        + f"; mappings: every material measured anew, seeds {', '.join(map(str, SEEDS))}",
        learnt(pairs(knowledge, Facts(packaged().triples()))), of_strange,
    )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What held on scenes that took no part.

    Args:
        presence: reliability of the materials of mixtures, on each level.
        name: reliability of the expert rules' names.
        called_unknown: share of the pixels of known materials that are called unknown.
        found_unknown: share called unknown of the pixels whose kind (all vegetation, all minerals), group or material
            the library lost, by :data:`TAKEN_OUT`.
    """

    presence: tuple[Reliability, ...]
    name: Reliability
    called_unknown: float
    found_unknown: dict[str, float]

    def to_dict(self) -> dict[str, object]:
        """One line a question for tables and JSON."""
        asked = dict(zip((*LEVELS, "name without noise"), (*self.presence, self.name), strict=True))
        told: dict[str, object] = {f"calibration error, {what}": round(one.error, 4) for what, one in asked.items()}
        diagrams = {
            f"stated, found, answers: {what}": [
                [round(stated, 3), round(found, 3), count]
                for stated, found, count in zip(one.stated, one.found, one.count, strict=True)
            ]
            for what, one in asked.items()
        }
        return {**told, "known called unknown": round(self.called_unknown, 4),
                **{f"{what} left out of the library, called unknown": round(share, 4)
                   for what, share in self.found_unknown.items()}, **diagrams}


def judge(
    calibration: Calibration, knowledge: KnowledgeBase, scenes: tuple[tuple[str, str, int], ...] = JUDGED_ON,
    side: int = SIDE,
) -> Judgement:
    """Reliability and strangeness on made scenes."""
    from palimpsest.scenes import make_scene

    found, scores = [], {name: [np.zeros(0)] for name in TAKEN_OUT}
    for kind, sensor, seed in scenes:
        made = make_scene(side, side, kind=kind, sensor=sensor, seed=seed)
        found.append(gather(made, knowledge))
        for name, rows in left_out(made, knowledge):
            scores[name].append(calibration.strangeness(rows))
    present = np.concatenate([one.presence for one in found])
    named = np.concatenate([one.name for one in found])
    known = calibration.strangeness(np.concatenate([one.known for one in found]))
    return Judgement(
        tuple(
            reliability(sure(level, present), right)
            for level, right in zip(calibration.of_presence, np.hstack([one.is_present for one in found]), strict=True)
        ),
        reliability(sure(calibration.of_name, named), np.concatenate([one.holds for one in found])),
        float((known > calibration.strange).mean()),
        {name: float((np.concatenate(parts) > calibration.strange).mean()) for name, parts in scores.items()
         if len(parts) > 1},
    )

