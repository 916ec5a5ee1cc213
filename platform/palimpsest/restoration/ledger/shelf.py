"""Arrays that are written once and seldom read, kept in a file beyond a size: a ledger outgrows the cube it is about.

Every changed voxel has as many contributions as there are materials; in a large cube that is several times what the
cube itself takes. What does not fit under :data:`IN_MEMORY` goes to nameless temporary files, mapped: the arrays
behave as any others, and the system drops their pages when memory is short.
"""

from __future__ import annotations

import mmap
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

IN_MEMORY = 2**26  # bytes
_ALIGNED = 8  # bytes
SEGMENT = 2**26  # bytes of a file: every mapping holds a descriptor


@dataclass(slots=True)
class Shelf:
    """Where arrays are put.

    Args:
        room: bytes that stay in memory.
        segment: bytes of a file.
    """

    room: int = IN_MEMORY
    segment: int = SEGMENT
    _open: mmap.mmap | None = field(default=None, repr=False)
    _used: int = 0

    def put(self, *arrays: NDArray[np.generic]) -> tuple[NDArray[np.generic], ...]:
        """The same arrays, one-dimensional; in memory while there is room, else in a file."""
        size = sum(array.nbytes for array in arrays)
        if size <= self.room:
            self.room -= size
            return arrays
        return tuple(self._written(array) for array in arrays)

    def _written(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        if not array.size:
            return array
        if self._open is None or self._used + array.nbytes > len(self._open):
            self._next(array.nbytes)
        assert self._open is not None
        place = np.frombuffer(self._open, array.dtype, array.size, self._used)
        place[:] = array
        place.flags.writeable = False
        self._used += -(-array.nbytes // _ALIGNED) * _ALIGNED
        return place

    def _next(self, wanted: int) -> None:
        """Let go of the pages of the segment that is full, and map another."""
        if self._open is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._open.madvise(mmap.MADV_DONTNEED)
        size = max(wanted, self.segment)
        with tempfile.TemporaryFile() as file:  # the mapping keeps what it maps
            file.truncate(size)
            self._open = mmap.mmap(file.fileno(), size)
        self._used = 0
