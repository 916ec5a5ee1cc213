"""How much each band of each pixel matters, as a value: knowledge makes it, the codec spends bits by it.

The map is kept as a palette of band profiles and one palette index and one gain a pixel, because that is what can be
sent cheaply: ``w(pixel, band) = gain(pixel) * profiles[index(pixel), band]``. An error e in band b of pixel p costs
``(w * e)^2``; 1 is neutral, and a stream carries the map, so decoding never needs the knowledge behind it.

What hangs on a feature hangs on a shape, not on each of its bands: an error that moves all of them alike may cost
nothing. Where that is known, a metric says it: an error ``e`` along the spectrum costs ``e^T metric e`` on the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import CubeRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ImportanceMap:
    """Weights of errors, per pixel and band.

    Args:
        profiles: relative weights, ``(profile, band)`` float64, positive, mean square 1 along bands.
        index: which profile a pixel follows, ``(row, col)`` uint8.
        gain: weight of the pixel as a whole, ``(row, col)`` float32, positive.
        release: hash of the knowledge release it was made from; empty for the uniform map.
        note: one sentence for reports (why it is uniform, which bands count nothing).
        metric: what errors cost together, mean over pixels, ``(band, band)``, symmetric, positive definite, mean of the
            diagonal 1; None where bands are weighed one by one.
        floor: of the metric's diagonal, what nothing hangs on, ``(band,)``; None without a metric.
    """

    profiles: NDArray[np.float64]
    index: NDArray[np.uint8]
    gain: NDArray[np.float32]
    release: str = ""
    note: str = ""
    metric: NDArray[np.float64] | None = None
    floor: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.profiles.ndim != 2 or self.index.shape != self.gain.shape or self.index.ndim != 2:
            raise CubeRefused(
                "importance map of the wrong shape",
                got=(self.profiles.shape, self.index.shape, self.gain.shape),
                wanted="(profile, band), (row, col), (row, col)",
            )
        if self.index.size and int(self.index.max()) >= len(self.profiles):
            raise CubeRefused(
                "importance map names a profile it does not have", got=int(self.index.max()), wanted=len(self.profiles)
            )
        if not ((self.profiles > 0).all() and (self.gain > 0).all()):
            raise CubeRefused("importance must be positive", got="zero or less", wanted="a floor above zero")
        bands = self.profiles.shape[1]
        shapes = tuple(None if part is None else part.shape for part in (self.metric, self.floor))
        if shapes not in ((None, None), ((bands, bands), (bands,))):
            raise CubeRefused("importance metric of the wrong shape", got=shapes, wanted="(band, band), (band,)")

    @classmethod
    def uniform(cls, bands: int, rows: int, cols: int, note: str = "") -> ImportanceMap:
        """Every error counts alike: plain rate-distortion."""
        return cls(
            np.ones((1, bands)), np.zeros((rows, cols), np.uint8), np.ones((rows, cols), np.float32), note=note
        )

    @property
    def is_uniform(self) -> bool:
        """Whether the map says nothing."""
        return self.metric is None and bool(np.ptp(self.profiles) == 0 and np.ptp(self.gain) == 0)

    def weights(self) -> NDArray[np.float32]:
        """The whole map, ``(band, row, col)``; for small cubes and for looking at."""
        return (self.profiles[self.index].transpose(2, 0, 1) * self.gain).astype(np.float32)
