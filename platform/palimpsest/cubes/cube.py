"""The cube: values ``(band, row, col)`` in their stored type, and everything needed to know what they mean.

Data may be an array or a memory map; nothing here copies it. A cube is immutable: each step of preprocessing returns
another one and leaves a line in ``history``, which travels into streams, exports and SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from palimpsest.cubes.bands import BandTable, Reason
from palimpsest.errors import CubeRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from palimpsest.cubes.georeference import Georeference
    from palimpsest.cubes.window import Window

STORED_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def can_hold(dtype: np.dtype[np.generic], value: float) -> bool:
    """Whether a stored type can hold the value at all; floats hold every value, nearly."""
    if dtype.kind not in "iu":
        return True
    limits = np.iinfo(dtype.name)
    return bool(np.isfinite(value) and value % 1 == 0 and limits.min <= value <= limits.max)


class CubeShape(NamedTuple):
    """The one axis order: bands, rows, columns."""

    bands: int
    rows: int
    cols: int

    @property
    def voxels(self) -> int:
        """Number of samples."""
        return self.bands * self.rows * self.cols


@dataclass(frozen=True, slots=True)
class Cube:
    """A hyperspectral cube.

    Args:
        data: stored values, ``(band, row, col)``, one of :data:`STORED_DTYPES`, native byte order.
        bands: the band table; its count equals ``data.shape[0]``.
        reasons: a :class:`~palimpsest.cubes.bands.Reason` per voxel, ``(band, row, col)`` uint8, GOOD where usable;
            None when nothing more is known than nodata and bad bands.
        nodata: the value that stands for 'no data', or None.
        scale: physical value = stored value * scale + offset (0.0001 for reflectance x 10000).
        offset: see ``scale``.
        units: 'reflectance', 'radiance', 'DN' or what the file says; '' when it says nothing.
        georeference: place on the ground, or None.
        name: for messages: usually the file's stem.
        sensor: sensor name as the file gives it, or ''.
        metadata: header fields that have no home here, kept for the round trip.
        history: one line for each step that changed the values.

    Raises:
        CubeRefused: not three axes, an empty axis, a dtype that is not stored, or a band table of another length.
    """

    data: NDArray[np.generic]
    bands: BandTable
    reasons: NDArray[np.uint8] | None = None
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    units: str = ""
    georeference: Georeference | None = None
    name: str = "cube"
    sensor: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.data.ndim != 3 or 0 in self.data.shape:
            raise CubeRefused(
                "not a cube", where=self.name, got=f"shape {self.data.shape}", wanted="(band, row, col), none empty"
            )
        if self.data.dtype.name not in STORED_DTYPES or not self.data.dtype.isnative:
            raise CubeRefused(
                "values of a type that is not stored", where=self.name, got=self.data.dtype.str,
                wanted=", ".join(STORED_DTYPES),
            )
        if self.bands.count != self.data.shape[0]:
            raise CubeRefused(
                "band table of another length", where=self.name, got=self.bands.count, wanted=self.data.shape[0]
            )
        if self.reasons is not None and self.reasons.shape != self.data.shape:
            raise CubeRefused(
                "mask of another shape", where=self.name, got=self.reasons.shape, wanted=self.data.shape
            )

    @property
    def shape(self) -> CubeShape:
        """(bands, rows, cols)."""
        return CubeShape(*self.data.shape)

    @property
    def is_integer(self) -> bool:
        """Whether values are stored as integers."""
        return self.data.dtype.kind in "iu"

    def voxel_reasons(self) -> NDArray[np.uint8]:
        """Why each voxel may not be used, ``(band, row, col)``: the mask, nodata, non-finite values and bad bands."""
        reasons = np.zeros(self.data.shape, np.uint8) if self.reasons is None else self.reasons.copy()
        bad = ~self.bands.good
        if bad.any():
            free = reasons[bad] == Reason.GOOD
            reasons[bad] = np.where(free, self.bands.reasons[bad][:, None, None], reasons[bad])
        reasons[self.is_nodata()] = Reason.NODATA
        if self.data.dtype.kind == "f":
            broken = ~np.isfinite(np.asarray(self.data, dtype=self.data.dtype))
            reasons[broken & (reasons != Reason.NODATA)] = Reason.NOT_FINITE
        return reasons

    def is_nodata(self) -> NDArray[np.bool_]:
        """True where the value is the one that stands for 'no data', ``(band, row, col)``.

        A nodata value that the stored type cannot hold (-9999 in uint16) matches nothing.
        """
        data = np.asarray(self.data)
        if self.nodata is None:
            return np.zeros(data.shape, bool)
        if np.isnan(self.nodata):
            return np.isnan(data) if data.dtype.kind == "f" else np.zeros(data.shape, bool)
        if not can_hold(data.dtype, self.nodata):
            return np.zeros(data.shape, bool)
        with np.errstate(over="ignore"):  # a float64 nodata beyond float32 is stored there as infinity
            return np.asarray(np.equal(data, np.asarray(self.nodata).astype(data.dtype)))

    def usable(self) -> NDArray[np.bool_]:
        """True where a voxel may be used, ``(band, row, col)``."""
        return np.equal(self.voxel_reasons(), np.uint8(Reason.GOOD))

    def physical(self) -> NDArray[np.float32]:
        """Values times scale plus offset, ``(band, row, col)`` float32; NaN where nodata."""
        values = np.asarray(self.data).astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)
        values[self.is_nodata()] = np.nan
        return values

    def window(self, window: Window) -> Cube:
        """The cube inside a window, a view.

        Raises:
            CubeRefused: the window reaches beyond the cube.
        """
        _, rows, cols = self.data.shape
        if window.row1 > rows or window.col1 > cols:
            raise CubeRefused("window beyond the cube", where=self.name, got=str(window), wanted=f"0:{rows},0:{cols}")
        part = (slice(None), *window.slices)
        return replace(
            self,
            data=self.data[part],
            reasons=None if self.reasons is None else self.reasons[part],
            georeference=None if self.georeference is None else self.georeference.shifted(window.row0, window.col0),
        )

    def with_data(self, data: NDArray[np.generic], step: str) -> Cube:
        """The same cube with other values and one more line of history; a coder's error is no longer told."""
        bands = self.bands if self.bands.coder_rmse is None else replace(self.bands, coder_rmse=None)
        return replace(self, data=data, bands=bands, history=(*self.history, step))
