"""The worst error of each band, as a stream certifies it: rounded up to an eighth of an octave, a few bits a band."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.container.header import checked_plan
from palimpsest.codec.container.stream import WHOLE, WORST
from palimpsest.codec.entropy.planes import decode_table, encode_table
from palimpsest.errors import StreamCorrupt, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.codec.container.stream import Stream
    from palimpsest.cubes import Cube

PARTS = 8  # of an octave
MOST = 64 * PARTS + 1
SHARE = 1000  # a stream carries it where it takes no more than one part in so many


def pack(worst: NDArray[np.float64], unit: NDArray[np.float64] | float) -> bytes:
    """The worst absolute error of each band, stored units, as a section.

    Args:
        worst: ``(band,)``.
        unit: of the integers that stored values stand for; errors are told to a 256th of it.
    """
    parts = np.maximum(worst / unit * 256, 1.0)
    codes = np.where(worst > 0, 1 + np.ceil(PARTS * np.log2(parts) - 1e-9), 0).astype(np.int64)
    return encode_table(np.minimum(codes, MOST)[None], order=1)


def unpack(data: bytes, bands: int, unit: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """What no band's error is larger than, stored units, ``(band,)``.

    Raises:
        StreamCorrupt: codes that no encoder writes.
    """
    codes = decode_table(data, (1, bands), order=1)[0]
    if codes.min() < 0 or codes.max() > MOST:
        raise StreamCorrupt("absurd worst errors", got=f"{codes.min()} to {codes.max()}", wanted=f"0 to {MOST}")
    sizes: NDArray[np.float64] = np.where(codes > 0, 2.0 ** ((codes - 1) / PARTS), 0.0) * unit / 256
    return sizes * (1 + 2 * math.ulp(1.0))


def certified(stream: Stream) -> NDArray[np.float64]:
    """What the stream certifies that no error of a band is larger than, stored units, ``(band,)``.

    Raises:
        StreamCorrupt: it says so of no band, or absurd things.
    """
    plan = checked_plan(stream)
    told = unpack(stream.read(WORST, WHOLE), plan.shape.bands, plan.sampling.unit)
    return told if plan.asked is None else np.minimum(told, plan.asked)


def check(path: Path | str, cube: Cube, told: NDArray[np.float64], original: Cube | None) -> str:
    """Hold a decoded cube's errors against those certified, if the original is there to be compared with.

    Raises:
        StreamCorrupt: an error is larger.
        UsageError: another cube than was encoded.
    """
    if original is None:
        return f"certified, at most {told.max():.4g}; the original (--original CUBE) is needed to measure again"
    if original.shape != cube.shape:
        raise UsageError("another cube than was encoded", got=tuple(original.shape), wanted=tuple(cube.shape))
    measured = np.zeros(len(told))
    for band in range(len(told)):
        before, after = (np.asarray(each.data[band]).astype(np.float64) for each in (original, cube))
        counts = np.asarray(original.usable()[band]) & np.isfinite(before) & np.isfinite(after)
        measured[band] = np.abs(after - before)[counts].max(initial=0)
    if (measured > told).any():
        at = int(np.argmax(measured - told))
        where = f"{path}, band {at}"
        raise StreamCorrupt("errors are larger than was certified", where=where, got=measured[at], wanted=told[at])
    return f"no band's error is larger than certified, worst {measured.max():.4g}"
