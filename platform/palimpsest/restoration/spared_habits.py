"""How far each way of telling a lost band from a few pixels is believed.

A softmax: what is usual with so many pixels and a judgement so far off, and how well each way foretells each pixel by
the others. Pixels that stand apart are foretold badly by the others, and a ridge regression suffers most; how much of
what it misses is that alone is seen in the bands that all pixels show, where the same pixels tell the same scene.

The numbers below were fitted on made scenes alone (42 of them, four sensors, six kinds of place, reflectance, radiance
and raw numbers, with and without wavelengths; 126 wide gaps, with 1, 2, 3, 5, 10 and 20 pixels, three or four draws
each): decibels over the better of the judgement and the ridge, at most six, with losses counted seven times. No
recorded scene took part. ``palimpsest train spared`` fits them; those that ship were fitted by the same loss with the
judge before, on made scenes of other seeds, and are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# In the order of spared_tellers.NAMES: usual; a logarithm of the number of pixels; one of the judgement's error over
# what it says that pixels differ by.
HABITS = np.array([
    [-0.9, -1.6, -0.5], [1.4, -1.2, -1.7], [-1.1, -0.6, 0.8], [-1.2, -0.7, 0.8], [1.4, 0.1, -0.2], [1.5, 0.7, 0.0],
    [-1.1, 1.7, 0.3], [-0.5, 1.6, 0.6],
])
SHARP = 0.37  # how sharply the ways are told apart by what they miss
STRAINED = np.array([0.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.63, 0.95])  # how much of a regression's strain is each way's
_LEAST = 1e-9
_TINY = 1e-12


def believed(
    missed: NDArray[np.float64], differing: float, strain: tuple[float, float]
) -> NDArray[np.float64]:
    """Share of each way, of sum one, ``(way,)``.

    Args:
        missed: what each pixel shows less what a way foretells of it by the others; of the first way, the judgement,
            its error, ``(way, pixel, band)``.
        differing: variance of the judgement over pixels.
        strain: as :func:`~palimpsest.restoration.spared_tellers.strain` says it of the two regressions.
    """
    count = missed.shape[1]
    about, alone, strained = signs(missed, differing, strain)
    score = HABITS @ about
    score -= 0.5 * SHARP * (count - 1) * (alone + STRAINED * strained)
    share = np.exp(score - score.max())
    return np.asarray(share / share.sum())


def signs(
    missed: NDArray[np.float64], differing: float, strain: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What belief is made of; see :func:`believed`.

    Returns:
        What the habits are multiplied by, ``(3,)``; the logarithm of what each way misses and the strain of the
        regression that it is likest to, both ``(way,)``.
    """
    square = np.square(missed).mean((1, 2))
    off = 0.5 * np.log(square[0] / max(differing, _TINY) + _LEAST)
    strained = np.array([strain[1]] * len(STRAINED))
    strained[-2] = strain[0]
    return np.array([1.0, np.log(missed.shape[1]), off]), np.log(square + _TINY), strained
