"""The files of a release, before anything is made of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palimpsest.errors import KnowledgeError
from palimpsest.knowledge.releases.facts import parse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable
    from pathlib import Path

    import pyoxigraph

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
