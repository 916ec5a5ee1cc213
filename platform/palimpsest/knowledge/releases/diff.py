"""What differs between two releases, stated and inferred, for people: labels first, IRIs beside them.

Statements are compared in canonical form, so that the order of triples and the names of blank nodes count nothing. A
conclusion is listed only where it is new or gone while nobody stated it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from palimpsest.knowledge.releases.closure import Closure, close
from palimpsest.knowledge.releases.facts import Facts, canonical
from palimpsest.knowledge.releases.vocabulary import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyoxigraph


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One statement or conclusion that is in one release alone.

    Args:
        label: name of the term for people.
        iri: the term.
        relation: prefixed name of the predicate.
        value: literal, or label of the term it points to.
        kind: 'added' or 'removed'.
        is_stated: False for a conclusion.
        reason: the rule behind a conclusion.
    """

    label: str
    iri: str
    relation: str
    value: str
    kind: Literal["added", "removed"]
    is_stated: bool = True
    reason: str = ""

    def __str__(self) -> str:
        sign = "+" if self.kind == "added" else "-"
        how = "" if self.is_stated else f"   [{self.reason}]"
        return f"{sign} {self.label} <{self.iri}> {self.relation} {self.value}{how}"


def diff(old: Sequence[pyoxigraph.Triple], new: Sequence[pyoxigraph.Triple]) -> tuple[Change, ...]:
    """Changes from one release to another: by term, stated ones before conclusions."""
    import pyoxigraph

    before, after = set(canonical(old).splitlines()), set(canonical(new).splitlines())
    facts_old, facts_new = Facts(old), Facts(new)
    changes: list[Change] = []
    kinds: tuple[tuple[set[bytes], Facts, Literal["added", "removed"]], ...] = (
        (before - after, facts_old, "removed"), (after - before, facts_new, "added"),
    )
    for lines, facts, kind in kinds:
        text = b"\n".join(sorted(lines))
        for quad in pyoxigraph.parse(text, format=pyoxigraph.RdfFormat.N_QUADS):
            changes.append(_stated(quad.triple, facts, kind))
    closure_old, closure_new = close(old), close(new)
    changes += _concluded(closure_old, closure_new, facts_old, "removed")
    changes += _concluded(closure_new, closure_old, facts_new, "added")
    return tuple(sorted(changes, key=lambda one: (one.label, one.iri, not one.is_stated, one)))


def _stated(triple: pyoxigraph.Triple, facts: Facts, kind: Literal["added", "removed"]) -> Change:
    iri = str(getattr(triple.subject, "value", triple.subject))
    value = str(getattr(triple.object, "value", triple.object))
    shown = value if hasattr(triple.object, "datatype") else facts.label(value)
    return Change(facts.label(iri), iri, shortened(triple.predicate.value), shown, kind)


def _concluded(
    has: Closure, lacks: Closure, facts: Facts, kind: Literal["added", "removed"]
) -> list[Change]:
    return [
        Change(
            facts.label(edge[0]), edge[0], shortened(edge[1]), facts.label(edge[2]), kind, is_stated=False,
            reason=reason.sentence(),
        )
        for edge, reason in has.inferred.items()
        if edge not in lacks
    ]
