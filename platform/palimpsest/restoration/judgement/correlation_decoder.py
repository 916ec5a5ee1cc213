"""Correlation decoder: the judgement expanded to voxels, with consistency enforced, as exact named contributions.

Expansion is guided by knowledge: a source's weight in a cell goes to every damaged voxel of that pixel group and band,
and the library's share is split by material. Consistency: weights are renormalised over the sources that speak at the
voxel itself, hard rules are projected onto, and everything is counted in integers, so that the parts add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.library.modelled import how_made
from palimpsest.restoration.result import ProvenanceClass, on_grid
from palimpsest.restoration.study.sources import (
    FLAT_READING,
    GROUP,
    KNOWLEDGE,
    KRIGING,
    LINEAR,
    LIT_READING,
    LOW_RANK,
    PCHIP,
    SOURCES,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import Material, Rule
    from palimpsest.restoration.ledger.explain import Ledger
    from palimpsest.restoration.ledger.grid import Grid
    from palimpsest.restoration.library.rule_constrainer import Constrainer
    from palimpsest.restoration.library.semantic_mapper import Reading
    from palimpsest.restoration.study.sources import Proposals, Sources
    from palimpsest.restoration.view import View


SPOKEN_ALONE = (LINEAR, PCHIP, KRIGING, LOW_RANK, GROUP)  # contributions that no material has a part in


@dataclass(frozen=True, slots=True)
class Expansion:
    """Voxels of some pixels, decided.

    Args:
        pixel, band: of each damaged voxel: row of the view, ascending band, ``(voxel,)``.
        stored: restored values in the stored type, ``(voxel,)``.
        kind: a :class:`ProvenanceClass` each, ``(voxel,)`` uint8.
        apart: weighted standard deviation of the believed sources, scaled, ``(voxel,)``.
    """

    pixel: NDArray[np.intp]
    band: NDArray[np.intp]
    stored: NDArray[np.generic]
    kind: NDArray[np.uint8]
    apart: NDArray[np.float64]


def expand(
    view: View, wanted: NDArray[np.bool_], proposals: Proposals, sources: Sources, weights: NDArray[np.float64],
    constrainer: Constrainer, before: NDArray[np.generic], grid: Grid, ledger: Ledger, voxels: NDArray[np.int64],
    moved: NDArray[np.float64] | None = None, unshrunk: NDArray[np.float64] | None = None,
) -> Expansion:
    """Decide the damaged voxels of a view and write who added what into the ledger.

    Args:
        view: the pixels.
        wanted: the voxels to decide, ``(pixel, band)``, none of them usable.
        proposals: candidates for them.
        sources: what was fitted.
        weights: of the sources at each pixel and band, ``(source, pixel, band)``.
        constrainer: the hard rules.
        before: stored values of the damaged voxels, in the order of ``np.nonzero(wanted)``.
        grid: stored type and quantum.
        ledger: receives the contributions.
        voxels: flat index of each damaged voxel in the stored cube, in the same order.
        moved: what spared pixels add to the mixture, scaled, ``(pixel, band)``, or None.
        unshrunk: weights whose disagreement counts, if others than ``weights``.
    """
    pixel, band = np.nonzero(wanted)
    trust = _heard(weights[:, pixel, band], proposals.speaks[:, pixel, band])  # (source, voxel)
    values = proposals.values[:, pixel, band].astype(np.float64)
    mixed = (trust * values).sum(0)
    told = trust if unshrunk is None else _heard(unshrunk[:, pixel, band], proposals.speaks[:, pixel, band])
    apart = np.sqrt((told * np.square(values - (told * values).sum(0))).sum(0))
    spectra = view.values.astype(np.float64)
    spectra[pixel, band] = mixed if moved is None else mixed + moved[pixel, band]
    rules = constrainer.project(spectra, wanted, wanted | view.usable, sources.flat, proposals.shares[0])
    stored, unclipped = grid.stored(spectra[pixel, band] * view.unit)
    sum_so_far = np.zeros(pixel.size, np.int64)

    def enter(decision: int, scaled: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
        quanta = grid.quanta(scaled * view.unit)
        sum_so_far[...] += quanta
        ledger.add(decision, voxels, quanta, weight)

    gone = -on_grid(before, grid.quantum)
    sum_so_far += gone
    full = np.ones(pixel.size)
    ledger.add(ledger.source("damage"), voxels, gone, full)
    for source in SPOKEN_ALONE:
        if trust[source].any():
            enter(ledger.source(SOURCES[source]), trust[source] * values[source], trust[source])
    readings = (
        (sources.flat, proposals.shares[0], trust[list(FLAT_READING)].sum(0)),
        (sources.lit, proposals.shares[1], trust[list(LIT_READING)].sum(0)),
    )
    for material, scaled, weight in _by_material(readings, pixel, band):
        enter(ledger.material(material), scaled, weight)
    dark = [(believed, reading.dark) for reading, _, believed in readings if reading is not None]
    if any(level > 0 for _, level in dark):
        believed = np.sum([trusted for trusted, _ in dark], axis=0)
        enter(ledger.source("library.dark"), np.sum([trusted * level for trusted, level in dark], axis=0), believed)
    left = [
        (trust[source], rest[pixel, band])
        for source, rest in zip(KNOWLEDGE, proposals.residuals, strict=True) if rest is not None
    ]
    if left:
        carried_on = np.sum([believed * rest for believed, rest in left], axis=0)
        enter(ledger.source("library.residual"), carried_on, np.sum([believed for believed, _ in left], axis=0))
    if moved is not None:
        enter(ledger.source("correlation.spared"), moved[pixel, band], full)
    for rule, step in rules:
        enter(ledger.rule(rule), step[pixel, band], (step[pixel, band] != 0).astype(float))
    # Clipping is what the stored type's range took; rounding is what is left between the sum and the stored value.
    after = on_grid(stored, grid.quantum)
    clipped = np.where(np.abs(after - unclipped) > grid.step, after - unclipped, 0)
    ledger.add(ledger.source("clipping"), voxels, clipped, full)
    rounding = after - on_grid(before, grid.quantum) - sum_so_far - clipped
    ledger.add(ledger.source("rounding"), voxels, rounding, full)
    return Expansion(pixel, band, stored, _kinds(trust, rules, pixel, band), apart)


def mixture(proposals: Proposals, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted mean of those who speak, ``(pixel, band)``; weights ``(source, pixel, band)``."""
    return np.asarray((_heard(weights, proposals.speaks) * proposals.values).sum(0))


def _heard(weights: NDArray[np.float64], speaks: NDArray[np.bool_]) -> NDArray[np.float64]:
    trust = weights * speaks
    total = trust.sum(0)
    # Where nobody whom the cell believes speaks, the line between the neighbours does.
    trust[LINEAR, total <= 1e-6] = 1.0
    trust[1:, total <= 1e-6] = 0.0
    return np.asarray(trust / trust.sum(0))


def _by_material(
    readings: tuple[tuple[Reading | None, NDArray[np.float64] | None, NDArray[np.float64]], ...],
    pixel: NDArray[np.intp], band: NDArray[np.intp],
) -> Iterator[tuple[Material, NDArray[np.float64], NDArray[np.float64]]]:
    """Each material with its part of the value and of the trust, both ``(voxel,)``, by IRI; apart what was modelled."""
    parts: dict[tuple[str, str], tuple[Material, NDArray[np.float64], NDArray[np.float64]]] = {}
    for reading, shares, believed in readings:
        if reading is None or shares is None or not believed.any():
            continue
        own: dict[tuple[str, str], list[int]] = {}
        for k, material in enumerate(reading.materials):
            own.setdefault((material.iri, how_made(material)), []).append(k)
        for key, rows in own.items():
            value = believed * sum(shares[pixel, k] * reading.spectra[k, band] for k in rows)
            taken = np.asarray((shares[:, rows] > 0).any(axis=1))
            weight = np.where(taken[pixel], believed, 0.0)
            if key in parts:
                _, other, otherwise = parts[key]
                value, weight = value + other, weight + otherwise
            parts[key] = (reading.materials[rows[0]], value, weight)
    for key in sorted(parts):
        yield parts[key]


def _kinds(
    trust: NDArray[np.float64], rules: list[tuple[Rule, NDArray[np.float64]]], pixel: NDArray[np.intp],
    band: NDArray[np.intp],
) -> NDArray[np.uint8]:
    sides = np.stack([
        trust[[LINEAR, PCHIP, KRIGING]].sum(0), trust[[LOW_RANK, GROUP]].sum(0), trust[list(KNOWLEDGE)].sum(0)
    ])
    classes = np.array([
        ProvenanceClass.INTERPOLATED, ProvenanceClass.CORRELATED, ProvenanceClass.KNOWLEDGE_INFERRED
    ], np.uint8)
    kind = classes[np.argmax(sides, 0)]
    for _, moved in rules:
        kind[moved[pixel, band] != 0] = ProvenanceClass.RULE_PROJECTED
    return kind
