"""What a reader keeps of a decoded tile, so that any of its pixels costs next to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.keeping import refinement

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DecodedTile:
    """What is kept of a decoded tile: values where they are exact, else what any of its spectra follow from.

    Args:
        reasons: of each voxel, ``(band, row, col)`` uint8; None where all are good.
        planes: component planes, or None.
        values: stored values, or None.
        labels: index of each pixel's label, where something was brought back by label.
        numbers: of bumps, ``(slot, row, col)``.
        fixes: corrections of single pixels.
    """

    reasons: NDArray[np.uint8] | None
    planes: NDArray[np.int32] | None = None
    values: NDArray[np.generic] | None = None
    labels: NDArray[np.int32] | None = None
    numbers: NDArray[np.int32] | None = None
    fixes: refinement.Corrections | None = None

    @property
    def size(self) -> int:
        """Bytes in memory."""
        fixes = () if self.fixes is None else (self.fixes.rungs, self.fixes.steps)
        parts = (self.reasons, self.planes, self.values, self.labels, self.numbers, *fixes)
        return sum(part.nbytes for part in parts if part is not None)

    def at(self, rows: slice, cols: slice) -> DecodedTile:
        """A part of it."""
        cut = (..., rows, cols)
        fixes = self.fixes
        if fixes is not None:
            inside = np.zeros(fixes.rungs.shape, bool)
            inside[rows, cols] = True
            fixes = refinement.Corrections(fixes.rungs[rows, cols], fixes.steps[inside[fixes.rungs != 0]])
        return DecodedTile(
            None if self.reasons is None else self.reasons[cut], None if self.planes is None else self.planes[cut],
            None if self.values is None else self.values[cut], None if self.labels is None else self.labels[cut],
            None if self.numbers is None else self.numbers[cut], fixes,
        )
