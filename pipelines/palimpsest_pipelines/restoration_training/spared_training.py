"""``palimpsest train spared``: how far each way of telling a lost band from a few clean pixels is believed.

Examples: :mod:`~palimpsest_pipelines.restoration_training.spared_examples`, made scenes alone, judged by the weights
that ship, and each once more with a judgement that is wrong on purpose
(:mod:`~palimpsest_pipelines.restoration_training.spared_bending`). For every three scenes to learn from one more is
made and kept back to measure, as it is.

Loss: the margin in decibels over the better of the judgement and the ridge on the same pixels, at most six, losses
counted ten times, and a pull of 0.002 times the habits' squares. Optimiser: Adam, 400 steps over all examples at
once from equal shares, rate 0.05. What is believed of each kernel before any pixel is left out comes first, with the
same loss by one pixel against what the kernels start from.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.errors import UsageError
from palimpsest.restoration.computing.one_thread import one_thread
from palimpsest.restoration.integrator.network import load as load_integrator
from palimpsest.restoration.judgement.spared_habits import SIGNS, Habits
from palimpsest.restoration.judgement.spared_tellers import KERNELS, NAMES, REGRESSIONS, REGRESSIONS_BESIDE
from palimpsest_pipelines.restoration_training.spared_bending import bent
from palimpsest_pipelines.restoration_training.spared_examples import JUDGED, draws, gaps_of, kernels

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest_pipelines.restoration_training.spared_examples import Draws

SCENES, KEPT_BACK = 84, 3  # scenes to learn from; one more is kept back for each so many
STEPS, RATE, PULL = 400, 0.05, 0.002
MOST_GAIN, LOSSES = 6.0, 9.0  # dB; what a loss counts beside what it takes from the mean
LOSS_LIMIT = -0.3  # dB: margins below are counted
_TINY = 1e-10
_LEAST = 1e-12


def main(options: argparse.Namespace) -> int:
    """The verb ``train spared``: make scenes, collect, fit, measure on scenes kept back, write habits and card."""
    from palimpsest.atomic import write_bytes
    from palimpsest.commands import note, print_result
    from palimpsest.knowledge.releases.release import load

    count = SCENES if options.scenes_count is None else options.scenes_count
    if count < 1:
        raise UsageError("no scene to learn from", got=count, wanted="1 or more")
    where = options.out / "spared.json"
    habits, card = learn(load(None), count, options.seed, note)
    write_bytes(where, (json.dumps({**habits.to_dict(), "card": card}, indent=1) + "\n").encode())
    print_result({"habits": str(where), **card}, as_json=options.json)
    return 0


def learn(
    knowledge: KnowledgeBase, count: int, seed: int, note: Callable[[str], None]
) -> tuple[Habits, dict[str, Any]]:
    """Habits fitted to ``count`` made scenes, and a scorecard of them on others; the same for the same seed."""
    started = time.perf_counter()
    network = load_integrator(None)
    numbers = range(count + max(1, count // KEPT_BACK))
    with one_thread():
        gaps = [gap for number in numbers for gap in gaps_of(number, seed, knowledge, network, note)]
        taught, kept = [g for g in gaps if g.scene < count], [g for g in gaps if g.scene >= count]
        believed = fit_kernels(*kernels(taught, seed))
        wrong = [bent(gap, seed, number) for number, gap in enumerate(taught)]
        examples = draws([*taught, *wrong], believed, seed)
        habits = fit(examples, believed)
        equal = replace(habits, usual=np.zeros_like(habits.usual), sharp=0.0)
        card = {
            "seed": seed, "scenes": count, "scenes_kept_back": len(numbers) - count, "gaps": len(taught),
            "examples": int(examples.draw.max()) + 1, "judge": network.digest, "release": knowledge.release,
            "loss_of_equal_shares": round(loss(examples, equal), 4), "loss": round(loss(examples, habits), 4),
            "model": habits.digest, "kept_back": scored(draws(kept, believed, seed), habits),
            "seconds": round(time.perf_counter() - started, 1),
        }
    return habits, card


@one_thread()
def fit_kernels(products: NDArray[np.float64], shared: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is to be believed of each kernel, ``(2, ratio, doubt)`` as habits keep it; see :func:`kernels`."""
    import torch

    inner, base = torch.tensor(products[:, :-1, :-1]), torch.tensor(products[:, -1, -1])
    alike = torch.tensor(np.log(shared))[:, None]
    free = [torch.zeros(inner.shape[-1], dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def missed() -> torch.Tensor:
        share = torch.softmax(free[0] + free[1] * alike, 1)
        return _loss(torch.einsum("ri,rij,rj->r", share, inner, share), base) + PULL * free[1].square().sum()

    _descend(free, missed)
    return np.asarray(torch.stack(free).detach().numpy()).reshape(2, *KERNELS)


@one_thread()
def fit(examples: Draws, believed: NDArray[np.float64], steps: int = STEPS) -> Habits:
    """Habits that lower the loss most, from equal shares on; ``believed`` of each kernel, as they keep it."""
    import torch

    better = torch.tensor(examples.better)
    usual = torch.zeros((len(NAMES), SIGNS), dtype=torch.float64, requires_grad=True)
    sharp = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)  # of a logarithm
    most = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)  # of a logarithm
    bent = torch.tensor([-2.0] + [0.0] * (1 + REGRESSIONS), dtype=torch.float64, requires_grad=True)  # before a sigmoid
    far = torch.full((len(NAMES),), -1.0, dtype=torch.float64, requires_grad=True)  # before a sigmoid
    # One number for all that start from a base, one for the regressions beside the run, one for each of the rest.
    plain = len(NAMES) - REGRESSIONS - REGRESSIONS_BESIDE
    way = torch.tensor([0] * plain + [1] * REGRESSIONS_BESIDE + list(range(2, 2 + REGRESSIONS)))
    first = torch.ones(len(NAMES), dtype=torch.float64)
    first[JUDGED] = 0  # the judgement is nothing that the clean pixels were fitted to

    def missed() -> torch.Tensor:
        strained = torch.sigmoid(bent)[way] * first
        own = _mixed(examples, usual, sharp.exp(), most.exp(), strained, torch.sigmoid(far))
        return _loss(own, better) + PULL * usual.square().sum()

    _descend([usual, sharp, most, bent, far], missed, steps)
    with torch.no_grad():
        strained, strayed = (torch.sigmoid(bent)[way] * first).numpy(), torch.sigmoid(far).numpy()
        return Habits(usual.numpy(), float(sharp.exp()), float(most.exp()), strained, strayed, believed)


def loss(examples: Draws, habits: Habits) -> float:
    """What :func:`fit` lowers, without the pull."""
    import torch

    return float(_loss(torch.tensor(missed_by(examples, habits)), torch.tensor(examples.better)))


def missed_by(examples: Draws, habits: Habits) -> NDArray[np.float64]:
    """Mean square elsewhere of the ways mixed by some habits, ``(draw,)``."""
    import torch

    parts = habits.usual, np.asarray(habits.sharp), np.asarray(habits.most), habits.strained, habits.strayed
    return np.asarray(_mixed(examples, *(torch.tensor(part) for part in parts)).numpy())


def scored(examples: Draws, habits: Habits) -> dict[str, dict[str, float]]:
    """Margins over the better of judgement and ridge, dB, by the number of clean pixels."""
    margin = 10 * np.log10((examples.better + _TINY) / (missed_by(examples, habits) + _TINY))
    return {
        str(int(number)): {
            "mean_db": round(float(part.mean()), 3), "least_db": round(float(part.min()), 3),
            "share_below_limit": round(float((part < LOSS_LIMIT).mean()), 3), "draws": len(part),
        }
        for number in np.unique(examples.numbers) for part in (margin[examples.numbers == number],)
    }


def _mixed(
    examples: Draws, usual: torch.Tensor, sharp: torch.Tensor, most: torch.Tensor, strained: torch.Tensor,
    strayed: torch.Tensor,
) -> torch.Tensor:
    """As :func:`~palimpsest.restoration.judgement.spared_habits.believed` mixes: mean square elsewhere, ``(draw,)``."""
    import torch

    product, missed = torch.tensor(examples.product), torch.tensor(examples.missed)
    further = torch.tensor(examples.number - 1)[:, None]
    heard = 0.5 * sharp * further / (1 + further / most)
    score = torch.tensor(examples.about) @ usual.T
    score = score - heard * (torch.tensor(examples.alone) + strained * torch.tensor(examples.strained))
    share = torch.softmax(score, 1)

    def of_mix(products: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ri,rij,rj->r", share, products, share)[:, None]

    rest = of_mix(missed) + _LEAST
    apart = [
        (torch.diagonal(each, dim1=1, dim2=2) - 2 * torch.einsum("rij,rj->ri", each, share) + of_mix(each)).clamp(min=0)
        for each in (product, missed)
    ]
    share = torch.softmax(score - heard * strayed * torch.log((apart[0] + rest) / (apart[1] + rest)), 1)
    square = torch.einsum("ri,rij,rj->r", share, product, share)
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
