"""Restores a cube: looks at it once, judges, and decides its damaged voxels window by window.

``restored = decoded + sum of contributions``; voxels that are not damaged stay bit-identical. Decoding errors and
ordinary noise of undamaged voxels are left alone: what a feature needs must be kept by the encoder, and smoothing what
was measured would be a claim that nothing supports.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import Cube, Reason
from palimpsest.errors import CubeRefused
from palimpsest.restoration.computing.one_thread import one_thread
from palimpsest.restoration.computing.side_by_side import side_by_side
from palimpsest.restoration.integrator.network import Integrator, check_parts, load
from palimpsest.restoration.judgement.correlation_decoder import expand, mixture
from palimpsest.restoration.judgement.spared import Spared, spared_of
from palimpsest.restoration.judgement.verdict import Verdict, judge
from palimpsest.restoration.ledger.explain import Ledger
from palimpsest.restoration.ledger.grid import Grid
from palimpsest.restoration.library.modelled import how_made
from palimpsest.restoration.library.rule_constrainer import Constrainer
from palimpsest.restoration.result import ProvenanceClass, Restoration
from palimpsest.restoration.study.sources import GROUP, SOURCES, propose
from palimpsest.restoration.study.study import Study, study
from palimpsest.restoration.view import ACCEPTED, LEFT_ALONE, to_repair, view_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.companions.together import Companions

WINDOW_PIXELS = 4096


def restore(
    cube: Cube, *, knowledge: KnowledgeBase | None, mask: NDArray[np.bool_] | None = None,
    weights: str | Path | Integrator | None = None, parts_left_out: Collection[str] = (), edges: bool = True,
    is_decoded: bool = False, infer_opaque: bool = False, companion: Companions | None = None,
    is_claimed: bool = False,
) -> Restoration:
    """The cube with its damaged voxels restored, and why.

    Args:
        cube: as decoded or as read; its mask, nodata and bad bands say what is damaged.
        knowledge: a compiled release; None restores by statistics alone.
        mask: True = usable, ``(band, row, col)``: damage given by hand, beside the cube's own.
        weights: the integrator, or where its weights are; the packaged ones when left out.
        parts_left_out: parts of the integrator to do without, of
            :data:`~palimpsest.restoration.integrator.network.PARTS`.
        edges: False removes the edges of the graph.
        is_decoded: the cube comes from a lossy stream: untouched voxels are 'coded' and not 'measured'.
        infer_opaque: also infer what opaque windows and noisy bands would have shown; otherwise they stay as stored.
        companion: what other cubes of the same place say of a view.
        is_claimed: half widths are not promised but claimed, for a denoiser's answer to be met by (:func:`judge`).

    Raises:
        CubeRefused: a mask of another shape, or no usable voxel.
        UsageError: an unknown part.
        ModelMissing: the weights are not installed.
    """
    check_parts(parts_left_out)
    reasons = damage_of(cube, mask)
    network = weights if isinstance(weights, Integrator) else load(weights)
    with one_thread():
        seen = study(cube, reasons, knowledge, left_out=parts_left_out, infer_opaque=infer_opaque, doubted=True)
        if seen.context is None:
            return untouched(cube, reasons, is_decoded=is_decoded)
        others = None if companion is None else companion.beside(seen.sources.low_rank)
        verdict = judge(seen, network, edges=edges, left_out=parts_left_out, others=others, is_claimed=is_claimed)
        constrained = knowledge if "rule_constrainer" not in parts_left_out else None
        grounds = _Grounds(knowledge, constrained, network, is_decoded, infer_opaque, companion)
        return _assemble(cube, reasons, seen, verdict, grounds)


def damage_of(cube: Cube, mask: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """A :class:`~palimpsest.cubes.Reason` per voxel: the cube's own, and USER where a mask given by hand says no.

    Raises:
        CubeRefused: a mask of another shape.
    """
    reasons = cube.voxel_reasons()
    if mask is not None:
        if mask.shape != cube.data.shape:
            raise CubeRefused("mask of another shape", where=cube.name, got=mask.shape, wanted=cube.data.shape)
        # What a hand marked is to be repaired, in an opaque window too.
        free = np.isin(reasons, (*ACCEPTED, *LEFT_ALONE))
        reasons = np.where(~mask & free, np.uint8(Reason.USER), reasons)
    return reasons


def untouched(cube: Cube, reasons: NDArray[np.uint8], *, is_decoded: bool) -> Restoration:
    """The restoration of a cube in which nothing is damaged."""
    kind = ProvenanceClass.CODED if is_decoded else ProvenanceClass.MEASURED
    return Restoration(
        cube, cube, Grid.of(cube.data, 1.0).quantum, (), (), np.zeros(0, np.int64), np.zeros(0, np.float32),
        np.full(cube.data.shape, kind, np.uint8), reasons,
        report={"restored_voxels": 0, "remark": "nothing is damaged"},
    )


@dataclass(frozen=True, slots=True)
class _Grounds:
    knowledge: KnowledgeBase | None
    constrained: KnowledgeBase | None
    network: Integrator
    is_decoded: bool
    infer_opaque: bool
    companion: Companions | None


@dataclass(frozen=True, slots=True)
class _Window:
    voxels: NDArray[np.int64]  # flat indices of those that were decided; what follows is of them
    stored: NDArray[np.generic]
    kind: NDArray[np.uint8]
    half: NDArray[np.float32]  # of the interval, stored units
    ledger: Ledger
    broken: dict[str, int]  # measured pixels that break a rule, by its IRI


def _assemble(
    cube: Cube, reasons: NDArray[np.uint8], seen: Study, verdict: Verdict, grounds: _Grounds
) -> Restoration:
    _bands, rows, cols = cube.shape
    data = np.array(cube.data, order="C")
    flat = data.reshape(-1)
    kind = ProvenanceClass.CODED if grounds.is_decoded else ProvenanceClass.MEASURED
    companion = grounds.companion
    broken = to_repair(reasons, infer_opaque=grounds.infer_opaque)
    classes = np.full(data.size, kind, np.uint8)
    grid = Grid.of(cube.data, seen.unit)
    ledger = Ledger(data.size, {} if companion is None else {SOURCES[GROUP]: companion.sentence})
    constrainer = Constrainer.of(grounds.constrained, cube, seen.axis, seen.unit)
    spared = spared_of(cube, reasons, seen, verdict.weights)
    changed, half = [], []

    def decide(start: int) -> _Window:
        view = view_of(cube, reasons, seen.axis, seen.damaged[start : start + WINDOW_PIXELS], seen.unit)
        proposals = propose(seen.sources, view, None if companion is None else companion(view))
        member = seen.groups.of(view)
        wanted = broken.reshape(seen.axis.count, -1)[:, view.pixels][seen.axis.order].T
        pixel, band = np.nonzero(wanted)
        voxels = seen.axis.order[band].astype(np.int64) * (rows * cols) + view.pixels[pixel]
        weights, unshrunk = (np.moveaxis(table[member], 2, 0) for table in (verdict.weights, verdict.unshrunk))
        moved = None if spared is None else spared.correction(view, proposals, mixture(proposals, weights))
        own, rules = ledger.beside(), replace(constrainer, broken={})
        found = expand(
            view, wanted, proposals, seen.sources, weights, rules, flat[voxels], grid, own, voxels, moved, unshrunk,
        )
        width = verdict.expected.half_width(member[pixel], band, found.apart)
        if spared is not None:
            width *= spared.left[band]
        return _Window(voxels, found.stored, found.kind, (width * seen.unit).astype(np.float32), own, rules.broken)

    for window in side_by_side(decide, range(0, seen.damaged.size, WINDOW_PIXELS)):
        flat[window.voxels], classes[window.voxels] = window.stored, window.kind
        changed.append(window.voxels)
        half.append(window.half)
        ledger.join(window.ledger)
        for iri, pixels in window.broken.items():
            constrainer.broken[iri] = constrainer.broken.get(iri, 0) + pixels
    named, widths = np.concatenate(changed), np.concatenate(half)
    order = np.argsort(named, kind="stable")
    unrepaired = int(broken.sum()) - named.size
    report: dict[str, object] = {
        "restored_voxels": int(named.size), "pixels_without_enough_bands": unrepaired > 0,
        "unrestored_voxels": unrepaired, "sources": _spoken(seen, companion), "groups": len(seen.groups.centres),
        "materials": [m.label for m in seen.sources.flat.materials] if seen.sources.flat is not None else [],
    }
    if seen.sources.lit is not None:
        varied = {f"{one.label} {how_made(one)}" for one in seen.sources.lit.materials if how_made(one)}
        report |= {"modelled": sorted(varied)} if varied else {}
    if verdict.followed:
        report["knowledge_followed"] = verdict.followed
    if constrainer.broken:
        report["rules_broken_by_measured_voxels"] = dict(sorted(constrainer.broken.items()))
    knowledge = grounds.knowledge
    if knowledge is not None and seen.axis.centre_nm is None:
        report["remark"] = "no wavelengths: the library could not be asked"
    clean = None if cube.reasons is None else cube.reasons.copy()
    if clean is not None:
        clean.reshape(-1)[named] = Reason.GOOD
    restored = replace(cube.with_data(data, f"restored {named.size} voxels"), reasons=clean)
    return Restoration(
        cube, restored, grid.quantum, tuple(ledger.decisions), tuple(ledger.contributions), named[order], widths[order],
        classes.reshape(data.shape), reasons, "" if knowledge is None else knowledge.release,
        _model(grounds.network, spared), report,
    )


def _model(network: Integrator, spared: Spared | None) -> str:
    """The identity of what was learned and took part."""
    if spared is None:
        return network.digest
    return hashlib.sha256(f"{network.digest} {spared.habits}".encode()).hexdigest()


def _spoken(seen: Study, companion: Companions | None) -> dict[str, float]:
    context = seen.context
    if context is None:
        return {}
    told = {
        name: round(float(context.speaks[:, k].mean()), 4)
        for k, name in enumerate(SOURCES) if context.speaks[:, k].any()
    }
    if companion is not None:
        told[SOURCES[GROUP]] = round(float(companion.speaks[context.cells.band].mean()), 4)
    return told
