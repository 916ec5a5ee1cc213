"""A release of the ontologies by name, and its compiled form.

A release is a folder of Turtle files with the resources they name, the same packed into one file by
``palimpsest knowledge build`` (``.plk``), or a published one by number or hash. Its identity is the SHA-256 of the
canonical graph (RDFC-1.0); resources are bound to it by the checksums that the graph holds.

A release that was never seen is validated before it is used (about a second); that it passed is remembered by the hash
of its bytes in the user's cache folder. The packaged release and published ones were validated before.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.errors import KnowledgeError
from palimpsest.knowledge.releases.contents import Release, packaged, read_folder
from palimpsest.knowledge.releases.facts import Facts, digest
from palimpsest.knowledge.releases.store import PACKAGED, Store, unpack
from palimpsest.knowledge.releases.vocabulary import RELEASE

if TYPE_CHECKING:
    from palimpsest.knowledge.rules import KnowledgeBase

VALIDATION = "1"  # part of the cache's names: raise it when validation learns to see more


def read(release: str | Path | None = None) -> tuple[Release, bool]:
    """The files of a release, and whether they were validated before.

    Args:
        release: a folder, a ``.plk`` file, the number or hash of a published release, 'packaged', or None for the
            active one.

    Raises:
        KnowledgeError: there is no such release, or it cannot be read.
    """
    store = Store()
    if release is None:
        active = store.active()
        return (packaged(), True) if active == PACKAGED else (store.read(store.find(active)), True)
    if str(release) == PACKAGED:
        return packaged(), True
    path = Path(release)
    if path.is_dir():
        return read_folder(path), False
    if path.is_file():
        return unpack(path.read_bytes(), str(path))[0], False
    if path.suffix == ".plk" or os.sep in str(release):
        raise KnowledgeError("no such release", where=str(release), wanted="a folder of .ttl, a .plk file or an id")
    return store.read(store.find(str(release))), True


def load(release: str | Path | None = None) -> KnowledgeBase:
    """The compiled form of a release.

    Args:
        release: see :func:`read`.

    Raises:
        KnowledgeError: it cannot be read, fails its shapes, or says something impossible; ``where`` is the file or the
            term's IRI.
        UnknownTerm: something in it names a term that is not there, or there is no such published release.
    """
    found, is_validated = read(release)
    return _compiled(_Keyed(found.content_key, found, is_validated))


def compile_release(release: Release) -> KnowledgeBase:
    """The compiled form of files that need not be valid as a whole, without caches.

    Raises:
        KnowledgeError: the release says something impossible.
    """
    from palimpsest.knowledge.releases.compile import compile_facts

    triples = release.triples()
    facts = Facts(triples)
    return compile_facts(facts, release.resources, release=digest(triples), version=version_of(facts))


def version_of(facts: Facts) -> str:
    """The release's own version string."""
    return facts.text(RELEASE, "owl:versionInfo", "unversioned")


@dataclass(frozen=True, slots=True, eq=False)
class _Keyed:
    """A release that is equal to every other of the same bytes, for the cache."""

    key: str
    release: Release
    is_validated: bool

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and other.key == self.key


@lru_cache(maxsize=8)
def _compiled(keyed: _Keyed) -> KnowledgeBase:
    knowledge = compile_release(keyed.release)
    if not (keyed.is_validated or keyed.key == packaged().content_key or _passed_before(keyed.key)):
        from palimpsest.knowledge.releases.validate import require_valid

        require_valid(keyed.release)
        _remember(keyed.key)
    return knowledge


def cache_folder() -> Path:
    """The user's cache folder of the operating system; it need not exist."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "palimpsest" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "palimpsest"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "palimpsest"


def _passed_before(key: str) -> bool:
    try:
        return (cache_folder() / "validated" / f"{key}.{VALIDATION}").exists()
    except OSError:
        return False  # an unreadable cache costs a second, nothing else


def _remember(key: str) -> None:
    try:
        folder = cache_folder() / "validated"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{key}.{VALIDATION}").touch()
    except OSError:
        return  # a cache that cannot be written costs a second next time, nothing else
