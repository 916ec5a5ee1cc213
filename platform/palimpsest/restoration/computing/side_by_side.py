"""Blocks of a scene worked on side by side: what each gives comes in the blocks' own order, whoever is finished first.

Linear algebra keeps to one thread (:mod:`~palimpsest.restoration.computing.one_thread`), and blocks are cut alike
however many work on them. Sums over blocks are made here, one block after the other: no bit of a result hangs on the
number of workers.
"""

from __future__ import annotations

from collections.abc import Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from palimpsest.codec.space.tiling import allowed_workers, in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MOST_WORKERS = 4  # each holds blocks of its own: beyond that memory grows more than time shrinks

T = TypeVar("T")
R = TypeVar("R")

_wanted: ContextVar[int] = ContextVar("workers of a restoration", default=0)


@contextmanager
def workers(count: int) -> Iterator[None]:
    """So many workers while it lasts.

    Args:
        count: 0 is as many as processors may be used, four at most. The results are the same.
    """
    before = _wanted.set(count)
    try:
        yield
    finally:
        _wanted.reset(before)


def side_by_side(work: Callable[[T], R], blocks: Iterable[T]) -> Iterator[R]:
    """Results of ``work`` in the order of ``blocks``; at most two results a worker wait.

    Args:
        work: asked from threads: it may write where no other block is read or written, and nowhere else. What it asks
            side by side itself is done one after the other.
        blocks: cut without a look at the number of workers; an iterator is asked by the caller's own thread, for few
            more than are worked on.
    """
    def alone(block: T) -> R:
        _wanted.set(1)  # of this thread
        return work(block)

    count = _wanted.get() or min(allowed_workers(), MOST_WORKERS)
    if isinstance(blocks, Sized):
        count = min(count, len(blocks))
    return in_order(work if count <= 1 else alone, blocks, count)


def done(results: Iterator[object]) -> None:
    """Wait for work that gives nothing back."""
    for _ in results:
        pass
