"""Stacks of integer planes to bytes and back, by the context-mixing coder.

A chunk holds one or more stacks; the state of the mixer runs on from chunk to chunk of a tile, coarse to fine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.entropy import contexts, logistic
from palimpsest.codec.entropy.binary_coder import finished, new_decoder, new_encoder
from palimpsest.codec.quantisation import cells
from palimpsest.codec.quantisation.trellis import FOUR, SIXTEEN
from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.codec.entropy.foresight import Foresight
    from palimpsest.codec.quantisation.cells import Hints, Offsets, Sums
    from palimpsest.codec.quantisation.trellis import Trellis

    Stack = NDArray[np.int32]
    Table = NDArray[np.int32]

SIDE_LEVEL = 5
LARGEST_SAMPLE = (1 << 30) - 1
_BYTES_A_SAMPLE = 12


@dataclass(frozen=True, slots=True)
class Observer:
    """Collects what a foresight network would see, for its training.

    Args:
        stride: every how many samples one is taken.
        seen: blocks ``(sample, details.RECORDED)`` int16.
    """

    stride: int
    seen: list[NDArray[np.int16]]


@dataclass(frozen=True, slots=True)
class MixerState:
    """What the coder has learned so far; encoder and decoder hold equal ones.

    Args:
        states: adaptive probabilities of magnitudes, ``(input, context)`` int32.
        weights: of their mixer, ``(row, input + 2)`` int32, 16 fraction bits; then a bias and a count.
        sign_states, sign_weights: the same for signs.
        flag_states, flag_weights: the same for empty components and low bits.
        lms: weights of the expected magnitude, ``(level x 4 + orientation, feature)`` int32, 16 fraction bits.
        guides: weights of the signed guess, ``(component, tap)`` int32, 16 fraction bits; without rows nothing is
            guessed, and :mod:`palimpsest.codec.entropy.contexts` codes alone.
        views: which of the views choose states, where something is guessed.
        trellis: states of the quantiser whose samples are coded.
        foresight: the network, where something is guessed; else None.
        observer: told of samples, where something is guessed; None but in training.
        offsets: where in their cells samples stand, see :mod:`palimpsest.codec.quantisation.cells`.
        rests: gets how far they are from their points; None but in training.
    """

    states: Table
    weights: Table
    sign_states: Table
    sign_weights: Table
    flag_states: Table
    flag_weights: Table
    lms: Table
    guides: Table = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    views: tuple[int, ...] = tuple(range(contexts.INPUTS))
    trellis: Trellis = FOUR
    foresight: Foresight | None = None
    observer: Observer | None = None
    offsets: Offsets = field(default_factory=cells.blank)
    rests: Sums | None = None

    @property
    def takes_hints(self) -> bool:
        """Whether it is noted what was expected of samples."""
        return self.offsets.size > 0 or self.rests is not None

    @classmethod
    def for_details(cls, foreseen: Foresight | None = None, trellis: Trellis = SIXTEEN) -> MixerState:
        """A state that has seen nothing, for spatial levels; with a trained network or without."""
        from palimpsest.codec.entropy import details, foresight, guess

        net = foresight.blank() if foreseen is None else foreseen
        views = details.VIEWS_WITH_FORESIGHT if net.third.size else details.ALL_VIEWS
        share = 2 * len(views) if net.third.size else 22
        return cls(
            *_fresh(len(views) + 1, contexts.CONTEXTS * contexts.NODES, contexts.MIXER_ROWS, share, 1),
            *_fresh(contexts.SIGN_INPUTS + 1, contexts.SIGN_CONTEXTS, contexts.SIGN_ROWS, 28, 1),
            *_fresh(2, contexts.FLAG_CONTEXTS, contexts.FLAG_ROWS, 4),
            np.full((contexts.LEVELS * 4, contexts.FEATURES), (1 << 16) // 10, np.int32),
            np.zeros((guess.GUIDES, guess.TAPS), np.int32), views, trellis, net,
        )

    @classmethod
    def neutral(cls) -> MixerState:
        """A state that has seen nothing, for tables and the exact layer."""
        return cls(
            *_fresh(contexts.INPUTS, contexts.CONTEXTS * contexts.NODES, contexts.MIXER_ROWS, 22),
            *_fresh(contexts.SIGN_INPUTS, contexts.SIGN_CONTEXTS, contexts.SIGN_ROWS, 14),
            *_fresh(2, contexts.FLAG_CONTEXTS, contexts.FLAG_ROWS, 4),
            np.full((contexts.LEVELS * 4, contexts.FEATURES), (1 << 16) // 10, np.int32),
        )

    def parts(self) -> tuple[Table, ...]:
        """The tables of adaptive states and weights in the order in which the kernels take them."""
        return (
            self.states, self.weights, self.sign_states, self.sign_weights, self.flag_states, self.flag_weights,
            self.lms,
        )

    def copy(self) -> MixerState:
        """An independent state that continues from here."""
        return replace(
            self, states=self.states.copy(), weights=self.weights.copy(), sign_states=self.sign_states.copy(),
            sign_weights=self.sign_weights.copy(), flag_states=self.flag_states.copy(),
            flag_weights=self.flag_weights.copy(), lms=self.lms.copy(), guides=self.guides.copy(),
        )


def _fresh(inputs: int, states: int, rows: int, share: int, direct: int = 0) -> tuple[Table, Table]:
    """States, and mixing weights: of states, of ``direct`` inputs that come as odds, of a constant, and a count."""
    weights = np.full((rows, inputs + direct + 2), (1 << 16) // share, np.int32)
    weights[:, inputs : inputs + direct] = (1 << 16) // 4
    weights[:, inputs + direct :] = 0
    return np.full((inputs, states), logistic.FRESH_STATE, np.int32), weights


@dataclass(frozen=True, slots=True)
class Told:
    """What a coded stack tells those after it; see :func:`palimpsest.codec.entropy.outlook.tell`.

    Args:
        of: the stack.
        logs: ``(component, 5, row, col)`` with margins.
        sums: ``(component, 2, row, col)``.
    """

    of: Stack
    logs: NDArray[np.uint8]
    sums: NDArray[np.int16]

    @classmethod
    def room(cls, stack: Stack) -> Told:
        """Of a stack with margins that nothing is known of."""
        count, height, width = stack.shape
        sums = np.zeros((count, 2, height - 2 * contexts.MARGIN, width - 2 * contexts.MARGIN), np.int16)
        return cls(stack, np.zeros((count, 5, height, width), np.uint8), sums)


def _told(known: list[Told], stack: Stack, cut: Stack) -> Told:
    """What a stack tells, worked out anew where it was cut or filled to ``cut`` (with margins)."""
    for told in known:
        if told.of is stack and told.logs.shape[2:] == cut.shape[1:]:
            return told
    from palimpsest.codec.entropy import outlook

    fresh = Told.room(cut)
    if stack.size:
        outlook.tell_all(cut, fresh.logs, fresh.sums)
    return fresh


class ChunkEncoder:
    """Collects stacks into one chunk.

    Args:
        state: the mixer's state; it learns from what is coded.
        samples: how many samples will be coded at most.
        told: what parts of this tile that were coded before tell; grows.

    Attributes:
        hints: of the last stack, where the state asks for them.
    """

    def __init__(self, state: MixerState, samples: int, told: list[Told] | None = None) -> None:
        self._state = state
        self._told: list[Told] = [] if told is None else told
        self._coder = new_encoder()
        self._buffer = np.zeros(samples * _BYTES_A_SAMPLE + 1024, np.uint8)
        self.hints = cells.blank_hints()

    def code(
        self, planes: Stack, *, level: int = SIDE_LEVEL, orientation: int = 0, parents: Stack | None = None,
        siblings: Sequence[Stack] = (), dependent: bool = False,
    ) -> None:
        """Append a stack ``(component, row, col)`` int32.

        Args:
            planes: the samples, at most ``LARGEST_SAMPLE`` in magnitude.
            level: 0 finest ... 4; 5 for the coarse plane and side information.
            orientation: 0, 1 or 2.
            parents: the same orientation one level coarser, or None.
            siblings: orientations of this level already coded.
            dependent: whether the samples come from the dependent quantiser.
        """
        where = (level, orientation)
        work = (self._state, self._coder, self._buffer, self._told)
        self.hints = _run(*work, planes, where, parents, siblings, dependent, encoding=True)

    def finish(self) -> bytes:
        """The chunk's bytes."""
        return finished(self._coder, self._buffer)


class ChunkDecoder:
    """Reads the stacks of one chunk in the order in which they were coded; ``hints`` as in :class:`ChunkEncoder`."""

    def __init__(self, state: MixerState, data: bytes, told: list[Told] | None = None) -> None:
        self._state = state
        self._told: list[Told] = [] if told is None else told
        self._buffer = np.frombuffer(data, np.uint8).copy()
        self._coder = new_decoder(self._buffer)
        self.hints = cells.blank_hints()

    def read(
        self, shape: tuple[int, int, int], *, level: int = SIDE_LEVEL, orientation: int = 0,
        parents: Stack | None = None, siblings: Sequence[Stack] = (), dependent: bool = False,
    ) -> Stack:
        """The next stack, ``(component, row, col)`` int32."""
        planes = np.zeros(shape, np.int32)
        where = (level, orientation)
        work = (self._state, self._coder, self._buffer, self._told)
        self.hints = _run(*work, planes, where, parents, siblings, dependent, encoding=False)
        if int(self._coder[3]) > self._buffer.size + 64:
            # An honest stream never reads far past its end; a damaged one that passed its checksum is refused here.
            raise StreamCorrupt("a chunk ends before its samples do", got=self._buffer.size)
        return planes


def _run(
    state: MixerState, coder: NDArray[np.int64], buffer: NDArray[np.uint8], told: list[Told], planes: Stack,
    where: tuple[int, int], parents: Stack | None, siblings: Sequence[Stack], dependent: bool, *, encoding: bool,
) -> Hints:
    if planes.size == 0:
        return cells.blank_hints()
    components, rows, cols = planes.shape
    level, orientation = where
    hints = np.zeros(planes.shape, np.uint16) if state.takes_hints else cells.blank_hints()
    stack = _with_margins(planes, rows, cols)
    above = np.zeros((components, 0, 0), np.int32) if parents is None else parents
    beside = np.zeros((2, components, *stack.shape[1:]), np.int32)
    for slot, sibling in enumerate(siblings):
        beside[slot] = _with_margins(sibling, rows, cols)
    parent = _with_margins(above, (rows + 1) // 2, (cols + 1) // 2)
    if not len(state.guides):
        contexts.code_stack(
            stack, parent, beside, level, orientation, dependent, *state.parts(), coder, buffer, encoding
        )
        _put_back(stack, planes, encoding=encoding)
        return cells.blank_hints()
    # Only now: kernels take a while to load, and tables and the quick coder do without these.
    from palimpsest.codec.entropy import details, foreseen

    assert state.foresight is not None
    if state.observer is None and foreseen.fits(state.foresight, state.views):
        own = Told.room(stack)
        up = _told(told, above, parent)
        both = [_told(told, sibling, beside[slot]) for slot, sibling in enumerate(siblings)]
        both += [Told.room(stack)] * (2 - len(both))
        foreseen.code_foreseen(
            stack, parent, beside, level, orientation, *state.parts(), state.guides, state.trellis.following,
            state.trellis.sides, *foreseen.packed(state.foresight), coder, buffer, encoding, own.logs, own.sums,
            up.logs, up.sums, np.stack([one.logs for one in both]), np.stack([one.sums for one in both]), hints,
        )
        told.append(replace(own, of=planes))
    else:
        record, stride = np.zeros((0, details.RECORDED), np.int16), 1
        if state.observer is not None:
            stride = state.observer.stride
            record = np.zeros((planes.size // stride + 1, details.RECORDED), np.int16)
        written = details.code_details(
            stack, parent, beside, level, orientation, *state.parts(), state.guides, np.array(state.views, np.int64),
            state.trellis.following, state.trellis.sides, *state.foresight.parts(), coder, buffer, encoding, record,
            stride, hints,
        )
        if state.observer is not None:
            state.observer.seen.append(record[:written])
    _put_back(stack, planes, encoding=encoding)
    return hints


def _put_back(stack: Stack, planes: Stack, *, encoding: bool) -> None:
    """What was read, without margins."""
    if not encoding:
        _, rows, cols = planes.shape
        planes[:] = stack[:, contexts.MARGIN : contexts.MARGIN + rows, contexts.MARGIN : contexts.MARGIN + cols]


def _with_margins(planes: Stack, rows: int, cols: int) -> Stack:
    """Planes cut or filled to ``rows`` x ``cols``, with the margin of zeros that the kernel reads past the edge."""
    margin = contexts.MARGIN
    padded = np.zeros((len(planes), rows + 2 * margin, cols + 2 * margin), np.int32)
    high, wide = min(rows, planes.shape[1]), min(cols, planes.shape[2])
    padded[:, margin : margin + high, margin : margin + wide] = planes[:, :high, :wide]
    return padded


def encode_table(table: NDArray[np.int64], *, order: int) -> bytes:
    """A small integer table ``(row, col)`` as bytes, differenced ``order`` times along its columns."""
    return _pack_table(np.atleast_2d(table), order)


def _pack_table(table: NDArray[np.int64], order: int) -> bytes:
    rest = _differenced(table, order)
    encoder = ChunkEncoder(MixerState.neutral(), rest.size)
    encoder.code(np.ascontiguousarray(rest[None], dtype=np.int32))
    return encoder.finish()


def decode_table(data: bytes, shape: tuple[int, int], *, order: int) -> NDArray[np.int64]:
    """The table that :func:`encode_table` packed, ``shape`` int64."""
    rest = ChunkDecoder(MixerState.neutral(), data).read((1, *shape))[0].astype(np.int64)
    for _ in range(order):
        rest = np.cumsum(rest, axis=1)
    return rest


def _differenced(table: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    rest = table.astype(np.int64)
    for _ in range(order):
        rest = np.diff(rest, axis=1, prepend=0)
    return rest
