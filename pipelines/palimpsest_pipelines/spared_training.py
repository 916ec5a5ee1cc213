"""``palimpsest train spared``: how far each way of telling a lost band from a few clean pixels is believed.

Examples: :mod:`~palimpsest_pipelines.spared_examples`, made scenes alone, judged by the weights that ship. For every
three scenes to learn from one more is made and kept back to measure.

Loss: the margin in decibels over the better of the judgement and the ridge on the same pixels, at most six, losses
counted seven times, and a pull of 0.002 times the habits' squares. Optimiser: Adam, 400 steps over all examples at
once from equal shares, rate 0.05. What is believed of each kernel where there is but one pixel comes first, with the
same loss against what the kernels start from.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.errors import UsageError
from palimpsest.restoration import spared_habits
from palimpsest.restoration.integrator import load as load_integrator
from palimpsest.restoration.one_thread import one_thread
from palimpsest.restoration.spared_tellers import NAMES, USUAL
from palimpsest_pipelines.spared_examples import JUDGED, draws, gaps_of, kernels

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest_pipelines.spared_examples import Draws

SCENES, KEPT_BACK = 42, 3  # scenes to learn from; one more is kept back for each so many
STEPS, RATE, PULL = 400, 0.05, 0.002
MOST_GAIN, LOSSES = 6.0, 6.0  # dB; what a loss counts beside what it takes from the mean
LEAST_USUAL = 0.01
LOSS_LIMIT = -0.3  # dB: margins below are counted
_TINY = 1e-10


@dataclass(frozen=True, slots=True)
class Constants:
    """What :mod:`~palimpsest.restoration.spared_habits` and the tellers go by.

    Args:
        habits: ``(way, 3)``.
        sharp: not negative.
        strained: of each way, ``(way,)``, from 0 to 1.
        usual: of each kernel, ``(ratio, doubt)``, above zero, of sum one.

    Raises:
        UsageError: another shape, or numbers that cannot be.
    """

    habits: NDArray[np.float64]
    sharp: float
    strained: NDArray[np.float64]
    usual: NDArray[np.float64]

    def __post_init__(self) -> None:
        shapes = self.habits.shape, self.strained.shape, self.usual.shape
        wanted = spared_habits.HABITS.shape, spared_habits.STRAINED.shape, USUAL.shape
        if shapes != wanted:
            raise UsageError("constants of another shape", got=shapes, wanted=wanted)
        if not all(np.isfinite(part).all() for part in (self.habits, self.sharp, self.strained, self.usual)):
            raise UsageError("constants that are no numbers", wanted="finite ones")
        if self.sharp < 0 or (self.strained < 0).any() or (self.strained > 1).any():
            raise UsageError("constants out of range", got=(self.sharp, self.strained.tolist()), wanted="0 to 1")
        if (self.usual <= 0).any() or abs(float(self.usual.sum()) - 1) > 1e-6:
            raise UsageError("beliefs that are no shares", got=self.usual.tolist(), wanted="above zero, of sum one")

    def written(self) -> dict[str, Any]:
        """As JSON takes it, named as where they ship."""
        return {
            "HABITS": self.habits.tolist(), "SHARP": self.sharp, "STRAINED": self.strained.tolist(),
            "USUAL": self.usual.tolist(),
        }


SHIPPED = Constants(spared_habits.HABITS, spared_habits.SHARP, spared_habits.STRAINED, USUAL)


def main(options: argparse.Namespace) -> int:
    """The verb ``train spared``: make scenes, collect, fit, measure on scenes kept back, write constants and card."""
    from palimpsest.atomic import write_bytes
    from palimpsest.commands import note, print_result
    from palimpsest.knowledge.release import load

    count = SCENES if options.scenes_count is None else options.scenes_count
    if count < 1:
        raise UsageError("no scene to learn from", got=count, wanted="1 or more")
    options.out.mkdir(parents=True, exist_ok=True)
    where = options.out / "spared.json"
    constants, card = learn(load(None), count, options.seed, note)
    write_bytes(where, (json.dumps({**constants.written(), "card": card}, indent=1) + "\n").encode())
    print_result({"constants": str(where), **card}, as_json=options.json)
    return 0


def learn(
    knowledge: KnowledgeBase, count: int, seed: int, note: Callable[[str], None]
) -> tuple[Constants, dict[str, Any]]:
    """Constants fitted to ``count`` made scenes, and a scorecard of them on others; the same for the same seed."""
    started = time.perf_counter()
    network = load_integrator(None)
    numbers = range(count + max(1, count // KEPT_BACK))
    with one_thread():
        gaps = [gap for number in numbers for gap in gaps_of(number, seed, knowledge, network, note)]
        taught, kept = [g for g in gaps if g.scene < count], [g for g in gaps if g.scene >= count]
        usual = fit_usual(kernels(taught, seed))
        examples = draws(taught, usual, seed)
        constants = fit(examples, usual)
        equal = replace(constants, habits=np.zeros_like(constants.habits), sharp=0.0)
        card = {
            "seed": seed, "scenes": count, "scenes_kept_back": len(numbers) - count, "gaps": len(taught),
            "examples": int(examples.draw.max()) + 1, "judge": network.digest, "release": knowledge.release,
            "loss_of_equal_shares": round(loss(examples, equal), 4), "loss": round(loss(examples, constants), 4),
            "kept_back": scored(draws(kept, usual, seed), constants),
            "kept_back_by_what_ships": scored(draws(kept, USUAL, seed), SHIPPED),
            "seconds": round(time.perf_counter() - started, 1),
        }
    return constants, card


@one_thread()
def fit_usual(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is to be believed of each kernel where one pixel is clean, ``(ratio, doubt)``; see :func:`kernels`."""
    import torch

    inner, base = torch.tensor(products[:, :-1, :-1]), torch.tensor(products[:, -1, -1])
    free = torch.zeros(USUAL.size, dtype=torch.float64, requires_grad=True)

    def missed() -> torch.Tensor:
        share = torch.softmax(free, 0)
        return _loss(torch.einsum("i,rij,j->r", share, inner, share), base)

    _descend([free], missed)
    share = np.maximum(torch.softmax(free.detach(), 0).numpy(), LEAST_USUAL)
    return np.asarray(share / share.sum()).reshape(USUAL.shape)


@one_thread()
def fit(examples: Draws, usual: NDArray[np.float64], steps: int = STEPS) -> Constants:
    """Habits, sharpness and strain that lower the loss most, from equal shares on."""
    import torch

    better = torch.tensor(examples.better)
    habits = torch.zeros(spared_habits.HABITS.shape, dtype=torch.float64, requires_grad=True)
    sharp = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)  # of a logarithm
    bent = torch.tensor([-2.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)  # before a sigmoid
    way = torch.tensor([0] * (len(NAMES) - 2) + [1, 2])
    first = torch.ones(len(NAMES), dtype=torch.float64)
    first[JUDGED] = 0  # the judgement is nothing that the clean pixels were fitted to

    def missed() -> torch.Tensor:
        own = _mixed(examples, habits, sharp.exp(), torch.sigmoid(bent)[way] * first)
        return _loss(own, better) + PULL * habits.square().sum()

    _descend([habits, sharp, bent], missed, steps)
    strained = (torch.sigmoid(bent)[way] * first).detach().numpy()
    return Constants(habits.detach().numpy(), float(sharp.detach().exp()), strained, usual)


def loss(examples: Draws, constants: Constants) -> float:
    """What :func:`fit` lowers, without the pull of the habits."""
    import torch

    return float(_loss(torch.tensor(missed_by(examples, constants)), torch.tensor(examples.better)))


def missed_by(examples: Draws, constants: Constants) -> NDArray[np.float64]:
    """Mean square elsewhere of the ways mixed by some constants, ``(draw,)``."""
    import torch

    parts = constants.habits, np.asarray(constants.sharp), constants.strained
    return np.asarray(_mixed(examples, *(torch.tensor(part) for part in parts)).numpy())


def scored(examples: Draws, constants: Constants) -> dict[str, dict[str, float]]:
    """Margins over the better of judgement and ridge, dB, by the number of clean pixels."""
    margin = 10 * np.log10((examples.better + _TINY) / (missed_by(examples, constants) + _TINY))
    return {
        str(int(number)): {
            "mean_db": round(float(part.mean()), 3), "least_db": round(float(part.min()), 3),
            "share_below_limit": round(float((part < LOSS_LIMIT).mean()), 3), "draws": len(part),
        }
        for number in np.unique(examples.numbers) for part in (margin[examples.numbers == number],)
    }


def _mixed(
    examples: Draws, habits: torch.Tensor, sharp: torch.Tensor, strained: torch.Tensor
) -> torch.Tensor:
    """As :func:`~palimpsest.restoration.spared_habits.believed` mixes: mean square elsewhere, ``(draw,)``."""
    import torch

    doubt = torch.tensor(examples.alone) + strained * torch.tensor(examples.strained)
    score = torch.tensor(examples.about) @ habits.T - 0.5 * sharp * torch.tensor(examples.number - 1)[:, None] * doubt
    share = torch.softmax(score, 1)
    square = torch.einsum("ri,rij,rj->r", share, torch.tensor(examples.product), share)
    total = torch.zeros(int(examples.draw.max()) + 1, dtype=torch.float64)
    return total.index_add(0, torch.tensor(examples.draw), square * torch.tensor(examples.weight))


def _loss(own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    import torch

    margin = 10 * torch.log10((other + _TINY) / (own + _TINY))
    return LOSSES * torch.relu(-margin).mean() - margin.clamp(max=MOST_GAIN).mean()


def _descend(free: list[torch.Tensor], missed: Callable[[], torch.Tensor], steps: int = STEPS) -> None:
    import torch

    optimiser = torch.optim.Adam(free, lr=RATE)
    for _ in range(steps):
        optimiser.zero_grad()
        missed().backward()  # type: ignore[no-untyped-call] # torch leaves it so
        optimiser.step()
