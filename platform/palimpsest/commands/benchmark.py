"""``palimpsest benchmark codec|restoration|groups|identification``: measured against rivals in one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, note, print_result

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    subjects = parser.add_subparsers(dest="subject", required=True)
    _configure_groups(
        subjects.add_parser("groups", help="made cubes of one place restored together, against each alone")
    )
    _configure_codec(subjects.add_parser("codec", help="the codec against its rivals: claims, tables, pictures"))
    _configure_identification(
        subjects.add_parser("identification", help="names and time against the outside judge of the expert rules")
    )
    restoration = subjects.add_parser("restoration", help="defects repaired, against interpolation and rivals")
    restoration.add_argument("--scenes", type=Path, nargs="+", required=True,
                             help="folders of ENVI cubes, or single cubes")
    restoration.add_argument("--only", nargs="*", help="names of the scenes to take (default: all); 'made' for made "
                             "ones, 'made-coast-emit' for a single kind on a sensor")
    restoration.add_argument("--rivals", type=Path, help="folder with restorers.py")
    restoration.add_argument("--cases", nargs="+", help="cases to run (default: all that apply)")
    restoration.add_argument("--parts", nargs="+", choices=("coded", "cost", "held_out"), default=[],
                             help="instead of cases: restored after coding; seconds and memory; materials that no "
                             "training saw, added as Turtle")
    restoration.add_argument("--saw", type=Path, metavar="WEIGHTS",
                             help="for held_out: an integrator that learned from those materials too, as a measure")
    restoration.add_argument("--side", type=int, help="rows and columns cut from the middle of each scene")
    restoration.add_argument("--rival-cache", type=Path, default=Path("palimpsest-rivals.jsonl"),
                             help="the rivals' figures, read and added to")
    restoration.add_argument("--ablation", action="store_true", help="also without edges and without each part")
    restoration.add_argument("--judges", action="store_true",
                             help="also seeds alone, a network without edges, fixed weights, each source alone")
    restoration.add_argument("--wrong", action="store_true", help="also with minerals alone, and a shuffled graph")
    restoration.add_argument("--out", type=Path, help="write every result as a JSON line")
    restoration.add_argument("--pictures", type=Path, help="folder for gains and coverage as PNG")
    add_json(restoration)


def _configure_codec(codec: argparse.ArgumentParser) -> None:
    codec.add_argument("--scenes", type=Path, nargs="+", required=True, help="folders of ENVI cubes, or single cubes")
    codec.add_argument("--only", nargs="*", help="names of the scenes to take (default: all)")
    codec.add_argument("--parts", nargs="+", help="distortion, semantics, labels, features, lossless, bound, ... (all)")
    codec.add_argument("--rivals", type=Path, help="folder with a rivals.py that offers pca_jpeg2000 and its curve")
    codec.add_argument("--made", action="store_true", help="also made scenes, whose truth is known")
    codec.add_argument("--rates", type=float, nargs="+", default=[0.05, 0.1, 0.2, 0.4, 0.8, 1.6], help="bpppc")
    codec.add_argument("--strengths", type=float, nargs="+", default=[0.0], help="of the rate-distortion curves")
    codec.add_argument("--ablation", action="store_true", help="also with nothing trained, and with CDF 9/7 levels")
    codec.add_argument("--levels", action="store_true", help="also without each trained level")
    codec.add_argument("--timed-side", type=int, default=512, help="rows and columns of the made scene that is timed")
    codec.add_argument("--gigabytes", type=float, nargs="+", default=[0.1, 0.4], help="sizes of the part 'scale'")
    codec.add_argument("--mutations", type=int, default=20_000, help="streams to damage")
    codec.add_argument("--out", type=Path, default=Path("palimpsest-benchmark.jsonl"), help="results as JSON lines")
    codec.add_argument("--fresh", action="store_true", help="measure again what the results hold, rivals included")
    codec.add_argument("--pictures", type=Path, help="folder for the curves as PNG")
    codec.add_argument("--tables", type=Path, help="Markdown file for the tables")
    add_json(codec)


def _configure_identification(identification: argparse.ArgumentParser) -> None:
    identification.add_argument("--scenes", type=Path, nargs="+", default=[], help="folders of ENVI cubes, or cubes")
    identification.add_argument(
        "--calibration", action="store_true", help="only how probabilities, 'unknown' and mappings bear out"
    )
    identification.add_argument("--only", nargs="*", help="names of the scenes to take (default: all)")
    identification.add_argument("--made", action="store_true", help="also made scenes")
    identification.add_argument("--out", type=Path, help="write every scene as a JSON line")
    add_json(identification)


def _configure_groups(groups: argparse.ArgumentParser) -> None:
    groups.add_argument("--kinds", nargs="*", default=["mixed", "vegetation", "urban", "geology"], help="of places")
    groups.add_argument("--sensors", nargs="+", default=["aviris", "enmap"])
    groups.add_argument("--seeds", type=int, default=1, help="places of each kind and sensor")
    groups.add_argument("--dates", type=int, default=2, help="cubes of a place")
    groups.add_argument("--side", type=int, default=64, help="rows and columns")
    groups.add_argument("--defects", default="mixed", help="as for `palimpsest scene`")
    groups.add_argument("--blind", action="store_true", help="defects that no mission flags have to be found")
    groups.add_argument("--piles", type=int, default=0, help="shuffled piles of 40 cubes to put in order as well")
    groups.add_argument("--pile-places", nargs="+", default=["vegetation", "urban", "geology"], help="kinds of a pile")
    groups.add_argument("--pile-sensors", nargs="+", default=["aviris", "enmap"], help="sensors of a pile")
    groups.add_argument("--first", type=int, default=0, help="first seed, counted from the benchmark's own")
    groups.add_argument("--out", type=Path, help="write every cube as a JSON line")
    add_json(groups)


def run(options: argparse.Namespace) -> int:
    """Run the benchmark of the subject asked for; the table goes to stdout."""
    if options.subject == "codec":
        from palimpsest_pipelines import benchmark_codec

        plan = benchmark_codec.Plan(
            scenes=tuple(options.scenes), only=tuple(options.only or ()),
            parts=tuple(options.parts or benchmark_codec.PARTS), rivals=options.rivals, made=options.made,
            rates=tuple(options.rates), strengths=tuple(options.strengths), ablation=options.ablation,
            levels=options.levels, timed_side=options.timed_side, gigabytes=tuple(options.gigabytes),
            mutations=options.mutations, lines=options.out, fresh=options.fresh, pictures=options.pictures,
            tables=options.tables,
        )
        table: dict[str, object] = dict(benchmark_codec.run(plan, note))
    elif options.subject == "identification" and options.calibration:
        from palimpsest.knowledge.identification.probability import Calibration
        from palimpsest.knowledge.releases.contents import packaged
        from palimpsest.knowledge.releases.facts import Facts
        from palimpsest.knowledge.releases.release import load
        from palimpsest_pipelines.calibration.alignment import judged, pairs
        from palimpsest_pipelines.calibration.identification import judge

        release = load("packaged")
        table = judged(pairs(release, Facts(packaged().triples()))).to_dict()
        table |= judge(Calibration.packaged(), release).to_dict()
    elif options.subject == "identification":
        from palimpsest_pipelines import benchmark_identification

        table = dict(benchmark_identification.run(
            places=tuple(options.scenes), only=tuple(options.only or ()), made=options.made, out=options.out, note=note,
        ))
    elif options.subject == "groups":
        from palimpsest_pipelines import benchmark_groups

        table = dict(benchmark_groups.run(
            benchmark_groups.Plan(
                kinds=tuple(options.kinds), sensors=tuple(options.sensors), seeds=options.seeds, dates=options.dates,
                side=options.side, defects=options.defects, is_blind=options.blind, piles=options.piles,
                pile_places=tuple(options.pile_places), pile_sensors=tuple(options.pile_sensors), first=options.first,
                out=options.out,
            ),
            note,
        ))
    else:
        from palimpsest_pipelines import benchmark_restoration

        wanted = benchmark_restoration.Plan(
            scenes=tuple(options.scenes), only=tuple(options.only or ()), cases=tuple(options.cases or ()),
            side=options.side, rivals=options.rivals, rival_cache=options.rival_cache, ablation=options.ablation,
            wrong=options.wrong, judges=options.judges, out=options.out, saw=options.saw, pictures=options.pictures,
        )
        if options.parts:
            from palimpsest_pipelines.restoration_benchmark.parts import run_parts

            table = dict(run_parts(tuple(options.parts), wanted, note))
        else:
            table = dict(benchmark_restoration.run(wanted, note))
    print_result(table, as_json=options.json)
    return 0
