"""Conformal factors of the integrator's intervals: what its expected errors are to be multiplied by.

Made scenes alone promise too much: on recorded ones the same networks err more in wide gaps. So recorded scenes count
too, each judged by a *witness*: a network that learned from all the others and not from it; and never for the weights
that are measured on it. An example counts as one, however many voxels it has: errors of a shared gap come in one piece.

Source: split conformal prediction for data in groups, Dunn, Wasserman and Ramdas 2022, J. Am. Stat. Assoc. 118,
2491-2502.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.confidence import BAND_GROUPS, COVERAGE, KINDS, expected_scale, with_own_trials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.restoration.integrator import Integrator
    from palimpsest_pipelines.restoration_examples import Example

NAMELESS = BAND_GROUPS - 1
SINGLE = 2  # the kind of voxels that other pixels have
FEWEST_EXAMPLES = 8
FEWEST_VOXELS = 20
UNKNOWN = 2.0  # the factor where nothing was measured


@dataclass(frozen=True, slots=True)
class Judged:
    """An example's voxels as a network judged them, each ``(voxel,)``.

    Args:
        error: size of the error, scaled.
        scale: what a factor is to multiply.
        kind: of the defect.
        nameless: whether the scene has no wavelengths.
    """

    error: NDArray[np.float64]
    scale: NDArray[np.float64]
    kind: NDArray[np.intp]
    nameless: bool


@dataclass(frozen=True, slots=True)
class Witness:
    """A network and examples of a recorded scene that it did not learn from.

    Args:
        network: of made scenes and the other recorded ones.
        examples: of the scene.
    """

    network: Integrator
    examples: Sequence[Example]


def judged(network: Integrator, example: Example, left_out: tuple[str, ...] = ()) -> Judged:
    """What a network makes of an example."""
    import torch

    with torch.no_grad():
        judgement = network(example.context, left_out=left_out)
    trust = judgement.weights.numpy().astype(np.float64)
    tried, weights = (trust * example.context.error).sum(1), trust[:, :, None]
    mixed = (example.errors * weights).sum(1)
    apart = np.sqrt((np.square(example.errors - mixed[:, None]) * weights).sum(1))
    everywhere = example.context.cells.everywhere
    log_error = with_own_trials(judgement.log_error.numpy().astype(np.float64), tried, everywhere)
    error = 10.0 ** (log_error - 2.0)
    seen = example.valid
    kind = np.broadcast_to(example.kind[:, None], seen.shape)[seen]
    scale = expected_scale(np.broadcast_to(error[:, None], seen.shape)[seen], apart[seen], kind)
    return Judged(np.abs(mixed)[seen], scale, kind, bool((example.band_group == NAMELESS).all()))


def calibrate(network: Integrator, made: Sequence[Example], witnesses: Sequence[Witness] = ()) -> None:
    """Set the conformal factors.

    Args:
        network: whose buffers are set.
        made: examples of made scenes that its fit did not see.
        witnesses: of recorded scenes, none of the one that the network will be measured on.
    """
    recorded = sum(len(witness.examples) for witness in witnesses)
    for name, left_out in (("conformal", ()), ("conformal_plain", ("confidence",))):
        told = [(judged(network, example, left_out), 1.0) for example in made]
        # Both halves of the evidence count alike.
        weight = max(1.0, len(made) / max(recorded, 1))
        told += [
            (judged(witness.network, example, left_out), weight)
            for witness in witnesses for example in witness.examples
        ]
        table = network.get_buffer(name)
        for kind in range(KINDS):
            # Single voxels are tried in their own band on the scene itself: made scenes serve.
            heard = told[: len(made)] if kind == SINGLE else told
            everyone = _factor(heard, kind, None)
            table[:NAMELESS, kind] = _factor(heard, kind, False) or everyone or UNKNOWN
            table[NAMELESS, kind] = _factor(heard, kind, True) or everyone or UNKNOWN


def coverage(network: Integrator, examples: Sequence[Example]) -> float:
    """Mean over examples of the share of voxels inside their interval."""
    table = network.get_buffer("conformal").numpy()
    rates = []
    for example in examples:
        seen = judged(network, example)
        factor = table[NAMELESS if seen.nameless else 0, seen.kind]
        rates.append(float((seen.error <= factor * seen.scale).mean()))
    return float(np.mean(rates)) if rates else 0.0


def _factor(told: Sequence[tuple[Judged, float]], kind: int, nameless: bool | None) -> float | None:
    """The conformal quantile over examples; None where there are too few."""
    ratios, weights = [], []
    for example, weight in told:
        inside = example.kind == kind
        if inside.sum() >= FEWEST_VOXELS and nameless in (None, example.nameless):
            ratios.append(example.error[inside] / np.maximum(example.scale[inside], 1e-12))
            weights.append(np.full(int(inside.sum()), weight / inside.sum()))
    if len(ratios) < FEWEST_EXAMPLES:
        return None
    ratio, heard = np.concatenate(ratios), np.concatenate(weights)
    order = np.argsort(ratio, kind="stable")
    share = np.cumsum(heard[order]) / heard.sum()
    return float(ratio[order][min(int(np.searchsorted(share, COVERAGE)), ratio.size - 1)])
