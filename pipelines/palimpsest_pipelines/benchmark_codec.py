"""Rate and distortion of the codec against PCA + JPEG 2000, in one run on the same scenes.

A BD-rate is the mean difference in rate at equal PSNR over the range that both curves cover (Bjontegaard 2001);
negative means that our files are smaller. Indian Pines and GatorSense are measured with a model that did not see them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from palimpsest.cubes import Cube

    Point = tuple[float, float]  # bpppc, PSNR dB

SPATIAL_LEVELS = (1, 2, 3, 4)  # those that are trained
PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: see the options of ``palimpsest benchmark codec``."""

    scenes: Path
    only: tuple[str, ...] = ()
    rivals: Path | None = None
    rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
    strengths: tuple[float, ...] = (0.0, 0.5)
    ablation: bool = False
    cache: Path = Path("palimpsest-benchmark")
    fresh: bool = False
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One encoding: the scene, the variant of the codec, and what came out."""

    scene: str
    variant: str
    rate: float
    bpppc: float
    psnr_db: float
    sam_deg: float


def run(plan: Plan, note: Callable[[str], None]) -> dict[str, float]:
    """BD-rate in percent by ``scene variant``, and the mean by variant.

    Raises:
        UsageError: no scene of the names asked for, or fewer than four rates.
    """
    from palimpsest.formats import read

    if len(plan.rates) < 4:
        raise UsageError("too few rates for a BD-rate", got=len(plan.rates), wanted="four or more")
    rivals = None if plan.rivals is None else _rival_module(plan.rivals)
    table: dict[str, float] = {}
    for path in _scene_paths(plan):
        cube = read(path)
        curves: dict[str, list[Point]] = {}
        for result in _curves(cube, path.stem, plan):
            curves.setdefault(result.variant, []).append((result.bpppc, result.psnr_db))
            note(f"{result.scene} {result.variant} {result.bpppc:.4f} bpppc {result.psnr_db:.2f} dB")
            if plan.out is not None:
                with plan.out.open("a") as lines:
                    lines.write(json.dumps(asdict(result)) + "\n")
        if rivals is None:
            continue
        rival = _rival_curve(rivals, cube, path.stem, plan)
        for variant, points in curves.items():
            table[f"{path.stem} {variant}"] = float(rivals.bd_rate(rival, points))
            note(f"{path.stem} {variant}: BD-rate {table[f'{path.stem} {variant}']:+.2f} %")
    for variant in sorted({key.split(" ", 1)[1] for key in table}):
        values = [value for key, value in table.items() if key.split(" ", 1)[1] == variant]
        table[f"mean {variant}"] = float(np.mean(values))
    return table


def _scene_paths(plan: Plan) -> list[Path]:
    found = [path for path in sorted(plan.scenes.glob("*.hdr")) if not plan.only or path.stem in plan.only]
    if not found:
        raise UsageError("no such scene", where=plan.scenes, got=plan.only, wanted="names of .hdr files there")
    return found


def _variants(cube: Cube, plan: Plan) -> Iterator[tuple[str, float, tuple[int, ...] | None]]:
    """(name, strength, trained levels) of each variant that says something on this cube.

    'cdf97' has hand-made levels under the same trained contexts; 'plain' has nothing trained at all.
    """
    for strength in plan.strengths:
        if strength > 0 and not cube.bands.has_wavelengths:
            continue
        yield f"strength={strength:g}", strength, None
    if plan.ablation:
        yield PLAIN, 0.0, ()
        yield "cdf97", 0.0, ()
        for level in SPATIAL_LEVELS:
            yield f"without-level-{level}", 0.0, tuple(other for other in SPATIAL_LEVELS if other != level)


def _curves(cube: Cube, scene: str, plan: Plan) -> Iterator[Result]:
    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.codec.decoder import decode
    from palimpsest.codec.encoder import encode
    from palimpsest.knowledge.importance import importance_map
    from palimpsest.knowledge.release import load
    from palimpsest.measure import psnr_db, sam_deg

    for variant, strength, levels in _variants(cube, plan):
        importance = importance_map(cube, load(None), strength) if strength > 0 else None
        for rate in plan.rates:
            with tempfile.TemporaryDirectory() as folder:
                stream = Path(folder) / "scene.plm"
                model = PLAIN if variant == PLAIN else unseen_model(scene)
                settings = EncodeSettings(bpppc=rate, strength=strength, trained_levels=levels, model=model)
                report = encode(cube, settings, importance=importance, out=stream)
                decoded = decode(stream)
            yield Result(
                scene, variant, rate, report.bpppc, psnr_db(cube, decoded), sam_deg(cube, decoded)
            )


def unseen_model(scene: str) -> str:
    """Name of the codec model that did not learn from a scene."""
    held_out = {"indian_pines": "without-indian-pines", "gatorsense": "without-gatorsense"}
    return held_out.get(scene, "")


def _rival_module(folder: Path) -> ModuleType:
    path = folder / "rivals.py"
    if not path.is_file():
        raise UsageError("no rivals.py", where=folder)
    spec = importlib.util.spec_from_file_location("palimpsest_benchmark_rivals", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rival_curve(rivals: Any, cube: Cube, scene: str, plan: Plan) -> list[Point]:  # noqa: ANN401 # a foreign module
    """The rival's curve within the rates asked for, cached by the hash of scene and code."""
    values = np.ascontiguousarray(np.moveaxis(np.asarray(cube.data), 0, 2).astype(np.float32))
    key = hashlib.sha256(values.tobytes() + Path(rivals.__file__).read_bytes()).hexdigest()[:16]
    kept = plan.cache / f"{scene}.pca_jpeg2000.{key}.json"
    if kept.exists() and not plan.fresh:
        points = json.loads(kept.read_text())
    else:
        points = rivals.curve_pca_jpeg2000(values, lowest=0.8 * min(plan.rates), highest=1.2 * max(plan.rates))
        plan.cache.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(points))
    return [(point["bpppc"], point["psnr_db"]) for point in points]
