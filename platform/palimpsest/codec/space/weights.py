"""Weights of the trained spatial levels: found by name or by hash, read with numpy alone.

A model is one safetensors file of integer tensors in the package, named by the SHA-256 of its bytes in every stream
made with it. ``level1.rows.2.taps`` is the third lifting step along rows of the finest level; see
:class:`palimpsest.codec.space.network.Step` for what its tensors mean. ``mixer.*`` is what the entropy coder knows
before the first sample (:mod:`palimpsest.codec.entropy.first_state`), ``foresight.*`` its network
(:mod:`palimpsest.codec.entropy.foresight`), ``basis.*`` what the coder of a spectral basis knows
(:mod:`palimpsest.codec.spectrum.basis_coder`), ``cells.*`` where in their cells samples stand
(:mod:`palimpsest.codec.quantisation.cells`). The scorecard of the training lies beside the file.

Source of the container: https://github.com/huggingface/safetensors (8 bytes of length, JSON, tensors).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.errors import FormatError, ModelMissing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.codec.space.network import Level, Step

    Tensors = dict[str, NDArray[np.generic]]

DEFAULT = "v5"
SUFFIX = ".safetensors"
MIXER = "mixer."
BASIS = "basis."
FORESIGHT = "foresight."
CELLS = "cells."
KINDS = {"I16": "<i2", "U16": "<u2", "I32": "<i4"}
LONGEST_HEADER = 1 << 20
_NAME = re.compile(r"level([1-9])\.(rows|low_cols|high_cols)\.([0-3])\.(taps|first|second)")


@dataclass(frozen=True, slots=True)
class TrainedWeights:
    """A trained model of the codec.

    Args:
        name: its file's name without the suffix.
        sha256: of the file, hex.
        levels: the trained levels by number, 1 the finest.
        mixer: tensors of the entropy coder's first state; empty where it starts from nothing.
        foresight: tensors of the entropy coder's network; empty where it has none.
        basis: tensors of the spectral basis' coder; empty where it starts from nothing.
        cells: tensors of where in their cells samples stand; empty where the encoder alone measures it.
    """

    name: str
    sha256: str
    levels: dict[int, Level]
    mixer: Tensors
    foresight: Tensors
    basis: Tensors
    cells: Tensors


def installed() -> tuple[str, ...]:
    """Names of the models that ship, in order."""
    folder = files("palimpsest.codec") / "weights"
    return tuple(sorted(item.name.removesuffix(SUFFIX) for item in folder.iterdir() if item.name.endswith(SUFFIX)))


@cache
def load(name: str = DEFAULT) -> TrainedWeights:
    """A model by name.

    Raises:
        ModelMissing: it is not installed.
        FormatError: its file is not what it should be.
    """
    if name not in installed():
        raise ModelMissing("no such codec model", got=repr(name), wanted=" or ".join(installed()))
    return parse((files("palimpsest.codec") / "weights" / (name + SUFFIX)).read_bytes(), name)


def by_hash(sha256: str) -> TrainedWeights:
    """A model by the hash that a stream names.

    Raises:
        ModelMissing: no installed file has that hash.
    """
    for name in installed():
        if load(name).sha256 == sha256:
            return load(name)
    raise ModelMissing("the stream needs codec weights that are not installed", got=sha256, wanted="their file")


def parse(data: bytes, name: str) -> TrainedWeights:
    """A model from the bytes of its file.

    Raises:
        FormatError: truncated, altered or of another kind.
    """
    from palimpsest.codec.space.network import Level, Lift

    tensors = read_tensors(data, name)
    steps: dict[tuple[int, str, int], Tensors] = {}
    mixer = {key: tensor for key, tensor in tensors.items() if key.startswith(MIXER)}
    foreseen = {key: tensor for key, tensor in tensors.items() if key.startswith(FORESIGHT)}
    basis = {key: tensor for key, tensor in tensors.items() if key.startswith(BASIS)}
    placed = {key: tensor for key, tensor in tensors.items() if key.startswith(CELLS)}
    for key, tensor in tensors.items():
        if key in mixer or key in foreseen or key in basis or key in placed:
            continue
        match = _NAME.fullmatch(key)
        if match is None:
            raise FormatError("a tensor of another kind of model", where=name, got=key)
        level, part, step, kind = match.groups()
        steps.setdefault((int(level), part, int(step)), {})[kind] = tensor
    levels = {}
    for number in sorted({key[0] for key in steps}):
        lifts = [
            Lift(tuple(_step(steps.get((number, part, i)), f"{name} level {number}") for i in range(4)))  # type: ignore[arg-type] # four by construction
            for part in ("rows", "low_cols", "high_cols")
        ]
        levels[number] = Level(*lifts)
    return TrainedWeights(name, hashlib.sha256(data).hexdigest(), levels, mixer, foreseen, basis, placed)


def _step(parts: Tensors | None, where: str) -> Step:
    from palimpsest.codec.space.network import LARGEST_REACH, Step

    if parts is None or "taps" not in parts:
        raise FormatError("a lifting step without weights", where=where)
    taps = parts["taps"]
    first = parts.get("first", np.zeros((0, 2, 1), np.int16))
    second = parts.get("second", np.zeros(0, np.int16))
    fits = (
        taps.ndim == 2 and 1 <= taps.shape[0] <= LARGEST_REACH and 1 <= taps.shape[1] <= LARGEST_REACH
        and first.ndim == 3 and second.shape == first.shape[:1]
        and first.shape[1] % 2 == 0 and first.shape[2] % 2 == 1 and max(first.shape[1:]) <= 2 * LARGEST_REACH
        and all(part.dtype == np.int16 for part in (taps, first, second))
    )
    if not fits:
        raise FormatError("weights of shapes that do not fit", where=where, got=[taps.shape, first.shape, second.shape])
    return Step(taps.astype(np.int16), first.astype(np.int16), second.astype(np.int16))


def read_tensors(data: bytes, name: str) -> Tensors:
    """Every tensor of a safetensors file of integers.

    Raises:
        FormatError: lengths that disagree, a header that is not JSON, another type of number.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > LONGEST_HEADER or 8 + length > len(data):
        raise FormatError("not a safetensors file", where=name, got=f"{len(data)} bytes, header of {length}")
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError as err:
        raise FormatError("the header of the weights is not JSON", where=name) from err
    if not isinstance(header, dict):
        raise FormatError("the header of the weights is not an object", where=name)
    body = data[8 + length :]
    return {key: _tensor(entry, body, f"{name} {key}") for key, entry in header.items() if key != "__metadata__"}


def _tensor(entry: Any, body: bytes, where: str) -> NDArray[np.generic]:  # noqa: ANN401 # JSON, anything until checked
    try:
        kind, shape = str(entry["dtype"]), [int(side) for side in entry["shape"]]
        start, end = (int(at) for at in entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as err:
        raise FormatError("a tensor without type, shape or offsets", where=where) from err
    if kind not in KINDS or min(shape, default=0) < 0 or not 0 <= start <= end <= len(body):
        raise FormatError("a tensor of another type or outside the file", where=where, got=(kind, shape, start, end))
    stored = np.dtype(KINDS[kind])
    if end - start != stored.itemsize * math.prod(shape):
        raise FormatError("a tensor whose size disagrees with its bytes", where=where, got=(kind, shape, start, end))
    return np.frombuffer(body[start:end], stored).astype(stored.newbyteorder("=")).reshape(shape)
