"""The trained part of the codec: weights of the spatial levels and the mixer's first state, found by hash.

A stream names the hash of the weights that it needs. They ship in the package; a stream made with weights that are not
installed is refused by name rather than decoded wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from palimpsest.codec.planes import MixerState
from palimpsest.codec.spatial import LevelTransform
from palimpsest.errors import ModelMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN = ""


@dataclass(frozen=True, slots=True)
class CodecModel:
    """What both sides compute with.

    Args:
        sha256: hash of the weights, hex; '' for the hand-made transform.
        transform: the spatial levels.
        state: the mixer's state at the start of a tile.
        trained_levels: which levels are trained, finest is 1.
    """

    sha256: str
    transform: LevelTransform
    state: MixerState
    trained_levels: tuple[int, ...]


def load_model(name: str, trained_levels: Sequence[int] | None) -> CodecModel:
    """A model by name ('' is the default one).

    Raises:
        ModelMissing: no such model is installed.
    """
    if name:
        raise ModelMissing("no such codec model", got=name, wanted="''")
    return CodecModel(PLAIN, LevelTransform("cdf97"), MixerState.neutral(), tuple(trained_levels or ()))


def model_by_hash(sha256: str, trained_levels: Sequence[int]) -> CodecModel:
    """The model that a stream names.

    Raises:
        ModelMissing: it is not installed.
    """
    if sha256 != PLAIN:
        raise ModelMissing("the stream needs codec weights that are not installed", got=sha256)
    return load_model("", trained_levels)
