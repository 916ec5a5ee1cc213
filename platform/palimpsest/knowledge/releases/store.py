"""Where releases are kept: packed files (``.plk``), published ones under their numbers, and which of them is active.

A ``.plk`` is a zip of the Turtle files and resources of a release with a manifest; its bytes depend on its content
alone. Published releases are never changed: the store refuses a number that is taken. The active one is named by a
small file that is replaced in one step; going back is publishing the old content anew under a new number.

The data folder is ``PALIMPSEST_HOME``, or the user's own data folder of the operating system.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tempfile
import zipfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from palimpsest.errors import KnowledgeError, UnknownTerm
from palimpsest.knowledge.releases.contents import RESOURCE_SUFFIXES, Release

FORMAT = "palimpsest knowledge 1"
MANIFEST = "manifest.json"
LARGEST = 512 * 2**20  # bytes once unpacked
PACKAGED = "packaged"


@dataclass(frozen=True, slots=True)
class Published:
    """The record of a published release.

    Args:
        number: its number, from 1, without gaps.
        release: SHA-256 of the canonical graph.
        file_sha256: of the packed file.
        version: the release's own version string.
        publisher, reviewer: who published and who reviewed; never the same person.
        published_at: UTC, ISO 8601.
        note: why.
        previous: hash of the release that was active before, 'packaged' where none was.
    """

    number: int
    release: str
    file_sha256: str
    version: str
    publisher: str
    reviewer: str
    published_at: str
    note: str = ""
    previous: str = PACKAGED


def home() -> Path:
    """The data folder; it need not exist."""
    named = os.environ.get("PALIMPSEST_HOME")
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "palimpsest"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "palimpsest"
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "palimpsest"


def pack(release: Release, *, digest: str, version: str) -> bytes:
    """A release as one file; the same content gives the same bytes.

    Args:
        release: the files.
        digest: hash of the canonical graph.
        version: the release's own version string.
    """
    manifest = {"format": FORMAT, "release": digest, "version": version}
    parts = {MANIFEST: json.dumps(manifest, sort_keys=True, indent=1).encode(), **release.files, **release.resources}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(parts.items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content, compresslevel=9)
    return out.getvalue()


def unpack(content: bytes, origin: str) -> tuple[Release, dict[str, str]]:
    """The release in a packed file, and its manifest.

    Raises:
        KnowledgeError: not a packed release, damaged, or far too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > LARGEST:
                raise KnowledgeError("the packed release is too large", where=origin, got=size, wanted=LARGEST)
            parts = {name: archive.read(name) for name in sorted(archive.namelist())}
        manifest = json.loads(parts.pop(MANIFEST))
    # What zipfile raises of a damaged archive; the last two: packed by an unknown method, or locked.
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise KnowledgeError(
            f"not a packed release: {error}", where=origin, wanted="a file made by palimpsest knowledge build"
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise KnowledgeError("a packed release of another format", where=origin, got=manifest, wanted=FORMAT)
    files = {name: part for name, part in parts.items() if name.endswith(".ttl")}
    resources = {name: part for name, part in parts.items() if name.endswith(RESOURCE_SUFFIXES)}
    if not files:
        raise KnowledgeError("no Turtle file in the packed release", where=origin, wanted="*.ttl")
    return Release(origin, files, resources), {key: str(value) for key, value in manifest.items()}


class Store:
    """Published releases in a folder.

    Args:
        folder: the data folder; default :func:`home`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = (folder or home()) / "releases"

    def published(self) -> tuple[Published, ...]:
        """Every published release, oldest first.

        Raises:
            KnowledgeError: a record is damaged.
        """
        records = []
        for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []:
            if path.name == "active.json":
                continue
            try:
                records.append(Published(**json.loads(path.read_bytes())))
            except (ValueError, TypeError) as error:
                raise KnowledgeError(f"damaged record: {error}", where=str(path)) from error
        return tuple(sorted(records, key=lambda record: record.number))

    def active(self) -> str:
        """Hash of the active release, or 'packaged'.

        Raises:
            KnowledgeError: the pointer is damaged.
        """
        pointer = self._folder / "active.json"
        if not pointer.is_file():
            return PACKAGED
        try:
            return str(json.loads(pointer.read_bytes())["release"])
        except (ValueError, KeyError, TypeError) as error:
            raise KnowledgeError(f"damaged pointer to the active release: {error}", where=str(pointer)) from error

    def find(self, name: str) -> Published:
        """A published release by number, hash, or the beginning of its hash (eight digits); the latest of equals.

        Raises:
            UnknownTerm: none, or several different ones.
        """
        records = self.published()
        found = [one for one in records if name in (str(one.number), one.release)]
        if not found and len(name) >= 8:
            found = [one for one in records if one.release.startswith(name)]
        if len({one.release for one in found}) != 1:
            known = ", ".join(f"{one.number} ({one.release[:12]})" for one in records) or "none is published"
            raise UnknownTerm("no such published release", where=name, wanted=f"'{PACKAGED}' or one of: {known}")
        return found[-1]

    def read(self, record: Published) -> Release:
        """The content of a published release, checked against its record.

        Raises:
            KnowledgeError: the file is missing or was altered.
        """
        path = self._folder / f"{record.number:06d}.plk"
        if not path.is_file():
            raise KnowledgeError("the published release's file is missing", where=str(path))
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != record.file_sha256:
            raise KnowledgeError("the published release was altered", where=str(path), wanted=record.file_sha256)
        return unpack(content, f"release {record.number}")[0]

    def publish(
        self, content: bytes, *, release: str, version: str, publisher: str, reviewer: str, note: str = ""
    ) -> Published:
        """Keep a packed release under the next number and make it the active one.

        Raises:
            KnowledgeError: publisher and reviewer are not two people.
        """
        publisher, reviewer = publisher.strip(), reviewer.strip()
        if not publisher or not reviewer or publisher.casefold() == reviewer.casefold():
            raise KnowledgeError(
                "a release is published by one person and reviewed by another", where=publisher or "publisher",
                got=f"publisher {publisher!r}, reviewer {reviewer!r}", wanted="two different people",
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        previous = self.active()
        number = max((record.number for record in self.published()), default=0) + 1
        while True:
            record = Published(
                number, release, hashlib.sha256(content).hexdigest(), version, publisher, reviewer,
                datetime.now(UTC).isoformat(timespec="seconds"), note, previous,
            )
            try:
                _write_once(self._folder / f"{number:06d}.plk", content)
                break
            except FileExistsError:  # another process published this number between our look and our write
                number += 1
        _write_once(self._folder / f"{number:06d}.json", json.dumps(asdict(record), indent=1).encode())
        _replace(self._folder / "active.json", json.dumps({"release": release, "number": number}).encode())
        return record


def _write_once(path: Path, content: bytes) -> None:
    """Write a file that must not exist yet; whole or not at all."""
    temporary = _temporary(path, content)
    try:
        os.link(temporary, path)  # fails where the name is taken, unlike a rename
    finally:
        temporary.unlink()


def _replace(path: Path, content: bytes) -> None:
    _temporary(path, content).replace(path)


def _temporary(path: Path, content: bytes) -> Path:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Path(file.name)
