"""How far each way of telling a lost band from a few pixels is believed.

A softmax: what is usual with so many pixels and a judgement so far off, and how well each way foretells each pixel by
the others. Two things correct the latter. Pixels that stand apart are foretold badly by the others, and a ridge
regression suffers most; how much of what it misses is that alone is seen in the bands that all pixels show, where the
same pixels tell the same scene ('strain'). And a way that agrees with the rest on the few pixels and goes far from them
elsewhere in the scene was not put to the test by those pixels ('stray').

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
from palimpsest.restoration.spared_tellers import KERNELS, NAMES, REGRESSIONS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIGNS = 5  # that habits are multiplied by
_LEAST = 1e-9
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Habits:
    """What belief goes by; ways in the order of :data:`~palimpsest.restoration.spared_tellers.NAMES`.

    Args:
        usual: a share's logarithm, what a logarithm of the number of pixels adds, and what one of the judgement's
            error over what it says that pixels differ by; what the first and the last gain where there is but one
            pixel, and nothing is foretold by others, ``(way, 5)``.
        sharp: how sharply the ways are told apart by what they miss; not negative.
        most: pixels beyond the first that what the ways miss counts for, however many there are; above zero.
        strained: how much of a regression's strain is each way's, ``(way,)``, from 0 to 1.
        strayed: how much of its straying is counted against each way, ``(way,)``, from 0 to 1.
        kernels: what is believed of each kernel where there is but one pixel, ``(ratio, doubt)``, of sum one.

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
        wanted = (len(NAMES), SIGNS), (len(NAMES),), (len(NAMES),), KERNELS
        if shapes != wanted:
            raise UsageError("habits of another shape", got=shapes, wanted=wanted)
        parts = (self.usual, np.array([self.sharp, self.most]), self.strained, self.strayed, self.kernels)
        if not all(np.isfinite(part).all() for part in parts):
            raise UsageError("habits that are no numbers", wanted="finite ones")
        shares = np.concatenate([self.strained, self.strayed])
        if self.sharp < 0 or self.most <= 0 or (shares < 0).any() or (shares > 1).any():
            raise UsageError("habits out of range", got=(self.sharp, self.most, shares.tolist()), wanted="0 to 1")
        if (self.kernels <= 0).any() or abs(float(self.kernels.sum()) - 1) > 1e-6:
            raise UsageError("beliefs that are no shares", got=self.kernels.tolist(), wanted="above zero, of sum one")

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
    elsewhere: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Share of each way, of sum one, ``(way,)``.

    Args:
        habits: what belief goes by.
        missed: what each pixel shows less what a way foretells of it by the others; of the first way, the judgement,
            its error, ``(way, pixel, band)``.
        differing: variance of the judgement over pixels.
        strain: as :func:`~palimpsest.restoration.spared_tellers.strain` says it of the regressions.
        elsewhere: the ways' answers in other pixels of the scene, ``(way, pixel, band)``.
    """
    about, alone, strained = signs(missed, differing, strain)
    heard = 0.5 * habits.sharp * counted(missed.shape[1], habits.most)
    score = habits.usual @ about - heard * (alone + habits.strained * strained)
    strays = stray(_softmax(score), products(missed), products(elsewhere - elsewhere[0]))
    return _softmax(score - heard * habits.strayed * strays)


def signs(
    missed: NDArray[np.float64], differing: float, strain: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What belief is made of; see :func:`believed`.

    Returns:
        What the habits are multiplied by, ``(5,)``; the logarithm of what each way misses and the strain of the
        regression that it is likest to, both ``(way,)``.
    """
    square = np.square(missed).mean((1, 2))
    off = 0.5 * np.log(square[0] / max(differing, _TINY) + _LEAST)
    # A base that is carried on is likest to the plain regression.
    strained = np.concatenate([np.full(len(NAMES) - REGRESSIONS, strain[-1]), strain])  # those beside the run too
    single = float(missed.shape[1] == 1)
    about = np.array([1.0, np.log(missed.shape[1]), off, single, single * off])
    return about, np.log(square + _TINY), strained


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
