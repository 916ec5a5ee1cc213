"""What the rows say, scene by scene: arithmetic alone, rows in, figures out, whatever measured them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import UsageError
from palimpsest.measure import RatioAtEqualRate, bd_rate, ratio_at_equal_rate
from palimpsest_pipelines.codec_benchmark import access, distortion, exact, semantics
from palimpsest_pipelines.codec_benchmark.rivals import BOUNDED, PCA_JPEG2000

if TYPE_CHECKING:
    from collections.abc import Sequence

    from palimpsest_pipelines.codec_benchmark.ledger import Row

    Point = tuple[float, float]

PLAIN_CODEC, DEFAULT = "strength=0", "strength=0.5"


def curves(rows: Sequence[Row], figure: str) -> dict[str, dict[str, list[Point]]]:
    """By scene and codec, points (bpppc, figure) of the rate-distortion part."""
    found: dict[str, dict[str, list[Point]]] = {}
    for row in rows_of(rows, distortion.PART):
        points = row.get("points", [row])
        line = found.setdefault(row["scene"], {}).setdefault(row["subject"], [])
        line.extend((point["bpppc"], point[figure]) for point in points if point[figure] is not None)
    return found


def bd_rates(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """By variant and scene, BD-rate against the rival, percent; scenes without the rival are left out."""
    found: dict[str, dict[str, float]] = {}
    for scene, lines in curves(rows, "psnr_db").items():
        rival = lines.get(PCA_JPEG2000)
        for variant, points in lines.items():
            if rival is None or variant == PCA_JPEG2000:
                continue
            try:
                found.setdefault(variant, {})[scene] = bd_rate(rival, points)
            except UsageError:
                continue  # fewer than four points, or no PSNR in common: nothing can be said
    return found


def sam_ratios(rows: Sequence[Row], variant: str = PLAIN_CODEC) -> dict[str, RatioAtEqualRate]:
    """By scene, spectral angle over the rival's at equal rate."""
    return {
        scene: ratio_at_equal_rate(lines[PCA_JPEG2000], lines[variant])
        for scene, lines in curves(rows, "sam_deg").items()
        if PCA_JPEG2000 in lines and len(lines.get(variant, ())) > 1
    }


@dataclass(frozen=True, slots=True)
class Meaning:
    """Ours beside the rival's at one rate.

    Args:
        points: label agreement, ours less the rival's, in points of a hundred.
        depth: feature-depth error of the pixels that each side kept, ours over the rival's.
        everywhere: feature-depth error of every pixel that the reference names, ours over the rival's.
        position: feature-position error, ours over the rival's.
        psnr_db: PSNR, ours less the rival's.
    """

    points: float
    depth: float
    everywhere: float
    position: float
    psnr_db: float


def meanings(rows: Sequence[Row], variant: str = DEFAULT) -> dict[tuple[str, float], Meaning]:
    """By scene and rate asked for; figures are NaN where either side has none."""
    found = {}
    chosen = rows_of(rows, semantics.PART)
    rivals = {(row["scene"], row["asked"]): row for row in chosen if row["subject"] == PCA_JPEG2000}
    for row in chosen:
        their = rivals.get((row["scene"], row.get("asked")))
        if row["subject"] == variant and their is not None:
            found[row["scene"], row["asked"]] = Meaning(
                100 * (number(row, "agreement") - number(their, "agreement")),
                _ratio(row, their, "depth_error"), _ratio(row, their, "depth_everywhere"),
                _ratio(row, their, "position_nm"),
                number(row, "psnr_db") - number(their, "psnr_db"),
            )
    return found


def lossless_ratios(rows: Sequence[Row], rivals: Sequence[str] = (exact.CCSDS,)) -> dict[str, tuple[float, float]]:
    """By scene, our bits a sample and the smallest of some rivals' over their settings."""
    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    for row in rows_of(rows, exact.LOSSLESS):
        if row["subject"] == exact.OURS:
            ours[row["scene"]] = float(row["bits"])
        elif row["subject"] in rivals:
            theirs[row["scene"]] = min(float(row["bits"]), theirs.get(row["scene"], np.inf))
    return {scene: (bits, theirs[scene]) for scene, bits in ours.items() if scene in theirs}


def bound_ratios(rows: Sequence[Row], *, rounding: bool) -> dict[tuple[str, float], tuple[float, str]]:
    """By scene and bound, our bytes over those of the best error-bounded rival, and which that is.

    Args:
        rows: any.
        rounding: rivals may round what they decode of an integer scene.
    """
    chosen = rows_of(rows, exact.BOUND)
    allowed = {*BOUNDED, *(f"{name}+rounding" for name in BOUNDED if rounding)}
    best: dict[tuple[str, float], tuple[float, str]] = {}
    for row in chosen:
        at = (row["scene"], row["max_error"])
        if row["subject"] in allowed:
            best[at] = min(best.get(at, (np.inf, "")), (float(row["bytes"]), row["subject"]))
    return {
        at: (row["bytes"] / best[at][0], best[at][1])
        for row in chosen
        if row["subject"] == exact.OURS and (at := (row["scene"], row["max_error"])) in best
    }


def tile_cost(rows: Sequence[Row]) -> float | None:
    """BD-rate of tiles of the chosen size against one tile, percent; None where either was not measured."""
    lines: dict[str, list[Point]] = {}
    for row in rows_of(rows, access.TILES):
        lines.setdefault(row["subject"], []).append((row["bpppc"], row["psnr_db"]))
    if not {access.CHOSEN, access.ONE_TILE} <= set(lines):
        return None
    return bd_rate(lines[access.ONE_TILE], lines[access.CHOSEN])


def rows_of(rows: Sequence[Row], part: str) -> list[Row]:
    """Rows of one part of the benchmark."""
    return [row for row in rows if row["part"] == part]


def number(row: Row, name: str) -> float:
    """A figure of a row; NaN where there is none."""
    value = row.get(name)
    return float("nan") if value is None else float(value)


def _ratio(ours: Row, theirs: Row, name: str) -> float:
    below = number(theirs, name)
    return number(ours, name) / below if below > 0 else float("nan")
