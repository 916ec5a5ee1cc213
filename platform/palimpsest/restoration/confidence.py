"""Integrator, part 5: how far the restored value may be from the truth, calibrated.

A small network predicts the logarithm of the error from what the graph knows of the cell and from how far the believed
sources disagree; conformal factors per band group and kind of defect, measured on scenes kept out of training, turn
that into half of an interval that holds the truth in nine cases of ten.

Source: split conformal prediction with a scale, Lei et al. 2018, J. Am. Stat. Assoc. 113, 1094-1111; by group as in
Vovk 2012 (Mondrian).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.restoration.context import Cells
    from palimpsest.restoration.view import Axis

COVERAGE = 0.9
BAND_GROUP_EDGES_NM = (700.0, 1000.0, 1350.0, 1800.0)
BAND_GROUPS = len(BAND_GROUP_EDGES_NM) + 2  # the last is 'no wavelengths'
KINDS = 3  # a shared gap up to fifty nanometres, a wider one, voxels that other pixels have
SHORT_NM = 50.0
UNINFORMED_LOG_ERROR = -1.5


class Confidence(nn.Module):
    """Common logarithm of the expected error of each cell."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width + 3, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, cell: Tensor, candidate: Tensor, log_error: Tensor, weights: Tensor) -> Tensor:
        """``(cell,)``; arguments as of :class:`~palimpsest.restoration.aligner.Aligner`, and its weights."""
        believed = (log_error * weights).sum(-1)
        spread = (((log_error - believed[:, None]) ** 2) * weights).sum(-1)
        summary = torch.stack([believed, spread, (weights**2).sum(-1)], -1)
        heard = cell + (candidate * weights[..., None]).sum(1)
        out: Tensor = believed + self.net(torch.cat([heard, summary], -1))[:, 0]
        return out


def band_group(axis: Axis) -> NDArray[np.intp]:
    """Band group of each ascending band, ``(band,)``."""
    if axis.centre_nm is None:
        return np.full(axis.count, BAND_GROUPS - 1)
    return np.searchsorted(np.asarray(BAND_GROUP_EDGES_NM), axis.centre_nm, side="right")


def defect_kind(cells: Cells, axis: Axis) -> NDArray[np.intp]:
    """Kind of each cell's defect, ``(cell,)``: 0 short shared gap, 1 wide shared gap, 2 voxels others have."""
    nm = axis.along if axis.centre_nm is not None else axis.along * 10.0
    width = np.zeros(int(cells.run.max()) + 1 if cells.run.size else 0)
    for run in np.unique(cells.run):
        inside = nm[cells.band[cells.run == run]]
        width[run] = inside.max() - inside.min() + 10.0
    return np.where(cells.everywhere, (width[cells.run] > SHORT_NM).astype(int), 2)
