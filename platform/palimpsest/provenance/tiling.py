"""A restoration cut into tiles, one pass over its contributions, with the hashes that pin each tile.

``Restoration.within`` answers for one window by looking at everything; for all windows that is quadratic. Here each
decision is sorted once. The order and the hash are those of ``Restoration.within`` and ``hash_within``: decisions
ascending, voxels ascending, indices local to the tile.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.cubes.window import Window, tiles
from palimpsest.restoration.result import Contribution, on_grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from palimpsest.restoration.result import Decision, Restoration


@dataclass(frozen=True, slots=True)
class Tile:
    """What happened inside one window.

    Args:
        window: where.
        parts: contributions, one a decision, indices into ``(band, row, col)`` of the window.
        changed: voxels that any of them names, ascending, ``(n,)``.
        half_width: half of the 90 % interval of each, stored units, ``(n,)``.
        decoded: decoded value of each, in quanta, ``(n,)``.
        classes: provenance class, ``(band, row, col)`` uint8.
        reasons: why voxels were to be changed, ``(band, row, col)`` uint8.
        decoded_sha256, restored_sha256: of the stored values inside, ``(band, row, col)``, little-endian.
    """

    window: Window
    parts: tuple[Contribution, ...]
    changed: NDArray[np.int64]
    half_width: NDArray[np.float32]
    decoded: NDArray[np.int64]
    classes: NDArray[np.uint8]
    reasons: NDArray[np.uint8]
    decoded_sha256: str
    restored_sha256: str


def tiled(restoration: Restoration, size: int) -> Iterator[Tile]:
    """Tiles of at most ``size`` x ``size`` pixels, row by row."""
    grid = _Grid(*restoration.decoded.shape, size)
    by_decision = [
        (decision, grid.sort(*_gathered(restoration, decision)))
        for decision in sorted({part.decision for part in restoration.contributions})
    ]
    changed = grid.sort(restoration.changed, restoration.half_width)
    for number, window in enumerate(grid.windows):
        parts = []
        for decision, columns in by_decision:
            voxels, values, trust = columns.of_tile(number)
            if voxels.size:
                parts.append(Contribution(decision, voxels, values, trust))
        voxels, half_width = changed.of_tile(number)
        where = (slice(None), *window.slices)
        decoded = np.ascontiguousarray(restoration.decoded.data[where])
        restored = np.ascontiguousarray(restoration.restored.data[where])
        yield Tile(
            window, tuple(parts), voxels, half_width, on_grid(decoded.ravel()[voxels], restoration.quantum),
            np.ascontiguousarray(restoration.classes[where]), np.ascontiguousarray(restoration.reasons[where]),
            values_sha256(decoded), values_sha256(restored),
        )


def parts_sha256(decisions: Sequence[Decision], parts: Sequence[Contribution]) -> str:
    """SHA-256 of exact contributions, as ``Restoration.hash_within`` makes it."""
    digest = hashlib.sha256()
    for part in parts:
        why = decisions[part.decision]
        digest.update("\x00".join((why.source, why.rule, why.material)).encode() + b"\x01")
        digest.update(part.voxels.astype("<i8").tobytes())
        digest.update(part.values.astype("<i8").tobytes())
    return digest.hexdigest()


def values_sha256(values: NDArray[np.generic]) -> str:
    """SHA-256 of values in C order, little-endian, hex."""
    return hashlib.sha256(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).hexdigest()


def decision_sets(parts: Sequence[Contribution], voxels: int) -> tuple[NDArray[np.int64], list[list[int]]]:
    """Which decisions acted on each voxel, as an index into a list of sets, ``(voxel,)``; set 0 is the empty one."""
    index = np.zeros(voxels, np.int64)
    sets: list[tuple[int, ...]] = [()]
    for part in parts:
        before, place = np.unique(index[part.voxels], return_inverse=True)
        index[part.voxels] = len(sets) + place
        sets.extend((*sets[old], part.decision) for old in before)
    used, index = np.unique(np.concatenate(([0], index)), return_inverse=True)
    return index[1:], [list(sets[old]) for old in used]


class _Sorted:
    """Columns sorted by tile and then by local index."""

    def __init__(
        self, edges: NDArray[np.intp], local: NDArray[np.int64], columns: tuple[NDArray[Any], ...]
    ) -> None:
        self._edges, self._local, self._columns = edges, local, columns

    def of_tile(self, number: int) -> tuple[NDArray[Any], ...]:
        part = slice(self._edges[number], self._edges[number + 1])
        return (self._local[part], *(column[part] for column in self._columns))


class _Grid:
    def __init__(self, bands: int, rows: int, cols: int, size: int) -> None:
        self.rows, self.cols, self.size = rows, cols, size
        self.windows = list(tiles(rows, cols, size))
        self.across = -(-cols // size)
        self.heights = np.array([window.rows for window in self.windows])
        self.widths = np.array([window.cols for window in self.windows])

    def sort(self, voxels: NDArray[np.int64], *columns: NDArray[np.generic]) -> _Sorted:
        band, rest = np.divmod(voxels, self.rows * self.cols)
        row, col = np.divmod(rest, self.cols)
        tile = row // self.size * self.across + col // self.size
        local = (band * self.heights[tile] + row % self.size) * self.widths[tile] + col % self.size
        order = np.lexsort((local, tile))
        edges = np.searchsorted(tile[order], np.arange(len(self.windows) + 1))
        return _Sorted(edges, local[order], tuple(column[order] for column in columns))


def _gathered(
    restoration: Restoration, decision: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    parts = [part for part in restoration.contributions if part.decision == decision]
    return (
        np.concatenate([part.voxels for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.trust for part in parts]),
    )
