"""Arrays that live in a file: what was looked at is let go again, so that cubes larger than memory pass through."""

from __future__ import annotations

import mmap
import tempfile
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

KEPT_BYTES = 1 << 27  # of a mapped file that may stay in memory before it is let go


def forget(array: NDArray[np.generic]) -> None:
    """Let go of the pages of a mapped array; they come back from the file when they are looked at again.

    Does nothing for arrays in memory, and for maps whose changes are private: those would be lost.
    """
    at: object = array
    mapped: np.memmap | None = None
    while isinstance(at, np.ndarray):
        mapped = at if isinstance(at, np.memmap) else mapped
        at = at.base
    if mapped is not None and isinstance(at, mmap.mmap) and mapped.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
        at.madvise(mmap.MADV_DONTNEED)


def scratch(shape: tuple[int, ...], dtype: DTypeLike, folder: Path) -> NDArray[np.generic]:
    """A writable array in a nameless file of a folder; the file is gone when nobody holds the array any more."""
    with tempfile.TemporaryFile(dir=folder, prefix=".palimpsest-") as file:
        mapped: NDArray[np.generic] = np.memmap(file, dtype, mode="w+", shape=shape)
    return mapped
