"""Depths of absorption features, set right by one number a feature: what ``--keep features=D`` adds to a stream.

A *bump* belongs to a label and spans the bands inside one continuum window, in order of wavelength. It is a parabola
that vanishes at both ends, so the shoulders stay where they are. A pixel's number says how many bumps are taken off its
spectrum: value - value * number * bump. One small integer does what a correction of twenty bands would. Everything the
decoder does here is integer arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.entropy.planes import ChunkDecoder, ChunkEncoder, MixerState, decode_table, encode_table
from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHIFT = 20  # binary digits of a bump's height, as a share of the value
LARGEST_NUMBER = 4096
MOST_BUMPS = 4096


@dataclass(frozen=True, slots=True)
class Bumps:
    """All bumps of a stream, sorted by label; each field ``(bump,)`` int64.

    Args:
        label: index of the label whose pixels have a number for it.
        first: rank of its first band in order of wavelength.
        last: rank of its last band.
        height: in the middle, in 2^-20 of the value.
    """

    label: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    height: NDArray[np.int64]

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.label.size)

    def shares(self, rank: NDArray[np.intp]) -> NDArray[np.int64]:
        """What one bump takes of the value of each band, in 2^-20, ``(bump, band)``; ``rank`` is that of each band."""
        inside = 2 * (rank[None] - self.first[:, None]) + 1  # twice the distance from the lower end
        width = 2 * (self.last - self.first + 1)[:, None]
        height = 4 * self.height[:, None] * inside * (width - inside)
        return np.where((inside > 0) & (inside < width), (height + width * width // 2) // (width * width), 0)


def ranks(centre_nm: NDArray[np.float64]) -> NDArray[np.intp]:
    """Place of each band in order of wavelength, to the picometre, ``(band,)``."""
    order = np.argsort(np.rint(centre_nm * 1000), kind="stable")
    out = np.empty_like(order)
    out[order] = np.arange(order.size)
    return out


def deepened(
    values: NDArray[np.int64], numbers: NDArray[np.int32], shares: NDArray[np.int64], limits: tuple[int, int]
) -> NDArray[np.int64]:
    """Spectra ``(pixel, band)`` with their bumps taken off.

    Args:
        values: integers.
        numbers: of each pixel, ``(pixel, bump)``.
        shares: of the same bumps, ``(bump, band)``.
        limits: smallest and largest integer.
    """
    total = numbers.astype(np.int64) @ shares
    changed: NDArray[np.int64] = np.clip(values - ((values * total + (1 << (SHIFT - 1))) >> SHIFT), *limits)
    return changed


def pack_bumps(bumps: Bumps) -> bytes:
    """The section of the whole cube."""
    table = np.stack([bumps.label, bumps.first, bumps.last, bumps.height])
    return len(bumps.label).to_bytes(4, "little") + encode_table(table, order=1)


def unpack_bumps(data: bytes, labels: int, bands: int) -> Bumps:
    """The inverse of :func:`pack_bumps`.

    Raises:
        StreamCorrupt: bumps that no encoder writes.
    """
    count = int.from_bytes(data[:4], "little")
    if len(data) < 4 or not 1 <= count <= MOST_BUMPS:
        raise StreamCorrupt("absurd number of bumps", got=count)
    bumps = Bumps(*np.ascontiguousarray(decode_table(data[4:], (4, count), order=1)))
    sane = (
        (bumps.label >= 0).all() and (bumps.label < labels).all() and (np.diff(bumps.label) >= 0).all()
        and (bumps.first >= 0).all() and (bumps.first <= bumps.last).all() and (bumps.last < bands).all()
        and (bumps.height > 0).all() and (bumps.height <= 1 << SHIFT).all()
    )
    if not sane:
        raise StreamCorrupt("bumps that no encoder writes")
    return bumps


def encode_numbers(numbers: NDArray[np.int32], labels: NDArray[np.int32], bumps: Bumps) -> bytes:
    """The section of a tile; empty where every number is zero.

    Args:
        numbers: ``(slot, row, col)``: of each pixel, those of its label's bumps in order; zeros where it has fewer.
        labels: index of each pixel's label, ``(row, col)``.
        bumps: all of them.
    """
    if not numbers.any():
        return b""
    encoder = ChunkEncoder(MixerState.neutral(), numbers.size)
    flat = numbers.reshape(len(numbers), -1)
    for pixels, own in groups(labels, bumps):
        encoder.code(np.ascontiguousarray(flat[: own.size, pixels][:, None]), level=2)
    return encoder.finish()


def decode_numbers(data: bytes, labels: NDArray[np.int32], bumps: Bumps) -> NDArray[np.int32]:
    """The inverse of :func:`encode_numbers`.

    Raises:
        StreamCorrupt: numbers that no encoder writes.
    """
    decoder = ChunkDecoder(MixerState.neutral(), data)
    slots = int(np.bincount(bumps.label).max())
    numbers = np.zeros((slots, *labels.shape), np.int32)
    flat = numbers.reshape(slots, -1)
    for pixels, own in groups(labels, bumps):
        flat[: own.size, pixels] = decoder.read((own.size, 1, pixels.size), level=2)[:, 0]
    if np.abs(numbers).max(initial=0) > LARGEST_NUMBER:
        raise StreamCorrupt("a depth that no encoder writes", got=int(np.abs(numbers).max()))
    return numbers


def groups(labels: NDArray[np.int32], bumps: Bumps) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """For each label that has bumps and occurs in a tile: its pixels in raster order, its bumps."""
    flat = labels.ravel()
    pairs = [(np.flatnonzero(flat == label), np.flatnonzero(bumps.label == label)) for label in np.unique(bumps.label)]
    return [(pixels, own) for pixels, own in pairs if pixels.size]


def applied(
    values: NDArray[np.int64], numbers: NDArray[np.int32], labels: NDArray[np.int32], bumps: Bumps,
    shares: NDArray[np.int64], limits: tuple[int, int],
) -> NDArray[np.int64]:
    """Integers ``(band, row, col)`` with all bumps taken off; ``shares`` are those of the bands at hand."""
    out = values.copy()
    flat, slots = out.reshape(len(values), -1), numbers.reshape(len(numbers), -1)
    for pixels, own in groups(labels, bumps):
        part = slots[: own.size, pixels]
        if part.any():
            flat[:, pixels] = deepened(flat[:, pixels].T, part.T, shares[own], limits).T
    return out
