"""``palimpsest scene OUT``: a made scene, or several dates of one, and beside it the truth that it was made from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.commands import add_json, note, print_result
from palimpsest.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from palimpsest.scenes import MadeScene

KINDS = ("mixed", "vegetation", "geology", "urban", "coast", "snow")
SENSORS = ("aviris", "enmap", "emit", "hymap", "vnir")


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("out", type=Path, help="the cube to write: .hdr, .tif, .nc, .zarr or .npy")
    parser.add_argument("--rows", type=int, default=128, help="height in pixels")
    parser.add_argument("--cols", type=int, default=128, help="width in pixels")
    parser.add_argument("--sensor", choices=SENSORS, default="aviris", help="bands, blur and noise to imitate")
    parser.add_argument("--kind", choices=KINDS, default="mixed", help="landscape")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same scene")
    parser.add_argument("--date", type=int, default=0, help="another light, noise and defects over the same place")
    parser.add_argument("--dates", type=int, metavar="N",
                        help="N dates of the place; OUT is then a folder: OUT/date-0.hdr and on, truth in DIR/date-0")
    parser.add_argument("--noise", type=float, default=1.0, help="relative to the sensor's nominal noise")
    parser.add_argument("--defects", default="none", help="none, mixed, a05, a10, b..g, saturated or wide:NAME")
    parser.add_argument("--units", choices=("reflectance", "radiance"), default="reflectance")
    parser.add_argument("--truth", type=Path, help="folder for clean cube, mask, abundances, labels and settings")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Make the scene or its dates, write them and their truth.

    Raises:
        UsageError: fewer than one date, or one date and several asked for at once.
    """
    if options.dates is None:
        print_result(_written(options, options.date, options.out, options.truth), as_json=options.json)
        return 0
    if options.dates < 1 or options.date != 0:
        raise UsageError("no such dates", got=f"--dates {options.dates} --date {options.date}",
                         wanted="--dates N, 1 or more, without --date")
    options.out.mkdir(parents=True, exist_ok=True)
    written = []
    for date in range(options.dates):
        truth = None if options.truth is None else options.truth / f"date-{date}"
        written.append(_written(options, date, options.out / f"date-{date}.hdr", truth))
    print_result({"folder": str(options.out), "dates": written}, as_json=options.json)
    return 0


def _written(options: argparse.Namespace, date: int, out: Path, truth: Path | None) -> dict[str, object]:
    from palimpsest.formats import write
    from palimpsest.scenes import make_scene

    scene = make_scene(
        options.rows, options.cols, sensor=options.sensor, seed=options.seed, kind=options.kind, noise=options.noise,
        defects=options.defects, date=date, units=options.units,
    )
    write(scene.observed, out)
    result: dict[str, object] = {
        "scene": str(out), "rows": options.rows, "cols": options.cols, "bands": scene.observed.shape.bands,
        "materials": len(scene.materials), "damaged_share": float(scene.damaged.mean()),
        "release": scene.settings.release,
    }
    if truth is not None:
        write_truth(scene, truth)
        result["truth"] = str(truth)
    note(f"made {scene.observed.name}: {', '.join(scene.materials)}")
    return result


def write_truth(scene: MadeScene, folder: Path) -> None:
    """Everything known about a scene.

    ``clean.hdr``; ``mask.npy`` (1 = usable, what ``restore --mask`` takes); ``reasons.npy``; ``abundances.npy``
    (material, row, col); ``labels.npy``; ``truth.json`` with names, IRIs, noise and settings.
    """
    from palimpsest.formats import write

    folder.mkdir(parents=True, exist_ok=True)
    write(scene.clean, folder / "clean.hdr")
    np.save(folder / "mask.npy", (~scene.damaged).astype(np.uint8))
    np.save(folder / "reasons.npy", scene.reasons)
    np.save(folder / "abundances.npy", scene.abundances)
    np.save(folder / "labels.npy", scene.labels)
    known = {
        "materials": scene.materials, "material_iris": scene.material_iris,
        "noise_sigma": [float(value) for value in scene.noise_sigma], "settings": asdict(scene.settings),
    }
    (folder / "truth.json").write_text(json.dumps(known, indent=1) + "\n")
