"""Files appear whole or not at all: written beside their place under another name, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.errors import NotWritten

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def fresh_beside(path: Path) -> Iterator[Path]:
    """A fresh path in the same folder and with the same name and suffixes; whatever is still there in the end goes.

    Raises:
        NotWritten: no such folder, not allowed, or the disk is full.
    """
    try:
        holder = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", dir=path.parent))
    except OSError as error:
        raise NotWritten("cannot write there", where=path, got=error.strerror) from error
    try:
        yield holder / path.name
    except NotWritten:
        raise
    except OSError as error:
        if error.filename is not None and not str(error.filename).startswith(str(holder)):
            raise  # about another file than ours
        raise NotWritten("cannot be written", where=path, got=error.strerror or error) from error
    finally:
        shutil.rmtree(holder, ignore_errors=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A fresh path in the same folder and with the same suffixes; becomes ``path`` when the block ends well.

    The block may leave a file or a folder there. Readers that hold the older file mapped keep what they see, and of
    two writers of one path the later one wins, whole. A process that is killed leaves a hidden folder behind, never a
    part of a file under the final name.

    Raises:
        NotWritten: no such folder, not allowed, a folder is in the way, or the disk is full.
    """
    with fresh_beside(path) as fresh:
        yield fresh
        if fresh.is_dir() and path.is_dir():
            path.rename(fresh.parent / ".older")  # rename() does not replace a folder that is not empty
        fresh.replace(path)


def appear(fresh: Path, path: Path) -> bool:
    """Give a finished file its final name, unless something has that name by now; whether it was given."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        fresh.replace(path)
    return True


def settle(path: Path) -> None:
    """Ask the system to put a file's bytes on the disk before it is renamed."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically, UTF-8."""
    with replacing(path) as fresh:
        fresh.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small binary file atomically and durably."""
    with replacing(path) as fresh, fresh.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
