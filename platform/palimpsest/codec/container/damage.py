"""What is left of a damaged stream, and how damage is told: never a traceback, never a wrong value."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

from palimpsest.codec.container import header
from palimpsest.codec.container import stream as container
from palimpsest.errors import PalimpsestError, StreamCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_ENCODER = (
    AttributeError, IndexError, KeyError, TypeError, OverflowError, ValueError, RecursionError, struct.error
)


@contextmanager
def refusing(stream: container.Stream) -> Iterator[None]:
    """Turn what a damaged or hostile stream makes of the code into :class:`StreamCorrupt`, naming what is left."""
    try:
        yield
    except StreamCorrupt as error:
        if error.whole_level is not None:
            raise
        whole = finest_whole_level(stream)
        left = "no level is left whole" if whole is None else f"--level {whole} is the finest still whole"
        raise StreamCorrupt(
            f"{error.what} ({left})", where=error.where or stream.path, got=error.got, wanted=error.wanted,
            whole_level=whole,
        ) from error
    except PalimpsestError:
        raise
    except NO_ENCODER as error:
        # Checksums can be mended by whoever alters a stream: a field of the wrong kind must not end in a traceback.
        raise StreamCorrupt("a field that no encoder writes", where=stream.path, got=repr(error)) from error


def finest_whole_level(stream: container.Stream) -> int | None:
    """The smallest ``level`` that can still be decoded of a damaged stream; None when there is none."""
    try:
        plan = header.checked_plan(stream)
        header.read_bands(stream, plan.shape.bands)
        header.read_spectral(stream, plan.shape.bands)
        if stream.has(container.CUBE_STATE):
            stream.read(container.CUBE_STATE)
    except (StreamCorrupt, *NO_ENCODER):
        return None
    worst = 0
    levels = plan.levels
    for at in range(len(plan.windows)):
        if not stream.is_whole(container.GAINS, at) or (
            stream.has(container.MASK, at) and not stream.is_whole(container.MASK, at)
        ):
            return None
        whole = 0
        while whole <= levels and stream.is_whole(container.LEVEL0 + whole, at):
            whole += 1
        if whole == 0:
            return None
        left = levels - (whole - 1)
        exact_broken = stream.has(container.RESIDUAL, at) and not stream.is_whole(container.RESIDUAL, at)
        worst = max(worst, left, 1 if exact_broken and levels else 0)
    return worst
