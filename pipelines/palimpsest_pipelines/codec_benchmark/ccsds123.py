"""CCSDS-123.0-B-2, lossless: the standard that spacecraft use, as this benchmark's own rival.

Predictor: full or reduced mode, wide neighbour- or column-oriented local sums, sample-adaptive Golomb power-of-two
coder. Real streams: what is counted is what is written, and :func:`decoded` reads it back. Left out, because they bring
nothing to the size of a lossless stream: narrow local sums, weight exponent offsets, custom weight tables,
sample representatives. The hybrid coder is left out too: it is for streams under one bit a sample.

Source: CCSDS 123.0-B-2 (2019, Blue Book), sections 4 and 5; parameters as recommended in CCSDS 120.2-G-2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from palimpsest.errors import CubeRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cells = NDArray[np.int64]

HEADER_BYTES = 19  # essential part 12, predictor 5, sample-adaptive coder 2 (section 5.3)

# Parameters by the standard's names, at the values that the green book recommends.
OMEGA = 19  # resolution of weights
NU_MIN, INTERVAL = -1, 6  # first weight update scaling exponent, and log2 of its change interval
UNARY_LIMIT = 18
COUNTER_START, COUNTER_LIMIT = 1, 6  # log2 of the initial count, log2 of the rescaling counter
ACCUMULATOR = 3  # K, 0 to D - 2


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices that an encoder makes for a cube.

    Args:
        bands: previous bands in the prediction, P.
        is_full: full prediction mode, with directional differences; else reduced.
        is_neighbour: wide neighbour-oriented local sums; else wide column-oriented ones.
        nu_max: last weight update scaling exponent; 3 is recommended, more makes weights calmer.
    """

    bands: int = 3
    is_full: bool = True
    is_neighbour: bool = True
    nu_max: int = 3

    @property
    def label(self) -> str:
        """For tables."""
        mode = "full" if self.is_full else "reduced"
        return f"P={self.bands} {mode} {'neighbour' if self.is_neighbour else 'column'} nu={self.nu_max}"


CANDIDATES = (  # the first as recommended; calmer weights were found to suit small scenes, and win there
    Settings(), Settings(is_full=False), Settings(nu_max=5), Settings(is_full=False, nu_max=7),
    Settings(is_full=False, is_neighbour=False, nu_max=7), Settings(bands=15, nu_max=5),
)


@dataclass(frozen=True, slots=True)
class Coded:
    """A stream and what its header would say.

    Args:
        body: the bits, padded to bytes.
        bits: how many of them count.
        shape: (bands, rows, cols).
        depth: dynamic range D, bits.
        is_signed: whether samples are signed.
        settings: choices.
    """

    body: bytes
    bits: int
    shape: tuple[int, int, int]
    depth: int
    is_signed: bool
    settings: Settings


def coded_bits(values: NDArray[np.generic], settings: Settings) -> int:
    """Bits of the whole stream, header included, of an integer cube ``(band, row, col)``."""
    return 8 * HEADER_BYTES + 8 * len(coded(values, settings).body)


def coded(values: NDArray[np.generic], settings: Settings) -> Coded:
    """Encode an integer cube ``(band, row, col)``.

    Raises:
        CubeRefused: not integers, or more than 32 bits of range.
    """
    if values.ndim != 3 or values.dtype.kind not in "iu":
        raise CubeRefused("CCSDS-123 codes integer cubes", got=f"{values.dtype}, {values.ndim} axes")
    samples = np.ascontiguousarray(values, np.int64)
    depth, is_signed = dynamic_range(samples)
    low, high, middle = _limits(depth, is_signed)
    indices = np.zeros(samples.shape, np.int64)
    _predict(
        samples, indices, settings.bands, settings.is_full, settings.is_neighbour, settings.nu_max, depth,
        low, high, middle, True,
    )
    room = np.zeros(samples.size * (UNARY_LIMIT + depth + 1) // 8 + 8, np.uint8)
    bits = int(_write(indices, depth, room))
    return Coded(room[: -(-bits // 8)].tobytes(), bits, _shape(samples), depth, is_signed, settings)


def decoded(stream: Coded) -> NDArray[np.int64]:
    """The samples again, ``(band, row, col)``."""
    indices = np.zeros(stream.shape, np.int64)
    _read(np.frombuffer(bytearray(stream.body) + bytes(8), np.uint8), stream.depth, indices)
    samples = np.zeros(stream.shape, np.int64)
    low, high, middle = _limits(stream.depth, stream.is_signed)
    settings = stream.settings
    _predict(
        samples, indices, settings.bands, settings.is_full, settings.is_neighbour, settings.nu_max, stream.depth,
        low, high, middle, False,
    )
    return samples


def dynamic_range(samples: NDArray[np.int64]) -> tuple[int, bool]:
    """Fewest bits D (2 to 32) that hold every sample, and whether they must be signed.

    Raises:
        CubeRefused: more than 32 bits.
    """
    lowest, highest = int(samples.min()), int(samples.max())
    is_signed = lowest < 0
    bits = max((-lowest - 1).bit_length(), highest.bit_length()) + 1 if is_signed else highest.bit_length()
    if bits > 32:
        raise CubeRefused("more than 32 bits of range", got=f"{lowest} ... {highest}")
    return max(2, bits), is_signed


def _limits(depth: int, is_signed: bool) -> tuple[int, int, int]:
    half = 1 << (depth - 1)
    return (-half, half - 1, 0) if is_signed else (0, 2 * half - 1, half)


def _shape(samples: NDArray[np.int64]) -> tuple[int, int, int]:
    bands, rows, cols = samples.shape
    return bands, rows, cols


@numba.njit("int64(int64[:,:,::1],int64,int64,int64,boolean)", cache=True)
def _local_sum(s: Cells, z: int, y: int, x: int, is_neighbour: Any) -> int:  # noqa: ANN401 # numba's boolean
    """Section 4.4: four times a local mean; never asked for the first sample of a band."""
    last = s.shape[2] - 1
    if y == 0:
        return 4 * s[z, y, x - 1]
    if not is_neighbour:
        return 4 * s[z, y - 1, x]
    if x == 0:
        right = s[z, y - 1, x + 1] if last > 0 else s[z, y - 1, x]
        return 2 * (s[z, y - 1, x] + right)
    if x == last:
        return s[z, y, x - 1] + s[z, y - 1, x - 1] + 2 * s[z, y - 1, x]
    return s[z, y, x - 1] + s[z, y - 1, x - 1] + s[z, y - 1, x] + s[z, y - 1, x + 1]


@numba.njit("int64(int64[:,:,::1],int64,int64,int64,int64,int64,boolean,boolean,int64[::1])", cache=True)
def _differences(
    s: Cells, z: int, y: int, x: int, before: int, total: int, is_full: Any, is_neighbour: Any, out: Cells,  # noqa: ANN401
) -> int:
    """Section 4.5: local differences of a sample; how many there are."""
    at = 0
    if is_full:
        if y == 0:
            out[0] = out[1] = out[2] = 0
        else:
            north = 4 * s[z, y - 1, x] - total
            out[0] = north
            out[1] = 4 * s[z, y, x - 1] - total if x > 0 else north
            out[2] = 4 * s[z, y - 1, x - 1] - total if x > 0 else north
        at = 3
    for back in range(1, before + 1):
        out[at] = 4 * s[z - back, y, x] - _local_sum(s, z - back, y, x, is_neighbour)
        at += 1
    return at


@numba.njit("int64(int64,int64,boolean)", cache=True)
def _mapped(error: int, reach: int, is_odd: Any) -> int:  # noqa: ANN401
    """Section 4.11: a prediction error as an unsigned number, small errors small."""
    if abs(error) > reach:
        return abs(error) + reach
    leans = -error if is_odd else error
    return 2 * abs(error) if leans >= 0 else 2 * abs(error) - 1


@numba.njit("int64(int64,int64,boolean,int64)", cache=True)
def _unmapped(index: int, reach: int, is_odd: Any, room_below: int) -> int:  # noqa: ANN401
    """Inverse of :func:`_mapped`; beyond the reach only the side with room is possible."""
    if index > 2 * reach:
        size = index - reach
        return -size if room_below > reach else size
    size = (index + 1) >> 1
    positive = (index & 1) == 0
    if is_odd:
        positive = not positive
    return size if positive else -size


@numba.njit("void(int64[::1],int64[::1],int64,int64,int64,int64,int64)", cache=True)
def _update(w: Cells, d: Cells, count: int, error: int, exponent: int, low: int, high: int) -> None:
    """Section 4.10: weights move by the sign of the error."""
    for i in range(count):
        step = d[i] if error >= 0 else -d[i]
        # floor((step * 2^-exponent + 1) / 2), exactly
        up, down = max(-exponent, 0), max(exponent, 0)
        moved = ((step << up) + (np.int64(1) << down)) >> (down + 1)
        w[i] = min(max(w[i] + moved, low), high)


@numba.njit(
    "void(int64[:,:,::1],int64[:,:,::1],int64,boolean,boolean,int64,int64,int64,int64,int64,boolean)",
    cache=True, nogil=True,
)
def _predict(
    s: Cells, indices: Cells, bands_before: int, is_full: Any, is_neighbour: Any, nu_max: int,  # noqa: ANN401
    depth: int, low: int, high: int, middle: int, encoding: Any,  # noqa: ANN401
) -> None:
    """Section 4: samples to mapped quantizer indices, or back."""
    bands, rows, cols = s.shape
    d = np.zeros(3 + bands_before, np.int64)
    w = np.zeros(3 + bands_before, np.int64)
    w_low, w_high = -(np.int64(1) << (OMEGA + 2)), (np.int64(1) << (OMEGA + 2)) - 1
    for z in range(bands):
        before = min(z, bands_before)
        first = 3 if is_full else 0
        for i in range(w.size):  # section 4.6.3.2: default weight initialization
            w[i] = 0
        for i in range(before):
            w[first + i] = 7 * (np.int64(1) << OMEGA) >> 3 if i == 0 else w[first + i - 1] >> 3
        for y in range(rows):
            for x in range(cols):
                t = y * cols + x
                count = 0
                if t == 0:
                    doubled = 2 * s[z - 1, y, x] if z > 0 and bands_before > 0 else 2 * middle
                else:
                    total = _local_sum(s, z, y, x, is_neighbour)
                    count = _differences(s, z, y, x, before, total, is_full, is_neighbour, d)
                    inner = np.int64(0)
                    for i in range(count):
                        inner += w[i] * d[i]
                    centre = ((total - 4 * middle) << OMEGA) + (middle << (OMEGA + 2))
                    fine = inner + centre + (np.int64(1) << (OMEGA + 1))
                    least, most = low << (OMEGA + 2), (high << (OMEGA + 2)) + (np.int64(1) << (OMEGA + 1))
                    doubled = min(max(fine, least), most) >> (OMEGA + 1)
                predicted = doubled >> 1
                reach = min(predicted - low, high - predicted)
                is_odd = (doubled & 1) == 1
                if encoding:
                    indices[z, y, x] = _mapped(s[z, y, x] - predicted, reach, is_odd)
                else:
                    s[z, y, x] = predicted + _unmapped(indices[z, y, x], reach, is_odd, predicted - low)
                if t > 0:
                    exponent = min(max(NU_MIN + ((t - cols) >> INTERVAL), NU_MIN), nu_max) + depth - OMEGA
                    _update(w, d, count, 2 * s[z, y, x] - doubled, exponent, w_low, w_high)


@numba.njit("int64(int64,int64,int64)", cache=True)
def _parameter(count: int, total: int, depth: int) -> int:
    """Section 5.4.3.2.4.3: the Golomb parameter from counter and accumulator."""
    reached = total + ((49 * count) >> 7)
    if 2 * count > reached:
        return 0
    k = min(1, depth - 2)
    while k < depth - 2 and (count << (k + 1)) <= reached:
        k += 1
    return k


@numba.njit("int64(int64)", cache=True)
def _first_total(depth: int) -> int:
    """Accumulator at the start of a band (section 5.4.3.2.4.1)."""
    constant = min(ACCUMULATOR, max(depth - 2, 0))
    scaled = constant if constant <= 30 - depth else 2 * constant + depth - 30
    return ((3 * (1 << (scaled + 6)) - 49) * (1 << COUNTER_START)) >> 7


@numba.njit("int64(uint8[::1],int64,int64,int64)", cache=True)
def _put(out: NDArray[np.uint8], at: int, value: int, bits: int) -> int:
    """The low bits of a value, most significant first; the position after them."""
    for place in range(bits - 1, -1, -1):
        if (value >> place) & 1:
            out[at >> 3] |= np.uint8(1 << (7 - (at & 7)))
        at += 1
    return at


@numba.njit("int64(int64[:,:,::1],int64,uint8[::1])", cache=True, nogil=True)
def _write(indices: Cells, depth: int, out: NDArray[np.uint8]) -> int:
    """Section 5.4.3.2: sample-adaptive coding, bands in sequence; the number of bits written."""
    bands, rows, cols = indices.shape
    at = 0
    for z in range(bands):
        count, total = np.int64(1) << COUNTER_START, _first_total(depth)
        for t in range(rows * cols):
            index = indices[z, t // cols, t % cols]
            if t == 0:
                at = _put(out, at, index, depth)
                continue
            k = _parameter(count, total, depth)
            zeros = index >> k
            if zeros < UNARY_LIMIT:
                at += zeros
                at = _put(out, at, 1, 1)
                at = _put(out, at, index & ((np.int64(1) << k) - 1), k)
            else:
                at = _put(out, at + UNARY_LIMIT, index, depth)
            if count == (1 << COUNTER_LIMIT) - 1:
                total, count = (total + index + 1) >> 1, (count + 1) >> 1
            else:
                total, count = total + index, count + 1
    return at


@numba.njit("void(uint8[::1],int64,int64[:,:,::1])", cache=True, nogil=True)
def _read(data: NDArray[np.uint8], depth: int, indices: Cells) -> None:
    """What :func:`_write` wrote."""
    bands, rows, cols = indices.shape
    at = np.int64(0)
    for z in range(bands):
        count, total = np.int64(1) << COUNTER_START, _first_total(depth)
        for t in range(rows * cols):
            k, zeros = depth, np.int64(0)
            if t > 0:
                k = _parameter(count, total, depth)
                while zeros < UNARY_LIMIT and not (data[at >> 3] >> (7 - (at & 7))) & 1:
                    zeros += 1
                    at += 1
                if zeros < UNARY_LIMIT:
                    at += 1
                else:
                    k, zeros = depth, np.int64(0)
            index = zeros
            for _ in range(k):
                index = 2 * index + ((data[at >> 3] >> (7 - (at & 7))) & 1)
                at += 1
            indices[z, t // cols, t % cols] = index
            if t == 0:
                continue
            if count == (1 << COUNTER_LIMIT) - 1:
                total, count = (total + index + 1) >> 1, (count + 1) >> 1
            else:
                total, count = total + index, count + 1
