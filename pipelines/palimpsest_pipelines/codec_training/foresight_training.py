"""Training of the coder's foresight: from what the coder sees to integer weights.

The coder codes every teacher's training region at several steps and notes, for samples evenly spread, what the network
would see and what came. The network learns the odds of each decision by the bits that they cost; its weights become
integers with so many fraction bits that nothing is lost.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from palimpsest.codec.entropy import foresight
from palimpsest.codec.entropy.contexts import UNARY
from palimpsest.codec.entropy.details import RECORDED
from palimpsest.codec.entropy.foresight import INPUTS, OUTPUTS, PLACES, SIGNS, Foresight
from palimpsest.codec.entropy.planes import MixerState, Observer
from palimpsest.codec.tiles.tile import TileCoder, level_count
from palimpsest_pipelines.codec_training.scorecard import FRACTION_BITS, TEACHING, units_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from palimpsest.codec.space.spatial import LevelTransform
    from palimpsest_pipelines.codec_training.training_data import Teacher

    Seen = NDArray[np.int16]

STEPS_DB = {"image": (36.0, 42.0)}
SCENE_STEPS_DB = (38.0, 42.0, 46.0, 50.0, 54.0, 58.0, 62.0, 66.0)
JITTER_DB = 2.0
SAMPLES = {"image": 20_000}
SCENE_SAMPLES = 80_000
WEIGHTS = {"scene": 3.0, "made": 1.0, "image": 0.15}  # of a sample
CEILING = foresight.HIGHEST / 256
_OCTAVE = 16.0
_ORDER_SCALE = 64.0


@dataclass(frozen=True, slots=True)
class ForesightTraining:
    """Settings: units of both hidden layers, gradient steps, samples a step, learning rate, seed."""

    units: int = 32
    later: int = 16
    steps: int = 6000
    batch: int = 4096
    rate: float = 4e-3
    seed: int = 1


def observe(transform: LevelTransform, found: list[Teacher], *, seed: int) -> tuple[Seen, NDArray[np.float32]]:
    """What the coder sees on every training region, ``(sample, details.RECORDED)``, and the weight of each sample."""
    blocks: list[Seen] = []
    weights: list[NDArray[np.float32]] = []
    state = MixerState.for_details(trellis=TEACHING)
    for one in found:
        # Draws of its own for each teacher, so that holding one out changes nothing about the others.
        rng = np.random.default_rng((seed, zlib.crc32(one.name.encode())))
        for psnr in STEPS_DB.get(one.kind, SCENE_STEPS_DB):
            units = units_of(one, psnr + float(rng.uniform(-JITTER_DB, JITTER_DB)), "train")
            observer = Observer(max(1, units.size // SAMPLES.get(one.kind, SCENE_SAMPLES)), [])
            TileCoder(transform, replace(state, observer=observer), level_count(*units.shape[1:])).encode(
                units, FRACTION_BITS, None
            )
            seen = np.concatenate(observer.seen)
            blocks.append(seen)
            weights.append(np.full(len(seen), WEIGHTS[one.kind], np.float32))
    return np.concatenate(blocks), np.concatenate(weights)


class ForesightNetwork(nn.Module):
    """The floating-point twin of :class:`palimpsest.codec.entropy.foresight.Foresight`."""

    def __init__(self, units: int, later: int) -> None:
        super().__init__()
        self.first = nn.Linear(INPUTS, units, bias=False)
        self.order = nn.Parameter(torch.zeros(units))
        self.places = nn.Linear(PLACES, units, bias=False)
        self.second = nn.Linear(units, later)
        self.third = nn.Linear(later, OUTPUTS, bias=False)
        self.third_places = nn.Linear(PLACES, OUTPUTS, bias=False)
        self.third_order = nn.Parameter(torch.zeros(OUTPUTS))

    def forward(self, seen: Tensor) -> Tensor:
        """Odds (natural logarithm) of each decision, ``(sample, output)``, of recorded samples (float)."""
        number = (_OCTAVE * torch.log2(1 + seen[:, INPUTS + 3 : INPUTS + 4])).floor() / _ORDER_SCALE
        places = _places(seen)
        hidden = self.first(seen[:, :INPUTS] / (2 * _OCTAVE)) + self.places(places) + number * self.order
        later = self.second(hidden.clamp(0, CEILING)).clamp(0, CEILING)
        odds: Tensor = self.third(later) + self.third_places(places) + number * self.third_order
        return odds


def _places(seen: Tensor) -> Tensor:
    kind = seen[:, INPUTS : INPUTS + 4].long()
    places = torch.zeros(len(seen), PLACES, device=seen.device)
    at = torch.arange(len(seen), device=seen.device)
    places[at, kind[:, 0]] = 1
    places[at, 6 + kind[:, 1]] = 1
    places[:, 10] = kind[:, 2].float()
    for number in range(3):
        places[:, 11 + number] = (kind[:, 3] == number).float()
    return places


def bits(odds: Tensor, seen: Tensor) -> Tensor:
    """Bits of the decisions that each sample needs, ``(sample,)``."""
    size, holds = seen[:, INPUTS + 4].long(), seen[:, INPUTS + 5]
    wanted, asked = torch.zeros_like(odds), torch.zeros_like(odds)
    for node in range(UNARY):
        wanted[:, node], asked[:, node] = size > node, size >= node
    exponent = torch.floor(torch.log2((size - UNARY + 1).clamp(min=1).double() + 1e-9)).long()
    for node in range(SIGNS - UNARY):
        large = size >= UNARY
        wanted[:, UNARY + node], asked[:, UNARY + node] = large & (exponent > node), large & (exponent >= node)
    for node in range(OUTPUTS - SIGNS):
        this = size == node + 1 if node < OUTPUTS - SIGNS - 1 else size > node
        asked[:, SIGNS + node] = this
        wanted[:, SIGNS + node] = holds * this
    cost = functional.binary_cross_entropy_with_logits(odds, wanted, reduction="none") * asked
    return cost.sum(1) / float(np.log(2))


def learn(
    seen: Seen, weights: NDArray[np.float32], settings: ForesightTraining, note: Callable[[str], None]
) -> tuple[Foresight, float]:
    """The network in integers, and its bits a sample at the end of training."""
    assert seen.shape[1] == RECORDED
    torch.manual_seed(settings.seed)
    network = ForesightNetwork(settings.units, settings.later)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.rate)
    rng = np.random.default_rng(settings.seed)
    chances = np.cumsum(weights, dtype=np.float64)
    losses: list[float] = []
    for step in range(settings.steps):
        drawn = np.searchsorted(chances, rng.random(settings.batch) * chances[-1], side="right")
        batch = torch.tensor(seen[np.minimum(drawn, len(seen) - 1)], dtype=torch.float32)
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * (0.02 + 0.98 * (1 - step / settings.steps))
        loss = bits(network(batch), batch).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it so
        optimiser.step()
        losses.append(loss.item())
        if (step + 1) % 1000 == 0 or step + 1 == settings.steps:
            note(f"foresight: step {step + 1} of {settings.steps}, {np.mean(losses[-500:]):.4f} bits a sample")
    return to_integers(network), round(float(np.mean(losses[-500:])), 5)


def to_integers(network: ForesightNetwork) -> Foresight:
    """Integer weights; checked as those of a file are."""
    unit, later = float(1 << foresight.FIRST_BITS), float(1 << foresight.LATER_BITS)

    def rounded(values: Tensor, scale: float) -> NDArray[np.int32]:
        return np.ascontiguousarray(np.rint(values.detach().double().cpu().numpy() * scale).astype(np.int32))

    return foresight.unpacked(foresight.packed(Foresight(
        first=rounded(network.first.weight.T, unit / (2 * _OCTAVE)), order=rounded(network.order, unit / _ORDER_SCALE),
        places=rounded(network.places.weight.T, unit), second=rounded(network.second.weight.T, later),
        second_bias=rounded(network.second.bias, later * 256), third=rounded(network.third.weight, later),
        third_places=rounded(network.third_places.weight.T, later * 256),
        third_order=rounded(network.third_order, later * 256 / _ORDER_SCALE),
    )))
