"""The last word of the rules: no voxel that a restoration changed breaks a hard bound, measured ones that do are told.

Voxels that were judged are projected as they are made. Those that only lost noise or a stripe are not, and a little
less noise in a dark band may still be less than nothing: they are brought to the bound here, by a contribution in the
rule's name. Measured voxels stay as they are, and are counted by rule.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.ledger.grid import Grid
from palimpsest.restoration.library.rule_constrainer import Constrainer
from palimpsest.restoration.result import FULL_TRUST, Contribution, Decision, on_grid
from palimpsest.restoration.view import ACCEPTED, Axis, unit_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase, Rule
    from palimpsest.restoration.result import Restoration

REPORTED = "hard_rules"


def held_to_bounds(result: Restoration, knowledge: KnowledgeBase | None) -> Restoration:
    """The restoration with every changed voxel inside the hard bounds, and a report of them.

    Args:
        result: of a whole cube.
        knowledge: the release; None has no rules.

    Returns:
        The report has, under ``hard_rules``, by IRI: changed voxels that were brought to the rule here, and measured
        voxels that break it.
    """
    cube = result.decoded
    axis = Axis.of(cube.bands)
    if knowledge is None or axis.centre_nm is None:
        return result
    unit = unit_of(cube, result.reasons)
    constrainer = Constrainer.of(knowledge, cube, axis, unit)
    if constrainer.compiled is None:
        return result
    data = np.array(result.restored.data)
    flat, plane = data.reshape(-1), cube.shape.rows * cube.shape.cols
    is_changed = np.zeros(flat.size, bool)
    is_changed[result.changed] = True
    measured = np.isin(result.reasons, ACCEPTED).reshape(-1) & ~is_changed
    grid = Grid.of(cube.data, unit)
    step = grid.step * grid.quantum
    decisions, parts = list(result.decisions), list(result.contributions)
    told: dict[str, dict[str, int]] = {}
    for one in constrainer.compiled.hard:
        if one.rule.kind != "bounds" or one.rule.scope:
            continue
        moved = breaking = 0
        given: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        for place in one.bands:
            band = int(axis.order[place])
            low, high = _limits(one.rule, constrainer, unit, step)
            voxels = np.arange(band * plane, (band + 1) * plane)
            values = flat[voxels].astype(np.float64)
            outside = (values < low) | (values > high)
            breaking += int((outside & measured[voxels]).sum())
            mine = voxels[outside & is_changed[voxels]]
            if not mine.size:
                continue
            before = on_grid(flat[mine], result.quantum)
            flat[mine] = np.clip(flat[mine].astype(np.float64), low, high).astype(data.dtype)
            given.append((mine, on_grid(flat[mine], result.quantum) - before))
            moved += mine.size
        if given:
            parts.append(_contribution(len(decisions), given, data.size))
            decisions.append(Decision("rule", one.rule.sentence, one.rule.iri))
        told[one.rule.iri] = {"restored_voxels_brought_to_it": moved, "measured_voxels_that_break_it": breaking}
    report = {**result.report, REPORTED: told}
    if len(decisions) == len(result.decisions):
        return replace(result, report=report)
    return replace(
        result, restored=replace(result.restored, data=data), decisions=tuple(decisions), contributions=tuple(parts),
        report=report,
    )


def _limits(rule: Rule, constrainer: Constrainer, unit: float, step: float) -> tuple[float, float]:
    """Lowest and highest stored value that obeys the rule, on the grid of stored values."""
    ends = []
    for name, none, inward in (("low", -np.inf, np.ceil), ("high", np.inf, np.floor)):
        bound = rule.parameters.get(name)
        if bound is None:
            ends.append(none)
            continue
        stored = (constrainer.zero + bound * (constrainer.one - constrainer.zero)) * unit
        ends.append(float(inward(stored / step - (1e-6 if inward is np.ceil else -1e-6)) * step))
    return ends[0], ends[1]


def _contribution(
    decision: int, given: list[tuple[NDArray[np.int64], NDArray[np.int64]]], size: int
) -> Contribution:
    voxels, quanta = (np.concatenate([pair[which] for pair in given]) for which in (0, 1))
    order = np.argsort(voxels, kind="stable")
    voxels, quanta = voxels[order], quanta[order]
    kept = quanta != 0
    narrow = np.int32 if not kept.any() or np.abs(quanta).max() < 2**31 else np.int64
    return Contribution(
        decision, voxels[kept].astype(np.int32 if size < 2**31 else np.int64), quanta[kept].astype(narrow),
        np.full(int(kept.sum()), FULL_TRUST, np.uint8),
    )
