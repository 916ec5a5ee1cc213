"""Conformal factors of the integrator's intervals: what its expected errors are to be multiplied by.

Made scenes alone promise too much: on recorded ones the same networks err more in wide gaps. So recorded scenes count
too, each judged by a *witness*: a network that learned from all the others and not from it; and never for the weights
that are measured on it. Intervals promise to hold nine restored voxels in ten, so a shared gap counts by the bands that
it takes, however many pixels were looked at: the errors of a band come in one piece. Of single voxels an example counts
as one. What is calibrated is the answer that is given: the verdict's weights, and knowledge followed as far as in a
scene.

Source: split conformal prediction for data in groups, Dunn, Wasserman and Ramdas 2022, J. Am. Stat. Assoc. 118,
2491-2502.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.confidence import BAND_GROUPS, COVERAGE, KINDS, SINGLE, expected_scale
from palimpsest.restoration.opinion import Grounds, opinion_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.restoration.integrator import Integrator
    from palimpsest_pipelines.restoration_examples import Example

NAMELESS = BAND_GROUPS - 1
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
        bands: how many bands each kind of defect takes, ``(kind,)``; one for single voxels.
    """

    error: NDArray[np.float64]
    scale: NDArray[np.float64]
    kind: NDArray[np.intp]
    nameless: bool
    bands: NDArray[np.intp]


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
    """What a network makes of an example: the answer that would be given, knowledge followed as far as there."""
    found = opinion_of(network, grounds_of(example), left_out=left_out)
    mixed = mixed_errors(example, found.weights)
    told = found.unshrunk[:, :, None]
    centre = (example.errors * told).sum(1)
    apart = np.sqrt((np.square(example.errors - centre[:, None]) * told).sum(1))
    error = 10.0 ** (found.log_error - 2.0)
    seen = example.valid
    kind = np.broadcast_to(example.kind[:, None], seen.shape)[seen]
    scale = expected_scale(np.broadcast_to(error[:, None], seen.shape)[seen], apart[seen], kind)
    band = example.context.cells.band
    bands = [1 if one == SINGLE else np.unique(band[example.kind == one]).size for one in range(KINDS)]
    nameless = bool((example.band_group == NAMELESS).all())
    return Judged(np.abs(mixed)[seen], scale, kind, nameless, np.array(bands))


def grounds_of(example: Example) -> Grounds:
    """What an opinion of an example rests on: its sampled voxels, whose errors differ as the answers do."""
    number = np.maximum(example.valid.sum(1), 1)

    def steps(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
        squared = np.square(mixed_errors(example, one - other)) * example.valid
        return np.asarray(squared.sum(1) / number * example.share)

    return Grounds(
        example.axis, example.context, example.unaided, example.share.astype(np.float64), example.is_spoken, steps
    )


def mixed_errors(example: Example, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Errors of the mixture by weights ``(cell, source)``, ``(cell, voxel)``."""
    return np.asarray((example.errors * weights[:, :, None]).sum(1))


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
    """The conformal quantile over the bands of examples; None where there are too few examples."""
    ratios, weights = [], []
    for example, weight in told:
        inside = example.kind == kind
        if inside.sum() >= FEWEST_VOXELS and nameless in (None, example.nameless):
            ratios.append(example.error[inside] / np.maximum(example.scale[inside], 1e-12))
            weights.append(np.full(int(inside.sum()), weight * example.bands[kind] / inside.sum()))
    if len(ratios) < FEWEST_EXAMPLES:
        return None
    ratio, heard = np.concatenate(ratios), np.concatenate(weights)
    order = np.argsort(ratio, kind="stable")
    share = np.cumsum(heard[order]) / heard.sum()
    return float(ratio[order][min(int(np.searchsorted(share, COVERAGE)), ratio.size - 1)])
