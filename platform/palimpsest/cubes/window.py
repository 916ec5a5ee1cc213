"""A window of rows and columns, 0-based and half-open."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palimpsest.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """Rows ``row0 <= r < row1`` and columns ``col0 <= c < col1``.

    Raises:
        UsageError: an empty or negative window.
    """

    row0: int
    row1: int
    col0: int
    col1: int

    def __post_init__(self) -> None:
        if not (0 <= self.row0 < self.row1 and 0 <= self.col0 < self.col1):
            raise UsageError("empty or negative window", got=str(self), wanted="R0:R1,C0:C1 with R0 < R1 and C0 < C1")

    @classmethod
    def parse(cls, text: str) -> Window:
        """The window written ``R0:R1,C0:C1``."""
        match = re.fullmatch(r"\s*(\d+):(\d+)\s*,\s*(\d+):(\d+)\s*", text)
        if match is None:
            raise UsageError("not a window", got=repr(text), wanted="R0:R1,C0:C1, 0-based, half-open")
        return cls(*(int(number) for number in match.groups()))

    @property
    def rows(self) -> int:
        """Height in pixels."""
        return self.row1 - self.row0

    @property
    def cols(self) -> int:
        """Width in pixels."""
        return self.col1 - self.col0

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing the last two axes of ``(band, row, col)``."""
        return slice(self.row0, self.row1), slice(self.col0, self.col1)

    def __str__(self) -> str:
        return f"{self.row0}:{self.row1},{self.col0}:{self.col1}"


def tiles(rows: int, cols: int, size: int) -> Iterator[Window]:
    """Windows of at most ``size`` x ``size`` pixels that cover ``rows`` x ``cols``, row by row."""
    for row in range(0, rows, size):
        for col in range(0, cols, size):
            yield Window(row, min(row + size, rows), col, min(col + size, cols))
