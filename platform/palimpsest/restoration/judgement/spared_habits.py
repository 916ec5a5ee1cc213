"""How far each way of telling a lost band from a few pixels is believed.

A softmax: what is usual with so many pixels and a judgement so far off, and how well each way foretells each pixel by
the others. Two things correct the latter. Pixels that stand apart are foretold badly by the others, and a ridge
regression suffers most; how much of what it misses is that alone is seen in the bands that all pixels show, where the
same pixels tell the same scene ('strain'). And a way that agrees with the rest on the few pixels and goes far from them
elsewhere in the scene was not put to the test by those pixels ('stray').

Beside that count how much of the error is the same in all pixels where bands show it
(:mod:`~palimpsest.restoration.study.shared_error`), and how rough along the bands the judgement's error is: wrong light
and calibration are both, a mixture that is not quite the library's is neither.

Source: that the mean's error is the ways' mean error less what they differ by: Krogh and Vedelsby 1995, Advances in
Neural Information Processing Systems 7, 231-238.

Its numbers are fitted by ``palimpsest train spared``, and what that writes is what ships: ``weights/spared.json``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.errors import ModelMissing, UsageError
from palimpsest.restoration.judgement.spared_tellers import KERNELS, NAMES, REGRESSIONS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIGNS = 10  # that habits are multiplied by
LEAST_BELIEVED = 0.01  # of a kernel: none is ruled out
LEAST_SHARED = 0.03  # about the least that was learned from: habits are not asked beyond
_LEAST = 1e-9
_TINY = 1e-12
_SMOOTH = 1e-6  # of the squared roughness: what is smoother counts as this
_OF_SECOND_DIFFERENCES = 6.0  # their variance in white noise of one
_FEWEST_BANDS = 3


@dataclass(frozen=True, slots=True)
class Habits:
    """What belief goes by; ways in the order of :data:`~palimpsest.restoration.judgement.spared_tellers.NAMES`.

    Args:
        usual: a share's logarithm and what is added to it for each unit of the other signs that :func:`signs` names,
            ``(way, 10)``.
        sharp: how sharply the ways are told apart by what they miss; not negative.
        most: pixels beyond the first that what the ways miss counts for, however many there are; above zero.
        strained: how much of a regression's strain is each way's, ``(way,)``, from 0 to 1.
        strayed: how much of its straying is counted against each way, ``(way,)``, from 0 to 1.
        kernels: logarithm of what is believed of each kernel before any pixel is left out, and what a logarithm of
            the shared part of the error adds, ``(2, ratio, doubt)``.

    Raises:
        UsageError: another shape, or numbers that cannot be.
    """

    usual: NDArray[np.float64]
    sharp: float
    most: float
    strained: NDArray[np.float64]
    strayed: NDArray[np.float64]
    kernels: NDArray[np.float64]

    def __post_init__(self) -> None:
        shapes = self.usual.shape, self.strained.shape, self.strayed.shape, self.kernels.shape
        wanted = (len(NAMES), SIGNS), (len(NAMES),), (len(NAMES),), (2, *KERNELS)
        if shapes != wanted:
            raise UsageError("habits of another shape", got=shapes, wanted=wanted)
        parts = (self.usual, np.array([self.sharp, self.most]), self.strained, self.strayed, self.kernels)
        if not all(np.isfinite(part).all() for part in parts):
            raise UsageError("habits that are no numbers", wanted="finite ones")
        shares = np.concatenate([self.strained, self.strayed])
        if self.sharp < 0 or self.most <= 0 or (shares < 0).any() or (shares > 1).any():
            raise UsageError("habits out of range", got=(self.sharp, self.most, shares.tolist()), wanted="0 to 1")

    def kernels_at(self, shared: float) -> NDArray[np.float64]:
        """What is believed of each kernel before any pixel is left out, ``(ratio, doubt)``, of sum one.

        Args:
            shared: part of the squared error that all pixels share, from 0 to 1.
        """
        return kernels_at(self.kernels, shared)

    @property
    def digest(self) -> str:
        """SHA-256 over names and values: the model's identity."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "ways": list(NAMES), "usual": self.usual.tolist(), "sharp": self.sharp, "most": self.most,
            "strained": self.strained.tolist(), "strayed": self.strayed.tolist(), "kernels": self.kernels.tolist(),
        }


def load(path: Path | None = None) -> Habits:
    """Fitted habits: those that ship, or those of a file that ``palimpsest train spared`` wrote.

    Raises:
        ModelMissing: no such file, or habits of other ways.
    """
    return _packaged() if path is None else _read(path.read_bytes() if path.is_file() else None, str(path))


@lru_cache(maxsize=1)
def _packaged() -> Habits:
    entry = files("palimpsest.restoration") / "weights" / "spared.json"
    return _read(entry.read_bytes() if entry.is_file() else None, "packaged weights")


def _read(content: bytes | None, where: str) -> Habits:
    if content is None:
        raise ModelMissing("habits of telling from few pixels are not installed", where=where)
    try:
        found = json.loads(content)
        if found["ways"] != list(NAMES):
            raise ModelMissing("habits of other ways of telling", where=where, got=found["ways"], wanted=list(NAMES))
        parts = (np.array(found[name], np.float64) for name in ("usual", "strained", "strayed", "kernels"))
        usual, strained, strayed, kernels = parts
        return Habits(usual, float(found["sharp"]), float(found["most"]), strained, strayed, kernels)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelMissing("not habits of telling from few pixels", where=where, got=str(error)[:120]) from error


def believed(
    habits: Habits, missed: NDArray[np.float64], differing: float, strain: NDArray[np.float64],
    elsewhere: NDArray[np.float64], shared: float,
) -> NDArray[np.float64]:
    """Share of each way, of sum one, ``(way,)``.

    Args:
        habits: what belief goes by.
        missed: what each pixel shows less what a way foretells of it by the others; of the first way, the judgement,
            its error, ``(way, pixel, band)``.
        differing: variance of the judgement over pixels.
        strain: as :func:`~palimpsest.restoration.judgement.spared_tellers.strain` says it of the regressions.
        elsewhere: the ways' answers in other pixels of the scene, ``(way, pixel, band)``.
        shared: part of the squared error that all pixels share where bands show it, from 0 to 1.
    """
    about, alone, strained = signs(missed, differing, strain, shared)
    heard = 0.5 * habits.sharp * counted(missed.shape[1], habits.most)
    score = habits.usual @ about - heard * (alone + habits.strained * strained)
    strays = stray(_softmax(score), products(missed), products(elsewhere - elsewhere[0]))
    return _softmax(score - heard * habits.strayed * strays)


def signs(
    missed: NDArray[np.float64], differing: float, strain: NDArray[np.float64], shared: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What belief is made of; see :func:`believed`.

    Returns:
        What the habits are multiplied by, ``(10,)``: one; the logarithms of the number of pixels and of the judgement's
        error over what it says that pixels differ by; one where there is but one pixel, and the third there alone; the
        logarithm of the shared part, the same for an only pixel, and times the second; the logarithm of how rough the
        judgement's error is along the bands, and the same for an only pixel. Then the logarithm of what each way misses
        and the strain of the regression that it is likest to, both ``(way,)``.
    """
    square = np.square(missed).mean((1, 2))
    off = 0.5 * np.log(square[0] / max(differing, _TINY) + _LEAST)
    # A base that is carried on is likest to the plain regression.
    strained = np.concatenate([np.full(len(NAMES) - REGRESSIONS, strain[-1]), strain])  # those beside the run too
    single = float(missed.shape[1] == 1)
    number, alike, rough = np.log(missed.shape[1]), np.log(max(shared, LEAST_SHARED)), roughness(missed[0])
    about = np.array([
        1.0, number, off, single, single * off, alike, single * alike, number * alike, rough, single * rough
    ])
    return about, np.log(square + _TINY), strained


def kernels_at(logits: NDArray[np.float64], shared: float) -> NDArray[np.float64]:
    """As :meth:`Habits.kernels_at`; ``logits`` ``(2, ratio, doubt)``."""
    share = np.maximum(_softmax(logits[0] + logits[1] * np.log(max(shared, LEAST_SHARED))), LEAST_BELIEVED)
    return np.asarray(share / share.sum())


def roughness(error: NDArray[np.float64]) -> float:
    """Logarithm of what second differences along the bands say of the error's size, over that; zero for white noise.

    Args:
        error: ``(pixel, band)``.
    """
    if error.shape[1] < _FEWEST_BANDS:
        return 0.0
    rough = float(np.square(np.diff(error, 2, axis=1)).mean()) / _OF_SECOND_DIFFERENCES
    return 0.5 * float(np.log(rough / (float(np.square(error).mean()) + _TINY) + _SMOOTH))


def counted(number: int, most: float) -> float:
    """What so many pixels count for: nothing for one, and ``most`` for any number."""
    return (number - 1) / (1 + (number - 1) / most)


def products(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean products of the ways' errors or answers, of ``(way, pixel, band)``: ``(way, way)``."""
    flat = errors.reshape(len(errors), -1)
    return np.asarray(flat @ flat.T / flat.shape[1])


def stray(
    share: NDArray[np.float64], pixels: NDArray[np.float64], scene: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How much further each way is from the mix in the scene than on the few pixels, logarithm, ``(way,)``.

    Args:
        share: of each way in the mix.
        pixels: mean products of what the ways miss of the few pixels, ``(way, way)``.
        scene: the same of their answers elsewhere, or of their errors there: differences alone count.
    """
    rest = float(share @ pixels @ share) + _TINY  # below what the mix misses, differing is no matter
    apart = [np.maximum(np.diagonal(p) - 2 * p @ share + share @ p @ share, 0.0) for p in (scene, pixels)]
    return np.asarray(np.log((apart[0] + rest) / (apart[1] + rest)))


def _softmax(score: NDArray[np.float64]) -> NDArray[np.float64]:
    share = np.exp(score - score.max())
    return np.asarray(share / share.sum())
