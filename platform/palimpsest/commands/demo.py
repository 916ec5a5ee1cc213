"""``palimpsest demo``: a made scene through the whole path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, note, print_result

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("--out", type=Path, default=Path("palimpsest-demo"), help="folder for files and pictures")
    parser.add_argument("--size", type=int, default=96, help="rows and columns of the made scene")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--bpppc", type=float, default=0.5, help="bits per pixel per channel")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Run the demo and print its table."""
    from palimpsest_pipelines.demo import DemoSettings, run

    settings = DemoSettings(rows=options.size, cols=options.size, seed=options.seed, bpppc=options.bpppc)
    print_result(run(options.out, settings, note), as_json=options.json)
    return 0
