"""Files by content: a blob is named by the SHA-256 of its bytes, so the same bytes are kept once and never altered.

Five things are asked of a store: put a stream, get a range, stat, delete, list. The local one is a folder with two
levels; a writer fills a temporary file beside it and renames, so a reader never sees half a blob.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from palimpsest.errors import EvidenceBroken, UnknownTerm, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CHUNK = 1 << 20


class Blob(NamedTuple):
    """A blob's name and size."""

    sha256: str
    size: int


class BlobStore(Protocol):
    """Where blobs lie."""

    def put(self, chunks: Iterable[bytes]) -> Blob:
        """Keep a stream of bytes; its name and size."""
        ...

    def get(self, sha256: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Bytes ``start:stop`` of a blob, in chunks."""
        ...

    def stat(self, sha256: str) -> Blob | None:
        """Name and size, or None when there is no such blob."""
        ...

    def delete(self, sha256: str) -> None:
        """Forget a blob; nothing happens when there is none."""
        ...

    def names(self) -> Iterator[str]:
        """Every blob, in order."""
        ...


class FolderBlobs:
    """Blobs in a folder: ``ab/cdef...`` by the name's first two letters.

    Args:
        root: the folder; made when absent.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Where a blob lies; only for reading, by code that needs a file.

        Raises:
            UsageError: not the name of a blob.
        """
        if re.fullmatch(r"[0-9a-f]{64}", sha256) is None:
            raise UsageError("not the name of a blob", got=sha256, wanted="64 hexadecimal digits")
        return self.root / sha256[:2] / sha256[2:]

    def put(self, chunks: Iterable[bytes]) -> Blob:
        """Keep a stream of bytes; its name and size."""
        digest, size = hashlib.sha256(), 0
        part = self.root / f".{secrets.token_hex(8)}.part"
        try:
            with part.open("xb") as out:
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            return self._keep(part, Blob(digest.hexdigest(), size))
        finally:
            part.unlink(missing_ok=True)

    def put_file(self, path: Path, *, is_moved: bool = False) -> Blob:
        """Keep a file; ``is_moved`` gives it up instead of copying it (it must lie on the same disk)."""
        if not is_moved:
            with path.open("rb") as stream:
                return self.put(_chunks(stream))
        with path.open("rb") as stream:
            digest, size = hashlib.sha256(), 0
            for chunk in _chunks(stream):
                digest.update(chunk)
                size += len(chunk)
        return self._keep(path, Blob(digest.hexdigest(), size))

    def get(self, sha256: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Bytes ``start:stop`` of a blob, in chunks.

        Raises:
            UnknownTerm: no such blob.
        """
        path = self.path(sha256)
        if not path.is_file():
            raise UnknownTerm("no such blob", where=sha256)
        with path.open("rb") as stream:
            stream.seek(start)
            left = path.stat().st_size - start if stop is None else stop - start
            while left > 0 and (chunk := stream.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk

    def stat(self, sha256: str) -> Blob | None:
        """Name and size, or None when there is no such blob."""
        path = self.path(sha256)
        return Blob(sha256, path.stat().st_size) if path.is_file() else None

    def delete(self, sha256: str) -> None:
        """Forget a blob; nothing happens when there is none."""
        self.path(sha256).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """Every blob, in order."""
        for folder in sorted(self.root.iterdir()):
            if folder.is_dir():
                for blob in sorted(folder.iterdir()):
                    yield folder.name + blob.name

    def verify(self, sha256: str) -> None:
        """Read a blob and hold that its bytes are the ones it is named by.

        Raises:
            EvidenceBroken: they are not.
        """
        digest = hashlib.sha256()
        for chunk in self.get(sha256):
            digest.update(chunk)
        if digest.hexdigest() != sha256:
            raise EvidenceBroken("altered blob", where=self.path(sha256), got=digest.hexdigest(), wanted=sha256)

    def _keep(self, part: Path, blob: Blob) -> Blob:
        path = self.path(blob.sha256)
        path.parent.mkdir(exist_ok=True)
        part.replace(path)
        path.chmod(0o444)
        return blob


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hex; read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in _chunks(stream):
            digest.update(chunk)
    return digest.hexdigest()
