"""What a coder took of a scene's noise, put back before the scene's factors are told from noise.

A coder with a rate cuts the noise where it is weaker than its step and keeps the rest, in few directions and few
pixels: what it leaves looks like factors of the scene. The stream tells how large the coder's errors are, and given
the decoded values the original is these values plus an independent error of about that size (the backward channel of
rate distortion theory). Factors and noise of a scene with such errors drawn are therefore those of the original, and
the decoded values are then filtered as what they are: the original's, in the mean.

Source: Cover and Thomas 2006, Elements of Information Theory, section 10.3.2 (the Gaussian test channel).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Times the variance of a uniform quantiser: directions with up to twice that are not sent at all, because zeros cost
# nothing; measured on streams of 0.25 to 1 bpppc, where the weakest direction sent had 1.8 to 2.3 times it.
DRAWN = 2.0
LEAST_NOISE = 0.5  # of the noise that the factors were told from: decoded values alone show less than was there
_SEED = 0


def as_before_coding(values: NDArray[np.float32], rmse: NDArray[np.float64]) -> NDArray[np.float32]:
    """The values with errors of a coder drawn, ``(pixel, band)``.

    Args:
        values: decoded, scaled, the same shape.
        rmse: of the coder's errors, scaled, ``(band,)``.
    """
    drawn = np.random.default_rng(_SEED).standard_normal(values.shape, np.float32)
    drawn *= (np.sqrt(DRAWN) * rmse).astype(np.float32)
    drawn += values
    return drawn
