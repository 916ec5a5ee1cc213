"""How much of what is got wrong is the same in all pixels: seen in the bands that show, told of those that are lost.

Where light, air or calibration are not as thought, all pixels are off alike, and one that shows a lost band mends the
others. Where a mixture is not quite that of the library, each is off in its own way, and one says little of the next.
Which it is shows in what the scene's reading leaves over in the bands that it was fitted on; where nothing was read, in
what straight lines across stretches as wide as the lost runs leave over.

Source: the split of a mean square into that of the mean and that of what differs, Searle, Casella and McCulloch 1992,
Variance Components, chapter 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.spectrum.interpolation import linear
from palimpsest.restoration.study.sources import runs_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.library.semantic_mapper import Reading
    from palimpsest.restoration.study.study import Study
    from palimpsest.restoration.view import View

_STEPS = 3  # windows begin that often within their own width
_TINY = 1e-9  # of the scaled square: what leaves nothing over is taken for shared


def shared_error(seen: Study) -> float:
    """Share of a studied scene's squared error that is the same in all pixels, above 0 and at most 1."""
    reading = seen.sources.flat if seen.sources.lit is None else seen.sources.lit
    view, told = seen.judged, ~seen.sources.everywhere
    if reading is not None:
        return _shared([_left_over(reading, view, told)])
    widths = [run.last - run.first for run in runs_of(seen.sources.everywhere)]
    values = np.where(view.usable, view.values, linear(view))[:, told].astype(np.float64)
    return _shared(_off_the_line(values, int(np.mean(widths)) if widths else 1))


def _left_over(reading: Reading, view: View, told: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What a reading leaves over in the bands that it was fitted on, zero in dead voxels, ``(pixel, band)``."""
    values = np.where(view.usable, view.values, linear(view)).astype(np.float64)
    left = np.where(view.usable, values - reading.dark - reading.shares(values) @ reading.spectra, 0.0)
    return np.asarray(left[:, told & (reading.weights > 0)])


def _off_the_line(values: NDArray[np.float64], width: int) -> list[NDArray[np.float64]]:
    """What straight lines between the two bands around each window leave over, ``(pixel, band)`` each."""
    along = np.arange(1, width + 1) / (width + 1)
    return [
        values[:, first : first + width] - values[:, first - 1, None] * (1 - along)
        - values[:, first + width, None] * along
        for first in range(1, values.shape[1] - width - 1, max(1, width // _STEPS))
    ]


def _shared(left: list[NDArray[np.float64]]) -> float:
    left = [part for part in left if part.size]
    if not left:
        return 1.0
    same = sum(float(np.square(part.mean(0)).mean()) for part in left)
    return (same + _TINY) / (sum(float(np.square(part).mean()) for part in left) + _TINY)
