"""Conformal factors of the integrator's intervals: what its expected errors are to be multiplied by.

Made scenes alone promise too much: on recorded ones the same networks err more in wide gaps. So recorded scenes count
too, each judged by a *witness*: a network that learned from all the others and not from it; and never for the weights
that are measured on it. Intervals promise to hold nine restored voxels in ten, so a shared gap counts by the bands that
it takes, however many pixels were looked at: the errors of a band come in one piece. Of single voxels an example counts
as one, and it is held against the measurements that were lost: the truth of made scenes is given the noise that
recorded ones have. What is calibrated is the answer that is given: the verdict's weights, and knowledge followed as far
as in a scene.

Source: split conformal prediction for data in groups, Dunn, Wasserman and Ramdas 2022, J. Am. Stat. Assoc. 118,
2491-2502.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.integrator.confidence import BAND_GROUPS, COVERAGE, KINDS, SINGLE, expected_scale, noise_of
from palimpsest.restoration.judgement.opinion import Grounds, opinion_of
from palimpsest_pipelines.restoration_benchmark.cases import STRUCK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.restoration.integrator.network import Integrator
    from palimpsest_pipelines.restoration_training.examples import Example

NAMELESS = BAND_GROUPS - 1
FEWEST_EXAMPLES = 8
FEWEST_VOXELS = 20
UNKNOWN = 2.0  # the factor where nothing was measured
# Examples' worth of all band groups that a group's own factor is mixed with (geometric mean). Of 0, 3, 10, 30, 100 and
# all, that with which the factors of one draw of examples held nearest to nine in ten in the groups of another.
BORROWED = 30.0
_NOISE_SEED = 23


@dataclass(frozen=True, slots=True)
class Judged:
    """An example's voxels as a network judged them, each ``(voxel,)``.

    Args:
        error: size of the error, scaled; of single voxels against the measurement.
        scale: what a factor is to multiply.
        kind: of the defect.
        group: band group.
        nameless: whether the scene has no wavelengths.
        band: of the scene; single voxels count as of one.
    """

    error: NDArray[np.float64]
    scale: NDArray[np.float64]
    kind: NDArray[np.intp]
    group: NDArray[np.intp]
    nameless: bool
    band: NDArray[np.intp]


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
    expected, noise = (
        np.broadcast_to(row[:, None], seen.shape)[seen] for row in (error, noise_of(example.context))
    )
    scale = expected_scale(expected, apart[seen], noise, kind)
    band, group = (
        np.broadcast_to(row[:, None], seen.shape)[seen] for row in (example.context.cells.band, example.band_group)
    )
    nameless = bool((example.band_group == NAMELESS).all())
    missed = np.abs(mixed[seen] - _unmeasured(example, noise, kind))
    return Judged(missed, scale, kind, group, nameless, np.where(kind == SINGLE, 0, band))


def _unmeasured(example: Example, noise: NDArray[np.float64], kind: NDArray[np.intp]) -> NDArray[np.float64]:
    """What the measurements of single voxels would have had beyond a truth without noise, ``(voxel,)``."""
    if not example.scene.startswith("made-") and example.case not in STRUCK:
        return np.zeros(noise.size)
    return np.where(kind == SINGLE, noise * np.random.default_rng(_NOISE_SEED).standard_normal(noise.size), 0.0)


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
            everyone = _factor(told, kind)[0] or UNKNOWN
            table[NAMELESS, kind] = _factor(told, kind, nameless=True)[0] or everyone
            named = _factor(told, kind, nameless=False)[0] or everyone
            for group in range(NAMELESS):
                own, heard = _factor(told, kind, nameless=False, group=group)
                share = heard / (heard + BORROWED) if own else 0.0
                table[group, kind] = (own or named) ** share * named ** (1 - share)


def coverage(network: Integrator, examples: Sequence[Example]) -> float:
    """Mean over examples of the share of voxels inside their interval."""
    table = network.get_buffer("conformal").numpy()
    rates = []
    for example in examples:
        seen = judged(network, example)
        factor = table[NAMELESS if seen.nameless else seen.group, seen.kind]
        rates.append(float((seen.error <= factor * seen.scale).mean()))
    return float(np.mean(rates)) if rates else 0.0


def _factor(
    told: Sequence[tuple[Judged, float]], kind: int, *, nameless: bool | None = None, group: int | None = None
) -> tuple[float | None, int]:
    """The conformal quantile over the bands of examples, None where they are too few, and how many they are."""
    ratios, weights = [], []
    for example, weight in told:
        inside = (example.kind == kind) & (group is None or example.group == group)
        if inside.sum() >= FEWEST_VOXELS and nameless in (None, example.nameless):
            ratios.append(example.error[inside] / np.maximum(example.scale[inside], 1e-12))
            weights.append(np.full(int(inside.sum()), weight * np.unique(example.band[inside]).size / inside.sum()))
    if len(ratios) < FEWEST_EXAMPLES:
        return None, len(ratios)
    ratio, heard = np.concatenate(ratios), np.concatenate(weights)
    order = np.argsort(ratio, kind="stable")
    share = np.cumsum(heard[order]) / heard.sum()
    return float(ratio[order][min(int(np.searchsorted(share, COVERAGE)), ratio.size - 1)]), len(ratios)
