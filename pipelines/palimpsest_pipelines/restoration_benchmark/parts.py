"""What restoration is worth after coding, and what it costs: parts of the benchmark beside its cases.

'coded': a noisy scene is coded at several rates and restored, once coded as it is and its noise taken off after
decoding ('restore --denoise'), once taken off before coding too ('compress --denoise'); the rival is its codec at the
same rate and the best of its denoisers. Judged against the clean scene: decibels, and on made scenes the share of
pixels whose label is the clean scene's. 'cost': seconds and peak memory of made scenes with mixed defects, each in a
process of its own. 'held_out': materials that no training saw, added as Turtle
(:mod:`~palimpsest_pipelines.restoration_benchmark.held_out`).
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest_pipelines.restoration_benchmark.cases import Case, cases_of
from palimpsest_pipelines.restoration_benchmark.rivals import module, noise_rivals
from palimpsest_pipelines.restoration_benchmark.scores import score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest_pipelines.benchmark_restoration import Plan

PARTS = ("coded", "cost", "held_out")
RATES = (0.25, 0.5, 1.0)
WAYS = ("told", "blind")
SIZES = ((145, 145, 200), (512, 512, 224))
MADE = (("vegetation", 771_001), ("geology", 771_002))
MADE_SIDE = 64
NOISE = 3.0  # times the sensor's own
DENOISERS = ("nlm_eig", "tv_eig", "pca10", "fasthyde_joint_bm3d")
_HALVINGS = 16

_RUN = """
import json, resource, sys, time
from dataclasses import replace
from palimpsest.scenes import make_scene
from palimpsest.knowledge.releases.release import load
from palimpsest.restoration.repair import repair
rows, cols, bands = json.loads(sys.argv[1])
told = sys.argv[2] == "told"
made = make_scene(rows, cols, seed=5, kind="mixed", defects="mixed")
full, knowledge = made.observed, load(None)
reasons = None if full.reasons is None else full.reasons[:bands]
cube = replace(full, data=full.data[:bands], bands=full.bands.select(slice(0, bands)), reasons=reasons)
small = make_scene(16, 16, seed=5, defects="mixed").observed
repair(small, knowledge=knowledge, is_searched=False)  # start-up is no part of it
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started, worked = time.perf_counter(), time.process_time()
mask = ~made.damaged[:bands] if told else None
done = repair(cube, knowledge=knowledge, mask=mask, is_searched=not told, is_denoised=not told)
seconds, worked = time.perf_counter() - started, time.process_time() - worked
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": seconds, "processor_seconds": worked, "peak_gb": peak / 2**20, "before_gb": before / 2**20,
                  "voxels": int(done.changed.size)}))
"""


def run_parts(parts: tuple[str, ...], plan: Plan, note: Callable[[str], None]) -> dict[str, float]:
    """The figures of the parts asked for.

    Args:
        parts: of :data:`PARTS`.
        plan: scenes, rivals and side, as for the cases.
        note: told every figure.
    """
    table: dict[str, float] = {}
    if "coded" in parts:
        for name, value in _coded(plan):
            table[name] = value
            note(f"{name:<70} {value:8.3f}")
    if "cost" in parts:
        for size, way in itertools.product(SIZES, WAYS):
            for name, value in cost(size, way).items():
                table[f"cost {'x'.join(map(str, size))} {way} {name}"] = value
                note(f"cost {size} {way:<6} {name:<20} {value:10.2f}")
    if "held_out" in parts:
        from palimpsest_pipelines.restoration_benchmark.held_out import measured

        table |= measured(note, plan.saw)
    return table


def cost(size: tuple[int, int, int], way: str = WAYS[0]) -> dict[str, float]:
    """Seconds of clock and processor and gigabytes of restoring a made scene ``(rows, cols, bands)``, mixed defects.

    Args:
        size: of the scene.
        way: 'told', the mask known, or 'blind', searched and the noise taken off.
    """
    done = subprocess.run(
        [sys.executable, "-c", _RUN, json.dumps(size), way], check=True, capture_output=True, text=True
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {name: float(value) for name, value in told.items()}


def _coded(plan: Plan) -> Iterator[tuple[str, float]]:
    for case in _noisy(plan):
        labels = _labels(replace(case.struck, data=np.asarray(case.truth))) if case.name == "made" else None
        if labels is not None:
            own = _agreement(labels, case, np.asarray(case.struck.data))
            yield f"{case.scene} noisy labels as the clean ones'", own
        for rate in RATES:
            where = f"{case.scene} at {rate} bpppc"
            ours = {
                "palimpsest": _ours(case.struck, rate),
                "palimpsest compress-denoise": _ours(_quieted(case.struck), rate),
            }
            for name, (restored, achieved) in ours.items():
                yield f"{where} {name} mpsnr", score(case, restored)[1]
                yield f"{where} {name} rate", achieved
                if labels is not None:
                    yield f"{where} {name} labels as the clean ones'", _agreement(labels, case, restored)
            if plan.rivals is None:
                continue
            best: dict[str, float] = {}
            for name, values in _theirs(case, rate, plan.rivals):
                best["mpsnr"] = max(best.get("mpsnr", -np.inf), score(case, values)[1])
                yield f"{where} pca_jpeg2000 {name} mpsnr", score(case, values)[1]
                if labels is not None:
                    best["labels"] = max(best.get("labels", 0.0), _agreement(labels, case, values))
            for name, (restored, _) in ours.items():
                yield f"{where} margin over the best of the rival's, {name}", score(case, restored)[1] - best["mpsnr"]
            if labels is not None:
                yield f"{where} pca_jpeg2000 labels, its best", best["labels"]


def _noisy(plan: Plan) -> Iterator[Case]:
    from palimpsest.cubes import Reason
    from palimpsest.scenes import make_scene

    if plan.only != ("made",):
        for case in cases_of(plan.scenes, plan.only, ("b",), plan.side):
            if case.name == "b":
                yield replace(case, struck=_whole_numbers(case))
    if not plan.only or "made" in plan.only:
        for kind, seed in MADE:
            made = make_scene(MADE_SIDE, MADE_SIDE, seed=seed, kind=kind, noise=NOISE)
            good = np.flatnonzero(made.observed.bands.good)
            table = made.observed.bands.select(good)
            noisy = replace(made.observed, data=np.asarray(made.observed.data)[good], bands=table, reasons=None)
            truth = np.asarray(made.clean.data)[good]
            everywhere = np.full(truth.shape, Reason.USER, np.uint8)
            unit = float(np.percentile(truth, 99.9))
            yield Case(f"made-{kind}", "made", noisy, truth, everywhere, np.ones(truth.shape, bool), unit)


def _whole_numbers(case: Case) -> Cube:
    """Noise below zero is stored with a sign; steps of a ten-thousandth of the bright value."""
    step = case.unit / 10_000
    cube = case.struck
    return replace(cube, data=(np.rint(np.asarray(cube.data) / step) * step).astype(np.float32))


def _quieted(cube: Cube) -> Cube:
    from palimpsest.knowledge.releases.release import load
    from palimpsest.restoration.repair import quieted

    return quieted(cube, load(None)).restored


def _ours(cube: Cube, rate: float) -> tuple[NDArray[np.generic], float]:
    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.codec.decoder import decode
    from palimpsest.codec.encoder import encode
    from palimpsest.knowledge.releases.release import load
    from palimpsest.restoration.repair import repair

    with tempfile.TemporaryDirectory() as folder:
        stream = Path(folder) / "noisy.plm"
        encode(cube, EncodeSettings(bpppc=rate), out=stream)
        achieved = stream.stat().st_size * 8 / cube.shape.voxels
        decoded = decode(stream)
    done = repair(decoded, knowledge=load(None), is_searched=False, is_denoised=True, is_decoded=True)
    return done.restored.data, achieved


def _theirs(case: Case, rate: float, folder: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    coder, restorers = module(folder, "rivals"), module(folder, "restorers")
    noisy = np.moveaxis(np.asarray(case.struck.data), 0, 2).astype(np.float32) / np.float32(case.unit)
    low, high = 1e-5, 1.0
    for _ in range(_HALVINGS):
        step = (low * high) ** 0.5
        size, _decoded = coder.pca_jpeg2000(noisy, step)
        low, high = (step, high) if size * 8 / noisy.size > rate else (low, step)
    decoded = np.asarray(coder.pca_jpeg2000(noisy, high)[1], np.float32)
    yield "alone", np.moveaxis(decoded, 2, 0) * np.float32(case.unit)
    for name, restore in noise_rivals(restorers, case, decoded, None).items():
        if name not in DENOISERS:
            continue
        try:
            yield name, np.moveaxis(np.asarray(restore(), np.float32), 2, 0) * np.float32(case.unit)
        except ImportError:
            continue  # bm3d serves only where somebody installed it


def _labels(cube: Cube) -> NDArray[np.uint16]:
    from palimpsest.knowledge.identification.identify import identify
    from palimpsest.knowledge.releases.release import load

    return identify(cube, load(None)).labels


def _agreement(labels: NDArray[np.uint16], case: Case, values: NDArray[np.generic]) -> float:
    """Share of pixels with the clean scene's label."""
    found = _labels(replace(case.struck, data=np.asarray(values)))
    return float((found == labels).mean())
