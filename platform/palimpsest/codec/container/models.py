"""The trained part of the codec: weights of the spatial levels and the mixer's first state, found by hash.

A stream names the hash of the weights that it needs. They ship in the package; a stream made with weights that are not
installed is refused by name rather than decoded wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from palimpsest.codec.container import stream
from palimpsest.codec.entropy.planes import MixerState
from palimpsest.codec.quantisation import cells
from palimpsest.codec.quick import coder as quick
from palimpsest.codec.space import weights
from palimpsest.codec.space.spatial import LevelTransform
from palimpsest.codec.spectrum import basis_coder
from palimpsest.errors import ModelMissing, StreamCorrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from palimpsest.codec.quick.coder import QuickState
    from palimpsest.codec.spectrum.basis_coder import BasisState

PLAIN = ""
NOTHING_TRAINED = "plain"
MIXING, QUICK = "", "quick"  # coders


@dataclass(frozen=True, slots=True)
class CodecModel:
    """What both sides compute with.

    Args:
        sha256: hash of the weights, hex; '' for the hand-made transform.
        transform: the spatial levels.
        state: the coder's state at the start of a tile.
        trained_levels: which levels are trained, finest is 1.
        coder: of samples, by name.
    """

    sha256: str
    transform: LevelTransform
    state: MixerState | QuickState
    trained_levels: tuple[int, ...]
    coder: str = MIXING


def load_model(name: str, trained_levels: Sequence[int] | None) -> CodecModel:
    """A model by name.

    Args:
        name: '' is the default one, 'without-indian-pines' the default one that did not learn from that scene, 'plain'
            has nothing trained.
        trained_levels: which levels use their trained weights, the others are CDF 9/7; None is all there are.

    Raises:
        ModelMissing: no such model is installed.
    """
    if name == NOTHING_TRAINED or not weights.installed():
        return CodecModel(PLAIN, LevelTransform("cdf97"), MixerState.for_details(), ())
    for candidate in (name or weights.DEFAULT, f"{weights.DEFAULT}-{name}"):
        if candidate in weights.installed():
            return _model(weights.load(candidate), trained_levels)
    raise ModelMissing("no such codec model", got=repr(name), wanted=", ".join((*weights.installed(), NOTHING_TRAINED)))


def quick_model() -> CodecModel:
    """The quick coder above hand-made levels."""
    return CodecModel(PLAIN, LevelTransform("cdf97"), quick.first_state(), (), QUICK)


def model_by_hash(
    sha256: str, trained_levels: Sequence[int], version: int = stream.VERSION, coder: str = MIXING
) -> CodecModel:
    """The model that a stream of a version names.

    Raises:
        ModelMissing: it is not installed.
        StreamCorrupt: no such coder, or not with these weights.
    """
    if coder == QUICK and sha256 == PLAIN and version >= stream.LATEST_VERSION:
        return quick_model()
    if coder != MIXING:
        raise StreamCorrupt("a coder that there is not", got=(coder, sha256, version), wanted=QUICK)
    if sha256 == PLAIN and version == stream.FIRST_VERSION:
        return CodecModel(PLAIN, LevelTransform("cdf97"), MixerState.neutral(), ())
    if sha256 == PLAIN:
        return load_model(NOTHING_TRAINED, ())
    return _model(weights.by_hash(sha256), trained_levels)


def _model(trained: weights.TrainedWeights, trained_levels: Sequence[int] | None) -> CodecModel:
    return _known(trained.name, None if trained_levels is None else tuple(trained_levels))


@lru_cache(maxsize=16)  # a stream may ask for any choice of levels
def _known(name: str, trained_levels: tuple[int, ...] | None) -> CodecModel:
    # Kept, because measuring the gains of trained levels takes longer than decoding a tile.
    trained = weights.load(name)
    transform = LevelTransform("trained", name, trained_levels)
    return CodecModel(trained.sha256, transform, _first_state(name), transform.trained_levels)


@cache
def _first_state(name: str) -> MixerState:
    from palimpsest.codec.entropy import first_state

    trained = weights.load(name)
    state = first_state.unpacked(trained.mixer, trained.foresight)
    return replace(state, offsets=cells.unpacked(trained.cells))


@cache
def basis_state(sha256: str) -> BasisState:
    """What the coder of a spectral basis knows beforehand, of the model of a hash; '' is nothing.

    Raises:
        ModelMissing: it is not installed.
    """
    return basis_coder.unpacked({} if sha256 == PLAIN else weights.by_hash(sha256).basis)
