"""Integrator, inside part 1: how errors went together in the trials that resemble a gap, and what to believe for it.

A trial does not only say how far each source was off, but how: two sources that err alike do not correct each other,
and one that errs alone may be corrected by all. Edges from trials to gaps carry attention, one number each; the gap's
moments are the weighted mean of the trials' own, apart at its rims and deep in it, and from them the weights of least
squared error follow by a few multiplicative steps that begin at equal weights; the aligner corrects them. Unlike
errors, which grow with what a gap hides, such weights carry over from a smooth place to one with a feature: they are
the slope of what is true on what is claimed.

Source: stacking, Wolpert 1992, Neural Networks 5, 241-259, and Breiman 1996, Machine Learning 24, 49-64; exponentiated
gradient steps, Kivinen and Warmuth 1997, Information and Computation 132, 1-63.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from palimpsest.restoration.study.trials import CALM, PARTS, STRETCH_FEATURES, TRIAL_EDGE

if TYPE_CHECKING:
    from palimpsest.restoration.study.context import Context

STEPS = 32
STEP = 1.0  # natural logarithm of a weight, for a source that errs as much again as the mixture
LEAST_SCORE = -9.0  # nobody is silenced by trials alone
_MOST_GRADIENT = 3.0
_UNTRIED = 4.0  # squared error of a source that no trial heard, against the best one's
_SUMMARY = 4
_STACKED = 4
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Stacked:
    """What trials say of the cells' sources together.

    Args:
        score: natural logarithms of the weights that would have erred least in the trials, ``(cell, source)``.
        is_told: whether any trial speaks for the cell, ``(cell,)``.
        message: to the candidates, ``(cell, source, width)``.
    """

    score: Tensor
    is_told: Tensor
    message: Tensor


class TrialStacking(nn.Module):
    """Moments of the errors for each gap, by attention over the trials, and the weights that follow.

    Args:
        width: of the embeddings.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stretch = nn.Linear(2 * STRETCH_FEATURES + TRIAL_EDGE + _SUMMARY, width)
        self.score = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
        self.heard = nn.Linear(_STACKED, width)
        last = self.score[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # learning begins at the plain mean of the trials
        nn.init.zeros_(last.bias)

    def forward(self, context: Context) -> Stacked:
        """The weights of every cell and what is said of its candidates."""
        cells, count = context.speaks.shape
        there, part = torch.from_numpy(context.gap_of), torch.from_numpy(context.part)
        if not len(context.gaps.first) or not context.trial_gap.shape[1]:
            return Stacked(
                torch.zeros(cells, count), torch.zeros(cells, dtype=torch.bool),
                torch.zeros(cells, count, self.heard.out_features),
            )
        moment, size, is_heard = self._attended(context)
        speaks = torch.from_numpy(context.gap_speaks)[:, None].expand(-1, PARTS, -1)
        score = stacked(moment, speaks)
        weight = torch.exp(score) * speaks
        left = 0.5 * torch.log10((weight * (moment @ weight[..., None])[..., 0]).sum(-1).clamp(min=_LEAST))
        each = 0.5 * torch.log10(torch.diagonal(moment, dim1=2, dim2=3).clamp(min=_LEAST))
        numbers = torch.stack([
            torch.log10(weight + 0.01), each.clamp(-2, 2),
            (left + size[:, :1])[..., None].expand_as(weight), (left + size[:, 1:])[..., None].expand_as(weight),
        ], -1)
        message = self.heard(numbers)
        at = there.clamp(min=0)
        told = (there >= 0) & is_heard[at]
        return Stacked(
            torch.where(told[:, None], score[at, part], torch.zeros(())), told,
            torch.where(told[:, None, None], message[at, part], torch.zeros(())),
        )

    def _attended(self, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Moments ``(gap, part, source, source)``, expected log errors of the best ``(gap, 2)``, who heard any."""
        gaps, trials = context.gaps, context.trials
        sender, receiver = torch.from_numpy(context.trial_gap)
        speaks, asked_speaks = torch.from_numpy(trials.speaks), torch.from_numpy(context.gap_speaks)
        moment = torch.from_numpy(trials.moment)
        count = speaks.shape[1]
        square = torch.diagonal(moment, dim1=2, dim2=3).mean(1)
        best = torch.where(speaks, square, torch.full_like(square, 1e9)).min(1).values.clamp(min=_LEAST)
        size = 0.5 * torch.log10(best) + 2.0
        apart = _mean(torch.from_numpy(trials.apart), speaks), _mean(torch.from_numpy(gaps.apart), asked_speaks)
        told, asked = torch.from_numpy(trials.described)[sender], torch.from_numpy(gaps.described)[receiver]
        claims = apart[0][sender], apart[1][receiver]
        edge = torch.cat([
            asked - told, asked, torch.from_numpy(context.trial_edge),
            torch.stack([size[sender], claims[0], claims[1], claims[1] - claims[0]], 1),
        ], -1)
        weight = torch.exp(self.score(self.stretch(edge))[:, 0].clamp(-6, 6))
        shape = (len(gaps.first), len(trials.first))
        spread = torch.zeros(shape).index_put((receiver, sender), weight, accumulate=True)
        both = (speaks[:, :, None] & speaks[:, None]).to(torch.float32)
        # Calm trials count more than rough ones, but not by all that they differ.
        relative = (moment / best[:, None, None, None] ** CALM) * both[:, None]
        number = (spread @ both.reshape(len(both), -1)).reshape(-1, 1, count, count)
        total = (spread @ relative.reshape(len(both), -1)).reshape(-1, PARTS, count, count)
        mean = total / number.clamp(min=_LEAST)
        known = number > 0
        own = torch.diagonal(mean, dim1=2, dim2=3)
        least = torch.where(torch.diagonal(known, dim1=2, dim2=3), own, torch.full_like(own, 1e9)).min(2).values
        mean = mean / least.clamp(min=_LEAST)[..., None, None]
        alone = torch.where(
            torch.diagonal(known, dim1=2, dim2=3), torch.diagonal(mean, dim1=2, dim2=3), torch.tensor(_UNTRIED)
        ).clamp(min=_LEAST).sqrt()
        usual = alone[..., :, None] * alone[..., None, :]
        # Two that were never tried together are taken to err half alike.
        guess = usual * (0.5 + 0.5 * torch.eye(count))
        heard = spread.sum(1)
        expected = (spread @ size) / heard.clamp(min=_LEAST)
        scaled = (spread @ (size - apart[0])) / heard.clamp(min=_LEAST) + apart[1]
        return torch.where(known, mean, guess), torch.stack([expected, scaled], 1), heard > 0


def stacked(moment: Tensor, speaks: Tensor) -> Tensor:
    """Natural logarithms of convex weights of least expected squared error, ``(..., source)``.

    Args:
        moment: products of errors, the best source's own being one, ``(..., source, source)``.
        speaks: ``(..., source)``; the others take no part and have :data:`LEAST_SCORE`, for the caller to mask.
    """
    score = torch.zeros(speaks.shape).masked_fill(~speaks, -1e9)
    for _ in range(STEPS):
        weight = torch.softmax(score, -1)
        gradient = (moment @ weight[..., None])[..., 0]
        square = (weight * gradient).sum(-1, keepdim=True).clamp(min=0.02)
        score = score - STEP * (gradient / square - 1).clamp(-_MOST_GRADIENT, _MOST_GRADIENT)
    return torch.log_softmax(score, -1).clamp(min=LEAST_SCORE)


def _mean(values: Tensor, speaks: Tensor) -> Tensor:
    return (values * speaks).sum(1) / speaks.sum(1).clamp(min=1)
