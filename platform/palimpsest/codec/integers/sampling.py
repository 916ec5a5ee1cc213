"""A cube's stored values as integers for the codec, and back: the identity, or a quantum for floating point.

Voxels that stand for nothing (nodata, not finite) are told apart from the rest; what is put in their place costs as
little as can be, and the decoder puts nodata (or NaN) back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.integers.lattice import ROUNDING, Lattice
from palimpsest.cubes import Reason
from palimpsest.errors import CubeRefused, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.cubes import Cube, Window

FLOAT_DIGITS = 22  # binary digits that floating-point values keep below their largest
LARGEST_WIDTH = 1 << 40  # integer units
VOID = (Reason.NODATA, Reason.NOT_FINITE)
HOLLOW = (*VOID, Reason.DEAD, Reason.IMPULSE, Reason.SATURATED)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How stored values and integers correspond: value = integer x quantum, or as a lattice says.

    Args:
        dtype: stored dtype name.
        quantum: 1 for integers, a positive number for floating point.
        lattice: of floating-point bands whose values are quotients or products of integers; exact modes alone use it.
    """

    dtype: str
    quantum: float
    lattice: Lattice | None = None

    @property
    def is_float(self) -> bool:
        """Whether stored values are floating point."""
        return self.dtype.startswith("float")

    @property
    def unit(self) -> NDArray[np.float64] | float:
        """One integer in stored units, ``(band,)`` or one for all bands."""
        return self.quantum if self.lattice is None else self.lattice.units

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer that may be decoded."""
        if self.is_float:
            return -(1 << 40), 1 << 40
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    def of(self, chosen: NDArray[np.intp]) -> Sampling:
        """That of some bands."""
        return self if self.lattice is None else replace(self, lattice=self.lattice.of(chosen))

    def widths(self, asked: NDArray[np.float64]) -> NDArray[np.int64]:
        """How wide the exact layer's cells may be, integer units, ``(band,)``, for error bounds in stored units.

        Cells of 2 floor(bound) + 1 integers are within it. On a lattice, whose integers are even, floor(2 bound) + 1
        of the even numbers are, in stored units: the middle of a cell need not be one. Some is lost to rounding.
        """
        if self.lattice is not None:
            together = np.floor(np.clip(2 * asked / (2 * self.unit) - ROUNDING, 0, LARGEST_WIDTH))
            return 2 * (together.astype(np.int64) + 1)
        lost = 0.5 if self.is_float else 0.0
        return 2 * np.floor(np.clip(asked / self.unit - lost, 0, LARGEST_WIDTH)).astype(np.int64) + 1

    def integers(self, values: NDArray[np.generic]) -> NDArray[np.int64]:
        """Stored values, ``(band, row, col)``, as integers; what is not finite becomes zero."""
        if not self.is_float:
            return values.astype(np.int64)
        finite = np.where(np.isfinite(values), values, 0).astype(np.float64)
        if self.lattice is not None:
            return self.lattice.integers(finite)
        return np.rint(finite / self.quantum).astype(np.int64)

    def stored(self, integers: NDArray[np.int64]) -> NDArray[np.generic]:
        """Integers, ``(band, row, col)``, as stored values, clipped to the type's range."""
        limited = np.clip(integers, *self.limits)
        if not self.is_float:
            return limited.astype(self.dtype)
        if self.lattice is not None:
            return self.lattice.stored(limited).astype(self.dtype)
        return (limited.astype(np.float64) * self.quantum).astype(self.dtype)


def sampling_of(
    cube: Cube, largest: float, bounds: NDArray[np.float64], lattice: Lattice | None = None
) -> Sampling:
    """The sampling of a cube whose largest usable magnitude is ``largest``; finer than any bound asked for.

    Args:
        cube: the cube.
        largest: magnitude; 0 where there is none.
        bounds: largest error of each band, stored units, ``(band,)``; zeros where none is asked for.
        lattice: what all of its values lie on, if anything.
    """
    if cube.is_integer:
        return Sampling(cube.data.dtype.name, 1.0)
    quantum = 2.0 ** (math.floor(math.log2(largest)) - FLOAT_DIGITS) if largest > 0 else 1.0
    max_error = float(bounds.min())
    if max_error > 0:
        # Up to half a quantum of the bound is lost in rounding: a 64th of it where values leave room for that.
        coarse, fine = (2.0 ** math.floor(math.log2(max_error / share)) for share in (4, 64))
        quantum = min(coarse, max(fine, quantum))
    return Sampling(cube.data.dtype.name, quantum, lattice)


def as_float32(cube: Cube) -> Cube:
    """A float64 cube as float32, where that loses nothing.

    Raises:
        CubeRefused: it would.
    """
    narrow = np.asarray(cube.data).astype(np.float32)
    if not np.array_equal(narrow.astype(np.float64), np.asarray(cube.data), equal_nan=True):
        raise CubeRefused(
            "float64 values that float32 cannot hold", where=cube.name, got="float64",
            wanted="--max-error with a bound, or a cube of float32",
        )
    return cube.with_data(narrow, "stored as float32, which holds every value exactly")


def largest_of(cube: Cube, windows: Iterable[Window]) -> float:
    """Largest finite magnitude among usable voxels; 0 where there is none."""
    if cube.is_integer:
        return 0.0
    largest = 0.0
    for window in windows:
        usable = ~is_void(voxel_reasons(cube, window))
        values = np.abs(np.asarray(cube.data[(slice(None), *window.slices)]))[usable]
        largest = max(largest, float(values.max(initial=0)))
    return largest


def asked_bounds(settings: EncodeSettings, bands: int) -> NDArray[np.float64]:
    """Largest absolute error of each band, stored units, ``(band,)``; zeros where nothing may be off.

    Raises:
        UsageError: another number of bounds than bands, or one that is negative or no number.
    """
    if settings.mode != "bound" or settings.max_error is None:
        return np.zeros(bands)
    asked = np.atleast_1d(np.asarray(settings.max_error, np.float64))
    if asked.size not in (1, bands):
        raise UsageError("one error bound, or one for each band", got=asked.size, wanted=f"1 or {bands}")
    if not ((asked >= 0) & np.isfinite(asked)).all():
        raise UsageError("an error bound must be zero or more", got=settings.max_error, wanted="stored units")
    return np.broadcast_to(asked, bands).astype(np.float64)


def voxel_reasons(cube: Cube, window: Window) -> NDArray[np.uint8]:
    """Reason of each voxel of a window that is not to be believed, else 0; ``(band, row, col)`` uint8.

    Bad bands are told by the band table, not here.
    """
    part = cube.window(window)
    data = np.asarray(part.data)
    reasons = np.zeros(data.shape, np.uint8) if part.reasons is None else np.array(part.reasons, np.uint8)
    if part.nodata is not None and not math.isnan(part.nodata):
        reasons[data == np.asarray(part.nodata).astype(data.dtype)] = Reason.NODATA
    if data.dtype.kind == "f":
        is_nodata = part.nodata is not None and math.isnan(part.nodata)
        reasons[~np.isfinite(data)] = Reason.NODATA if is_nodata else Reason.NOT_FINITE
    return reasons


def _marks(kinds: tuple[Reason, ...]) -> NDArray[np.bool_]:
    return np.isin(np.arange(256), kinds)


_IS_VOID, _IS_HOLLOW = _marks(VOID), _marks(HOLLOW)


def is_void(reasons: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Voxels that hold no number at all."""
    return _IS_VOID[reasons] if reasons.any() else np.zeros(reasons.shape, bool)


def is_hollow(reasons: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Voxels whose number says nothing of the scene: bits spent on them would be wasted."""
    return _IS_HOLLOW[reasons] if reasons.any() else np.zeros(reasons.shape, bool)


def filled_spectra(
    integers: NDArray[np.int64], void: NDArray[np.bool_], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values ``(band, row, col)``; void voxels become the band's mean, shifted by the pixel's own brightness."""
    values = integers.astype(np.float64)
    if not void.any():
        return values
    centred = np.where(void, 0.0, values - mean[:, None, None])
    seen = np.maximum((~void).sum(axis=0), 1)
    brightness = centred.sum(axis=0) / seen
    return np.where(void, mean[:, None, None] + brightness, values)


def smooth_over(planes: NDArray[np.int32], empty: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Component planes ``(component, row, col)`` with empty pixels ``(row, col)`` filled from coarser averages.

    Source: push-pull filling of Gortler et al. 1996 (The Lumigraph), which leaves nothing for the detail levels to say.
    """
    if not empty.any():
        return planes
    if empty.all():
        return np.zeros_like(planes)
    return np.rint(_push_pull(planes.astype(np.float64), ~empty)).astype(np.int32)


def _push_pull(planes: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows, cols = known.shape
    if known.all():
        return planes
    padding = ((0, rows % 2), (0, cols % 2))
    weight = np.pad(known.astype(np.float64), padding)
    padded = np.pad(np.where(known, planes, 0.0), ((0, 0), *padding))
    shape = (weight.shape[0] // 2, 2, weight.shape[1] // 2, 2)
    total = weight.reshape(shape).sum(axis=(1, 3))
    summed = padded.reshape(-1, *shape).sum(axis=(2, 4))
    coarse = _push_pull(summed / np.maximum(total, 1.0), total > 0)
    spread = coarse.repeat(2, axis=1).repeat(2, axis=2)[:, :rows, :cols]
    return np.where(known, planes, spread)
