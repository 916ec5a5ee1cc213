"""The band table: where each band lies, how wide it is, and whether it is good, with the reason where it is not.

Wavelengths are nanometres. Stored band order is kept, descending and overlapping detectors included: whoever needs
ascending centres asks for :meth:`BandTable.ascending`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import CubeRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ASSUMED_FWHM_NM = 10.0


class Reason(IntEnum):
    """Why a band or a voxel is not to be believed. The numbers are stored in streams and in SQL: never renumber."""

    GOOD = 0
    NODATA = 1
    NOT_FINITE = 2
    BAD_BAND = 3  # the producer's own bad-band list
    DEAD = 4  # a detector element that answers nothing
    SATURATED = 5
    STRIPE = 6
    IMPULSE = 7
    OPAQUE = 8  # an atmospheric window without signal
    NOISY = 9
    OVERLAP = 10  # detectors overlap; normal, kept, never dropped
    USER = 11  # a mask given by hand
    INTERPOLATED = 12  # the mission says that it filled this voxel itself
    CLOUD = 13  # the mission says that a cloud hides the ground: measured, but not of the ground


@dataclass(frozen=True, slots=True)
class BandTable:
    """One row a band.

    Args:
        count: number of bands.
        centre_nm: band centres, nm, ``(band,)``, or None where the file gives none.
        fwhm_nm: full widths at half maximum, nm, ``(band,)``, or None.
        good: True where the band may be used, ``(band,)``; all True when left out.
        reasons: a :class:`Reason` per band, ``(band,)`` uint8; GOOD wherever ``good``.
        names: band names, or empty.
        fwhm_is_assumed: True when ``fwhm_nm`` is a guess (10 nm), which every report repeats.
        coder_rmse: root mean square error that a coder was allowed in each band, stored units, ``(band,)``; None
            where values were not decoded from a stream with a rate. No file but a stream says so.

    Raises:
        CubeRefused: lengths disagree, a centre or width is not a positive finite number, or an error no such number
            and not zero.
    """

    count: int
    centre_nm: NDArray[np.float64] | None = None
    fwhm_nm: NDArray[np.float64] | None = None
    good: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    reasons: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    names: tuple[str, ...] = ()
    fwhm_is_assumed: bool = False
    coder_rmse: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.good.size == 0:
            object.__setattr__(self, "good", np.ones(self.count, bool))
        if self.reasons.size == 0:
            default = np.where(self.good, Reason.GOOD, Reason.BAD_BAND).astype(np.uint8)
            object.__setattr__(self, "reasons", default)
        for name in ("centre_nm", "fwhm_nm", "good", "reasons", "coder_rmse"):
            column = getattr(self, name)
            if column is not None and column.shape != (self.count,):
                raise CubeRefused(f"{name} does not fit the bands", got=column.shape, wanted=f"({self.count},)")
        for name in ("centre_nm", "fwhm_nm"):
            column = getattr(self, name)
            if column is not None and not (np.isfinite(column).all() and (column > 0).all()):
                band = int(np.flatnonzero(~(np.isfinite(column) & (column > 0)))[0])
                raise CubeRefused(
                    f"{name} is not a positive number", where=f"band {band}", got=column[band], wanted="nanometres"
                )
        if self.coder_rmse is not None and not (np.isfinite(self.coder_rmse) & (self.coder_rmse >= 0)).all():
            raise CubeRefused("coder_rmse is not a size of errors", wanted="zero or more in every band")
        if self.names and len(self.names) != self.count:
            raise CubeRefused("band names do not fit the bands", got=len(self.names), wanted=self.count)

    @property
    def has_wavelengths(self) -> bool:
        """Whether band centres are known."""
        return self.centre_nm is not None

    def ascending(self) -> NDArray[np.intp]:
        """Stored indices of the bands sorted by centre (stable), ``(band,)``; stored order where no centre is known."""
        if self.centre_nm is None:
            return np.arange(self.count)
        return np.argsort(self.centre_nm, kind="stable")

    def with_assumed_fwhm(self, width_nm: float = ASSUMED_FWHM_NM) -> BandTable:
        """The same table; where widths are missing, with the assumed one, marked as assumed."""
        if self.fwhm_nm is not None or self.centre_nm is None:
            return self
        return replace(self, fwhm_nm=np.full(self.count, width_nm), fwhm_is_assumed=True)

    def select(self, bands: slice | Sequence[int] | NDArray[np.intp]) -> BandTable:
        """The table of a subset of the bands, in the order asked for."""
        index = np.arange(self.count)[bands]
        return BandTable(
            count=index.size,
            centre_nm=None if self.centre_nm is None else self.centre_nm[index],
            fwhm_nm=None if self.fwhm_nm is None else self.fwhm_nm[index],
            good=self.good[index],
            reasons=self.reasons[index],
            names=tuple(self.names[i] for i in index) if self.names else (),
            fwhm_is_assumed=self.fwhm_is_assumed,
            coder_rmse=None if self.coder_rmse is None else self.coder_rmse[index],
        )

    def marked(self, bad: NDArray[np.bool_], reason: Reason) -> BandTable:
        """The same table with the good bands of ``bad`` ``(band,)`` marked bad for ``reason``."""
        newly = bad & self.good
        return replace(self, good=self.good & ~newly, reasons=np.where(newly, np.uint8(reason), self.reasons))
