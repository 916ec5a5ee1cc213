"""What a quantised pyramid costs, differentiably: the loss that the spatial levels are trained with.

Bits are those of a Laplace mixture whose scale a small network reads from what an entropy coder would know: causal
neighbours, the coarser level, the sibling orientation. The quantiser is rounding with a straight-through gradient for
the error, and additive uniform noise for the bits, so that non-linear steps learn to bear quantised neighbours. Error
is measured in the rebuilt plane; one bit is worth 0.1155 squared steps, the slope of high-rate theory.

Source: Balle et al. 2018, arXiv:1802.01436 (noise for the rate); iWave, Ma et al. 2020, IEEE TIP 29 (trained lifting).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from palimpsest.codec.space.spatial import Gains
    from palimpsest_pipelines.codec_training.level_networks import LevelNetwork

BIT_IN_SQUARED_STEPS = 0.1155
BANDS = 13  # three orientations of four levels, and the coarse plane
NEIGHBOURS = 8


class RateModel(nn.Module):
    """Bits of each quantised sample."""

    def __init__(self) -> None:
        super().__init__()
        last = nn.Linear(24, 3)
        self.net = nn.Sequential(nn.Linear(NEIGHBOURS + BANDS, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), last)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))

    def forward(self, known: Tensor, noisy: Tensor, band: int, parent: Tensor | None, sibling: Tensor | None) -> Tensor:
        """Bits of ``noisy`` ``(plane, 1, row, col)``, given quantised magnitudes around."""
        size = known.abs()
        rows, cols = size.shape[2:]
        padded = functional.pad(size, (2, 2, 2, 0))

        def at(down: int, right: int) -> Tensor:
            return padded[:, :, 2 + down : 2 + down + rows, 2 + right : 2 + right + cols]

        def spread(part: Tensor | None) -> Tensor:
            if part is None or part.numel() == 0:
                return torch.zeros_like(size)
            return functional.interpolate(part, size=(rows, cols), mode="nearest")

        above = None if parent is None else parent.abs()
        around = None if above is None or min(above.shape[2:]) < 2 else functional.avg_pool2d(above, 3, 1, 1)
        west, north, corners = at(0, -1), at(-1, 0), at(-1, -1) + at(-1, 1)
        beside = None if sibling is None else sibling.abs()
        views = [
            west, north, corners, at(0, -2) + at(-2, 0), spread(above), spread(around), spread(beside),
            west + north + corners,
        ]
        features = torch.cat([torch.log2(1 + 4 * view) for view in views], 1).permute(0, 2, 3, 1)
        which = torch.zeros(*features.shape[:3], BANDS, device=features.device)
        which[..., band] = 1
        shape = self.net(torch.cat([features, which], -1))
        narrow = torch.exp(shape[..., 0].clamp(-6, 12))
        wide = narrow * torch.exp(shape[..., 1].clamp(0.05, 4))
        share = torch.sigmoid(shape[..., 2])
        value = noisy[:, 0].abs()
        likely = share * _laplace_bin(value, narrow) + (1 - share) * _laplace_bin(value, wide)
        return -torch.log2(likely + 1e-7)


def _laplace_bin(size: Tensor, scale: Tensor) -> Tensor:
    """Probability of the unit interval around a magnitude."""
    outside = 0.5 * torch.exp(-(size - 0.5).clamp(min=0) / scale) * (1 - torch.exp(-1 / scale))
    left, right = (size - 0.5).clamp(max=0), size + 0.5
    inside = 1 - 0.5 * torch.exp(-right / scale) - 0.5 * torch.exp(left / scale)
    return torch.where(size > 0.5, outside, inside)


def cost(
    levels: list[LevelNetwork], rate: RateModel, gains: Gains, planes: Tensor, *, first_level: int = 1
) -> tuple[Tensor, Tensor]:
    """Bits, and squared error in squared steps, of each plane.

    Args:
        levels: finest first; level ``first_level`` is the first of them.
        rate: the model of bits.
        gains: norms of the synthesis functions of these levels.
        planes: ``(plane, 1, row, col)`` in units of the quantiser step.
        first_level: which level of the whole hierarchy the first one is: its samples' statistics depend on it.
    """
    current, details = planes, []
    for level in levels:
        current, parts = level.split(current)
        details.append(parts)
    known, noisy, rebuilt = _quantised(current, gains.coarse)
    bits = rate(known, noisy, BANDS - 1, None, None).sum((1, 2))
    parents: list[Tensor | None] = [None, None, None]
    for k in range(len(levels) - 1, -1, -1):
        decoded, sibling = [], None
        for o, part in enumerate(details[k]):
            known, noisy, back = _quantised(part, gains.details[k][o])
            bits = bits + rate(known, noisy, 3 * (k + first_level - 1) + o, parents[o], sibling).sum((1, 2))
            parents[o], sibling = known, known
            decoded.append(back)
        rebuilt = levels[k].join(rebuilt, (decoded[0], decoded[1], decoded[2]))
    return bits, ((rebuilt - planes) ** 2).sum((1, 2, 3))


def _quantised(samples: Tensor, gain: float) -> tuple[Tensor, Tensor, Tensor]:
    """Integers (straight through), noisy reals, and samples rebuilt."""
    scaled = samples * gain
    known = scaled + (torch.round(scaled) - scaled).detach()
    return known, scaled + torch.rand_like(scaled) - 0.5, known / gain
