"""A small trained network that foresees each sample: how large it will be, and whether the guess of its sign holds.

It reads logarithms of magnitudes already known (the same plane, the coarser level, three components before and all of
them fading, two siblings, the running and the expected magnitude, the guess and its spread) and where it is, and gives
for each decision of the coder the logarithm of its odds. Those are one more input of the mixer, and a context.

Integers only, so every machine foresees the same: inputs in 1/16 octave, weights int16, sums int32 that are checked
against overflow when the weights are read, hidden units clamped at 16 with 8 fraction bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numba
import numpy as np

from palimpsest.errors import FormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cells = NDArray[np.int64]
    Plane = NDArray[np.int32]
    Tensors = dict[str, NDArray[np.generic]]

MARGIN = 2
INPUTS = 38
FIRST_INPUTS = 35  # of the first networks, which knew nothing of how far guesses were off
PLACES = 14  # six levels, four orientations, the quantiser's turn, first, second and third component
OUTPUTS = 15  # 0..5 'more than n?', 6..11 exponents of the tail, 12..14 the sign of ones, twos and larger
SIGNS = 12
FIRST_BITS, LATER_BITS = 16, 12  # fraction bits of the weights
HIGHEST = 4095  # of a hidden unit: just under 16
LARGEST_INPUT = 176
PREFIX = "foresight."
# 1/16 octave of 1 + v/4: inputs come in quarters.
LOGARITHM = np.array([((4 + v) ** 16 >> 32).bit_length() - 1 for v in range(8192)], np.int32)


@dataclass(frozen=True, slots=True)
class Foresight:
    """Weights of the network, all int32 and contiguous.

    Args:
        first: ``(input, unit)``, of inputs in 1/16 octave, for sums with 16 fraction bits.
        order: ``(unit,)``, of the component's number, the same way.
        places: ``(place, unit)``, 16 fraction bits; the constant is in the rows of the levels.
        second: ``(unit, unit)``, 12 fraction bits; ``second_bias`` ``(unit,)``, 20.
        third: ``(output, unit)``, 12 fraction bits; ``third_places`` ``(place, output)``, 20; ``third_order``
            ``(output,)``, of the component's number in 1/16 octave, 20.
    """

    first: Plane
    order: Plane
    places: Plane
    second: Plane
    second_bias: Plane
    third: Plane
    third_places: Plane
    third_order: Plane

    def parts(self) -> tuple[Plane, ...]:
        """The arrays in the order in which the kernel takes them."""
        return (
            self.first, self.order, self.places, self.second, self.second_bias, self.third, self.third_places,
            self.third_order,
        )


NAMES = ("first", "order", "places", "second", "second_bias", "third", "third_places", "third_order")


def blank() -> Foresight:
    """A network without units, for a coder that has none."""
    return Foresight(*(np.zeros(0, np.int32).reshape((0,) * sides) for sides in (2, 1, 2, 2, 1, 2, 2, 1)))


def packed(net: Foresight) -> Tensors:
    """Tensors of a network."""
    return {PREFIX + name: part for name, part in zip(NAMES, net.parts(), strict=True)}


def unpacked(tensors: Tensors) -> Foresight:
    """The network of its tensors; :func:`blank` where there are none.

    Raises:
        FormatError: tensors that are missing or do not fit each other, weights whose sums could overflow.
    """
    if not tensors:
        return blank()
    try:
        net = Foresight(*(np.ascontiguousarray(tensors[PREFIX + name], np.int32) for name in NAMES))
        units, later = net.first.shape[1], net.second.shape[1]
        if len(net.first) == FIRST_INPUTS:
            net = replace(net, first=np.concatenate([net.first, np.zeros((INPUTS - FIRST_INPUTS, units), np.int32)]))
    except (KeyError, IndexError) as err:
        raise FormatError("a foresight network with a part missing", where=str(err)) from err
    wanted = ((INPUTS, units), (units,), (PLACES, units), (units, later), (later,), (OUTPUTS, later),
              (PLACES, OUTPUTS), (OUTPUTS,))
    if tuple(part.shape for part in net.parts()) != wanted or units % 4 != 0:
        raise FormatError("a foresight network whose parts do not fit", got=[part.shape for part in net.parts()])
    wide = [np.abs(part.astype(np.int64)) for part in net.parts()]
    sums = (
        (wide[0].sum(axis=0) + wide[1]) * LARGEST_INPUT + wide[2].sum(axis=0),
        wide[3].sum(axis=0) * HIGHEST + wide[4],
        wide[5].sum(axis=1) * HIGHEST + wide[6].sum(axis=0) + wide[7] * LARGEST_INPUT,
    )
    if max(int(each.max(initial=0)) for each in sums) >= 1 << 31:
        raise FormatError("a foresight network whose sums could overflow", got=[int(s.max()) for s in sums])
    return net


@numba.njit("int64(int64)", cache=True, nogil=True)
def logarithm(quarters: int) -> int:
    """Logarithm of one and a magnitude in quarters, in 1/16 octave."""
    return int(LOGARITHM[min(max(quarters, 0), 8191)])


@numba.njit("int64(int32[:,::1], int64, int64)", cache=True, nogil=True)
def size_at(plane: Plane, r: int, c: int) -> int:
    """Magnitude, at most 2^24 so that sums stay small."""
    return int(min(abs(np.int64(plane[r, c])), np.int64(1 << 24)))


@numba.njit("int64(int32[:,::1], int64, int64)", cache=True, nogil=True)
def near(plane: Plane, r: int, c: int) -> int:
    """Magnitudes of the four nearest together."""
    return size_at(plane, r - 1, c) + size_at(plane, r + 1, c) + size_at(plane, r, c - 1) + size_at(plane, r, c + 1)


@numba.njit("int64(int32[:,::1], int64, int64)", cache=True, nogil=True)
def corners(plane: Plane, r: int, c: int) -> int:
    """Magnitudes of the four at the corners together."""
    return (
        size_at(plane, r - 1, c - 1) + size_at(plane, r + 1, c - 1)
        + size_at(plane, r - 1, c + 1) + size_at(plane, r + 1, c + 1)
    )


@numba.njit(
    "void(int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1],"
    "int32[:,::1], int64, int64, int32[::1])",
    cache=True, nogil=True,
)
def look(
    q: Plane, one: Plane, two: Plane, three: Plane, parent: Plane, sibling: Plane, other: Plane, energy: Plane,
    r: int, c: int, seen: Plane,
) -> None:
    """Fill the inputs 0 to 29 and 32: logarithms of the magnitudes around."""
    seen[0], seen[1] = logarithm(4 * size_at(q, r, c - 1)), logarithm(4 * size_at(q, r - 1, c))
    seen[2], seen[3] = logarithm(4 * size_at(q, r - 1, c - 1)), logarithm(4 * size_at(q, r - 1, c + 1))
    seen[4], seen[5] = logarithm(4 * size_at(q, r, c - 2)), logarithm(4 * size_at(q, r - 2, c))
    seen[6], seen[7] = logarithm(4 * size_at(q, r - 2, c + 1)), logarithm(4 * size_at(q, r - 2, c - 1))
    seen[8], seen[9] = logarithm(4 * size_at(q, r - 1, c - 2)), logarithm(4 * size_at(q, r - 1, c + 2))
    pr, pc = MARGIN + ((r - MARGIN) >> 1), MARGIN + ((c - MARGIN) >> 1)
    # The parent's neighbours on the side on which this child lies.
    down, right = (-1 if ((r - MARGIN) & 1) == 0 else 1), (-1 if ((c - MARGIN) & 1) == 0 else 1)
    seen[10], seen[11] = logarithm(4 * size_at(parent, pr, pc)), logarithm(4 * size_at(parent, pr + down, pc))
    seen[12] = logarithm(4 * size_at(parent, pr, pc + right))
    seen[13] = logarithm(4 * size_at(parent, pr + down, pc + right))
    seen[14] = logarithm(near(parent, pr, pc) + corners(parent, pr, pc))
    seen[15], seen[16], seen[17] = (
        logarithm(4 * size_at(one, r, c)), logarithm(near(one, r, c)), logarithm(corners(one, r, c))
    )
    seen[18], seen[19], seen[20] = (
        logarithm(4 * size_at(two, r, c)), logarithm(near(two, r, c)), logarithm(corners(two, r, c))
    )
    seen[21], seen[22] = logarithm(4 * size_at(three, r, c)), logarithm(near(three, r, c))
    seen[23] = logarithm(size_at(energy, r, c) >> 2)
    seen[24], seen[25] = logarithm(near(energy, r, c) >> 4), logarithm(corners(energy, r, c) >> 4)
    seen[26], seen[27] = logarithm(4 * size_at(sibling, r, c)), logarithm(near(sibling, r, c))
    seen[28], seen[29] = logarithm(4 * size_at(other, r, c)), logarithm(near(other, r, c))
    seen[32] = logarithm(
        size_at(q, r - 1, c - 1) + 2 * size_at(q, r - 1, c) + 2 * size_at(q, r, c - 1) + size_at(q, r - 1, c + 1)
    )


@numba.njit(
    "void(int64, int64, int64, int32[::1], int32[:,::1], int32[:,::1], int32[::1], int32[:,::1], int32[:,::1])",
    cache=True, nogil=True,
)
def settle(
    depth: int, orient: int, k: int, order: Plane, places: Plane, third_places: Plane, third_order: Plane,
    bias: Plane, third_bias: Plane,
) -> None:
    """Sum what is the same for a whole plane: ``bias`` ``(turn of the quantiser, unit)``, ``third_bias`` likewise."""
    number = logarithm(4 * k)
    for turn in range(2):
        for j in range(order.size):
            total = order[j] * number + places[depth, j] + places[6 + orient, j] + turn * places[10, j]
            bias[turn, j] = total + (places[11 + k, j] if k < 3 else 0)
        for j in range(third_order.size):
            total = third_order[j] * number + third_places[depth, j] + third_places[6 + orient, j]
            third_bias[turn, j] = total + turn * third_places[10, j] + (third_places[11 + k, j] if k < 3 else 0)


@numba.njit(
    "void(int32[::1], int32[:,::1], int64, int32[:,::1], int32[:,::1], int32[::1], int32[::1], int32[::1])",
    cache=True, nogil=True,
)
def foresee(
    seen: Plane, bias: Plane, turn: int, first: Plane, second: Plane, second_bias: Plane, hidden: Plane, later: Plane
) -> None:
    """Both hidden layers; ``later`` has 8 fraction bits."""
    units, more = hidden.size, later.size
    for j in range(units):
        hidden[j] = bias[turn, j]
    # Two inputs at a time, so that sums are not stored after each; where both are zero there is nothing to do.
    for i in range(0, INPUTS, 2):
        v0, v1 = seen[i], seen[i + 1]
        if (v0 | v1) != 0:
            for j in range(units):
                hidden[j] += v0 * first[i, j] + v1 * first[i + 1, j]
    for j in range(more):
        later[j] = second_bias[j]
    for i in range(0, units, 4):
        h0, h1 = min(max(hidden[i] >> 8, 0), HIGHEST), min(max(hidden[i + 1] >> 8, 0), HIGHEST)
        h2, h3 = min(max(hidden[i + 2] >> 8, 0), HIGHEST), min(max(hidden[i + 3] >> 8, 0), HIGHEST)
        if (h0 | h1 | h2 | h3) != 0:
            for j in range(more):
                later[j] += np.int32(
                    h0 * second[i, j] + h1 * second[i + 1, j] + h2 * second[i + 2, j] + h3 * second[i + 3, j]
                )
    for j in range(more):
        later[j] = np.int32(min(max(later[j] >> 12, 0), HIGHEST))


@numba.njit("int64(int32[::1], int32[:,::1], int32[:,::1], int64, int64)", cache=True, nogil=True)
def odds(later: Plane, third: Plane, third_bias: Plane, turn: int, output: int) -> int:
    """Logarithm of the odds of a decision, in 1/256."""
    total = np.int64(third_bias[turn, output])
    for j in range(later.size):
        total += np.int64(later[j]) * np.int64(third[output, j])
    return int(min(max(total >> 12, np.int64(-2047)), np.int64(2047)))
