"""One thread for networks and linear algebra: the order of sums, and so every bit of a result, is the same everywhere.

Products and decompositions of matrices are split among as many threads as a machine offers, and each split rounds in
its own way. A restoration that is to be made again bit by bit must not depend on how many processors there are.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks and linear algebra on one thread while it lasts; also a decorator, ``@one_thread()``."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)
