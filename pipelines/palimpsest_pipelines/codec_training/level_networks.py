"""The trained spatial levels in floating point, for training: the twin of :mod:`palimpsest.codec.space.network`.

Every formula has its integer twin there; a test holds the two together. The third step of each lift (the second
prediction) has no free tap straight above and below: it is what makes a constant leave no detail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from palimpsest.codec.space.network import FIRST_SHIFT, TAP_SHIFT

if TYPE_CHECKING:
    from torch import Tensor

    from palimpsest.codec.space.weights import Tensors

# Near-orthonormal start: four steps with two rows on either side, minimising the high-rate loss over first-order
# Markov signals of correlation 0, 0.5, 0.9 and 0.97 (0.003 bit a sample at white noise; CDF 9/7 loses 0.014).
START = ((-1.08939, 0.20132), (-0.19583, 0.04023), (0.38838, -0.07563), (0.72931, -0.14338))
PREDICTION = 2  # the step that carries the network


def _mirrored_rows(source: Tensor, first: int, count: int, length: int) -> Tensor:
    """Rows of one half at positions first, first + 2, ... of the whole, mirrored at both edges."""
    positions = np.abs(first + 2 * np.arange(count))
    period = max(2 * (length - 1), 1)
    positions = positions % period
    positions = np.where(positions > length - 1, period - positions, positions)
    return source.index_select(2, torch.as_tensor(positions // 2, device=source.device))


class StepNetwork(nn.Module):
    """One lifting step: taps ``(distance, column)``, and a network where ``hidden`` is not zero."""

    first: nn.Parameter
    second: nn.Parameter

    def __init__(self, start: tuple[float, ...], columns: int, hidden: int, half: int) -> None:
        super().__init__()
        taps = torch.zeros(len(start), columns + 1)
        taps[:, 0] = torch.tensor(start)
        self.taps = nn.Parameter(taps)
        self.hidden, self.window, self.depth = hidden, half, len(start)
        if hidden:
            self.first = nn.Parameter(torch.randn(hidden, 2, 2 * half + 1) * 0.5)
            self.second = nn.Parameter(torch.zeros(hidden))

    def balanced(self, nearest: Tensor | None) -> Tensor:
        """The taps, with the nearest one replaced where it is not free."""
        if nearest is None:
            return self.taps
        top = torch.cat([nearest.view(1, 1), self.taps[:1, 1:]], 1)
        return torch.cat([top, self.taps[1:]], 0)

    def total(self) -> Tensor:
        """Response to a constant one."""
        return 2 * (self.taps[:, 0].sum() + 2 * self.taps[:, 1:].sum())

    def forward(self, source: Tensor, start: int, count: int, length: int, nearest: Tensor | None) -> Tensor:
        """What the step adds to each of ``count`` rows."""
        depth = self.depth
        rows = _mirrored_rows(source, start - 2 * (depth - 1), count + 2 * depth - 1, length)
        taps = self.balanced(nearest)
        columns = taps.shape[1] - 1
        answer = torch.zeros(())
        for m in range(depth):
            near, far = rows[:, :, depth - 1 - m :], rows[:, :, depth + m :]
            pair = near[:, :, :count] + far[:, :, :count]
            kernel = torch.cat([taps[m, 1:].flip(0), taps[m]]).view(1, 1, 1, -1)
            answer = answer.to(pair) + functional.conv2d(
                functional.pad(pair, (columns, columns, 0, 0), mode="replicate"), kernel
            )
        if self.hidden:
            answer = answer + self._network(rows[:, :, depth - 1 : depth + count])
        return answer

    def _network(self, rows: Tensor) -> Tensor:
        half, width = self.window, 2 * self.window + 1
        window = functional.pad(rows, (half, half, 0, 0), mode="replicate")
        first = self.first - self.first.mean((1, 2), keepdim=True)
        unit = functional.conv2d(window, first[:, None])
        along = (window[..., 1:] - window[..., :-1]).abs()
        across = (window[:, :, 1:] - window[:, :, :-1]).abs()
        ones = torch.ones(1, 1, 2, width, device=rows.device, dtype=rows.dtype)
        activity = functional.conv2d(along, ones[..., 1:]) + functional.conv2d(across, ones[:, :, :1])
        activity = activity / (2 * (width - 1) + width)
        clamped = torch.maximum(torch.minimum(unit, activity), -activity)
        return (clamped * self.second.view(1, -1, 1, 1)).sum(1, keepdim=True)


class LiftNetwork(nn.Module):
    """Four steps along rows."""

    def __init__(self, columns: int, hidden: int, half: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            StepNetwork(start, columns, hidden if i == PREDICTION else 0, half) for i, start in enumerate(START)
        )

    def each(self) -> list[StepNetwork]:
        """The steps in order."""
        return [step for step in self.steps if isinstance(step, StepNetwork)]

    def nearest(self) -> Tensor:
        """The dependent tap: with it a constant leaves no detail."""
        steps = self.each()
        step = steps[PREDICTION]
        high = 1 + steps[0].total()
        low = 1 + steps[1].total() * high
        return (-high / low - (step.total() - 2 * step.taps[0, 0])) / 2

    def _add(self, index: int, source: Tensor, count: int, length: int) -> Tensor:
        nearest = self.nearest() if index == PREDICTION else None
        answer: Tensor = self.steps[index](source, -(index % 2), count, length, nearest)
        return answer

    def split(self, plane: Tensor) -> tuple[Tensor, Tensor]:
        """Low and high rows of ``(plane, 1, row, col)``."""
        length, halves = plane.shape[2], [plane[:, :, 0::2], plane[:, :, 1::2]]
        for index in range(4):
            target = 1 - index % 2
            halves[target] = halves[target] + self._add(index, halves[1 - target], halves[target].shape[2], length)
        return halves[0], halves[1]

    def join(self, low: Tensor, high: Tensor) -> Tensor:
        """The inverse of :meth:`split`."""
        length, halves = low.shape[2] + high.shape[2], [low, high]
        for index in (3, 2, 1, 0):
            target = 1 - index % 2
            halves[target] = halves[target] - self._add(index, halves[1 - target], halves[target].shape[2], length)
        low, high = halves
        if low.shape[2] > high.shape[2]:
            high = torch.cat([high, high[:, :, :1]], 2)
        return torch.stack([low, high], 3).flatten(2, 3)[:, :, :length]


class LevelNetwork(nn.Module):
    """One spatial level: rows, then the columns of each half."""

    def __init__(self, columns: int, hidden: int, half: int) -> None:
        super().__init__()
        self.rows = LiftNetwork(columns, hidden, half)
        self.low_cols = LiftNetwork(columns, hidden, half)
        self.high_cols = LiftNetwork(columns, hidden, half)

    def split(self, plane: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Coarse plane and (hl, lh, hh)."""
        low, high = self.rows.split(plane)
        ll, hl = self.low_cols.split(low.transpose(2, 3))
        lh, hh = self.high_cols.split(high.transpose(2, 3))
        return ll.transpose(2, 3), (hl.transpose(2, 3), lh.transpose(2, 3), hh.transpose(2, 3))

    def join(self, coarse: Tensor, details: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The inverse of :meth:`split`."""
        hl, lh, hh = (part.transpose(2, 3) for part in details)
        low = self.low_cols.join(coarse.transpose(2, 3), hl).transpose(2, 3)
        return self.rows.join(low, self.high_cols.join(lh, hh).transpose(2, 3))


def to_integers(levels: list[LevelNetwork]) -> Tensors:
    """Weights as the decoder reads them, by tensor name."""
    tensors: Tensors = {}
    for number, level in enumerate(levels, 1):
        for part in ("rows", "low_cols", "high_cols"):
            lift: LiftNetwork = getattr(level, part)
            for index in range(4):
                step = lift.each()[index]
                key = f"level{number}.{part}.{index}"
                taps = step.balanced(lift.nearest() if index == PREDICTION else None)
                tensors[f"{key}.taps"] = _scaled(taps, TAP_SHIFT)
                if step.hidden:
                    tensors[f"{key}.first"] = _zero_sum(step.first)
                    tensors[f"{key}.second"] = _scaled(step.second, TAP_SHIFT)
    return tensors


def _scaled(weights: Tensor, shift: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    values = np.rint(weights.detach().cpu().double().numpy() * (1 << shift))
    return np.clip(values, -32767, 32767).astype(np.int16)


def _zero_sum(first: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    """Each unit's weights, rounded so that a constant stays invisible to it."""
    rounded = _scaled(first - first.mean((1, 2), keepdim=True), FIRST_SHIFT).astype(np.int64)
    for unit in rounded.reshape(len(rounded), -1):
        unit[np.argmax(np.abs(unit))] -= unit.sum()
    return np.clip(rounded, -32767, 32767).astype(np.int16)
