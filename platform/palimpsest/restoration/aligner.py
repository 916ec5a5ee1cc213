"""Integrator, part 4: weighs statistics against knowledge, cell by cell, by attention and by both sides' uncertainty.

``weight ~ softmax(query . key / sqrt(width) - 2 beta ln(expected error))``: with no learning at all and beta = 1 this
is the inverse-variance mean; attention corrects it where experience says that an error estimate is not to be believed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_LN10 = math.log(10.0)


class Aligner(nn.Module):
    """Weights of the sources of each cell."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.bias = nn.Linear(width, 1)
        self.log_beta = nn.Parameter(torch.zeros(()))

    def forward(self, cell: Tensor, candidate: Tensor, log_error: Tensor, speaks: Tensor) -> Tensor:
        """Weights ``(cell, source)``, summing to one over the sources that speak.

        Args:
            cell: ``(cell, width)``.
            candidate: ``(cell, source, width)``.
            log_error: expected error, common logarithm, ``(cell, source)``.
            speaks: ``(cell, source)`` bool.
        """
        score = (self.key(candidate) * self.query(cell)[:, None]).sum(-1) / math.sqrt(cell.shape[-1])
        score = score + self.bias(candidate)[..., 0] - 2 * _LN10 * torch.exp(self.log_beta) * log_error
        score = score.masked_fill(~speaks, -1e9)
        return torch.softmax(score, -1)


def equal_weights(speaks: Tensor) -> Tensor:
    """The aligner left out: every source that speaks counts alike, ``(cell, source)``."""
    heard = speaks.to(torch.float32)
    return heard / heard.sum(-1, keepdim=True).clamp(min=1.0)
