"""One tile's spatial levels: planes to chunks, coarse to fine, and back.

The chunks of a tile are, in order: the coarse plane, then levels from coarse to fine. Chunk n needs all before it,
because the mixer's state runs on; a decoder may stop after any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.entropy.cube_state import Learnt
from palimpsest.codec.entropy.planes import SIDE_LEVEL, ChunkDecoder, ChunkEncoder
from palimpsest.codec.quantisation import cells, rdoq
from palimpsest.codec.quantisation.quantiser import Pull, block_gains, dequantise, pull_of, quantise, unit_step
from palimpsest.codec.quick.coder import QuickDecoder, QuickEncoder, QuickState
from palimpsest.codec.space.spatial import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from palimpsest.codec.entropy.planes import MixerState, Told
    from palimpsest.codec.quantisation.cells import Hints, Offsets
    from palimpsest.codec.quick.coder import Known
    from palimpsest.codec.space.spatial import LevelTransform

    Stack = NDArray[np.int32]
    Parts = tuple[Stack, Stack, Stack]

MOST_LEVELS = 5
_PROBE = 1 << 16
COARSE = 3  # the coarse plane, among the orientations


def level_count(rows: int, cols: int) -> int:
    """How many spatial levels tiles of a size have: the coarse plane keeps about four samples on the longer side."""
    longer = max(rows, cols)
    return max(0, min(MOST_LEVELS, longer.bit_length() - 3))


def part_shapes(rows: int, cols: int, levels: int) -> tuple[tuple[int, int], list[list[tuple[int, int]]]]:
    """Shape of the coarse plane, and of (hl, lh, hh) of each level, finest first."""
    details = []
    for _ in range(levels):
        low_rows, low_cols = (rows + 1) // 2, (cols + 1) // 2
        details.append([(low_rows, cols // 2), (rows // 2, low_cols), (rows // 2, cols // 2)])
        rows, cols = low_rows, low_cols
    return (rows, cols), details


@dataclass(frozen=True, slots=True)
class TileCode:
    """A coded tile.

    Args:
        chunks: coarse plane first, then levels from coarse to fine.
        pulls: of the coarse plane, then (hl, lh, hh) of each level from coarse to fine.
    """

    chunks: tuple[bytes, ...]
    pulls: tuple[Pull, ...]


@dataclass(frozen=True, slots=True)
class TilePlan:
    """What encoder and decoder agree on before a tile: see the arguments of :class:`TileCoder`."""

    rows: int
    cols: int
    components: int
    fraction_bits: int


class TileCoder:
    """Codes the component planes of tiles.

    Args:
        transform: the spatial levels.
        initial: the coder's state at the start of a tile, which says which coder it is.
        levels: how many spatial levels every tile has, however small the tiles at the edges are.
        passes: of the encoder's trellis.
    """

    def __init__(
        self, transform: LevelTransform, initial: MixerState | QuickState, levels: int, *, passes: int = rdoq.PASSES
    ) -> None:
        self._transform = transform
        self._initial = initial
        self._levels = levels
        self._passes = passes
        self._constant: dict[int, float] = {}

    def encode(
        self, planes: Stack, fraction_bits: int, gains: NDArray[np.uint8] | None, learnt: list[Learnt] | None = None
    ) -> tuple[TileCode, Stack]:
        """Code ``(component, row, col)`` planes; also what the decoder will rebuild of them.

        Args:
            planes: the samples.
            fraction_bits: of them.
            gains: of blocks, or None.
            learnt: gets what the coder knows at the end of the tile.
        """
        components, rows, cols = planes.shape
        levels = self._levels
        spread = self._transform.synthesis_gains(levels)
        coarse_planes, details = self._transform.analyse_stack(checked(planes), levels)
        state, trellis = self._initial.copy(), self._initial.trellis
        pulls: list[Pull] = []
        chunks: list[bytes] = []

        def quantised(samples: Stack, gain: float, level: int) -> tuple[Stack, Callable[[Hints], Stack]]:
            step = unit_step(fraction_bits, gain)
            local = block_gains(gains, samples.shape[1:], 1 << level)
            coded, scaled = quantise(samples, step, local, self._passes, trellis)

            def rebuilt(hints: Hints) -> Stack:
                pull = pull_of(coded, scaled, trellis, hints, offsets)
                pulls.append(pull)
                _note(state, coded, scaled, hints)
                return dequantise(coded, step, local, pull, trellis, hints, offsets)

            return coded, rebuilt

        offsets = _offsets(state)
        coarse, place = quantised(coarse_planes, spread.coarse, levels)
        write = _writer(state)
        encoder = write(coarse.size)
        encoder.code(coarse, level=SIDE_LEVEL, orientation=COARSE, dependent=True)
        coarse_back = place(encoder.hints)
        chunks.append(encoder.finish())
        back: list[Parts] = []
        parents: Sequence[Stack | None] = (None, None, None)
        for level in range(levels, 0, -1):
            coded = [quantised(details[level - 1][o], spread.details[level - 1][o], level) for o in range(3)]
            encoder = write(sum(part.size for part in details[level - 1]))
            placed: list[Stack] = []
            for o in range(3):
                encoder.code(
                    coded[o][0], level=level - 1, orientation=o, parents=parents[o],
                    siblings=[coded[s][0] for s in range(o)], dependent=True,
                )
                placed.append(coded[o][1](encoder.hints))
            chunks.append(encoder.finish())
            back.append((placed[0], placed[1], placed[2]))
            parents = [part[0] for part in coded]
        rebuilt = self._transform.synthesise_stack(coarse_back, back[::-1])
        assert rebuilt.shape == (components, rows, cols)
        if learnt is not None and not isinstance(state, QuickState):
            learnt.append(Learnt.of(state, components))
        return TileCode(tuple(chunks), tuple(pulls)), rebuilt

    def decode(
        self, chunks: Sequence[bytes], pulls: Sequence[Pull], plan: TilePlan, gains: NDArray[np.uint8] | None,
        down_to_level: int = 0,
    ) -> Stack:
        """Planes down to a level, ``(component, row, col)`` int32; only the chunks needed are read."""
        levels = self._levels
        spread = self._transform.synthesis_gains(levels)
        coarse_shape, shapes = part_shapes(plan.rows, plan.cols, levels)
        state, trellis = self._initial.copy(), self._initial.trellis
        read, offsets = _reader(state), _offsets(state)
        decoder = read(chunks[0])
        coded = decoder.read((plan.components, *coarse_shape), level=SIDE_LEVEL, orientation=COARSE, dependent=True)
        step = unit_step(plan.fraction_bits, spread.coarse)
        coarse = dequantise(
            coded, step, block_gains(gains, coarse_shape, 1 << levels), pulls[0], trellis, decoder.hints, offsets
        )
        back: list[Parts] = []
        parents: list[Stack | None] = [None, None, None]
        for at, level in enumerate(range(levels, down_to_level, -1)):
            decoder = read(chunks[1 + at])
            stacks: list[Stack] = []
            placed: list[Stack] = []
            for o in range(3):
                stacks.append(
                    decoder.read(
                        (plan.components, *shapes[level - 1][o]), level=level - 1, orientation=o, parents=parents[o],
                        siblings=stacks[:o], dependent=True,
                    )
                )
                placed.append(
                    dequantise(
                        stacks[o], unit_step(plan.fraction_bits, spread.details[level - 1][o]),
                        block_gains(gains, shapes[level - 1][o], 1 << level), pulls[1 + 3 * at + o], trellis,
                        decoder.hints, offsets,
                    )
                )
            back.append((placed[0], placed[1], placed[2]))
            parents = list(stacks)
        missing = tuple(
            tuple(np.zeros((plan.components, *shape), np.int32) for shape in shapes[level])
            for level in range(down_to_level)
        )
        details = [*missing, *back[::-1]]
        return self._transform.synthesise_stack(coarse, details, down_to_level)  # type: ignore[arg-type] # as above

    def starting(self, initial: MixerState) -> TileCoder:
        """The same coder with another state at the start of every tile."""
        return TileCoder(self._transform, initial, self._levels, passes=self._passes)

    def constant_gain(self, level: int) -> float:
        """What ``level`` levels of analysis make of a constant plane, relative to it."""
        if level not in self._constant:
            side = 8 << level
            plane = np.full((side, side), _PROBE, np.int32)
            self._constant[level] = float(np.median(self._transform.analyse(plane, level).coarse)) / _PROBE
        return self._constant[level]


def _offsets(state: MixerState | QuickState) -> Offsets:
    return cells.blank() if isinstance(state, QuickState) else state.offsets


def _note(state: MixerState | QuickState, coded: Stack, scaled: NDArray[np.float32], hints: Hints) -> None:
    """For training: how far samples are from their points."""
    if not isinstance(state, QuickState) and state.rests is not None and coded.size:
        cells.gather(coded, scaled, hints, state.trellis.following, state.trellis.sides, state.rests)


def _writer(state: MixerState | QuickState) -> Callable[[int], ChunkEncoder | QuickEncoder]:
    """What begins a chunk of at most so many samples; the chunks of a tile share what they know."""
    if isinstance(state, QuickState):
        known: Known = []
        quick = state
        return lambda samples: QuickEncoder(quick, samples, known)
    told: list[Told] = []
    mixing = state
    return lambda samples: ChunkEncoder(mixing, samples, told)


def _reader(state: MixerState | QuickState) -> Callable[[bytes], ChunkDecoder | QuickDecoder]:
    """What reads a chunk, the other half of :func:`_writer`."""
    if isinstance(state, QuickState):
        known: Known = []
        quick = state
        return lambda data: QuickDecoder(quick, data, known)
    told: list[Told] = []
    mixing = state
    return lambda data: ChunkDecoder(mixing, data, told)
