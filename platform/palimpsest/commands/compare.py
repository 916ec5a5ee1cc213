"""``palimpsest compare REFERENCE TEST``: distortion and, with wavelengths, what became of labels and features."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, note, print_result

if TYPE_CHECKING:
    import argparse

    from palimpsest.cubes import Cube


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("reference", metavar="REFERENCE", type=Path)
    parser.add_argument("test", metavar="TEST", type=Path, help="a cube of the same shape, or a .plm stream")
    parser.add_argument(
        "--knowledge", metavar="RELEASE", help="release that labels are judged by (default the active one), or 'none'"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure and print; a number that cannot be given is null."""
    from palimpsest import formats
    from palimpsest.measure import bpppc, quality

    reference = formats.read(options.reference)
    is_stream = options.test.suffix.lower() == ".plm"
    test = _decoded(options.test) if is_stream else formats.read(options.test)
    answer: dict[str, object] = dict(asdict(quality(reference, test)))
    if is_stream:
        answer["bpppc"] = bpppc(options.test.stat().st_size, reference.shape)
    answer["scales_agree"] = (reference.scale, reference.offset) == (test.scale, test.offset)
    if not answer["scales_agree"]:
        note("scale or offset differ: stored values are compared as they are")
    if reference.bands.has_wavelengths and options.knowledge != "none":
        answer |= _meaning(reference, test, options.knowledge)
    print_result({key: _plain(value) for key, value in answer.items()}, as_json=options.json)
    return 0


def _decoded(path: Path) -> Cube:
    from palimpsest.codec.decoder import decode

    return decode(path)


def _meaning(reference: Cube, test: Cube, release: str | None) -> dict[str, object]:
    from palimpsest.knowledge.identification.comparison import meanings_compared
    from palimpsest.knowledge.releases.release import load

    return meanings_compared(reference, test, load(release))


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
