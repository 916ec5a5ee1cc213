"""One verdict a claim: the figure, the floor that must hold and the goal. Floors and goals are the codec page's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest_pipelines.codec_benchmark import access, distortion, exact, kept_features, kept_labels, mutations, speed
from palimpsest_pipelines.codec_benchmark.rivals import FLOATING, PCA_JPEG2000
from palimpsest_pipelines.codec_benchmark.tables import (
    bd_rates,
    bound_ratios,
    lossless_ratios,
    meanings,
    number,
    rows_of,
    sam_ratios,
    tile_cost,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from palimpsest_pipelines.codec_benchmark.ledger import Row

PLAIN_CODEC = "strength=0"
LABEL_RATES = {"gatorsense": (0.40, 0.25), "enmap_crop": (0.35, 0.20)}  # bpppc: floor, goal


@dataclass(frozen=True, slots=True)
class Claim:
    """One figure that a floor and a goal are set for.

    Args:
        name: what it is.
        value: what was measured; None where it was not.
        floor: what must hold.
        goal: what is aimed at; None where the floor is all.
        is_low_better: whether less is better.
    """

    name: str
    value: float | None
    floor: float
    goal: float | None = None
    is_low_better: bool = True

    @property
    def verdict(self) -> str:
        """'goal', 'floor', 'missed', or 'not measured'."""
        if self.value is None or np.isnan(self.value):
            return "not measured"
        sign = 1 if self.is_low_better else -1
        if self.goal is not None and sign * self.value <= sign * self.goal:
            return "goal"
        return "floor" if sign * self.value <= sign * self.floor else "missed"


def claims(rows: Sequence[Row]) -> list[Claim]:
    """Every claim with its value, in the order of the codec's page."""
    parts = (_distortion, _semantics, _labels, _features, _exact, _speed, _access, _hostile)
    return [claim for part in parts for claim in part(rows)]


def _distortion(rows: Sequence[Row]) -> Iterable[Claim]:
    rates = bd_rates(rows)
    ours = rates.get(PLAIN_CODEC, {})
    yield Claim("BD-rate, mean over scenes, %", mean(ours.values()), -15.0, -25.0)
    yield Claim("BD-rate, worst scene, %", _largest(ours.values()), -5.0)
    for name, what, floor, goal in (
        (distortion.PLAIN, "nothing trained", 1.5, 5.0),
        (distortion.HAND_MADE, "CDF 9/7 for the trained levels", 0.0, None),
    ):
        found = rates.get(name, {})
        more = [100 * ((100 + found[scene]) / (100 + ours[scene]) - 1) for scene in found if scene in ours]
        yield _high(f"bytes more with {what}, mean, %", mean(more), floor, goal)
    ratios = sam_ratios(rows).values()
    yield Claim("SAM over the rival's, worst scene and rate", _largest(r.worst for r in ratios), 1.0, 0.85)
    yield Claim("SAM over the rival's, mean over the rates, worst scene", _largest(r.mean for r in ratios), 1.0, 0.85)


def _semantics(rows: Sequence[Row]) -> Iterable[Claim]:
    found = meanings(rows)
    for name, is_made in (("real scenes", False), ("made scenes, against clean ones", True)):
        group = [one for (scene, _), one in found.items() if scene.startswith("made-") == is_made]
        yield _high(f"labels kept over the rival's, mean, points, {name}", mean(one.points for one in group), 8.0, 20.0)
        yield _high(f"labels kept over the rival's, worst, points, {name}", _smallest(one.points for one in group), 0.0)
        for where, ratios in (
            ("pixels that each keeps", [one.depth for one in group]), ("every pixel", [one.everywhere for one in group])
        ):
            told = f"feature depth error over the rival's, {where}"
            yield Claim(f"{told}, worst, {name}", _largest(ratios), 0.6, 0.33)
            yield Claim(f"{told}, mean, {name}", mean(ratios), 0.6, 0.33)
        yield Claim(f"feature position error over the rival's, mean, {name}", mean(o.position for o in group), 1.0)
        yield _high(f"PSNR over the rival's, worst, dB, {name}", _smallest(o.psnr_db for o in group), -3.0, 0.0)


def _labels(rows: Sequence[Row]) -> Iterable[Claim]:
    chosen = rows_of(rows, kept_labels.PART)
    yield _high("labels kept, our identification, worst scene", _smallest(row["kept"] for row in chosen), 1.0)
    yield _high("labels kept, outside judge, worst scene", _smallest(number(row, "outside") for row in chosen), 0.985)
    for scene, (floor, goal) in LABEL_RATES.items():
        rate = next((float(row["bpppc"]) for row in chosen if row["scene"] == scene), None)
        yield Claim(f"rate with every label kept, {scene}, bpppc", rate, floor, goal)


def _features(rows: Sequence[Row]) -> Iterable[Claim]:
    chosen = rows_of(rows, kept_features.PART)
    most = kept_features.TOLERANCE
    yield Claim("depths kept, largest relative error, worst scene", _largest(row["worst"] for row in chosen), most)
    off = [float(row["off"]) for row in chosen]
    yield Claim("depths kept, features that are off by more", _largest(off), 0.0)


def _exact(rows: Sequence[Row]) -> Iterable[Claim]:
    ratios = [ours / theirs for ours, theirs in lossless_ratios(rows).values()]
    yield Claim("lossless bits over CCSDS-123's, worst scene", _largest(ratios), 0.98, 0.93)
    yield Claim("lossless bits over CCSDS-123's, mean", mean(ratios), 0.98, 0.93)
    found = [ours / theirs for ours, theirs in lossless_ratios(rows, FLOATING).values()]
    yield Claim("lossless bits of floating point over the best rival's, worst scene", _largest(found), 1.0)
    for rounding, who in ((False, "the best rival's"), (True, "the best that may round")):
        found = [ratio for ratio, _ in bound_ratios(rows, rounding=rounding).values()]
        yield Claim(f"bound mode, bytes over {who}, worst", _largest(found), 0.75, 0.6)
        yield Claim(f"bound mode, bytes over {who}, mean", mean(found), 0.75, 0.6)
    kept = [bool(row["is_kept"]) for row in rows_of(rows, exact.BOUND) if row["subject"] == exact.OURS]
    yield Claim("bound mode, cubes with a voxel over the bound", float(kept.count(False)) if kept else None, 0.0)


def _speed(rows: Sequence[Row]) -> Iterable[Claim]:
    chosen = {row["subject"]: row for row in rows_of(rows, speed.SPEED)}
    rival = chosen.get(PCA_JPEG2000)
    for subject, floor, goal in ((PLAIN_CODEC, 3.0, 1.0), ("default", 3.0, 1.0), ("effort=1", 1.0, None)):
        row = chosen.get(subject)
        for what in ("encode", "decode"):
            for clock, column in (("time", "s"), ("processor time", "cpu_s")):
                name = f"{what}_{column}"
                value = None if row is None or rival is None else row[name] / rival[name]
                yield Claim(f"{clock} to {what} over the rival's, {subject}", value, floor, goal)
    scale = rows_of(rows, speed.SCALE)
    peaks = [max(row["encode_mb"], row["decode_mb"]) / 1e3 for row in scale]
    costs = [row["encode_ns"] for row in scale]
    largest = max((row["gigabytes"] for row in scale), default=0)
    yield Claim(f"peak memory up to a cube of {largest} GB, GB", _largest(peaks), 2.0)
    unevenness = max(costs) / min(costs) if costs else None
    yield Claim("processor time a voxel to encode, slowest size over fastest", unevenness, 1.2)


def _access(rows: Sequence[Row]) -> Iterable[Claim]:
    row = next(iter(rows_of(rows, access.ACCESS)), None)
    for name, what, floor in (
        ("pixel_ms", "one pixel's spectrum, ms", 50.0),
        ("pixel_cpu_ms", "one pixel's spectrum, ms of processor time", 50.0),
        ("pixel_share", "one pixel's spectrum, largest share of the bytes", 0.05),
        ("first_level_share", "first level of the whole cube, share of the bytes", 0.15),
    ):
        yield Claim(what, None if row is None else number(row, name), floor)
    yield Claim("tiles against one tile, BD-rate, %", tile_cost(rows), 3.0)


def _hostile(rows: Sequence[Row]) -> Iterable[Claim]:
    chosen = rows_of(rows, mutations.PART)
    count = sum(row["count"] for row in chosen)
    for name in ("crashed", "hung", "memory", "wrong"):
        value = float(sum(row.get(name, 0) for row in chosen)) if chosen else None
        yield Claim(f"of {count} mutated streams: {name}", value, 0.0)


def _high(name: str, value: float | None, floor: float, goal: float | None = None) -> Claim:
    return Claim(name, value, floor, goal, is_low_better=False)


def mean(values: Iterable[float]) -> float | None:
    """Of those that are finite; None where none is."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _largest(values: Iterable[float]) -> float | None:
    return max((value for value in values if np.isfinite(value)), default=None)


def _smallest(values: Iterable[float]) -> float | None:
    return min((value for value in values if np.isfinite(value)), default=None)
