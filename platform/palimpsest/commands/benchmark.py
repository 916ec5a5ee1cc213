"""``palimpsest benchmark codec|restoration``: measured against rivals in one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, note, print_result

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    subjects = parser.add_subparsers(dest="subject", required=True)
    codec = subjects.add_parser("codec", help="rate-distortion against PCA + JPEG 2000, with the ablation")
    codec.add_argument("--scenes", type=Path, required=True, help="folder of ENVI cubes")
    codec.add_argument("--only", nargs="*", help="names of the scenes to take (default: all)")
    codec.add_argument("--rivals", type=Path, help="folder with a rivals.py that offers curve_pca_jpeg2000 and bd_rate")
    codec.add_argument("--rates", type=float, nargs="+", default=[0.05, 0.1, 0.2, 0.4, 0.8, 1.6], help="bpppc")
    codec.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.5])
    codec.add_argument("--ablation", action="store_true", help="also without each trained level, and with none")
    codec.add_argument("--cache", type=Path, default=Path("palimpsest-benchmark"), help="folder of rival results")
    codec.add_argument("--fresh", action="store_true", help="run the rivals again")
    codec.add_argument("--out", type=Path, help="write every point as a JSON line")
    add_json(codec)
    restoration = subjects.add_parser("restoration", help="defects repaired, against interpolation and rivals")
    restoration.add_argument("--scenes", type=Path, required=True, help="folder of ENVI cubes")
    restoration.add_argument("--only", nargs="*", help="names of the scenes to take (default: all)")
    restoration.add_argument("--rivals", type=Path, help="folder with restorers.py")
    restoration.add_argument("--cases", nargs="+", help="cases to run (default: all that apply)")
    restoration.add_argument("--ablation", action="store_true", help="also without edges and without each part")
    restoration.add_argument("--out", type=Path, help="write every result as a JSON line")
    add_json(restoration)


def run(options: argparse.Namespace) -> int:
    """Run the benchmark of the subject asked for; the table goes to stdout."""
    if options.subject == "codec":
        from palimpsest_pipelines import benchmark_codec

        plan = benchmark_codec.Plan(
            scenes=options.scenes, only=tuple(options.only or ()), rivals=options.rivals, rates=tuple(options.rates),
            strengths=tuple(options.strengths), ablation=options.ablation, cache=options.cache, fresh=options.fresh,
            out=options.out,
        )
        table = benchmark_codec.run(plan, note)
    else:
        from palimpsest_pipelines import benchmark_restoration

        table = benchmark_restoration.run(
            scenes=options.scenes, only=tuple(options.only or ()), rivals=options.rivals,
            cases=tuple(options.cases or ()), ablation=options.ablation, out=options.out, note=note,
        )
    print_result({str(key): value for key, value in table.items()}, as_json=options.json)
    return 0
