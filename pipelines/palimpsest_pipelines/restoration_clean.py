"""What few clean pixels in an otherwise wide gap come to: over several draws of them, since one decides by chance.

A cell is a scene, a run of bands and a number of clean pixels. Its figures are means over the draws; it holds where
ours is at or above the better of the two rivals' means: a ridge regression on the clean pixels, and what we say with
the clean pixels hidden as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest_pipelines.restoration_cases import cell_of
from palimpsest_pipelines.restoration_rivals import RIDGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from palimpsest_pipelines.restoration_scores import Result

OURS = "palimpsest"
LIBRARY_ONLY = "palimpsest library-only"  # the few clean pixels of a wide gap hidden as well
_METHODS = {OURS: "ours", RIDGE: "ridge", LIBRARY_ONLY: "library alone"}


def clean_table(results: Sequence[Result]) -> dict[str, float]:
    """Means over draws of each cell, its margin and the lowest of a draw; by number of pixels, what cells come to."""
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for r in results:
        if r.case.startswith("clean:") and r.method in _METHODS:
            found.setdefault((r.scene, cell_of(r.case)), {}).setdefault(_METHODS[r.method], {})[r.case] = r.figure
    table: dict[str, float] = {}
    margins: dict[str, list[float]] = {}
    single: dict[str, list[float]] = {}
    for (scene, cell), by_method in found.items():
        if len(by_method) < len(_METHODS):
            continue  # no folder of rivals
        draws = sorted(set.intersection(*(set(figures) for figures in by_method.values())))
        each = {method: np.array([figures[draw] for draw in draws]) for method, figures in by_method.items()}
        for method, values in each.items():
            table[f"{scene} {cell} {method}, mean of {len(draws)} draws"] = float(values.mean())
        ours, rivals = each["ours"], np.stack([each["ridge"], each["library alone"]])
        margin, apart = float(ours.mean() - rivals.mean(1).max()), ours - rivals.max(0)
        table[f"{scene} {cell} margin over the better of ridge and library alone"] = margin
        table[f"{scene} {cell} lowest margin of a draw"] = float(apart.min())
        number = cell.split(":")[1]
        margins.setdefault(number, []).append(margin)
        single.setdefault(number, []).extend(apart.tolist())
    for number, own in margins.items():
        where = f"clean:{number}, {len(own)} cells"
        table[f"{where}: mean margin over the better of ridge and library alone"] = float(np.mean(own))
        table[f"{where}: at or above it"] = float(np.sum(np.array(own) >= 0))
        table[f"{where}: lowest cell"] = float(np.min(own))
        table[f"{where}: lowest draw"] = float(np.min(single[number]))
        table[f"{where}: share of draws below"] = float(np.mean(np.array(single[number]) < 0))
    return table
