"""The restoration benchmark as PNG: who gains how much in which case, what each part is worth, what intervals hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest_pipelines.restoration_benchmark.clean import OURS
from palimpsest_pipelines.restoration_benchmark.rivals import ORACLE
from palimpsest_pipelines.restoration_benchmark.scores import pooled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from palimpsest_pipelines.restoration_benchmark.scores import Result

PLAIN = ("linear", "pchip")
FLOOR, GOAL = (0.75, 0.98), (0.85, 0.95)  # of a group's coverage
RIVALS, ASKED, OWN = "rivals", "ours, asked otherwise", "ours"
MARKS = {RIVALS: ("tab:gray", "x"), ASKED: ("tab:orange", "."), OWN: ("tab:blue", "o")}
LINE_INCHES = 0.16
WIDTH_INCHES = 8.0


def draw(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write every picture that the results give into a folder; which were written."""
    folder.mkdir(parents=True, exist_ok=True)
    gains = _gains(results)
    written = [
        _cases(gains, folder / "restoration_gain.png"), _methods(gains, folder / "restoration_methods.png"),
        _coverage([one for one in results if one.method == OURS], folder / "restoration_coverage.png"),
    ]
    return [path for path in written if path is not None]


def _gains(results: Iterable[Result]) -> dict[str, dict[str, float]]:
    """By 'scene case', dB of each method over the better of line and cubic; cases without these are left out."""
    table: dict[str, dict[str, float]] = {}
    for one in results:
        table.setdefault(f"{one.scene} {one.case}", {})[one.method] = one.figure
    found = {}
    for name, there in table.items():
        plain = [there[method] for method in PLAIN if method in there]
        if plain and OURS in there:
            found[name] = {method: value - max(plain) for method, value in there.items() if method not in PLAIN}
    return found


def _cases(gains: Mapping[str, Mapping[str, float]], path: Path) -> Path | None:
    """One line a case: ours, the other ways of asking us, and the rivals."""
    if not gains:
        return None
    figure, place = _figure(len(gains))
    points: dict[str, list[tuple[float, int]]] = {label: [] for label in MARKS}
    for line, there in enumerate(gains.values()):
        for method, value in there.items():
            if method != ORACLE:
                points[_label(method)].append((value, line))
    for label, (colour, mark) in MARKS.items():
        if points[label]:
            across, down = zip(*points[label], strict=True)
            place.scatter(across, down, s=14, color=colour, marker=mark, label=label)
    _named(place, list(gains), "dB over the better of line and cubic")
    figure.savefig(path, dpi=100)
    return path


def _label(method: str) -> str:
    return OWN if method == OURS else ASKED if method.startswith(OURS) else RIVALS


def _methods(gains: Mapping[str, Mapping[str, float]], path: Path) -> Path | None:
    """The mean gain of every method over the cases that all of them ran."""
    shared = sorted(set.intersection(*(set(there) for there in gains.values()))) if gains else []
    if len(shared) < 2:
        return None
    mean = {method: float(np.mean([there[method] for there in gains.values()])) for method in shared}
    order = sorted(mean, key=lambda method: mean[method])
    figure, place = _figure(len(order))
    colours = ["tab:blue" if method == OURS else "tab:gray" for method in order]
    place.barh(range(len(order)), [mean[method] for method in order], color=colours)
    _named(place, order, f"dB over the better of line and cubic, mean of {len(gains)} cases", is_keyed=False)
    figure.savefig(path, dpi=100)
    return path


def _coverage(ours: Sequence[Result], path: Path) -> Path | None:
    """What 90 % intervals hold, by band group and kind of defect, between floor and goal."""
    groups = {name: covered / number for name, (number, covered, _) in pooled(list(ours)).items() if number}
    if not groups:
        return None
    figure, place = _figure(len(groups))
    for (low, high), shade in ((FLOOR, 0.15), (GOAL, 0.25)):
        place.axvspan(low, high, color="tab:green", alpha=shade)
    place.scatter(list(groups.values()), range(len(groups)), s=16, color="tab:blue")
    place.axvline(0.9, color="black", linewidth=0.8)
    _named(place, list(groups), "share of voxels inside their 90 % interval", is_keyed=False)
    figure.savefig(path, dpi=100)
    return path


def _named(place: Axes, names: Sequence[str], axis: str, *, is_keyed: bool = True) -> None:
    place.set_yticks(range(len(names)), names, fontsize=7)
    place.set_ylim(-0.7, len(names) - 0.3)
    place.set_xlabel(axis)
    place.axvline(0, color="black", linewidth=0.5)
    place.grid(visible=True, axis="x", alpha=0.3)
    if is_keyed:
        place.legend(fontsize=7)


def _figure(lines: int) -> tuple[Figure, Axes]:
    """A figure without a display and its one plot, as high as its lines need."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, 1.2 + LINE_INCHES * lines), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()
