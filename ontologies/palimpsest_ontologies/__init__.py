"""The packaged ontologies: Turtle files and the binary resources that they name, read through importlib.resources."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def folder() -> Traversable:
    """The folder that holds every packaged ``.ttl`` and resource."""
    return files(__name__)


def names() -> tuple[str, ...]:
    """Names of the packaged Turtle files, sorted."""
    return tuple(sorted(entry.name for entry in folder().iterdir() if entry.name.endswith(".ttl")))


def ontology(name: str) -> Traversable:
    """One packaged file by name.

    Raises:
        FileNotFoundError: no such file is packaged.
    """
    entry = folder() / name
    if not entry.is_file():
        raise FileNotFoundError(f"no packaged ontology {name!r}; there are {', '.join(names())}")
    return entry
