"""How sure identification may be: learnt on made scenes, judged on others that differ in place, sensor and seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes.noise import noise_sigma
from palimpsest.knowledge.identification.identify import identify, relative_noise
from palimpsest.knowledge.identification.mixtures import compose
from palimpsest.knowledge.identification.probability import (
    LEVELS,
    Calibration,
    Reliability,
    fitted,
    name_evidence,
    presence_evidence,
    reliability,
    sure,
)
from palimpsest.knowledge.releases.contents import packaged
from palimpsest.knowledge.releases.facts import Facts
from palimpsest_pipelines.calibration.alignment import SEEDS, learnt, pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

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
LEFT_OUT = 0.5  # share of a pixel of kinds taken out of the library from which it should be called unknown
NEUTRAL = Calibration(3 * ((0.0, 1.0, 0.0, 0.0),), (0.0, 1.0), np.inf)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one scene says: rows of evidence and whether the answers were right, for both questions.

    Args:
        presence: ``(named material, 4)``.
        is_present: on each level, ``(level, named material)``.
        name: ``(named pixel, 2)``.
        holds: ``(named pixel,)``.
        misfit: of every pixel, ``(pixel,)``.
    """

    presence: NDArray[np.float64]
    is_present: NDArray[np.bool_]
    name: NDArray[np.float64]
    holds: NDArray[np.bool_]
    misfit: NDArray[np.float64]


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
        (seen.labels == clean.labels)[with_name], found.misfit[np.isfinite(found.misfit)].astype(np.float64),
    )


def learn(knowledge: KnowledgeBase, note: Callable[[str], None], scenes: tuple[tuple[str, str, int], ...] = TAUGHT_BY,
          side: int = SIDE) -> Calibration:
    """The calibration from made scenes; none of the scenes that it is judged on takes part."""
    from palimpsest.scenes import make_scene

    found = []
    for kind, sensor, seed in scenes:
        found.append(gather(make_scene(side, side, kind=kind, sensor=sensor, seed=seed), knowledge))
        right = found[-1].is_present.mean(axis=1)
        note(f"{kind} by {sensor}: there of what was named, {dict(zip(LEVELS, right.round(2).tolist(), strict=True))}")
    rows, right = np.concatenate([one.presence for one in found]), np.hstack([one.is_present for one in found])
    return Calibration(
        tuple(fitted(rows, level) for level in right),
        fitted(np.concatenate([one.name for one in found]), np.concatenate([one.holds for one in found])),
        float(np.quantile(np.concatenate([one.misfit for one in found]), 0.99)),
        "made scenes " + ", ".join(f"{kind}/{sensor}/{seed}" for kind, sensor, seed in scenes) + f", {side} x {side}"
        + f"; mappings: every material measured anew, seeds {', '.join(map(str, SEEDS))}",
        learnt(pairs(knowledge, Facts(packaged().triples()))),
    )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What held on scenes that took no part.

    Args:
        presence: reliability of the materials of mixtures, on each level.
        name: reliability of the expert rules' names.
        called_unknown: share of the pixels of known materials that are called unknown.
        found_unknown: share called unknown of the pixels whose kind (all vegetation, all minerals) the library lost.
    """

    presence: tuple[Reliability, ...]
    name: Reliability
    called_unknown: float
    found_unknown: float

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
                "left out of the library, called unknown": round(self.found_unknown, 4), **diagrams}


def judge(
    calibration: Calibration, knowledge: KnowledgeBase, scenes: tuple[tuple[str, str, int], ...] = JUDGED_ON,
    side: int = SIDE,
) -> Judgement:
    """Reliability and strangeness on made scenes."""
    from palimpsest.scenes import make_scene

    found, strange, seen = [], 0, 0
    for kind, sensor, seed in scenes:
        made = make_scene(side, side, kind=kind, sensor=sensor, seed=seed)
        found.append(gather(made, knowledge))
        main = knowledge.material(made.material_iris[int(made.abundances.mean(axis=(1, 2)).argmax())])
        lost = {one.iri for one in knowledge.materials if main.broader[-2] in one.broader}
        rest = replace(knowledge, materials=tuple(one for one in knowledge.materials if one.iri not in lost))
        share = [part for part, iri in zip(made.abundances, made.material_iris, strict=True) if iri in lost]
        there = np.sum(share, axis=0) >= LEFT_OUT
        strange += int(compose(made.observed, rest, calibration=calibration).is_unknown[there].sum())
        seen += int(there.sum())
    present = np.concatenate([one.presence for one in found])
    named = np.concatenate([one.name for one in found])
    misfit = np.concatenate([one.misfit for one in found])
    return Judgement(
        tuple(
            reliability(sure(level, present), right)
            for level, right in zip(calibration.of_presence, np.hstack([one.is_present for one in found]), strict=True)
        ),
        reliability(sure(calibration.of_name, named), np.concatenate([one.holds for one in found])),
        float((misfit > calibration.strange).mean()), strange / max(seen, 1),
    )

