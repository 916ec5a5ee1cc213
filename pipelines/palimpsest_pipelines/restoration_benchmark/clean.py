"""What few clean pixels in an otherwise wide gap come to: over several draws of them, since one decides by chance.

A cell is a scene, a run of bands and a number of clean pixels. Its figures are means over the draws. It is held against
what the clean pixels say alone, a ridge regression, and against what a library says without them, twice: by the rivals'
recipe on the release's library (where there are wavelengths), and by us with the clean pixels hidden as well. The
latter has the whole integrator behind it and is mostly the stricter measure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest_pipelines.restoration_benchmark.cases import cell_of
from palimpsest_pipelines.restoration_benchmark.rivals import RIDGE, UNMIXED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from palimpsest_pipelines.restoration_benchmark.scores import Result

OURS = "palimpsest"
LIBRARY_ONLY = "palimpsest library-only"  # the few clean pixels of a wide gap hidden as well
_METHODS = {OURS: "ours", RIDGE: "ridge", LIBRARY_ONLY: "library alone", UNMIXED: UNMIXED}
_HIDDEN, _BY_RIVALS = "ridge and library alone", f"ridge and {UNMIXED}"


def clean_table(results: Sequence[Result]) -> dict[str, float]:
    """Means over draws of each cell, its margin and the lowest of a draw; by number of pixels, what cells come to."""
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for r in results:
        if r.case.startswith("clean:") and r.method in _METHODS:
            found.setdefault((r.scene, cell_of(r.case)), {}).setdefault(_METHODS[r.method], {})[r.case] = r.figure
    table: dict[str, float] = {}
    margins: dict[tuple[str, str], list[float]] = {}
    single: dict[str, list[float]] = {}
    for (scene, cell), by_method in found.items():
        # The recipe does not look at the clean pixels and is run for one draw; without wavelengths it has no library.
        unmixed = list(by_method.pop(UNMIXED, {}).values())
        if len(by_method) < len(_METHODS) - 1:
            continue  # no folder of rivals
        draws = sorted(set.intersection(*(set(figures) for figures in by_method.values())))
        each = {method: np.array([figures[draw] for draw in draws]) for method, figures in by_method.items()}
        for method, values in each.items():
            table[f"{scene} {cell} {method}, mean of {len(draws)} draws"] = float(values.mean())
        ours, rivals = each["ours"], np.stack([each["ridge"], each["library alone"]])
        number = cell.split(":")[1]
        against = {_HIDDEN: float(rivals.mean(1).max()), _BY_RIVALS: max([float(each["ridge"].mean()), *unmixed])}
        for name, best in against.items():
            margin = float(ours.mean()) - best
            table[f"{scene} {cell} margin over the better of {name}"] = margin
            margins.setdefault((number, name), []).append(margin)
        apart = ours - rivals.max(0)
        table[f"{scene} {cell} lowest margin of a draw"] = float(apart.min())
        single.setdefault(number, []).extend(apart.tolist())
    for (number, name), own in margins.items():
        where = f"clean:{number}, {len(own)} cells"
        table[f"{where}: mean margin over the better of {name}"] = float(np.mean(own))
        table[f"{where}: at or above the better of {name}"] = float(np.sum(np.array(own) >= 0))
        table[f"{where}: lowest cell against the better of {name}"] = float(np.min(own))
        if name == _HIDDEN:
            table[f"{where}: lowest draw"] = float(np.min(single[number]))
            table[f"{where}: share of draws below"] = float(np.mean(np.array(single[number]) < 0))
    return table
