"""A cube against its reference, in one value: what ``compare`` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.measure.distortion import band_errors, check_shapes, psnr_from, sam_deg, snr_from

if TYPE_CHECKING:
    from palimpsest.cubes import Cube


@dataclass(frozen=True, slots=True)
class Quality:
    """Distances over the voxels that are usable in both cubes, stored units.

    Args:
        psnr_db, snr_db, sam_deg: as in :mod:`palimpsest.measure.distortion`.
        rmse, max_error: stored units.
        worst_band: band of the largest error.
        voxels: how many counted.
        lost_voxels: usable in the reference and not in the test cube; they count in nothing else.
    """

    psnr_db: float
    snr_db: float
    rmse: float
    sam_deg: float
    max_error: float
    worst_band: int
    voxels: int
    lost_voxels: int


def quality(reference: Cube, test: Cube) -> Quality:
    """Compare two cubes of one shape.

    Raises:
        CubeRefused: shapes disagree.
    """
    check_shapes(reference.data, test.data)
    there = reference.usable()
    both = there & test.usable()
    errors = band_errors(reference.data, test.data, both)
    return Quality(
        psnr_db=psnr_from(errors), snr_db=snr_from(errors), rmse=float(np.sqrt(errors.mse)),
        sam_deg=sam_deg(reference.data, test.data, both), max_error=float(errors.largest.max()),
        worst_band=int(errors.largest.argmax()), voxels=int(errors.count.sum()),
        lost_voxels=int(there.sum() - both.sum()),
    )
