"""``palimpsest train restoration``: the integrator learns whom to believe; a scorecard says how well.

Made scenes, and the two recorded ones that training may see (given by the caller), are split by scene: 70 % to learn
from, 20 % to calibrate the intervals on, 10 % to be measured on. One thread, one seed, the same weights each time. The
loss is :mod:`~palimpsest_pipelines.restoration_training.loss`; intervals learn by likelihood and are then scaled
conformally.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import UsageError
from palimpsest.restoration.judgement.opinion import opinion_of
from palimpsest.restoration.study.sources import LINEAR, PCHIP, SOURCES
from palimpsest_pipelines.restoration_benchmark.held_out import HELD_OUT, without
from palimpsest_pipelines.restoration_benchmark.judges import FixedWeights, PerNode, Rivals, alone, rivals_beside
from palimpsest_pipelines.restoration_benchmark.judges import save as save_rivals
from palimpsest_pipelines.restoration_training.batches import thinned
from palimpsest_pipelines.restoration_training.examples import (
    CALIBRATING,
    TESTING,
    Example,
    made_examples,
    real_examples,
)
from palimpsest_pipelines.restoration_training.intervals import Witness, calibrate, coverage, grounds_of, mixed_errors
from palimpsest_pipelines.restoration_training.loss import loss_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.integrator.network import Integrator

RECORDED = ("gatorsense", "indian_pines")  # the recorded scenes that training may see
EPOCHS = 12
MEMBERS = 3
MADE = 240
REAL_EACH = 60
# Further made examples of single voxels, of which the others hold few: some calibrate alone, the rest are split.
SINGLES, STRUCK, STRUCK_CASES = 24, 96, ("e", "mixed")
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.02
BATCH = 6
FIXED_EPOCHS, FIXED_RATE = 6, 0.05  # of the weights that are the same everywhere
_EDGELESS = 0.1  # share of steps without edges, so that ablations are not strange to the network
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train.

    Args:
        made: number of made examples.
        struck: made examples of single voxels beside.
        real_each: examples of each recorded scene.
        epochs: passes over the examples.
        members: networks that are asked together; they differ by the seed of their weights and order alone.
        seed: of examples, weights and order.
    """

    made: int = MADE
    struck: int = STRUCK
    real_each: int = REAL_EACH
    epochs: int = EPOCHS
    members: int = MEMBERS
    seed: int = 0


def main(options: argparse.Namespace) -> int:
    """The verb ``train restoration``: gather once, learn the shipped network and one without each recorded scene."""
    from palimpsest.commands import note, print_result
    from palimpsest.formats import read
    from palimpsest.knowledge.releases.release import load

    recorded = {}
    for name in RECORDED if options.scenes is not None else ():
        if name in options.without:
            continue
        path = options.scenes / f"{name}.hdr"
        if not path.is_file():
            raise UsageError("a scene to learn from is not there", where=path, wanted=f"it, or --without {name}")
        recorded[name] = read(path)
    # Some materials are kept from training, on the ground and in the library: what an added one is measured with.
    knowledge, settings = without(load(None), HELD_OUT), Settings(seed=options.seed)
    examples = gather(knowledge, recorded, settings, note)
    singles = list(made_examples(
        knowledge, settings.made + SINGLES, settings.seed, note, first=settings.made, cases=STRUCK_CASES,
        all_kept_back=True,
    ))
    cards: dict[str, dict[str, object]] = {}
    by_scene = {name: [one for one in examples if one.scene == name] for name in sorted(recorded)}
    # A recorded scene calibrates intervals through a network that learned from all the others.
    bare = None
    if recorded:
        bare = fit(split([one for one in examples if one.scene not in recorded])["train"], settings, note)
    judges: dict[str, Integrator] = {}
    for left_out in (*sorted(recorded), ""):
        name = f"without_{left_out}" if left_out else "integrator"
        kept = [example for example in examples if example.scene != left_out]
        seen = {key: cube for key, cube in recorded.items() if key != left_out}
        others = {key: judges.get(key) if not left_out and len(recorded) > 1 else bare for key in seen}
        witnesses = [Witness(network, by_scene[key]) for key, network in others.items() if network is not None]
        cards[name], judges[left_out] = learn(
            kept, options.out / f"{name}.safetensors", knowledge.release, seen, settings, note, witnesses, singles
        )
    print_result({name: card["measured"] for name, card in cards.items()}, as_json=options.json)
    return 0


def gather(
    knowledge: KnowledgeBase, recorded: Mapping[str, Cube], settings: Settings, note: Callable[[str], None]
) -> list[Example]:
    """Examples of made scenes and of the recorded ones that training may see."""
    examples = list(made_examples(knowledge, settings.made, settings.seed, note))
    first = settings.made + SINGLES
    examples += made_examples(
        knowledge, first + settings.struck, settings.seed, note, first=first, cases=STRUCK_CASES
    )
    for name, cube in sorted(recorded.items()):
        examples += real_examples(name, cube, knowledge, settings.real_each, settings.seed, note)
    return examples


def learn(
    examples: Sequence[Example], out: Path, release: str, recorded: Mapping[str, Cube], settings: Settings,
    note: Callable[[str], None], witnesses: Sequence[Witness] = (), singles: Sequence[Example] = (),
) -> tuple[dict[str, object], Integrator]:
    """Fit, calibrate, measure, and write weights and scorecard.

    Args:
        examples: to split.
        out: the safetensors file; ``.json`` beside it is the scorecard.
        release: hash of the knowledge that they were made with.
        recorded: scenes among them, for their hashes.
        settings: how.
        note: hears progress.
        witnesses: networks through which recorded scenes calibrate the intervals.
        singles: further made examples, of single voxels, for the calibration alone: among the others are too few.

    Returns:
        The scorecard, and the network.
    """
    from safetensors.torch import save

    from palimpsest.restoration.integrator.network import Integrator

    started = time.perf_counter()
    parts = split(examples)
    seeds = range(settings.seed, settings.seed + settings.members)
    single = [fit(parts["train"], replace(settings, seed=seed), note) for seed in seeds]
    network = Integrator.of(single)
    made = [*parts["calibrate"], *singles]
    calibrate(network, made, witnesses)
    rivals = compared(parts, settings, note)
    calibrate(rivals.per_node, made, witnesses)
    card: dict[str, object] = {
        "release": release, "held_out": list(HELD_OUT), "model": network.digest, "settings": asdict(settings),
        "recorded": {
            name: hashlib.sha256(np.ascontiguousarray(cube.data).tobytes()).hexdigest()
            for name, cube in sorted(recorded.items())
        },
        "split": {name: sorted({example.scene for example in part}) for name, part in parts.items()},
        "measured": {name: measure(network, part) for name, part in parts.items() if name != "train"},
        "alone": [measure(one, parts["test"]) for one in single],
        "per_node": [measure(alone(rivals.per_node, k), parts["test"]) for k in range(settings.members)],
        "fixed": measure(rivals.fixed, parts["test"]), "by_trials": measure(rivals.by_trials, parts["test"]),
        "seconds": round(time.perf_counter() - started, 1),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(save({key: value.contiguous() for key, value in network.state_dict().items()}))
    out.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")
    save_rivals(rivals, rivals_beside(out))
    return card, network


def compared(
    parts: Mapping[str, Sequence[Example]], settings: Settings, note: Callable[[str], None]
) -> Rivals:
    """The judges that the integrator is measured against, fitted to the same examples."""
    seeds = range(settings.seed, settings.seed + settings.members)
    alone_each = [fit(parts["train"], replace(settings, seed=seed), note, PerNode) for seed in seeds]
    fixed = [
        fitted(
            FixedWeights(hears_trials=hears), parts["train"], replace(settings, epochs=FIXED_EPOCHS), note, FIXED_RATE
        )
        for hears in (False, True)
    ]
    first, second = fixed
    assert isinstance(first, FixedWeights)
    assert isinstance(second, FixedWeights)
    joined = PerNode.of(alone_each)
    assert isinstance(joined, PerNode)
    return Rivals(joined, first, second)


def split(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """70/20/10 by scene: made scenes in turn, by their numbers; every recorded scene is for learning only."""
    parts: dict[str, list[Example]] = {"train": [], "calibrate": [], "test": []}
    for example in examples:
        turn = int(example.scene.rsplit("-", 1)[1]) % 10 if example.scene.startswith("made-") else None
        parts["calibrate" if turn in CALIBRATING else "test" if turn in TESTING else "train"].append(example)
    return parts


def fit(
    examples: Sequence[Example], settings: Settings, note: Callable[[str], None], kind: type[Integrator] | None = None,
) -> Integrator:
    """An integrator of one network fitted to the examples; deterministic.

    Args:
        examples: to learn from.
        settings: how.
        note: hears progress.
        kind: what to fit; the integrator itself when left out.
    """
    import torch

    from palimpsest.restoration.integrator.network import Integrator

    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    network = Integrator() if kind is None else kind()
    return fitted(network, examples, settings, note, LEARNING_RATE)


def fitted(
    network: Integrator, examples: Sequence[Example], settings: Settings, note: Callable[[str], None], rate: float,
) -> Integrator:
    """A network after its passes over the examples."""
    import torch

    rng = np.random.default_rng(settings.seed)
    steps = settings.epochs * -(-len(examples) // BATCH)
    moved = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(moved, lr=rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=max(steps, 2))
    for epoch in range(settings.epochs):
        total = 0.0
        order = rng.permutation(len(examples))
        for first in range(0, len(order), BATCH):
            batch = [thinned(examples[number], rng) for number in order[first : first + BATCH]]
            loss = loss_of(network, batch, edges=rng.random() > _EDGELESS)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it so
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        if epoch % 10 == 9:
            note(f"epoch {epoch + 1}: loss {total / len(examples):.4f}")
    return network.eval()


def measure(network: Integrator, examples: Sequence[Example]) -> dict[str, object]:
    """Mean over examples of the gain on the better of line and cubic, and of coverage."""
    gains, best = [], []
    for example in examples:
        mixed = mixed_errors(example, opinion_of(network, grounds_of(example)).weights)
        scaled = example.share / np.maximum(example.valid.sum(1), 1)
        weight = (example.valid * scaled[:, None])[example.valid]
        alone = [
            float((example.errors[:, s][example.valid] ** 2 * weight).sum()) + _TINY for s in range(len(SOURCES))
        ]
        plain = min(alone[LINEAR], alone[PCHIP])
        singles = [plain, *(value for s, value in enumerate(alone) if example.context.speaks[:, s].all())]
        own = float((mixed[example.valid] ** 2 * weight).sum()) + _TINY
        gains.append(float(10 * np.log10(plain / own)))
        best.append(float(10 * np.log10(min(singles) / own)))
    return {
        "examples": len(examples), "gain_over_interpolation_db": _mean(gains), "worst_gain_db": min(gains, default=0.0),
        "gain_over_best_single_db": _mean(best), "coverage": round(coverage(network, examples), 4),
    }


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 4) if values else 0.0
