"""Integrator, part 5: how far the restored value may be from the truth, calibrated.

A small network predicts the logarithm of the error from what the graph knows of the cell and from how the believed
sources did in trials; in gaps that all pixels share, what they disagree by at the voxel itself is added, because no
trial resembles such a gap. Voxels that other pixels have are what the scene's factors foretell, and how sure these are
follows from the scene itself, better than any network knew it from other scenes. Conformal factors, measured on scenes
kept out of training, turn that into half of an interval that holds the truth in nine cases of ten.

Source: split conformal prediction with a scale, Lei et al. 2018, J. Am. Stat. Assoc. 113, 1094-1111; by group as in
Vovk 2012 (Mondrian).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from palimpsest.restoration.study.context import CELL_DOUBT, CELL_NOISE
from palimpsest.restoration.study.sources import LOW_RANK
from palimpsest.restoration.study.trials import unlog

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.study.context import Cells, Context
    from palimpsest.restoration.view import Axis

COVERAGE = 0.9
BAND_GROUP_EDGES_NM = (700.0, 1000.0, 1350.0, 1800.0)
BAND_GROUPS = len(BAND_GROUP_EDGES_NM) + 2  # the last is 'no wavelengths'
KINDS = 4  # a shared gap up to fifty nanometres, a wider one, voxels that other pixels have, an end of the range
SHORT_NM = 50.0
UNINFORMED_LOG_ERROR = -1.5
DISAGREEMENT = (2.0, 2.0, 0.0, 2.0)  # how much of it is added to the expected error, by kind of defect
SINGLE = 2  # the kind of voxels that other pixels have
# Of the noise that a measurement would have had. Factors are of all of it, and larger than most scenes need, because a
# few examples foretell badly: by three quarters 0.90 of the measurements of ten recorded scenes lie inside (0.83 to
# 0.97), by one half 0.79.
NOISE_TOO = 0.75
# What single voxels claim where a denoiser is met: the share of trials in the band itself beside the network's word,
# the factor that held nine in ten when intervals were made of both, and the noise. By the factors' own doubt that
# meeting loses 0.1 dB (impulses) and 0.5 dB (dead lines) on the mean of twelve scenes.
OWN_TRIALS, CLAIM, NOISE_CLAIMED = 0.25, 1.55, 0.5
_LEAST = 1e-8  # where a fill stands in a band, nothing is doubted


class Confidence(nn.Module):
    """Common logarithm of the expected error of each cell."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width + 3, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, cell: Tensor, candidate: Tensor, log_error: Tensor, weights: Tensor) -> Tensor:
        """``(cell,)``; arguments as of :class:`~palimpsest.restoration.integrator.aligner.Aligner`, and its weights."""
        believed = (log_error * weights).sum(-1)
        spread = (((log_error - believed[:, None]) ** 2) * weights).sum(-1)
        summary = torch.stack([believed, spread, (weights**2).sum(-1)], -1)
        heard = cell + (candidate * weights[..., None]).sum(1)
        out: Tensor = believed + self.net(torch.cat([heard, summary], -1))[:, 0]
        return out


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of a scene's cells.

    Args:
        error: scaled units, ``(group, band)``; zero in bands without damage.
        factor: conformal, ``(group, band)``.
        kind: of the defect, ``(group, band)``, see :func:`defect_kind`.
        noise: what a measurement differs by from what the scene's factors tell of it, standard deviation, scaled
            units, ``(band,)``: the sensor's noise, and what is peculiar to the band.
    """

    error: NDArray[np.float64]
    factor: NDArray[np.float64]
    kind: NDArray[np.intp]
    noise: NDArray[np.float64]

    def half_width(
        self, group: NDArray[np.intp], band: NDArray[np.intp], apart: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Half of the 90 % interval, scaled units, ``(voxel,)``.

        Args:
            group: pixel group of each voxel, ``(voxel,)``.
            band: ascending band of each voxel, ``(voxel,)``.
            apart: weighted standard deviation of what the believed sources say there, ``(voxel,)``.
        """
        kind, noise = self.kind[group, band], NOISE_TOO * self.noise[band]
        return self.factor[group, band] * expected_scale(self.error[group, band], apart, noise, kind)

    def claimed(self, noise: NDArray[np.float64]) -> Expectation:
        """The same with what single voxels claim towards a denoiser; ``noise`` of the sensor, ``(band,)``, scaled."""
        factor = np.where(self.kind == SINGLE, CLAIM, self.factor)
        return replace(self, factor=factor, noise=noise * (NOISE_CLAIMED / (CLAIM * NOISE_TOO)))


def expected_scale(
    error: NDArray[np.float64], apart: NDArray[np.float64], noise: NDArray[np.float64], kind: NDArray[np.intp]
) -> NDArray[np.float64]:
    """What conformal factors multiply, each ``(voxel,)``, scaled.

    Args:
        error: that is expected.
        apart: what the believed sources disagree by, which counts where a gap is shared.
        noise: of the measurement, which counts where voxels are single.
        kind: of the defect.
    """
    return np.hypot(error, np.where(kind == SINGLE, noise, np.asarray(DISAGREEMENT)[kind] * apart))


def with_own_doubt(log_error: NDArray[np.float64], context: Context) -> NDArray[np.float64]:
    """Common logarithms of a hundred times the expected errors, each ``(cell,)``.

    In bands that other pixels show they are those of the standard deviation that the scene's factors have of what they
    foretell; where no pixel does, or the factors are silent, what the network expects.
    """
    doubt = np.maximum(unlog(context.cell[:, CELL_DOUBT]), _LEAST)
    is_told = ~context.cells.everywhere & context.speaks[:, LOW_RANK]
    return np.where(is_told, np.log10(doubt) + 2.0, log_error)


def with_own_trials(
    log_error: NDArray[np.float64], tried: NDArray[np.float64], everywhere: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Common logarithms of a hundred times the errors that network and trials expect, each ``(cell,)``.

    Args:
        log_error: what the network expects.
        tried: what those believed showed in trials, in bands that other pixels show in the band itself.
        everywhere: whether no pixel shows the band.
    """
    return np.where(everywhere, log_error, (1 - OWN_TRIALS) * log_error + OWN_TRIALS * tried)


def noise_of(context: Context) -> NDArray[np.float64]:
    """Standard deviation of the noise of each cell's band, scaled, ``(cell,)``."""
    return unlog(context.cell[:, CELL_NOISE])


def band_group(axis: Axis) -> NDArray[np.intp]:
    """Band group of each ascending band, ``(band,)``."""
    if axis.centre_nm is None:
        return np.full(axis.count, BAND_GROUPS - 1)
    return np.searchsorted(np.asarray(BAND_GROUP_EDGES_NM), axis.centre_nm, side="right")


def defect_kind(cells: Cells, axis: Axis) -> NDArray[np.intp]:
    """Kind of each cell's defect, ``(cell,)``.

    0 short shared gap, 1 wide shared gap, 2 voxels others have, 3 shared gap at an end of the range.
    """
    nm = axis.along if axis.centre_nm is not None else axis.along * 10.0
    runs = int(cells.run.max()) + 1 if cells.run.size else 0
    width, is_end = np.zeros(runs), np.zeros(runs, bool)
    for run in np.unique(cells.run):
        band = cells.band[cells.run == run]
        width[run] = nm[band].max() - nm[band].min() + 10.0
        is_end[run] = band.min() == 0 or band.max() == axis.count - 1
    shared = np.where(is_end, 3, (width > SHORT_NM).astype(int))
    return np.where(cells.everywhere, shared[cells.run], 2)
