"""The rows as Markdown tables, for people and for the codec's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest_pipelines.codec_benchmark import exact, kept_features, kept_labels, semantics, speed, tables
from palimpsest_pipelines.codec_benchmark.claims import claims, mean
from palimpsest_pipelines.codec_benchmark.rivals import FLOATING, PCA_JPEG2000

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from palimpsest_pipelines.codec_benchmark.ledger import Row

    Table = tuple[Sequence[str], list[Sequence[object]]]


def markdown(rows: Sequence[Row]) -> str:
    """Every table that the rows give, verdicts first."""
    makers: tuple[Callable[[Sequence[Row]], Table], ...] = (
        _claims, _distortion, _semantics, _labels, _features, _lossless, _bound, _speed,
    )
    return "\n\n".join(_drawn(*table) for make in makers if (table := make(rows))[1]) + "\n"


def _claims(rows: Sequence[Row]) -> Table:
    return ("", "measured", "floor", "goal", ""), [
        (one.name, shown(one.value), shown(one.floor), shown(one.goal), one.verdict)
        for one in claims(rows)
        if one.value is not None
    ]


def _distortion(rows: Sequence[Row]) -> Table:
    rates, ratios = tables.bd_rates(rows), tables.sam_ratios(rows)
    scenes = sorted({scene for found in rates.values() for scene in found})
    body: list[Sequence[object]] = [
        (
            scene, *(shown(found.get(scene)) for found in rates.values()),
            *((shown(ratios[scene].mean), shown(ratios[scene].worst)) if scene in ratios else ("-", "-")),
        )
        for scene in scenes
    ]
    if body:
        averages = [shown(mean(found.values())) for found in rates.values()]
        body.append(("mean", *averages, shown(mean(one.mean for one in ratios.values())), "-"))
    return ("BD-rate, %", *rates, "SAM ratio, mean", "worst"), body


def _semantics(rows: Sequence[Row]) -> Table:
    figures = ("agreement", "depth_error", "depth_everywhere", "position_nm", "psnr_db")
    found: dict[tuple[str, float], dict[str, Row]] = {}
    for row in tables.rows_of(rows, semantics.PART):
        found.setdefault((row["scene"], row.get("asked", np.inf)), {})[row["subject"]] = row
    codecs = (PCA_JPEG2000, *(f"strength={strength:g}" for strength in semantics.STRENGTHS))
    body: list[Sequence[object]] = []
    for (scene, rate), lines in sorted(found.items()):
        order = [lines.get(codec, {}) for codec in codecs] if rate < np.inf else list(lines.values())
        cells = [" / ".join(shown(row.get(figure)) for row in order) for figure in figures]
        body.append((scene, shown(rate) if rate < np.inf else "uncoded", *cells))
    told = " / ".join(("rival", *(f"{strength:g}" for strength in semantics.STRENGTHS)))
    names = ("agreement", "depth error, kept pixels", "depth error, every pixel", "position, nm", "PSNR, dB")
    return (f"meaning: {told}", "bpppc", *names), body


def _labels(rows: Sequence[Row]) -> Table:
    return ("labels kept", "pixels", "named", "bpppc", "PSNR, dB", "kept, ours", "kept, cramm"), [
        (
            row["scene"], row["pixels"], row["named"],
            *(shown(row.get(name)) for name in ("bpppc", "psnr_db", "kept", "outside")),
        )
        for row in tables.rows_of(rows, kept_labels.PART)
    ]


def _features(rows: Sequence[Row]) -> Table:
    return ("depths kept to a tenth", "features checked", "off by more", "largest error", "bpppc", "PSNR, dB"), [
        (row["scene"], row["depths"], row["off"], *(shown(row.get(name)) for name in ("worst", "bpppc", "psnr_db")))
        for row in tables.rows_of(rows, kept_features.PART)
    ]


def _lossless(rows: Sequence[Row]) -> Table:
    found = {**tables.lossless_ratios(rows), **tables.lossless_ratios(rows, FLOATING)}
    return ("lossless", "ours, bits", "CCSDS-123 (floats: best of pcodec, ZFP, LERC), bits", "ratio"), [
        (scene, shown(ours), shown(theirs), shown(ours / theirs)) for scene, (ours, theirs) in sorted(found.items())
    ]


def _bound(rows: Sequence[Row]) -> Table:
    plain, rounded = (tables.bound_ratios(rows, rounding=rounding) for rounding in (False, True))
    ours = {
        (row["scene"], row["max_error"]): row["bpppc"]
        for row in tables.rows_of(rows, exact.BOUND)
        if row["subject"] == exact.OURS
    }
    names = ("bound mode", "largest error", "ours, bpppc", "best rival", "ratio", "best that may round", "ratio")
    return names, [
        (
            at[0], shown(at[1]), shown(ours[at]), plain[at][1], shown(plain[at][0]), rounded[at][1],
            shown(rounded[at][0]),
        )
        for at in sorted(plain)
    ]


def _speed(rows: Sequence[Row]) -> Table:
    figures = ("encode_s", "encode_cpu_s", "decode_s", "decode_cpu_s", "encode_mb", "decode_mb")
    names = ("encode, s", "of processor", "decode, s", "of processor", "encode, MB", "decode, MB")
    return ("whole process", *names), [
        (row["subject"], *(shown(row[name]) for name in figures))
        for row in tables.rows_of(rows, speed.SPEED)
        if "encode_s" in row
    ]


def _drawn(names: Sequence[str], body: Sequence[Sequence[object]]) -> str:
    lines = [names, ["---"] * len(names), *body]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)


def shown(value: float | None) -> str:
    """Three figures; '-' for nothing."""
    if value is None or np.isnan(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
