"""A release of the ontologies: where it is read from, what identifies it, and its compiled form.

A release is a folder of Turtle files with the resources they name, the same packed into one file by
``palimpsest knowledge build`` (``.plk``), or the id of a published one. Its identity is the SHA-256 of the canonical
graph (RDFC-1.0); resources are bound to it by the checksums that the graph holds. Nothing here imports rdflib.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.errors import KnowledgeError
from palimpsest.knowledge.facts import Facts, digest, parse
from palimpsest.knowledge.vocabulary import RELEASE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

    import pyoxigraph

    from palimpsest.knowledge.rules import KnowledgeBase

RESOURCE_SUFFIXES = (".npz", ".csv", ".txt")


@dataclass(frozen=True, slots=True)
class Release:
    """What a release consists of.

    Args:
        origin: where it was read, for messages.
        files: Turtle files, bytes by name, in name order.
        resources: binary resources, bytes by name, in name order.
    """

    origin: str
    files: Mapping[str, bytes]
    resources: Mapping[str, bytes]

    @property
    def content_key(self) -> str:
        """SHA-256 over names and bytes: a key for caches, not the release's identity."""
        running = hashlib.sha256()
        for group in (self.files, self.resources):
            for name, content in group.items():
                running.update(f"{name}\0{len(content)}\0".encode() + content)
        return running.hexdigest()

    def triples(self) -> tuple[pyoxigraph.Triple, ...]:
        """The graph.

        Raises:
            KnowledgeError: a file is not Turtle.
        """
        return parse(self.files.items())


def read_folder(folder: Path | Traversable, origin: str = "") -> Release:
    """The release that lies in a folder.

    Raises:
        KnowledgeError: the folder holds no Turtle file.
    """
    entries = sorted((entry for entry in folder.iterdir() if entry.is_file()), key=lambda entry: entry.name)
    files = {entry.name: entry.read_bytes() for entry in entries if entry.name.endswith(".ttl")}
    if not files:
        raise KnowledgeError("no Turtle file in the folder", where=str(folder), wanted="*.ttl")
    resources = {entry.name: entry.read_bytes() for entry in entries if entry.name.endswith(RESOURCE_SUFFIXES)}
    return Release(origin or str(folder), files, resources)


def packaged() -> Release:
    """The release that ships with the package."""
    import palimpsest_ontologies

    return read_folder(palimpsest_ontologies.folder(), "packaged")


def read(release: str | Path | None) -> Release:
    """A release by folder, ``.plk`` file or id; the active one for None.

    Raises:
        KnowledgeError: there is no such release, or it cannot be read.
    """
    if release is None:
        return packaged()
    path = Path(release)
    if path.is_dir():
        return read_folder(path)
    raise KnowledgeError("no such release", where=str(release), wanted="a folder of .ttl, a .plk file or an id")


def load(release: str | Path | None = None) -> KnowledgeBase:
    """The compiled form of a release.

    Args:
        release: a folder of Turtle files, a ``.plk`` file, the id of a published release (or 'packaged'), or None for
            the active one.

    Raises:
        KnowledgeError: it cannot be read or says something impossible; ``where`` is the file or the term's IRI.
    """
    found = read(release)
    return _compiled(_Keyed(found.content_key, found))


@dataclass(frozen=True, slots=True)
class _Keyed:
    key: str
    release: Release

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and other.key == self.key


@lru_cache(maxsize=8)
def _compiled(keyed: _Keyed) -> KnowledgeBase:
    return compile_release(keyed.release)


def compile_release(release: Release) -> KnowledgeBase:
    """The compiled form, without the cache.

    Raises:
        KnowledgeError: the release says something impossible.
    """
    from palimpsest.knowledge.compile import compile_facts

    triples = release.triples()
    facts = Facts(triples)
    version = facts.text(RELEASE, "owl:versionInfo", "unversioned")
    return compile_facts(facts, release.resources, release=digest(triples), version=version)
