"""How sure a mapping of a foreign concept may be: learnt on pairs whose answer is known, judged on materials left out.

Each material of the release is measured anew, as another laboratory might: darker or brighter, redder, of another
grain, with a little of another material in it, with noise, sometimes over a part of the range only. It comes without a
name, with its own, with a part of it, or with another material's; and every fourth time its own material is not in the
release, so that no answer is right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.knowledge.alignment.alignment import CLOSE, EXACT, Foreign, compared, evidence_of
from palimpsest.knowledge.identification.probability import Reliability, fitted, reliability, sure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from palimpsest.knowledge.releases.facts import Facts
    from palimpsest.knowledge.rules import KnowledgeBase, Material

SEEDS = (0, 1, 2, 3, 4)
FOLDS = 5
LINES = 3  # candidates of a concept that a person sees
NAMES, NAME_SHARES = ("none", "own", "part", "another's"), (0.45, 0.2, 0.15, 0.2)
REACHES = {
    "nothing": (0.0, 0.0), "all": (350.0, 2500.0), "to 1000 nm": (350.0, 1000.0), "from 1000 nm": (1000.0, 2450.0),
}
REACH_SHARES = (0.15, 0.5, 0.15, 0.2)
GONE = 0.25


@dataclass(frozen=True, slots=True)
class Pairs:
    """Candidates with their answers.

    Args:
        rows: of evidence, ``(pair, 12)``.
        is_right: ``(pair,)``.
        material: number of the material that was measured, ``(pair,)``.
        concept: number of the concept, ``(pair,)``.
    """

    rows: NDArray[np.float64]
    is_right: NDArray[np.bool_]
    material: NDArray[np.intp]
    concept: NDArray[np.intp]


def pairs(knowledge: KnowledgeBase, facts: Facts, seeds: tuple[int, ...] = SEEDS) -> Pairs:
    """Every material measured anew once a seed, with the candidates that it gets."""
    rows, right, material, concepts = [], [], [], []
    for count, (number, iri, concept, known) in enumerate(_concepts(knowledge, seeds)):
        (found,) = compared([concept], known, facts)
        evidence = evidence_of(found) if found else ()
        for place in range(min(LINES, len(found))):
            rows.append(evidence[place])
            right.append(found[place].iri == iri and known is knowledge)
            material.append(number)
            concepts.append(count)
    return Pairs(np.stack(rows), np.array(right), np.array(material), np.array(concepts))


def learnt(found: Pairs) -> tuple[float, ...]:
    """Coefficients of the confidence."""
    return fitted(found.rows, found.is_right)


@dataclass(frozen=True, slots=True)
class PairJudgement:
    """How confidences bear out on materials that taught nothing.

    Args:
        lines: of all lines of the table.
        first: of the likeliest line of each concept.
        exact, close: share of right ones among those proposed as exact, as close matches.
    """

    lines: Reliability
    first: Reliability
    exact: float
    close: float

    def to_dict(self) -> dict[str, object]:
        """For tables and JSON."""
        return {
            "calibration error, mappings": round(self.lines.error, 4),
            "calibration error, likeliest mapping": round(self.first.error, 4),
            "right of those proposed exact": round(self.exact, 4),
            "right of those proposed close": round(self.close, 4),
            "stated, found, answers: likeliest mapping": [
                [round(stated, 3), round(right, 3), count]
                for stated, right, count in zip(self.first.stated, self.first.found, self.first.count, strict=True)
            ],
        }


def judged(found: Pairs) -> PairJudgement:
    """Cross-validated: each fifth of the materials by what the other four taught."""
    stated = np.zeros(len(found.rows))
    for fold in range(FOLDS):
        left_out = found.material % FOLDS == fold
        stated[left_out] = sure(fitted(found.rows[~left_out], found.is_right[~left_out]), found.rows[left_out])
    exact = stated >= EXACT
    close = (stated >= CLOSE) & ~exact
    likeliest = np.lexsort((-stated, found.concept))
    first = likeliest[np.unique(found.concept[likeliest], return_index=True)[1]]
    return PairJudgement(
        reliability(stated, found.is_right), reliability(stated[first], found.is_right[first]),
        float(found.is_right[exact].mean()) if exact.any() else float("nan"),
        float(found.is_right[close].mean()) if close.any() else float("nan"),
    )


def _concepts(
    knowledge: KnowledgeBase, seeds: tuple[int, ...]
) -> Iterator[tuple[int, str, Foreign, KnowledgeBase]]:
    """Number and IRI of a material, the concept it comes as, and the release that it is looked for in."""
    materials = knowledge.materials
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for number, material in enumerate(materials):
            named = NAMES[int(rng.choice(len(NAMES), p=NAME_SHARES))]
            reach = list(REACHES)[int(rng.choice(len(REACHES), p=REACH_SHARES))]
            if reach == "nothing" and named != "part":
                named = "own"  # a concept that is nothing but a name is what it is called
            words = material.label.replace("_", " ").split(" ")
            label = {
                "none": "sample 17", "own": material.label, "part": words[int(rng.integers(len(words)))],
                "another's": materials[int(rng.integers(len(materials)))].label,
            }[named]
            spectrum = _measured_anew(material, materials, rng, REACHES[reach], knowledge.grid_nm)
            known = knowledge
            if rng.random() < GONE:
                known = replace(knowledge, materials=tuple(one for one in materials if one.iri != material.iri))
            concept = Foreign(f"sample:{number}", (label,), None if reach == "nothing" else spectrum)
            yield number, material.iri, concept, known


def _measured_anew(
    material: Material, materials: tuple[Material, ...], rng: np.random.Generator, reach: tuple[float, float],
    grid_nm: NDArray[np.float64],
) -> NDArray[np.float32] | None:
    other = materials[int(rng.integers(len(materials)))]
    share, is_mixed = rng.uniform(0, 0.3), rng.random() < 0.6
    gain, slope, grain = rng.uniform(0.55, 1.25), rng.uniform(-0.3, 0.3), rng.uniform(0.8, 1.25)
    noise = float(rng.choice([0.002, 0.004, 0.01]))
    error = rng.standard_normal(grid_nm.size)
    if material.spectrum is None:
        return None
    own = np.asarray(material.spectrum, np.float64)
    values = own * gain * (1 + slope * (grid_nm - grid_nm[0]) / (grid_nm[-1] - grid_nm[0]))
    if is_mixed and other.spectrum is not None:
        beside = np.asarray(other.spectrum, np.float64)
        values = (1 - share) * values + share * np.where(np.isfinite(beside), beside, own)
    values = np.maximum(values, 0.0) ** grain * (1 + noise * error)
    return np.where((grid_nm >= reach[0]) & (grid_nm <= reach[1]), values, np.nan).astype(np.float32)
