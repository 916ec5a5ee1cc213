"""A Turtle writer whose output people can read and whose bytes depend on nothing but its input.

Objects are given as ``Term`` (prefixed name or full IRI), ``str`` (English literal), ``Plain`` (literal without a
language), ``int``, ``float``, ``bool``. Numbers become ``xsd:integer`` and ``xsd:decimal`` with the fewest digits that
read back as the same float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from palimpsest.knowledge.releases.vocabulary import PREFIXES


class Term(str):
    """An IRI or a prefixed name."""

    __slots__ = ()


class Plain(str):
    """A literal without a language tag."""

    __slots__ = ()


Object = Term | Plain | str | int | float | bool
Statement = tuple[str, Object | Sequence[Object] | None]


def number(value: float) -> str:
    """A float64 as an ``xsd:decimal`` that reads back as the same number."""
    text = format(Decimal(repr(float(value))), "f")
    return text if "." in text else f"{text}.0"


def numbers(values: Iterable[float]) -> str:
    """A list of numbers as one literal of the vocabulary's own datatype."""
    return '"' + " ".join(number(value) for value in values) + '"^^plm:numberList'


def written(value: Object) -> str:
    """One object in Turtle."""
    if isinstance(value, Term):
        return f"<{value}>" if "://" in value else str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value)
    if value.endswith('"^^plm:numberList'):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"' if isinstance(value, Plain) else f'"{escaped}"@en'


class Document:
    """One file: a header, then blocks in the order in which they are added."""

    def __init__(self, name: str, title: str, version: str, comment: str, source: str) -> None:
        self._blocks: list[str] = []
        self._iri = f"https://w3id.org/palimpsest/{name}"
        self.add(self._iri, [
            ("a", Term("owl:Ontology")),
            ("dcterms:title", title),
            ("rdfs:comment", comment),
            ("owl:versionIRI", Term(f"{self._iri}/{version}")),
            ("owl:versionInfo", Plain(version)),
            ("dcterms:source", Term(source)),
        ])

    def add(self, subject: str, statements: Sequence[Statement]) -> None:
        """A subject and what is said of it; statements whose object is None or empty are left out."""
        lines: list[str] = []
        for predicate, value in statements:
            objects = [value] if isinstance(value, str | int | float) else list(value or [])
            if objects:
                lines.append(f"    {predicate} " + " , ".join(written(one) for one in objects))
        head = f"<{subject}>" if "://" in subject else subject
        self._blocks.append(head + "\n" + " ;\n".join(lines) + " .\n")

    def text(self) -> str:
        """The whole file."""
        body = "\n".join(self._blocks)
        used = [f"@prefix {p}: <{iri}> .\n" for p, iri in sorted(PREFIXES.items()) if f"{p}:" in body]
        return "".join(used) + "\n" + body
