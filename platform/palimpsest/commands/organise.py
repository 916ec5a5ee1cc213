"""``palimpsest organise``: group a pile of cubes by place, sensor and content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, print_result
from palimpsest.errors import UsageError

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="cubes or streams, then OUT.json")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Group the pile, write the groups, print how many there are."""
    from palimpsest.commands.restore import open_input
    from palimpsest.restoration.organiser import organise, told

    *inputs, out = options.paths
    if not inputs or out.suffix != ".json":
        raise UsageError("organise takes cubes and an output", got=str(out), wanted="IN... OUT.json")
    groups = organise([open_input(path, is_searched=False)[0] for path in inputs])
    body = {"groups": told(groups, [str(path) for path in inputs])}
    out.write_text(json.dumps(body, indent=1) + "\n")
    print_result({"out": str(out), "cubes": len(inputs), "groups": len(groups)}, as_json=options.json)
    return 0
