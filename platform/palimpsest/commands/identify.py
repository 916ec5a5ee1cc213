"""``palimpsest identify CUBE OUT``: the material of every pixel as a uint16 raster with its class table.

By the expert rules, or with ``--mixtures`` by what fills the pixel: up to three materials with their shares, how sure
each is, and where nothing of the library explains what is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, note, print_result
from palimpsest.errors import UsageError

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("cube", type=Path, help="reflectance, with wavelengths")
    parser.add_argument("out", type=Path, help="raster to write; the suffix chooses the format")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--mixtures", action="store_true", help="up to three materials a pixel, with shares; or unknown")
    asked.add_argument("--probability", action="store_true", help="also how likely each name holds without the noise")
    parser.add_argument("--pixel", metavar="R,C", help="with --mixtures: say what one pixel is, in words")
    parser.add_argument("--knowledge", metavar="RELEASE", help="folder, .plk file or id (default: the active release)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Identify, write, and print how many pixels each material has."""
    from palimpsest import formats
    from palimpsest.knowledge.identification.answers import identified
    from palimpsest.knowledge.releases.release import load

    if options.pixel and not options.mixtures:
        raise UsageError("a single pixel is told of with mixtures", got="--pixel", wanted="--mixtures --pixel R,C")
    cube = formats.read(options.cube)
    raster, told = identified(
        cube, load(options.knowledge), is_mixed=options.mixtures, is_probable=options.probability,
        pixel=None if options.pixel is None else _pixel(options.pixel),
    )
    for line in told["notes"]:
        note(line)
    formats.write(raster, options.out)
    if options.json:
        print_result({**told, "out": str(options.out)}, as_json=True)
        return 0
    words = {"pixel": told["pixel"]} if told.get("pixel") else {}
    print_result({**told["counts"], **words, "release": told["release"]}, as_json=False)
    return 0


def _pixel(text: str) -> tuple[int, int]:
    try:
        row, col = (int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError("not a pixel", got=repr(text), wanted="R,C, 0-based") from error
    return row, col
