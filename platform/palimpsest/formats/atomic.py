"""Files appear whole or not at all: written beside their place under another name, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A fresh path in the same folder and with the same suffixes; becomes ``path`` when the block ends well.

    The block may leave a file or a folder there. Readers that hold the older file mapped keep what they see.
    """
    holder = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", dir=path.parent))
    try:
        fresh = holder / path.name
        yield fresh
        if fresh.is_dir() and path.is_dir():
            path.rename(holder / ".older")  # rename() does not replace a folder that is not empty
        fresh.replace(path)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


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
