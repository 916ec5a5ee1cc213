"""The spectral level as bytes: mean, then the basis vector by vector, each predicted by smoothness and orthogonality.

What is coded and how stands in :mod:`palimpsest.codec.spectrum.basis_kernel`. The coder starts from what other scenes
taught where the model has that (tensors ``basis.*``), with the predictors that suit them; else from nothing, with
hand-made ones. On scenes of 100 x 100 pixels a basis is a twentieth of a file, on smaller ones far more.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.entropy import logistic
from palimpsest.codec.entropy.binary_coder import POSITION, finished, new_decoder, new_encoder
from palimpsest.codec.entropy.first_state import fill, sparse
from palimpsest.codec.entropy.planes import decode_table, encode_table
from palimpsest.codec.spectrum.spectral import WEIGHT_UNIT, SpectralLevel, check_loaded
from palimpsest.errors import FormatError, StreamCorrupt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cells = NDArray[np.int64]
    Reals = NDArray[np.float64]
    Table = NDArray[np.int32]
    Tensors = dict[str, NDArray[np.generic]]

PREFIX = "basis."
# In 1/256 of the entries one, two and three bands before.
HAND_MADE = (
    (0, 0, 0), (64, 0, 0), (128, 0, 0), (192, 0, 0), (224, 0, 0), (384, -128, 0), (512, -256, 0), (320, -96, 0),
    (256, 0, 0),
)
# Bits that the last predictor must save in every entry to be taken: weak vectors of most scenes look as if they
# followed it, but what they owe to orthogonality is told better by others. The smaller of both is written.
CHARGES = (0.12, 0.0)
MOST_TRIED = 1 << 15  # entries, for both to be tried
MOST_PREDICTORS = 32
MOST_CONSTRAINTS, CONSTRAINT_WORK = 128, 1 << 30  # vectors before; their square times all entries
ALIKE = (0.1, 0.3)  # vectors whose products stay below the first are orthogonal, above the second they are not
OBLIQUE = 128  # added to the exponent where orthogonality is made no use of
LARGEST_ENTRY, LARGEST_MEAN_ENTRY = 1 << 26, 1 << 38
_TABLES = ("sizes", "signs", "symbols")
_OPENING = struct.Struct("<BI")  # exponent of the mean's unit, length of the table of weights: 0 where all are 1
_BYTES_A_NUMBER = 24


@dataclass(frozen=True, slots=True)
class BasisState:
    """What the coder of a basis knows; it learns while coding.

    Args:
        states, weights: adaptive probabilities of sizes and their mixing weights.
        sign_states, sign_weights: the same of signs.
        tree_states, tree_weights: the same of each vector's precision and predictor.
        expected: weights of the expected size, ``(feature,)`` int64, 16 fraction bits.
        taps: predictors, ``(predictor, band before)`` float64.
    """

    states: Table
    weights: Table
    sign_states: Table
    sign_weights: Table
    tree_states: Table
    tree_weights: Table
    expected: Cells
    taps: Reals

    @classmethod
    def blank(cls, taps: tuple[tuple[int, ...], ...] = HAND_MADE) -> BasisState:
        """A state that has seen nothing."""
        from palimpsest.codec.spectrum import basis_kernel as kernel

        return cls(
            *_fresh(kernel.INPUTS, kernel.CONTEXTS * kernel.NODES, kernel.ROWS),
            *_fresh(kernel.SIGN_INPUTS, kernel.SIGN_CONTEXTS, kernel.SIGN_ROWS),
            *_fresh(kernel.TREE_INPUTS, kernel.TREE_CONTEXTS, kernel.TREE_ROWS),
            np.full(kernel.FEATURES, (1 << 16) // 14, np.int64), np.array(taps, np.float64) / kernel.TAP_UNIT,
        )

    def copy(self) -> BasisState:
        """An independent state that continues from here."""
        return replace(
            self, states=self.states.copy(), weights=self.weights.copy(), sign_states=self.sign_states.copy(),
            sign_weights=self.sign_weights.copy(), tree_states=self.tree_states.copy(),
            tree_weights=self.tree_weights.copy(), expected=self.expected.copy(),
        )

    def pairs(self) -> tuple[tuple[Table, Table], ...]:
        """Probabilities and mixing weights of sizes, signs and symbols."""
        return (
            (self.states, self.weights), (self.sign_states, self.sign_weights), (self.tree_states, self.tree_weights),
        )


def _fresh(inputs: int, states: int, rows: int) -> tuple[Table, Table]:
    weights = np.full((rows, inputs + 2), (1 << 16) // inputs, np.int32)
    weights[:, inputs:] = 0
    return np.full((inputs, states), logistic.FRESH_STATE, np.int32), weights


def packed(state: BasisState) -> Tensors:
    """Tensors of a trained state, sparse as the mixer's are."""
    from palimpsest.codec.spectrum import basis_kernel as kernel

    tensors: Tensors = {}
    for name, (states, weights) in zip(_TABLES, state.pairs(), strict=True):
        tensors[f"{PREFIX}{name}.gaps"], tensors[f"{PREFIX}{name}.states"] = sparse(states)
        tensors[f"{PREFIX}{name}.weights"] = weights.astype(np.int32)
    tensors[f"{PREFIX}expected"] = state.expected.astype(np.int32)
    tensors[f"{PREFIX}taps"] = np.rint(state.taps * kernel.TAP_UNIT).astype(np.int16)
    return tensors


def unpacked(tensors: Tensors) -> BasisState:
    """The state of its tensors; one that has seen nothing where there are none.

    Raises:
        FormatError: tensors that do not fit.
    """
    if not tensors:
        return BasisState.blank()
    try:
        taps = tensors[f"{PREFIX}taps"]
        if not (taps.ndim == 2 and 1 <= len(taps) <= MOST_PREDICTORS and 1 <= taps.shape[1] <= 8):
            raise FormatError("predictors of another shape", where=f"{PREFIX}taps", got=taps.shape)
        state = BasisState.blank(tuple(tuple(int(tap) for tap in row) for row in taps))
        for name, (states, weights) in zip(_TABLES, state.pairs(), strict=True):
            fill(states, tensors[f"{PREFIX}{name}.gaps"], tensors[f"{PREFIX}{name}.states"])
            weights[:] = tensors[f"{PREFIX}{name}.weights"]
            weights[:, -1] = 0  # young again, so that a scene soon overrules
        state.expected[:] = tensors[f"{PREFIX}expected"]
    except (KeyError, IndexError, ValueError) as err:
        raise FormatError("the first state of the basis does not fit this coder", where=str(err)) from err
    return state


def encode_level(level: SpectralLevel, first: BasisState, *, is_thorough: bool = True) -> bytes:
    """A spectral level as a section; ``first`` is what the coder knows beforehand and stays as it is."""
    charges = CHARGES if is_thorough and level.basis.size <= MOST_TRIED else CHARGES[:1]
    alike = _most_alike(level)
    orthogonal = [True] * (alike < ALIKE[1]) + [False] * (alike > ALIKE[0])
    return min((encode_learning(level, first.copy(), *how) for how in product(charges, orthogonal)), key=len)


def encode_learning(
    level: SpectralLevel, state: BasisState, charge: float = CHARGES[0], are_orthogonal: bool = True
) -> bytes:
    """As :func:`encode_level`; the state goes on learning.

    Args:
        level: what to code.
        state: what the coder knows.
        charge: what the last predictor must save.
        are_orthogonal: whether to make use of it; vectors under a metric are not.
    """
    exponent = _common_power(level.mean)
    mean = level.mean >> exponent
    is_even = (level.weights == WEIGHT_UNIT).all()
    weights = b"" if is_even else encode_table(level.weights[None], order=1)
    bands, components = level.basis.shape
    buffer = np.zeros((components + 1) * (bands + 1) * _BYTES_A_NUMBER + 1024, np.uint8)
    coder = _Coder(state, new_encoder(), buffer, charge=charge)
    coder.mean(mean, bands)
    coder.vectors(np.ascontiguousarray(level.basis.T), level.shifts.astype(np.int64), are_orthogonal=are_orthogonal)
    opening = _OPENING.pack(exponent + (0 if are_orthogonal else OBLIQUE), len(weights))
    return opening + weights + finished(coder.coder, buffer)


def decode_level(
    data: bytes, bands: int, components: int, step: float, fraction_bits: int, first: BasisState
) -> SpectralLevel:
    """What :func:`encode_level` packed.

    Raises:
        StreamCorrupt: numbers that no encoder writes.
    """
    if len(data) < _OPENING.size:
        raise StreamCorrupt("spectral level is cut", got=len(data))
    exponent, length = _OPENING.unpack_from(data)
    are_orthogonal, exponent = exponent < OBLIQUE, exponent % OBLIQUE
    if exponent > 32 or _OPENING.size + length > len(data):
        raise StreamCorrupt("spectral level of the wrong length", got=(exponent, length, len(data)))
    weights = np.full(bands, WEIGHT_UNIT, np.int64)
    if length:
        weights = decode_table(data[_OPENING.size : _OPENING.size + length], (1, bands), order=1)[0]
    buffer = np.frombuffer(data[_OPENING.size + length :], np.uint8).copy()
    coder = _Coder(first.copy(), new_decoder(buffer), buffer)
    mean = coder.mean(np.zeros(bands, np.int64), bands)
    blank = np.zeros((components, bands), np.int64), np.zeros(components, np.int64)
    rows, shifts = coder.vectors(*blank, are_orthogonal=are_orthogonal)
    basis = np.ascontiguousarray(rows.T)
    return check_loaded(SpectralLevel(mean << exponent, weights, basis, shifts, step, fraction_bits))


def _most_alike(level: SpectralLevel) -> float:
    """The largest product of two vectors of the basis, of unit length each."""
    basis = level.decoded_basis()
    products = basis.T @ basis
    lengths = np.sqrt(np.maximum(np.diag(products), 1e-300))
    return float(np.abs(np.triu(products / np.outer(lengths, lengths), 1)).max(initial=0.0))


def _common_power(mean: Cells) -> int:
    """The largest n up to 32 of which all numbers are multiples of 2^n."""
    together = int(np.bitwise_or.reduce(np.abs(mean), initial=0))
    return min((together & -together).bit_length() - 1, 32) if together else 0


class _Coder:
    """Writes (where there is a charge of the last predictor) or reads the parts of a level in their order."""

    def __init__(
        self, state: BasisState, coder: Cells, buffer: NDArray[np.uint8], *, charge: float | None = None
    ) -> None:
        self.state, self.coder, self.buffer, self.encoding = state, coder, buffer, charge is not None
        self._charge = charge or 0.0
        self._change, self._picked = 0, 0

    def mean(self, entries: Cells, bands: int) -> Cells:
        """The mean, as a vector that is alone."""
        shift = 0
        if self.encoding and entries.any():
            shift = max(0, round(math.log2(math.sqrt(float((entries.astype(np.float64) ** 2).sum())))))
        rows, _ = self._run(entries[None], np.array([shift]), LARGEST_MEAN_ENTRY, most=0)
        return rows[0]

    def vectors(self, rows: Cells, shifts: Cells, *, are_orthogonal: bool) -> tuple[Cells, Cells]:
        """The basis ``(component, band)`` and its precisions."""
        room = math.isqrt(CONSTRAINT_WORK // max(rows.size, 1)) if are_orthogonal else 0
        return self._run(rows, shifts, LARGEST_ENTRY, most=min(MOST_CONSTRAINTS, room))

    def _run(self, rows: Cells, shifts: Cells, largest: int, most: int) -> tuple[Cells, Cells]:
        from palimpsest.codec.spectrum import basis_kernel as kernel

        count, bands = rows.shape
        rows, shifts = rows.copy(), shifts.copy()
        picks = np.zeros(count, np.int64)
        if self.encoding:
            picks = _picked(rows.astype(np.float64), self.state.taps, self._charge)
        vectors, rests = np.zeros((count, bands)), np.zeros((count, bands + 4), np.int64)
        energy, memory, seen = np.zeros(bands + 2), np.zeros(bands), 0.0
        state = self.state
        tables = (*state.pairs()[0], *state.pairs()[1], state.expected, self.coder, self.buffer, self.encoding)
        for at in range(count):
            before = int(shifts[at - 1]) if at else 0
            shifts[at] = (before + self._symbol((int(shifts[at]) - before) & 63, self._change)) & 63
            self._change = (int(shifts[at]) - before) & 63
            picks[at] = self._symbol(int(picks[at]), 64 + self._picked)
            self._picked = int(picks[at])
            if shifts[at] > 48 or picks[at] >= len(state.taps):
                raise StreamCorrupt("a vector of absurd precision or prediction", got=(int(shifts[at]), self._picked))
            around = 0.6 * memory + 0.2 * (np.append(memory[:1], memory[:-1]) + np.append(memory[1:], memory[-1:]))
            profile = (around + kernel.FLOOR) / (seen + kernel.FLOOR)
            kernel.code_vector(
                rows[at], at, max(0, at - most), vectors, rests, energy, shifts, state.taps[picks[at]], profile,
                largest, *tables,
            )
            if not self.encoding and int(self.coder[POSITION]) > self.buffer.size + 64:
                raise StreamCorrupt("a spectral level ends before its numbers do", got=self.buffer.size)
            memory = kernel.FADING * memory + profile / (_total(profile) / bands + 1e-300)
            seen = kernel.FADING * seen + 1.0
        return rows, shifts

    def _symbol(self, symbol: int, context: int) -> int:
        from palimpsest.codec.spectrum import basis_kernel as kernel

        states, weights = self.state.tree_states, self.state.tree_weights
        return int(kernel.code_symbol(symbol, context, states, weights, self.coder, self.buffer, self.encoding))


def _total(numbers: Reals) -> float:
    """Their sum in order: numpy's own may add in another order elsewhere."""
    return float(np.add.accumulate(numbers)[-1])


def _picked(rows: Reals, taps: Reals, charge: float) -> Cells:
    """Of every vector ``(vector, band)`` the predictor ``(predictor, band before)`` that leaves least."""
    left = []
    for predictor in taps:
        rest = rows.copy()
        for back, tap in enumerate(predictor, 1):
            rest[:, back:] -= tap * rows[:, :-back]
        # Bits of a number grow with the logarithm of its size.
        left.append(np.log2(1.0 + 2.0 * np.abs(rest)).sum(axis=1))
    left[-1] += charge * rows.shape[1]
    found: Cells = np.argmin(left, axis=0).astype(np.int64)
    return found
