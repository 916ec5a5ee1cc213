"""Curves as PNG: rate and distortion, spectral angle, label agreement, and the ablation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest_pipelines.codec_benchmark import semantics, tables
from palimpsest_pipelines.codec_benchmark.rivals import PCA_JPEG2000

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from palimpsest_pipelines.codec_benchmark.ledger import Row

    Panels = Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]

COLOURS = {
    PCA_JPEG2000: "black", "strength=0": "tab:blue", "strength=0.5": "tab:orange", "strength=1": "tab:red",
    "plain": "tab:green",
}
PANEL_INCHES = 3.0
RATE_TICKS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
MOST_COLUMNS = 4


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write every picture that the rows give into a folder; which were written."""
    folder.mkdir(parents=True, exist_ok=True)
    psnr, angle = (_known(tables.curves(rows, figure)) for figure in ("psnr_db", "sam_deg"))
    label, depth = (_meaning(rows, figure) for figure in ("agreement", "depth_error"))
    written = [
        _panels(psnr, "PSNR, dB", folder / "codec_distortion.png"),
        _panels(angle, "spectral angle, degrees", folder / "codec_angle.png", is_log=True),
        _panels(label, "label agreement", folder / "codec_labels.png"),
        _panels(depth, "feature depth error", folder / "codec_depths.png", is_log=True),
        _ablation(tables.bd_rates(rows), folder / "codec_ablation.png"),
    ]
    return [path for path in written if path is not None]


def _known(panels: Panels) -> Panels:
    """Without the variants of the ablation, which have a picture of their own."""
    return {
        scene: {name: points for name, points in lines.items() if name in COLOURS and name != "plain"}
        for scene, lines in panels.items()
    }


def _meaning(rows: Sequence[Row], figure: str) -> Panels:
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in tables.rows_of(rows, semantics.PART):
        if row.get(figure) is not None and row["subject"] in COLOURS:
            line = found.setdefault(row["scene"], {}).setdefault(row["subject"], [])
            line.append((row["bpppc"], row[figure]))
    return found


def _panels(panels: Panels, axis: str, path: Path, *, is_log: bool = False) -> Path | None:
    """One panel a scene, one line a codec, rate on a logarithmic axis."""
    if not panels:
        return None
    columns = min(MOST_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure, grid = _figure(lines, columns)
    for place, (scene, curves) in zip(grid.ravel(), sorted(panels.items()), strict=False):
        for name, points in curves.items():
            rates, values = zip(*sorted(points), strict=True)
            place.plot(rates, values, color=COLOURS[name], marker=".", linewidth=1, label=name)
        place.set_title(scene, fontsize=9)
        place.set_xscale("log")
        low, high = place.get_xlim()
        ticks = [tick for tick in RATE_TICKS if low <= tick <= high]
        place.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        place.set_xticks([], minor=True)
        if is_log:
            place.set_yscale("log")
        place.grid(visible=True, which="both", alpha=0.2)
    for place in grid.ravel()[len(panels) :]:
        place.axis("off")
    grid[-1, 0].set_xlabel("bpppc")
    grid[-1, 0].set_ylabel(axis)
    grid[0, 0].legend(fontsize=7)
    figure.savefig(path, dpi=100)
    return path


def _ablation(rates: Mapping[str, Mapping[str, float]], path: Path) -> Path | None:
    """BD-rate of each variant at strength 0, one group of bars a scene."""
    variants = {name: found for name, found in rates.items() if name == "strength=0" or not name.startswith("strength")}
    scenes = sorted(set.intersection(*(set(found) for found in variants.values()))) if len(variants) > 1 else []
    if not scenes:
        return None
    figure, grid = _figure(1, 1, width=max(6.0, 1.1 * len(scenes)))
    place, width = grid[0, 0], 0.8 / len(variants)
    for at, (name, found) in enumerate(variants.items()):
        place.bar(np.arange(len(scenes)) + at * width, [found[scene] for scene in scenes], width, label=name)
    place.set_xticks(np.arange(len(scenes)) + 0.4, scenes, rotation=30, ha="right", fontsize=8)
    place.set_ylabel("BD-rate against PCA + JPEG 2000, %")
    place.legend(fontsize=7)
    figure.savefig(path, dpi=100)
    return path


def _figure(lines: int, columns: int, width: float = 0.0) -> tuple[Any, Any]:
    """A figure without a display, and its grid of axes ``(line, column)``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = PANEL_INCHES * lines * (1.3 if width else 1.0)
    figure = Figure(figsize=(width or PANEL_INCHES * columns, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(lines, columns, squeeze=False)
