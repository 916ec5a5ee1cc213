"""The integers that a restoration is counted in: stored type, quantum, and how a value becomes a stored one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.result import on_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

INTEGER_QUANTUM = 2.0**-6
# A floating-point cube is read on a grid fine enough for its own small values and coarse enough for int64 sums.
_FLOAT_BITS, _STORED_BITS, _PART_BITS = 58, 22, 30


@dataclass(frozen=True, slots=True)
class Grid:
    """How values of one cube are counted.

    Args:
        dtype: stored type.
        quantum: stored units of one quantum, a power of two.
        step: quanta between neighbouring restored values.
        part: quanta between neighbouring contributions: finer ones are noise.
    """

    dtype: np.dtype[np.generic]
    quantum: float
    step: int
    part: int

    @classmethod
    def of(cls, data: NDArray[np.generic], unit: float) -> Grid:
        """The grid of a cube whose bright value is ``unit``."""
        if data.dtype.kind in "iu":
            return cls(data.dtype, INTEGER_QUANTUM, round(1 / INTEGER_QUANTUM), 1)
        finite = np.abs(np.where(np.isfinite(data), data, 0)).max(initial=0)
        top = int(np.ceil(np.log2(max(float(finite), 4 * unit, 1e-30))))
        quantum = 2.0 ** (top - _FLOAT_BITS)
        return cls(data.dtype, quantum, 2 ** (_FLOAT_BITS - _STORED_BITS), 2 ** (_FLOAT_BITS - _PART_BITS))

    def stored(self, values: NDArray[np.float64]) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
        """Values in the stored type, rounded and clipped, and what was wanted before clipping, in quanta."""
        wanted = np.rint(values / (self.quantum * self.step)).astype(np.int64) * self.step
        whole = wanted * self.quantum
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype.name)
            return np.clip(whole, limits.min, limits.max).astype(self.dtype), wanted
        return whole.astype(self.dtype), wanted

    def quanta(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """A contribution in quanta."""
        return np.rint(values / (self.quantum * self.part)).astype(np.int64) * self.part

    def is_stored(self, values: NDArray[np.generic]) -> bool:
        """Whether values lie on the grid exactly."""
        return bool(np.array_equal(on_grid(values, self.quantum) * self.quantum, values.astype(np.float64)))
