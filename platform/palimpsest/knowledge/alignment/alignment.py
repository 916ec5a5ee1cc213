"""A foreign vocabulary or spectral library mapped onto this release by name, spectrum and features; a person decides.

Names are compared as words without order, form or number. Spectra are compared after their broad shape is taken off
(divided by a running mean of 300 nm), so that brightness and slope do not count. Features are those that the release
calls diagnostic, fitted to the foreign spectrum as identification does. What speaks for a pair, and for its rivals, is
joined into a confidence that says how often such pairs are right
(:mod:`~palimpsest.knowledge.alignment.pair_evidence`). What is proposed goes into a table (SSSOM columns) for a person
to accept, line by line; only accepted lines become SKOS mappings.

Source of the table's columns: Matentzoglu et al. 2022, SSSOM, Database 2022, baac035.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from palimpsest.errors import KnowledgeError
from palimpsest.knowledge.alignment.pair_evidence import pair_evidence
from palimpsest.knowledge.identification.probability import Calibration, sure
from palimpsest.knowledge.releases.spectra_store import GRID_NM, on_grid
from palimpsest.spectra import fit_feature

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from palimpsest.knowledge.releases.facts import Facts
    from palimpsest.knowledge.rules import KnowledgeBase, Material

EXACT, CLOSE = 0.9, 0.6  # confidence from which a mapping is proposed as skos:exactMatch, as skos:closeMatch
CANDIDATES = 3  # lines in the table for each foreign concept
COMPARED = 8  # candidates that are weighed against each other
STEP_NM, BROAD_NM = 5.0, 300.0
_WORTH_A_LOOK = 0.2
_SAME_WORDS = 0.95  # likeness of names that differ in order, number or case of words alone
FEWEST_SAMPLES = 30
COLUMNS = (
    "subject_id", "subject_label", "predicate_id", "object_id", "object_label", "confidence", "mapping_justification",
    "label_score", "spectrum_score", "feature_score", "accepted",
)
_NOISE = {"the", "a", "of", "and", "or", "with", "spectrum", "sample", "usgs", "jpl", "jhu", "asd", "beckman"}
_GRID = np.arange(400.0, 2480.0, STEP_NM)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A concept of somebody else's.

    Args:
        iri: its IRI; made from the name where a library has none.
        labels: names and alternative names.
        spectrum: reflectance on ``GRID_NM``, NaN where unknown; None where there is none.
    """

    iri: str
    labels: tuple[str, ...]
    spectrum: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Mapping:
    """A pair with what speaks for it; scores are 0 to 1, None where there was nothing to compare.

    Args:
        foreign: the foreign concept.
        iri: of this release's material or group.
        label: its name.
        label_score, spectrum_score, feature_score: by what.
        confidence: how often pairs with such evidence are right, 0 to 1.
    """

    foreign: Foreign
    iri: str
    label: str
    label_score: float
    spectrum_score: float | None
    feature_score: float | None
    confidence: float

    @property
    def predicate(self) -> str:
        """The SKOS mapping that the confidence stands for; '' below any."""
        return "skos:exactMatch" if self.confidence >= EXACT else "skos:closeMatch" if self.confidence >= CLOSE else ""


@dataclass(frozen=True, slots=True)
class _Name:
    text: str  # letters and digits, singular
    words: frozenset[str]

    @classmethod
    def of(cls, label: str) -> _Name:
        parts = (one.removesuffix("s") for one in re.findall(r"[a-z0-9]+", label.lower()))
        return cls(" ".join(parts), _words(label))


def named_concepts(content: bytes, name: str) -> list[Foreign]:
    """Concepts with labels of a SKOS, RDFS or OWL vocabulary.

    Raises:
        KnowledgeError: it cannot be parsed, or holds no labels.
    """
    import pyoxigraph

    suffix = name.rsplit(".", 1)[-1].lower()
    forms = {"ttl": "TURTLE", "nt": "N_TRIPLES", "rdf": "RDF_XML", "owl": "RDF_XML", "xml": "RDF_XML",
             "jsonld": "JSON_LD"}
    try:
        quads = list(pyoxigraph.parse(content, format=getattr(pyoxigraph.RdfFormat, forms.get(suffix, "TURTLE"))))
    except (SyntaxError, ValueError) as error:
        raise KnowledgeError(f"not a vocabulary that can be read: {error}", where=name, wanted="RDF") from error
    labels: dict[str, list[str]] = {}
    wanted = ("core#prefLabel", "core#altLabel", "rdf-schema#label")
    for quad in quads:
        literal = quad.object
        if not (quad.predicate.value.endswith(wanted) and isinstance(literal, pyoxigraph.Literal)):
            continue
        if (literal.language or "en").split("-")[0] == "en":
            labels.setdefault(str(getattr(quad.subject, "value", "")), []).append(literal.value)
    found = [Foreign(iri, tuple(sorted(set(names)))) for iri, names in sorted(labels.items()) if iri]
    if not found:
        raise KnowledgeError("no concept with a label", where=name, wanted="skos:prefLabel or rdfs:label")
    return found


def measured_concept(
    name: str, wavelengths_nm: NDArray[np.float64], values: NDArray[np.float64], base: str
) -> Foreign:
    """A spectrum of a library as a concept; its IRI is the library's with the name."""
    iri = f"{base.rstrip('/#')}/{quote(name.strip().replace(' ', '-'), safe='')}"
    inside = (wavelengths_nm >= GRID_NM[0] - 50) & (wavelengths_nm <= GRID_NM[-1] + 50)
    if inside.sum() < 2:
        return Foreign(iri, (name,))
    return Foreign(iri, (name,), on_grid(iri, wavelengths_nm[inside], values[inside]))


def align(
    foreign: Sequence[Foreign], knowledge: KnowledgeBase, facts: Facts, *, candidates: int = CANDIDATES
) -> list[Mapping]:
    """The most likely pairs of each foreign concept, most likely first; concepts in the order given.

    Args:
        foreign: what is to be mapped.
        knowledge: the release.
        facts: its graph, for the names of groups.
        candidates: at most so many for each.
    """
    found: list[Mapping] = []
    for pairs in compared(foreign, knowledge, facts, most=max(COMPARED, candidates)):
        if pairs:
            confidence = sure(Calibration.packaged().of_pair, evidence_of(pairs))
            told = [replace(one, confidence=float(value)) for one, value in zip(pairs, confidence, strict=True)]
            found += sorted(told, key=lambda one: (-one.confidence, one.iri))[:candidates]
    return found


def compared(
    foreign: Sequence[Foreign], knowledge: KnowledgeBase, facts: Facts, *, most: int = COMPARED
) -> Iterator[list[Mapping]]:
    """For each concept the candidates worth weighing, nearest first; their confidence is not yet one."""
    own = [(one.iri, (one.label, *_notation(one))) for one in knowledge.materials]
    own += [(iri, (facts.label(iri),)) for iri in facts.of_class("plm:MaterialGroup") if not facts.is_deprecated(iri)]
    words = [[_Name.of(label) for label in labels] for _, labels in own]
    shapes = [None if one.spectrum is None else _shape(one.spectrum) for one in knowledge.materials]
    for concept in foreign:
        shape = None if concept.spectrum is None else _shape(concept.spectrum)
        names = [_Name.of(label) for label in concept.labels]
        pairs = []
        for place, (iri, labels) in enumerate(own):
            by_name = max(_alike(one, other) for one in names for other in words[place])
            by_shape = by_feature = None
            if shape is not None and place < len(shapes) and shapes[place] is not None:
                by_shape = _correlation(shape, shapes[place])
                if concept.spectrum is not None and (by_shape or 0) > 0.3:
                    by_feature = _features(concept.spectrum, knowledge.materials[place])
            near = _joined(by_name, by_shape, by_feature)
            pairs.append(Mapping(concept, iri, labels[0], by_name, by_shape, by_feature, near))
        pairs.sort(key=lambda one: (-one.confidence, one.iri))
        yield [one for one in pairs[:most] if one.confidence > _WORTH_A_LOOK]


def evidence_of(mappings: Sequence[Mapping]) -> NDArray[np.float64]:
    """Rows of evidence of the candidates of one concept, ``(candidate, 12)``."""
    def scores(name: str) -> NDArray[np.float64]:
        told = [getattr(one, name) for one in mappings]
        return np.array([np.nan if one is None else one for one in told], np.float64)

    return pair_evidence(scores("label_score"), scores("spectrum_score"), scores("feature_score"))


def table(mappings: Iterable[Mapping]) -> str:
    """The review table, tab-separated; the last column is for the person who reviews: yes or no."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in mappings:
        by = [name for name, score in (
            ("LexicalMatching", one.label_score), ("SpectralMatching", one.spectrum_score),
            ("FeatureMatching", one.feature_score),
        ) if score is not None and score >= CLOSE]
        scores = ["" if score is None else f"{score:.3f}"
                  for score in (one.label_score, one.spectrum_score, one.feature_score)]
        writer.writerow((one.foreign.iri, one.foreign.labels[0], one.predicate, one.iri, one.label,
                         f"{one.confidence:.3f}", "|".join(by) or "none", *scores, ""))
    return out.getvalue()


def accepted(text: str, reviewer: str, name: str = "table") -> tuple[str, int]:
    """Accepted lines of a reviewed table as Turtle, and how many there are.

    A line is accepted by 'yes' (or 'y', 'exact', 'close') in its last column; 'exact' and 'close' overrule what was
    proposed.

    Raises:
        KnowledgeError: not such a table, an answer that is none, or an IRI that is none.
    """
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise KnowledgeError("not a review table", where=name, wanted="what `palimpsest knowledge align` writes")
    lines = []
    for number, row in enumerate(rows, start=2):
        answer = (row["accepted"] or "").strip().lower()
        if answer in ("", "n", "no"):
            continue
        if answer not in ("y", "yes", "exact", "close"):
            raise KnowledgeError("not an answer", where=f"{name}, line {number}", got=answer, wanted="yes or no")
        predicate = f"skos:{answer}Match" if answer in ("exact", "close") else row["predicate_id"] or "skos:closeMatch"
        for iri in (row["subject_id"], row["object_id"]):
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+", iri):
                raise KnowledgeError("not an IRI", where=f"{name}, line {number}", got=iri)
        if predicate not in ("skos:exactMatch", "skos:closeMatch"):
            raise KnowledgeError("not a mapping", where=f"{name}, line {number}", got=predicate)
        lines.append(f"<{row['object_id']}> {predicate} <{row['subject_id']}> .  # confidence {row['confidence']}")
    head = "@prefix skos: <http://www.w3.org/2004/02/skos/core#> .\n\n"
    said = re.sub(r"[\r\n]+", " ", reviewer)
    return head + f"# {len(lines)} mappings, reviewed by {said}\n" + "\n".join(lines) + "\n", len(lines)


def _notation(material: Material) -> tuple[str, ...]:
    notation = material.extra.get("notation")
    return (notation,) if isinstance(notation, str) else ()


def _words(label: str) -> frozenset[str]:
    """Words of a name: letters only, without plural, without what says nothing of the material."""
    parts = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", label).lower())
    kept = [one[:-1] if len(one) > 4 and one.endswith("s") and not one.endswith("ss") else one for one in parts]
    return frozenset(one for one in kept if one not in _NOISE and len(one) > 1)


def _alike(one: _Name, other: _Name) -> float:
    """Share of the words that two names have in common; 1 only for the same name: order and numbers may matter."""
    if one.text == other.text:
        return 1.0
    both = len(one.words | other.words) if one.words and other.words else 0
    return min(len(one.words & other.words) / both, _SAME_WORDS) if both else 0.0


def _shape(spectrum: NDArray[np.float32]) -> NDArray[np.float64]:
    """A spectrum without its broad shape, every 5 nm, NaN where unknown."""
    known = np.isfinite(spectrum)
    if known.sum() < 2:
        return np.full(_GRID.size, np.nan)
    values = np.interp(_GRID, GRID_NM[known], spectrum[known])
    first, last = GRID_NM[known][[0, -1]]
    inside = (first <= _GRID) & (last >= _GRID)
    half = round(BROAD_NM / STEP_NM / 2)
    weights = np.ones(2 * half + 1)
    total = np.convolve(np.where(inside, values, 0.0), weights, "same")
    count = np.convolve(inside.astype(float), weights, "same")
    broad = np.maximum(total / np.maximum(count, 1), 1e-4)
    return np.where(inside, values / broad - 1, np.nan)


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64] | None) -> float | None:
    """Of two shapes where both are known; None where that is too little."""
    assert other is not None
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < FEWEST_SAMPLES:
        return None
    a, b = one[both] - one[both].mean(), other[both] - other[both].mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return max(0.0, float(a @ b) / size) if size > 0 else 0.0


def _features(spectrum: NDArray[np.float32], material: Material) -> float | None:
    """Weighted fit of a material's diagnostic features in a foreign spectrum; None where it has none."""
    if not material.features or material.spectrum is None:
        return None
    total = weights = 0.0
    for feature in material.features:
        both = np.isfinite(spectrum) & np.isfinite(material.spectrum)
        first, last = feature.left_nm[0] - 5, feature.right_nm[1] + 5
        inside = both & (first <= GRID_NM) & (last >= GRID_NM)
        if feature.weight <= 0 or inside.sum() < 5:
            continue
        found = fit_feature(
            spectrum[inside][None], material.spectrum[inside], GRID_NM[inside], feature.left_nm, feature.right_nm
        )
        if found is not None:
            weights += feature.weight
            total += feature.weight * float(np.nan_to_num(found.fit[0]))
    return total / weights if weights else None


def _joined(label: float, spectrum: float | None, features: float | None) -> float:
    """What ranks the candidates first: doubts of independent witnesses multiply; features and spectrum are one."""
    seen = [score for score in (spectrum, features) if score is not None]
    measured = float(np.mean(seen)) if seen else 0.0
    # A spectrum alone is never certain: other materials look alike. A name alone may mean another thing.
    doubt = (1 - 0.92 * label**2) * (1 - 0.8 * max(0.0, (measured - 0.5) / 0.5) ** 1.5)
    contradicted = bool(seen) and measured < 0.3
    return float((1 - doubt) * (0.5 if contradicted else 1.0))
