"""What the tiles of a cube have in common: where their mixers, guesses and expected magnitudes end up, told once.

A tile learns from nothing but itself, so small tiles pay for the same lessons again and again. The encoder averages
what some tiles have learnt, and tells in a section of the whole cube how far that is from the shipped first state, in
coarse steps; every tile starts from there. The section is read on opening, so one pixel still needs one tile.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.entropy.planes import ChunkDecoder, ChunkEncoder, MixerState
from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Table = NDArray[np.int32]

NAMES = ("lms", "guides", "weights", "sign_weights", "sign_states")
STEPS = {"lms": 11, "guides": 11, "weights": 12, "sign_weights": 12, "sign_states": 15}  # powers of two
FARTHEST = 1 << 19  # from the shipped state: eight, as a weight
LIMITS = {"lms": (-(1 << 16), 1 << 17)}  # what learning keeps to; the others stay within FARTHEST of what ships
_GUIDES = struct.Struct("<H")  # components whose guesses are told
FEWEST_USES = 64  # of a row of mixing weights or of a state, all tiles together
FAMILIAR = 16  # times that a state told counts as asked, at least
_SURE = (1 << 14, (1 << 20) - (1 << 14))  # probabilities that a state may be told, in 2^-20
_COUNTS = 1023


@dataclass(frozen=True, slots=True)
class Learnt:
    """What one tile has learnt by its end; see :class:`~palimpsest.codec.entropy.planes.MixerState`.

    Args:
        lms: weights of the expected magnitude.
        guides: weights of the signed guess, of the components that the cube has.
        weights: mixing weights of magnitudes; the last column counts uses.
        sign_weights: mixing weights of signs, likewise.
        sign_states: adaptive probabilities of signs.
    """

    lms: Table
    guides: Table
    weights: Table
    sign_weights: Table
    sign_states: Table

    @classmethod
    def of(cls, state: MixerState, components: int) -> Learnt:
        """What matters of a state that has coded a tile."""
        known = state.guides[: min(components, len(state.guides))]
        return cls(
            state.lms.copy(), known.copy(), state.weights.copy(), state.sign_weights.copy(), state.sign_states.copy()
        )


def packed(tiles: Sequence[Learnt], first: MixerState) -> bytes:
    """The section that tells what tiles have in common.

    Args:
        tiles: what some of them have learnt, all from a start of the same cube.
        first: the shipped state, from which differences are told.
    """
    parts = []
    for name in NAMES:
        found = np.stack([getattr(tile, name) for tile in tiles]).astype(np.int64)
        shipped = getattr(first, name)[: found.shape[1]].astype(np.int64)
        if name.endswith("weights"):
            uses = found[:, :, -1:]
            total = uses.sum(axis=0)
            mean = (found * uses).sum(axis=0) // np.maximum(total, 1)
            change = np.where(total >= FEWEST_USES, mean - shipped, 0)[:, :-1]
        elif name == "sign_states":
            uses = np.maximum((found & _COUNTS) - (shipped & _COUNTS), 0)
            total = uses.sum(axis=0)
            mean = ((found >> 10) * uses).sum(axis=0) // np.maximum(total, 1)
            change = np.where(total >= FEWEST_USES, mean - (shipped >> 10), 0)
        else:
            change = found.sum(axis=0) // len(tiles) - shipped
        change = np.clip(change, -FARTHEST, FARTHEST)
        parts.append((change + (1 << STEPS[name] >> 1)) >> STEPS[name])
    told = [np.flatnonzero(part.any(axis=1)) for part in parts]
    guides = NAMES.index("guides")
    parts[guides] = parts[guides][: int(told[guides].max(initial=-1)) + 1]
    encoder = ChunkEncoder(MixerState.neutral(), sum(len(part) + part.size for part in parts))
    for at, (part, rows) in enumerate(zip(parts, told, strict=True)):
        flags = np.zeros((1, 1, len(part)), np.int32)
        flags[0, 0, rows] = 1
        encoder.code(flags, level=at)
        encoder.code(np.ascontiguousarray(part[rows][None], np.int32), level=at, orientation=1)
    return _GUIDES.pack(len(parts[guides])) + encoder.finish()


def started(first: MixerState, data: bytes) -> MixerState:
    """The state from which every tile of a cube starts.

    Args:
        first: the shipped state.
        data: the section.

    Raises:
        StreamCorrupt: a section that no encoder writes.
    """
    if len(data) < _GUIDES.size:
        raise StreamCorrupt("the cube's state is cut", got=len(data))
    (guided,) = _GUIDES.unpack_from(data)
    if guided > len(first.guides):
        raise StreamCorrupt("the cube's state guesses too many components", got=guided, wanted=len(first.guides))
    decoder = ChunkDecoder(MixerState.neutral(), data[_GUIDES.size :])
    tables: dict[str, Table] = {}
    for at, name in enumerate(NAMES):
        table = getattr(first, name).copy()
        rows = guided if name == "guides" else len(table)
        columns = table.shape[1] - (1 if name.endswith("weights") else 0)
        flags = decoder.read((1, 1, rows), level=at)[0, 0]
        if flags.min(initial=0) < 0 or flags.max(initial=0) > 1:
            raise StreamCorrupt("rows of the cube's state are told or not", got=int(np.abs(flags).max()), wanted="0, 1")
        told = np.flatnonzero(flags)
        steps = decoder.read((1, len(told), columns), level=at, orientation=1)[0].astype(np.int64)
        if np.abs(steps).max(initial=0) > FARTHEST >> STEPS[name]:
            raise StreamCorrupt("the cube's state is too far off", where=name, wanted=FARTHEST >> STEPS[name])
        if name == "sign_states":
            table[told] = np.where(steps, _moved(table[told], steps << STEPS[name]), table[told])
            tables[name] = table
            continue
        moved = table[told, :columns] + (steps << STEPS[name])
        if name in LIMITS:
            moved = np.clip(moved, *LIMITS[name])
        table[told, :columns] = moved.astype(np.int32)
        tables[name] = table
    return replace(
        first, lms=tables["lms"], guides=tables["guides"], weights=tables["weights"],
        sign_weights=tables["sign_weights"], sign_states=tables["sign_states"],
    )


def _moved(states: Table, change: NDArray[np.int64]) -> NDArray[np.int64]:
    """Adaptive states whose probability is another, and which trust it a little."""
    probability = np.clip((states.astype(np.int64) >> 10) + change, *_SURE)
    return (probability << 10) | np.maximum(states & _COUNTS, FAMILIAR)
