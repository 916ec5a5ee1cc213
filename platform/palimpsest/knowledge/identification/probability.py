"""How often an answer is right: learnt on made scenes whose truth is known, by logistic regression on its evidence.

Two questions are asked. A material named in a mixture: is a tenth of the pixel or more made of it, or of its group
(green vegetation), or of its kind (vegetation) at least? A name that the expert rules give: would the same pixel
without its noise be given it too? Coefficients, the threshold of strangeness and what they were learnt from stand in
``calibration.json``, written by ``palimpsest train identification``; ``palimpsest benchmark identification
--calibration`` judges them on made scenes that took no part.

Source: Platt 1999, Probabilistic outputs for support vector machines (on any monotone evidence).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import FormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = ("material", "group", "kind")
_NEAREST = 1e-4  # to 0 and 1, of evidence


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was learnt.

    Args:
        of_presence: for each of :data:`LEVELS` coefficients of 1, log-odds of the evidence, log share, log misfit.
        of_name: coefficients of 1 and of the logarithm of the margin over the pixel's relative noise.
        strange: misfit that 99 of 100 pixels of known materials stay under.
        learnt_from: the scenes, for people.
        of_pair: coefficients of what speaks for a mapping (:mod:`~palimpsest.knowledge.alignment.pair_evidence`).
    """

    of_presence: tuple[tuple[float, ...], ...]
    of_name: tuple[float, ...]
    strange: float
    learnt_from: str = ""
    of_pair: tuple[float, ...] = ()

    @classmethod
    @cache
    def packaged(cls) -> Calibration:
        """The one that ships.

        Raises:
            FormatError: the file is damaged.
        """
        return cls.read(resources.files("palimpsest.knowledge").joinpath("calibration.json").read_text())

    @classmethod
    def read(cls, text: str) -> Calibration:
        """From JSON.

        Raises:
            FormatError: not what :meth:`written` gives.
        """
        try:
            told = json.loads(text)
            return cls(
                tuple(tuple(float(one) for one in level) for level in told["of_presence"]),
                tuple(float(one) for one in told["of_name"]),
                float(told["strange"]), str(told["learnt_from"]), tuple(float(one) for one in told["of_pair"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(
                "not a calibration", got=str(error), wanted="what `palimpsest train identification` writes"
            ) from error

    def written(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"

    def presence(
        self, sureness: NDArray[np.float64], share: NDArray[np.float64], misfit: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Probability that a named material, its group and its kind are there, ``(level, ...)``.

        Arguments broadcast together. What is there as a material is there as its group, so levels never fall.
        """
        rows = presence_evidence(sureness, share, misfit)
        each = np.stack([sure(level, rows) for level in self.of_presence])
        return np.asarray(np.maximum.accumulate(each, axis=0))

    def name(self, margin: NDArray[np.floating], noise: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probability that a name holds without the noise.

        Args:
            margin: relative noise at which the decision flips.
            noise: the pixel's own relative noise.
        """
        return sure(self.of_name, name_evidence(margin, noise))


def presence_evidence(
    sureness: NDArray[np.float64], share: NDArray[np.float64], misfit: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rows for the regression, ``(..., 4)``."""
    odds = np.clip(sureness, _NEAREST, 1 - _NEAREST)
    odds, share, misfit = np.broadcast_arrays(
        np.log(odds / (1 - odds)), np.log(np.clip(share, 0.01, 1)), np.log(np.clip(misfit, 1e-3, 1e3))
    )
    return np.stack([np.ones_like(odds), odds, share, misfit], axis=-1)


def name_evidence(margin: NDArray[np.floating], noise: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows for the regression, ``(..., 2)``."""
    times = np.clip(np.asarray(margin, np.float64) / np.maximum(noise, 1e-6), 1e-2, 1e2)
    return np.stack([np.ones_like(times), np.log(times)], axis=-1)


def sure(coefficients: tuple[float, ...], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of rows of evidence, ``(...,)``."""
    return np.asarray(1 / (1 + np.exp(-(rows @ np.array(coefficients)))))


def fitted(rows: NDArray[np.float64], is_right: NDArray[np.bool_], ridge: float = 1.0) -> tuple[float, ...]:
    """Coefficients of the logistic regression of ``is_right`` on ``rows``, by Newton's method."""
    found = np.zeros(rows.shape[1])
    pull = ridge * np.diag([0.0, *np.ones(rows.shape[1] - 1)])
    for _ in range(50):
        sure = 1 / (1 + np.exp(-(rows @ found)))
        slope = rows.T @ (is_right - sure) - pull @ found
        bend = (rows * (sure * (1 - sure))[:, None]).T @ rows + pull + 1e-9 * np.eye(len(found))
        step = np.linalg.solve(bend, slope)
        found += step
        if np.abs(step).max() < 1e-8:
            break
    return tuple(float(one) for one in found)


@dataclass(frozen=True, slots=True)
class Reliability:
    """How probabilities bear out.

    Args:
        stated: mean probability of each tenth that occurs.
        found: share of right answers there.
        count: answers there.
        error: expected calibration error, the mean of their distance weighted by count.
    """

    stated: tuple[float, ...]
    found: tuple[float, ...]
    count: tuple[int, ...]
    error: float


def reliability(stated: NDArray[np.float64], is_right: NDArray[np.bool_], tenths: int = 10) -> Reliability:
    """The reliability diagram of probabilities against what was right, each ``(answer,)``."""
    place = np.minimum((stated * tenths).astype(int), tenths - 1)
    count = np.bincount(place, minlength=tenths)
    seen = np.flatnonzero(count)
    mean = np.bincount(place, stated, tenths)[seen] / count[seen]
    right = np.bincount(place, is_right, tenths)[seen] / count[seen]
    error = float((np.abs(mean - right) * count[seen]).sum() / max(count.sum(), 1))
    return Reliability(tuple(mean.tolist()), tuple(right.tolist()), tuple(count[seen].tolist()), error)
