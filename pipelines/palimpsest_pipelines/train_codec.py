"""Training of the codec: spatial levels separately, then jointly, then what the entropy coder knows beforehand.

First the model of rates learns on the untrained transform; then each level learns alone, coarse to fine, on the coarse
planes that the levels below leave it; then all learn together through the whole pyramid. The result is rounded to
integers; the entropy coder codes the training regions with it, keeps what it learnt as its first state, and notes where
within their cells samples stood. All is written as safetensors and measured with the coder and the quantiser that ship,
on regions that training never saw. Deterministic by seed on one machine; the scorecard beside the weights says what was
learnt from, and what came of it.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from palimpsest.codec.entropy import first_state, foresight
from palimpsest.codec.quantisation import cells
from palimpsest.codec.space import weights
from palimpsest.codec.space.spatial import Gains, LevelTransform
from palimpsest_pipelines.codec_training import basis_training, foresight_training, scorecard
from palimpsest_pipelines.codec_training.foresight_training import ForesightTraining
from palimpsest_pipelines.codec_training.level_networks import LevelNetwork, to_integers
from palimpsest_pipelines.codec_training.rate_model import BIT_IN_SQUARED_STEPS, RateModel, cost
from palimpsest_pipelines.codec_training.training_data import Teacher, tasks, teachers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class CodecTraining:
    """Settings of a training.

    Args:
        name: of the model; its file is ``<name>.safetensors``.
        seed: of every draw.
        levels: how many spatial levels are trained.
        hidden: units of each predictor's network.
        columns: reach of the linear taps along the row, finest level first.
        half: reach of the network's window along the row.
        warm_up, separate, joint: gradient steps of the three stages (of ``separate``, for each level).
        batch, crop: planes a step, and their side in pixels.
        shares: of made scenes, scenes and images in the loss.
        without: scenes held out.
        levels_of: an installed model whose trained levels are taken over; '' trains them.
        device: 'auto', 'cpu' or 'cuda'; the foresight is so small that it always learns on the CPU.
        foresight: of the entropy coder's network.
    """

    name: str = weights.DEFAULT
    seed: int = 1
    levels: int = 4
    hidden: int = 2
    columns: tuple[int, ...] = (1, 1, 2, 2)
    half: int = 2
    warm_up: int = 300
    separate: int = 100
    joint: int = 800
    batch: int = 12
    crop: int = 64
    shares: dict[str, float] = field(default_factory=lambda: {"scene": 0.5, "made": 0.25, "image": 0.25})
    without: tuple[str, ...] = ()
    levels_of: str = ""
    device: str = "auto"
    foresight: ForesightTraining = field(default_factory=ForesightTraining)


def train(settings: CodecTraining, scenes: Path | None, out: Path, note: Callable[[str], None]) -> dict[str, Any]:
    """Train, write ``<name>.safetensors`` and ``<name>.json`` into ``out``; the scorecard.

    Args:
        settings: what to do.
        scenes: folder of the ENVI scenes that may teach; None trains on made scenes and images alone.
        out: folder to write to.
        note: told of the progress.
    """
    began = time.monotonic()
    torch.manual_seed(settings.seed)
    found = teachers(scenes, settings.without, seed=settings.seed)
    note(f"learning from {', '.join(one.name for one in found)}")
    basis = basis_training.learn(scenes, settings.without, settings.seed, note)
    if settings.levels_of:
        card = finish(settings, found, basis | _levels_of(settings.levels_of), {}, out, note)
    else:
        trainer = _Trainer(settings, found, note)
        trainer.run()
        card = finish(settings, found, basis | dict(to_integers(trainer.levels)), trainer.losses, out, note)
    note(f"{(time.monotonic() - began) / 60:.1f} minutes")
    return card


def finish(
    settings: CodecTraining, found: list[Teacher], tensors: dict[str, Any], losses: dict[str, float], out: Path,
    note: Callable[[str], None],
) -> dict[str, Any]:
    """Teach the entropy coder with trained levels, measure, and write weights and scorecard; the scorecard."""
    transform = LevelTransform.of_levels(weights.parse(_file(tensors), settings.name).levels)
    note("teaching the entropy coder")
    seen, shares = foresight_training.observe(transform, found, seed=settings.seed)
    net, losses["foresight, bits a sample"] = foresight_training.learn(seen, shares, settings.foresight, note)
    foreseen = foresight.packed(net)
    tensors = tensors | foreseen | first_state.packed(scorecard.learn_first_state(transform, net, found))
    offsets = cells.learnt(scorecard.gather_rests(transform, net, found))
    tensors = tensors | cells.packed(offsets)
    data = _file(tensors)
    model = weights.parse(data, settings.name)
    state = first_state.unpacked(model.mixer, model.foresight)
    card = {
        "model": settings.name, "sha256": model.sha256, "settings": asdict(settings),
        "data": [{"name": one.name, "kind": one.kind, "sha256": one.sha256} for one in found],
        "split": "rows of each scene or image: first 80 % train, next 10 % choose, last 10 % test",
        "loss": losses,
        "bd_rate_against_cdf97": scorecard.against_cdf97(transform, found, note),
        "bd_rate_of_foresight": scorecard.with_foresight(transform, net, found, note),
        "bd_rate_of_first_state": scorecard.with_first_state(transform, state, found, note),
        "bd_rate_of_offsets": scorecard.with_offsets(transform, state, offsets, found, note),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{settings.name}{weights.SUFFIX}").write_bytes(data)
    (out / f"{settings.name}.json").write_text(json.dumps(card, indent=1) + "\n")
    return card


def _levels_of(name: str) -> dict[str, Any]:
    """Tensors of the trained levels of an installed model."""
    from safetensors.numpy import load

    weights.load(name)  # says by name what is not installed
    data = (files("palimpsest.codec") / "weights" / f"{name}{weights.SUFFIX}").read_bytes()
    return {key: value for key, value in load(data).items() if key.startswith("level")}


def _file(tensors: dict[str, Any]) -> bytes:
    from safetensors.numpy import save

    data: bytes = save({key: np.ascontiguousarray(value) for key, value in sorted(tensors.items())})
    return data


class _Trainer:
    def __init__(self, settings: CodecTraining, found: list[Teacher], note: Callable[[str], None]) -> None:
        self.settings, self.found, self.note = settings, found, note
        wanted = "cuda" if settings.device == "auto" and torch.cuda.is_available() else settings.device
        self.device = torch.device("cpu" if wanted == "auto" else wanted)
        self.rng = np.random.default_rng(settings.seed)
        self.tasks = tasks(found, settings.shares)
        shares = np.array([task.weight for task in self.tasks])
        self.shares = shares / shares.sum()
        reach = (*settings.columns, *[settings.columns[-1]] * settings.levels)
        self.levels = [
            LevelNetwork(reach[k], settings.hidden, settings.half).to(self.device) for k in range(settings.levels)
        ]
        self.rate = RateModel().to(self.device)
        self.losses: dict[str, float] = {}

    def run(self) -> None:
        """The three stages."""
        settings = self.settings
        self._descend("warm up", settings.warm_up, self.levels, first_level=1, learning=[])
        for number in range(settings.levels, 0, -1):
            alone = [self.levels[number - 1]]
            self._descend(f"level {number} alone", settings.separate, alone, first_level=number, learning=alone)
        self._descend("all levels", settings.joint, self.levels, first_level=1, learning=self.levels)

    def _descend(
        self, stage: str, steps: int, levels: list[LevelNetwork], *, first_level: int, learning: list[LevelNetwork]
    ) -> None:
        groups: list[dict[str, Any]] = [{"params": list(self.rate.parameters()), "lr": 2e-3 if not learning else 1e-3}]
        for level in levels:
            level.requires_grad_(level in learning)
        for level in learning:
            named = list(level.named_parameters())
            groups.append({"params": [p for key, p in named if key.endswith("taps")], "lr": 1e-3})
            groups.append({"params": [p for key, p in named if not key.endswith("taps")], "lr": 2e-3})
        optimiser = torch.optim.Adam(groups)
        peaks = [group["lr"] for group in optimiser.param_groups]
        losses: list[float] = []
        for step in range(steps):
            if step % 50 == 0:
                gains = _gains(levels, self.device)
            fade = min(1.0, (step + 1) / 30) * (0.51 + 0.49 * math.cos(math.pi * step / steps))
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = peak * fade
            planes = self._batch(first_level)
            bits, error = cost(levels, self.rate, gains, planes, first_level=first_level)
            # Each plane counts by its relative cost: a task's weight already follows its share of the rate.
            scale = bits.detach() + 0.05 * planes[0].numel()
            loss = ((bits + error / BIT_IN_SQUARED_STEPS) / scale).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it so
            torch.nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 1.0)
            optimiser.step()
            losses.append(loss.item())
            if (step + 1) % 100 == 0 or step + 1 == steps:
                self.note(f"{stage}: step {step + 1} of {steps}, loss {np.mean(losses[-100:]):.4f}")
        if losses:
            self.losses[stage] = round(float(np.mean(losses[-100:])), 5)

    def _batch(self, first_level: int) -> Tensor:
        """Planes in units of their step, cropped, flipped and turned; coarse ones pass the levels before."""
        crops = []
        for at in self.rng.choice(len(self.tasks), self.settings.batch, p=self.shares):
            task = self.tasks[at]
            plane = self.found[task.teacher].region("train")[task.component]
            crops.append(self._crop(plane) / (task.step * 2 ** self.rng.uniform(-0.3, 0.3)))
        planes = torch.tensor(np.stack(crops)[:, None], dtype=torch.float32, device=self.device)
        with torch.no_grad():
            for level in self.levels[: first_level - 1]:
                planes, _ = level.split(planes)
        return planes

    def _crop(self, plane: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> np.ndarray[Any, Any]:
        side = self.settings.crop
        rows, cols = plane.shape
        if rows < side or cols < side:
            plane = np.pad(plane, ((0, max(0, side - rows)), (0, max(0, side - cols))), mode="reflect")
        r, c = (int(self.rng.integers(0, extent - side + 1)) for extent in plane.shape)
        crop = plane[r : r + side, c : c + side]
        if self.rng.random() < 0.5:
            crop = crop[::-1]
        if self.rng.random() < 0.5:
            crop = crop[:, ::-1]
        return np.ascontiguousarray(crop.T if self.rng.random() < 0.5 else crop)


@torch.no_grad()
def _gains(levels: list[LevelNetwork], device: torch.device) -> Gains:
    """Norms of the synthesis functions, measured on noise."""
    source = torch.Generator().manual_seed(1)
    sides = [64 >> k for k in range(len(levels) + 1)]

    def spread(which: int | None, orientation: int) -> float:
        last = len(levels)
        current = torch.zeros(4, 1, sides[last], sides[last], device=device)
        side = sides[last if which is None else which + 1]
        noise = torch.randn(4, 1, side, side, generator=source).to(device)
        if which is None:
            current = noise
        for k in range(last - 1, -1, -1):
            parts = [torch.zeros(4, 1, sides[k + 1], sides[k + 1], device=device) for _ in range(3)]
            if which == k:
                parts[orientation] = noise
            current = levels[k].join(current, (parts[0], parts[1], parts[2]))
        return float((current.pow(2).sum() / noise.pow(2).sum()).sqrt())

    details = tuple((spread(k, 0), spread(k, 1), spread(k, 2)) for k in range(len(levels)))
    return Gains(spread(None, 0), details)
