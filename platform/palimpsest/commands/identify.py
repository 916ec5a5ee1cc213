"""``palimpsest identify CUBE OUT``: the material of every pixel as a uint16 raster with its class table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, note, print_result

if TYPE_CHECKING:
    import argparse

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.identify import Identification


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("cube", type=Path, help="reflectance, with wavelengths")
    parser.add_argument("out", type=Path, help="raster to write; the suffix chooses the format")
    parser.add_argument("--knowledge", metavar="RELEASE", help="folder, .plk file or id (default: the active release)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Identify, write, and print how many pixels each material has."""
    from palimpsest import formats
    from palimpsest.knowledge.identify import identify
    from palimpsest.knowledge.release import load

    cube = formats.read(options.cube)
    found = identify(cube, load(options.knowledge))
    for line in found.notes:
        note(line)
    formats.write(class_raster(cube, found), options.out)
    counts = found.counts()
    if options.json:
        named = int((found.labels > 0).sum())
        print_result(
            {"pixels": found.labels.size, "named": named, "release": found.release, "counts": counts,
             "notes": list(found.notes), "out": str(options.out)},
            as_json=True,
        )
        return 0
    print_result({**counts, "release": found.release}, as_json=False)
    return 0


def class_raster(cube: Cube, found: Identification) -> Cube:
    """The labels as a cube of one band with ENVI's class table in its metadata."""
    import colorsys

    from palimpsest.cubes import BandTable, Cube

    colours = [(0, 0, 0)] + [
        # the golden angle apart, so that neighbours in the table look different
        tuple(round(255 * part) for part in colorsys.hsv_to_rgb(i * 0.381966 % 1, 0.55 + 0.4 * (i % 2), 0.95))
        for i in range(1, len(found.names))
    ]
    return Cube(
        found.labels[None], BandTable(1, names=("material",)), georeference=cube.georeference, name=cube.name,
        metadata={
            "classes": str(len(found.names)),
            "class names": "{" + ", ".join(name.replace(",", ";") for name in found.names) + "}",
            "class lookup": "{" + ", ".join(str(part) for colour in colours for part in colour) + "}",
            "palimpsest release": found.release,
        },
        history=(f"materials identified under release {found.release[:12]}",),
    )
