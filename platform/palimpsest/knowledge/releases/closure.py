"""What follows from a release's statements, each conclusion with the rule and the statements that it rests on.

Five rules, enough for this vocabulary and no more: transitivity of ``rdfs:subClassOf`` and ``rdfs:subPropertyOf``,
inheritance of types and of properties, transitivity of the hierarchy (``skos:broaderTransitive``), and inverses
(``owl:inverseOf``, with ``skos:broader``/``skos:narrower`` built in). ``owlrl`` is the oracle in the tests. A
conclusion that is also stated counts as stated.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palimpsest.knowledge.releases.vocabulary import shortened, term

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyoxigraph

Edge = tuple[str, str, str]

TYPE, SUBCLASS, SUBPROPERTY = term("rdf:type"), term("rdfs:subClassOf"), term("rdfs:subPropertyOf")
BROADER, NARROWER = term("skos:broader"), term("skos:narrower")
BROADER_T, NARROWER_T = term("skos:broaderTransitive"), term("skos:narrowerTransitive")
INVERSE = term("owl:inverseOf")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a triple holds that nobody stated.

    Args:
        rule: name of the inference rule.
        premises: the triples it rests on, stated or inferred themselves.
    """

    rule: str
    premises: tuple[Edge, ...]

    def sentence(self) -> str:
        """The reason for people."""
        because = " and ".join(" ".join(shortened(part) for part in premise) for premise in self.premises)
        return f"{self.rule}: because {because}"


@dataclass(frozen=True, slots=True)
class Closure:
    """Stated and inferred triples between IRIs.

    Args:
        stated: the triples of the release whose object is an IRI.
        inferred: what follows from them, with the reason.
    """

    stated: frozenset[Edge]
    inferred: Mapping[Edge, Reason]

    def __contains__(self, edge: object) -> bool:
        return edge in self.stated or edge in self.inferred

    def explain(self, edge: Edge) -> tuple[str, ...]:
        """The chain of sentences down to what was stated; empty when the triple is stated or does not hold."""
        reason = self.inferred.get(edge)
        if reason is None:
            return ()
        below = [line for premise in reason.premises for line in self.explain(premise)]
        return (reason.sentence(), *dict.fromkeys(below))


def close(triples: Iterable[pyoxigraph.Triple]) -> Closure:
    """The closure of a graph; literals and blank nodes take no part in it."""
    import pyoxigraph

    named = pyoxigraph.NamedNode
    stated = {
        (triple.subject.value, triple.predicate.value, triple.object.value)
        for triple in triples
        if isinstance(triple.subject, named) and isinstance(triple.object, named)
    }
    inferred: dict[Edge, Reason] = {}
    schema = [
        *((one, SUBPROPERTY, other) for one, other in
          ((BROADER, BROADER_T), (NARROWER, NARROWER_T))),
        (BROADER, INVERSE, NARROWER),
        (BROADER_T, INVERSE, NARROWER_T),
    ]
    known = stated | set(schema)
    frontier = known
    while frontier:
        found = _round(known, frontier)
        frontier = {edge for edge in found if edge not in known}
        known |= frontier
        inferred |= {edge: found[edge] for edge in frontier}
    return Closure(frozenset(stated), dict(sorted(inferred.items())))


def _round(known: set[Edge], frontier: set[Edge]) -> dict[Edge, Reason]:
    """Conclusions with a premise in the frontier, each with its smallest reason: the answer is always the same."""
    from_subject: dict[tuple[str, str], list[str]] = defaultdict(list)
    from_object: dict[tuple[str, str], list[str]] = defaultdict(list)
    of_predicate: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for subject, predicate, value in known:
        from_subject[predicate, subject].append(value)
        from_object[predicate, value].append(subject)
        of_predicate[predicate].append((subject, value))
    found: dict[Edge, Reason] = {}

    def conclude(edge: Edge, rule: str, *premises: Edge) -> None:
        if edge[0] == edge[2] and edge[1] in (SUBCLASS, SUBPROPERTY, BROADER_T, NARROWER_T):
            return
        reason = Reason(rule, premises)
        if edge not in found or (reason.rule, reason.premises) < (found[edge].rule, found[edge].premises):
            found[edge] = reason

    for edge in frontier:
        subject, predicate, value = edge
        if predicate in (SUBCLASS, SUBPROPERTY, BROADER_T, NARROWER_T):
            for further in from_subject[predicate, value]:
                conclude((subject, predicate, further), "transitivity", edge, (value, predicate, further))
            for nearer in from_object[predicate, subject]:
                conclude((nearer, predicate, value), "transitivity", (nearer, predicate, subject), edge)
        if predicate == TYPE:
            for above in from_subject[SUBCLASS, value]:
                conclude((subject, TYPE, above), "member of the wider class", edge, (value, SUBCLASS, above))
        if predicate == SUBCLASS:
            for member in from_object[TYPE, subject]:
                conclude((member, TYPE, value), "member of the wider class", (member, TYPE, subject), edge)
        for wider in from_subject[SUBPROPERTY, predicate]:
            conclude((subject, wider, value), "wider property", edge, (predicate, SUBPROPERTY, wider))
        if predicate == SUBPROPERTY:
            for one, other in of_predicate[subject]:
                conclude((one, value, other), "wider property", (one, subject, other), edge)
        for other_way in from_subject[INVERSE, predicate]:
            conclude((value, other_way, subject), "inverse", edge, (predicate, INVERSE, other_way))
        for other_way in from_object[INVERSE, predicate]:
            conclude((value, other_way, subject), "inverse", edge, (other_way, INVERSE, predicate))
        if predicate == INVERSE:
            for one, other in of_predicate[subject]:
                conclude((other, value, one), "inverse", (one, subject, other), edge)
            for one, other in of_predicate[value]:
                conclude((other, subject, one), "inverse", (one, value, other), edge)
    return found
