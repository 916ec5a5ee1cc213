"""Integrator, inside part 1: which trials are evidence for this gap, and what the sources' disagreement says.

Edges from trials to gaps carry attention: for each source its own, by how the stretch that was hidden differs from the
one that is lost (width, place, rims, how the library reads beside it, how far the sources are apart). What a gap hears
is a weighted mean of the errors that were measured, each moved a little by what differs. Edges between two sources of a
gap carry their distance from each other: sources that err in different ways and agree are right.

Source: attention over measured cases as in Kossen et al. 2021, NeurIPS (non-parametric transformers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from palimpsest.restoration.sources import SOURCES
from palimpsest.restoration.trials import STRETCH_FEATURES, TRIAL_EDGE

if TYPE_CHECKING:
    from palimpsest.restoration.context import Context

MOST_SHIFT = 0.3  # common logarithm of an error: what was measured in a trial is moved at most so far
_OWN = 5  # what an edge knows of one source
HEARD = 4


@dataclass(frozen=True, slots=True)
class TrialWord:
    """What the edges say of each source in each cell.

    Args:
        error: expected log error, ``(cell, source)``: that of the context where no trial speaks.
        message: to the candidates, ``(cell, source, width)``.
    """

    error: Tensor
    message: Tensor


class TrialAttention(nn.Module):
    """Trials and pairs of sources to what each candidate hears of them.

    Args:
        width: of the embeddings.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        count = len(SOURCES)
        self.stretch = nn.Linear(2 * STRETCH_FEATURES + TRIAL_EDGE, width)
        self.own = nn.Linear(_OWN + count, width)
        self.verdict = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 2))
        self.pair = nn.Sequential(nn.Linear(5 + 2 * count, width), nn.GELU(), nn.Linear(width, width))
        self.heard = nn.Linear(HEARD, width)
        self.gate = nn.Sequential(nn.Linear(HEARD + count, width), nn.GELU(), nn.Linear(width, 1))
        last = self.verdict[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # learning begins at the plain mean of the trials
        nn.init.zeros_(last.bias)

    def forward(self, context: Context) -> TrialWord:
        """What is said of the candidates of a context."""
        log_error = torch.from_numpy(context.error)
        cells, count = log_error.shape
        width = self.heard.out_features
        gaps = context.gaps
        there = torch.from_numpy(context.gap_of)
        if not len(gaps.first):
            return TrialWord(log_error, torch.zeros(cells, count, width))
        expected, spread, number = self._attended(context)
        has = there >= 0
        at = there.clamp(min=0)
        # The context's error is a cell's; a gap takes the mean of its own.
        tried = (number[at] > 0) & has[:, None]
        error = torch.where(tried, expected[at], log_error)
        numbers = torch.stack([error - log_error, spread[at], error, tried.to(torch.float32)], -1)
        numbers = torch.where(has[:, None, None], numbers, torch.zeros_like(numbers))
        names = torch.eye(count).expand(cells, count, count)
        gate = torch.sigmoid(self.gate(torch.cat([numbers, names], -1))[..., 0])
        error = log_error + torch.where(tried, gate * (error - log_error), torch.zeros_like(error))
        paired = self._paired(context, expected, number)
        message = self.heard(numbers) + torch.where(has[:, None, None], paired[at], torch.zeros(()))
        return TrialWord(error, torch.where(has[:, None, None], message, torch.zeros(())))

    def _attended(self, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, spread and number of the trials that each gap hears of each source, ``(gap, source)``."""
        gaps, trials = context.gaps, context.trials
        sender, receiver = torch.from_numpy(context.trial_gap)
        told, asked = torch.from_numpy(trials.described)[sender], torch.from_numpy(gaps.described)[receiver]
        edge = torch.cat([asked - told, asked, torch.from_numpy(context.trial_edge)], -1)
        error = torch.from_numpy(trials.error)[sender]
        speaks = torch.from_numpy(trials.speaks)[sender]
        apart = torch.from_numpy(trials.apart)[sender], torch.from_numpy(gaps.apart)[receiver]
        usual = (error * speaks).sum(1, keepdim=True) / speaks.sum(1, keepdim=True).clamp(min=1)
        own = torch.stack([error, error - usual, apart[0], apart[1], apart[1] - apart[0]], -1)
        names = self.own.weight[:, _OWN:].T  # of each source, (source, width)
        hidden = self.stretch(edge)[:, None] + own @ self.own.weight[:, :_OWN].T + names + self.own.bias
        score, shift = self.verdict(hidden).unbind(-1)
        value = error + MOST_SHIFT * torch.tanh(shift / MOST_SHIFT)
        size = (len(gaps.first), error.shape[1])
        weight = torch.exp(score.clamp(-8, 8)) * speaks
        total = torch.zeros(size).index_add(0, receiver, weight)
        mean = torch.zeros(size).index_add(0, receiver, weight * value) / total.clamp(min=1e-9)
        square = torch.zeros(size).index_add(0, receiver, weight * (value - mean[receiver]) ** 2)
        number = torch.zeros(size).index_add(0, receiver, speaks.to(torch.float32))
        return mean, torch.sqrt(square / total.clamp(min=1e-9) + 1e-6), number

    def _paired(self, context: Context, expected: Tensor, number: Tensor) -> Tensor:
        """What the others say of each source of a gap by their distance from it, ``(gap, source, width)``."""
        gaps = context.gaps
        speaks = torch.from_numpy(context.gap_speaks)
        count = speaks.shape[1]
        distance = torch.from_numpy(gaps.pair)
        apart = torch.from_numpy(gaps.apart)
        error = torch.where(number > 0, expected, apart)
        mine, other = error[:, :, None].expand_as(distance), error[:, None].expand_as(distance)
        numbers = torch.stack([distance, distance - mine, distance - other, mine - other, mine], -1)
        names = torch.eye(count)
        size = (*distance.shape, count)
        inputs = torch.cat([
            numbers, names[:, None].expand(count, count, count).expand(size),
            names[None].expand(count, count, count).expand(size),
        ], -1)
        both = (speaks[:, None, :] & speaks[:, :, None] & ~torch.eye(count, dtype=torch.bool)).to(torch.float32)
        said = self.pair(inputs) * both[..., None]
        return torch.as_tensor(said.sum(2) / both.sum(2).clamp(min=1.0)[..., None])
