"""A parsed graph with the few questions that compiling it asks, answered from two dictionaries.

Parsing and canonicalisation are pyoxigraph's: measured, rdflib needs a thousand times longer for the same. Every
answer that the graph cannot give raises :class:`~palimpsest.errors.KnowledgeError` naming the term, so that the
compiler needs no checks of its own.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import KnowledgeError
from palimpsest.knowledge.releases.vocabulary import shortened, term

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyoxigraph
    from numpy.typing import NDArray

    Node = pyoxigraph.NamedNode | pyoxigraph.BlankNode
    Value = Node | pyoxigraph.Literal | pyoxigraph.Triple


def parse(files: Iterable[tuple[str, bytes]]) -> tuple[pyoxigraph.Triple, ...]:
    """Triples of several Turtle files; blank nodes of different files stay apart.

    Args:
        files: (name, bytes) of each file; the names are for messages.

    Raises:
        KnowledgeError: a file is not Turtle; ``where`` is the file's name, the message has line and column.
    """
    import pyoxigraph

    triples: list[pyoxigraph.Triple] = []
    for name, content in files:
        try:
            quads = pyoxigraph.parse(content, format=pyoxigraph.RdfFormat.TURTLE, rename_blank_nodes=True)
            found = [quad.triple for quad in quads]
        except (SyntaxError, ValueError) as error:
            raise KnowledgeError(f"not Turtle: {error}", where=name, wanted="a Turtle 1.1 file in UTF-8") from error
        if any(isinstance(triple.object, pyoxigraph.Triple) for triple in found):
            raise KnowledgeError("statements about statements are not read", where=name, wanted="a Turtle 1.1 file")
        triples += found
    return tuple(triples)


def canonical(triples: Iterable[pyoxigraph.Triple]) -> bytes:
    """Canonical N-Quads of a graph: the same for every order of triples and every naming of blank nodes.

    Source: W3C Recommendation RDF Dataset Canonicalization (RDFC-1.0), 2024.
    """
    import pyoxigraph

    dataset = pyoxigraph.Dataset(pyoxigraph.Quad(*triple) for triple in triples)
    dataset.canonicalize(pyoxigraph.CanonicalizationAlgorithm.RDFC_1_0)
    lines = pyoxigraph.serialize(dataset, format=pyoxigraph.RdfFormat.N_QUADS)
    assert lines is not None
    # Code-point order of the lines is the order of their UTF-8 bytes.
    return b"".join(sorted(lines.splitlines(keepends=True)))


def digest(triples: Iterable[pyoxigraph.Triple]) -> str:
    """SHA-256 of :func:`canonical`, hex: the release's identity."""
    return hashlib.sha256(canonical(triples)).hexdigest()


class Facts:
    """An index over triples; terms are asked for by prefixed name (``plm:weight``) or full IRI.

    Args:
        triples: the graph.
    """

    def __init__(self, triples: Sequence[pyoxigraph.Triple]) -> None:
        self._forward: dict[str, dict[str, list[Value]]] = {}
        self._classes: dict[str, list[str]] = {}
        kind = term("rdf:type")
        for triple in triples:
            subject = str(getattr(triple.subject, "value", triple.subject))
            by_predicate = self._forward.setdefault(subject, {})
            by_predicate.setdefault(triple.predicate.value, []).append(triple.object)
            if triple.predicate.value == kind:
                self._classes.setdefault(str(getattr(triple.object, "value", "")), []).append(subject)

    def __contains__(self, iri: str) -> bool:
        return iri in self._forward

    def predicates(self) -> set[str]:
        """IRIs of every predicate in use."""
        return {predicate for by_predicate in self._forward.values() for predicate in by_predicate}

    def of_class(self, name: str) -> list[str]:
        """IRIs of the instances of a class, sorted; subclasses count only where the closure has put them."""
        return sorted(set(self._classes.get(_full(name), ())))

    def is_a(self, iri: str, name: str) -> bool:
        """Whether a node is an instance of a class."""
        return _full(name) in {getattr(value, "value", "") for value in self.values(iri, "rdf:type")}

    def is_deprecated(self, iri: str) -> bool:
        """Whether the release keeps a term for the record alone (``owl:deprecated true``)."""
        return any(getattr(value, "value", "") in ("true", "1") for value in self.values(iri, "owl:deprecated"))

    def values(self, iri: str, name: str) -> list[Value]:
        """Every object of a subject and predicate."""
        return self._forward.get(iri, {}).get(_full(name), [])

    def links(self, iri: str, name: str) -> list[str]:
        """IRIs that a subject points to, sorted.

        Raises:
            KnowledgeError: one of them is a literal.
        """
        found = []
        for value in self.values(iri, name):
            if not hasattr(value, "value") or hasattr(value, "datatype"):
                raise KnowledgeError(f"{name} must name a term", where=iri, got=str(value), wanted="an IRI")
            found.append(str(value.value))
        return sorted(found)

    def link(self, iri: str, name: str) -> str:
        """The one IRI that a subject must point to.

        Raises:
            KnowledgeError: none, or several.
        """
        found = self.links(iri, name)
        if len(found) != 1:
            raise KnowledgeError(f"{name} must name exactly one term", where=iri, got=len(found), wanted=1)
        return found[0]

    def text(self, iri: str, name: str, default: str | None = None) -> str:
        """A literal's text: English where there are several languages.

        Raises:
            KnowledgeError: there is none and no default.
        """
        literals = sorted(
            (str(getattr(value, "language", None) or "") not in ("en", ""), str(getattr(value, "value", "")))
            for value in self.values(iri, name)
            if hasattr(value, "datatype")
        )
        if literals:
            return literals[0][1]
        if default is None:
            raise KnowledgeError(f"{name} is missing", where=iri, wanted="a text")
        return default

    def number(self, iri: str, name: str) -> float | None:
        """A number, or None where nothing is said.

        Raises:
            KnowledgeError: more than one value, or not a finite number.
        """
        found = self.values(iri, name)
        if not found:
            return None
        if len(found) > 1:
            raise KnowledgeError(f"{name} is given more than once", where=iri, got=[str(v) for v in found], wanted=1)
        try:
            value = float(getattr(found[0], "value", "not a literal"))
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            raise KnowledgeError(f"{name} is not a number", where=iri, got=str(found[0]), wanted="a finite number")
        return value

    def needed(self, iri: str, name: str) -> float:
        """A number that must be there.

        Raises:
            KnowledgeError: it is missing, given twice, or not a number.
        """
        value = self.number(iri, name)
        if value is None:
            raise KnowledgeError(f"{name} is missing", where=iri, wanted="a number")
        return value

    def numbers(self, iri: str, name: str) -> NDArray[np.float64] | None:
        """A ``plm:numberList``, ``(n,)``, or None where nothing is said.

        Raises:
            KnowledgeError: something in the list is not a finite number.
        """
        if not self.values(iri, name):
            return None
        words = self.text(iri, name).split()
        try:
            values = np.array([float(word) for word in words])
        except ValueError as error:
            raise KnowledgeError(
                f"{name} is not a list of numbers", where=iri, got=str(error), wanted="numbers separated by spaces"
            ) from error
        if not np.isfinite(values).all():
            raise KnowledgeError(f"{name} has values that are not finite", where=iri, wanted="finite numbers")
        return values

    def literals(self, iri: str) -> dict[str, list[str]]:
        """Every literal of a subject by prefixed name of its predicate, sorted."""
        found: dict[str, list[str]] = {}
        for predicate, values in sorted(self._forward.get(iri, {}).items()):
            texts = sorted(str(getattr(value, "value", "")) for value in values if hasattr(value, "datatype"))
            if texts:
                found[shortened(predicate)] = texts
        return found

    def label(self, iri: str) -> str:
        """Name for people: the preferred label, any label, or the shortened IRI."""
        return self.text(iri, "skos:prefLabel", "") or self.text(iri, "rdfs:label", "") or shortened(iri)


def _full(name: str) -> str:
    return name if "://" in name else term(name)
