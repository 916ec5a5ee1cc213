"""Integrator, part 4: weighs statistics against knowledge, cell by cell, by attention and by both sides' uncertainty.

Where trials resemble a gap, the weights begin at those that would have erred least in them
(:mod:`~palimpsest.restoration.integrator.trial_stacking`), and experience may correct them a little. Elsewhere
``weight ~ softmax(query . key / sqrt(width) - 2 beta ln(expected error))``: with no learning at all and beta = 1 this
is the inverse-variance mean; beta, how far error estimates are to be trusted, is learned for each cell, and attention
corrects the weights where experience says that one is not to be believed. What attention may say is bounded, so that a
scene unlike any seen in training falls back on its own trials.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from palimpsest.restoration.study.sources import KRIGING, LINEAR, LOW_RANK, PCHIP

if TYPE_CHECKING:
    from palimpsest.restoration.integrator.trial_stacking import Stacked

MOST_CORRECTION = 4.0
MOST_TOLD = 1.8  # the same where trials told the weights
MOST_LOG_TRUST = 1.2
MOST_HABIT = 0.5
LEAST_TRUST = 1.5  # in trials made in the damaged band itself
ALIKE = [LINEAR, PCHIP, KRIGING]  # the first sources
_LN10 = math.log(10.0)


class Aligner(nn.Module):
    """Weights of the sources of each cell.

    Args:
        width: of the embeddings.
        most: largest correction of a score, natural logarithm of a weight.
    """

    def __init__(self, width: int, most: float = MOST_CORRECTION) -> None:
        super().__init__()
        self.most = most
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.bias = nn.Linear(width, 1)
        self.log_beta = nn.Parameter(torch.zeros(()))
        self.trust = nn.Linear(width, 1)
        for layer in (self.key, self.bias, self.trust):
            # Learning begins at the inverse-variance mean.
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, cell: Tensor, candidate: Tensor, log_error: Tensor, speaks: Tensor, trials: Stacked | None = None
    ) -> Tensor:
        """Weights ``(cell, source)``, summing to one over the sources that speak.

        Args:
            cell: ``(cell, width)``.
            candidate: ``(cell, source, width)``.
            log_error: expected error, common logarithm, ``(cell, source)``.
            speaks: ``(cell, source)`` bool.
            trials: the weights that would have erred least in them; None without edges.
        """
        said = (self.key(candidate) * self.query(cell)[:, None]).sum(-1) / math.sqrt(cell.shape[-1])
        said = said + self.bias(candidate)[..., 0]
        said = self.most * torch.tanh(said / self.most)
        # Lines, cubics and kriging look at the same few bands: which of them is right, trials tell better than habit.
        common = said[:, ALIKE].mean(1, keepdim=True)
        own = MOST_HABIT * torch.tanh((said[:, ALIKE] - common) / MOST_HABIT)
        said = torch.cat([common + own, said[:, len(ALIKE) :]], 1)
        beta = torch.exp(self.log_beta + MOST_LOG_TRUST * torch.tanh(self.trust(cell)))
        if speaks.shape[1] > LOW_RANK:
            # Where other pixels show the band itself, the trials were made in that very band: they are the judge.
            beta = torch.where(speaks[:, LOW_RANK, None], beta.clamp(min=LEAST_TRUST), beta)
        score = -2 * _LN10 * beta * log_error
        if trials is not None:
            # Where trials told the weights, habit corrects them; where nothing was tried, it is all there is.
            said = torch.where(trials.is_told[:, None], MOST_TOLD * torch.tanh(said / MOST_TOLD), said)
            score = torch.where(trials.is_told[:, None], trials.score, score)
        score = (score + said).masked_fill(~speaks, -1e9)
        return torch.softmax(score, -1)


def equal_weights(speaks: Tensor) -> Tensor:
    """The aligner left out: every source that speaks counts alike, ``(cell, source)``."""
    heard = speaks.to(torch.float32)
    return heard / heard.sum(-1, keepdim=True).clamp(min=1.0)
