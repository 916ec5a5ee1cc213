"""``palimpsest decompress``: stream to cube."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, print_result, spent, tiles_have_the_threads
from palimpsest.errors import UsageError

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("stream", type=Path, help="a .plm stream")
    parser.add_argument("out", type=Path, help=".hdr, .tif, .nc, .zarr or .npy")
    parser.add_argument("--level", type=int, default=0, help="stop before the N finest levels: a coarser picture")
    parser.add_argument("--window", help="R0:R1,C0:C1, 0-based, half-open")
    parser.add_argument("--bands", help="A:B, 0-based, half-open")
    parser.add_argument("--workers", type=int, default=0, help="tiles decoded at a time (default: all processors)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Decode, write, and print what was written."""
    tiles_have_the_threads()
    from palimpsest.codec.decoder import decode
    from palimpsest.cubes import Window
    from palimpsest.formats import write

    start = time.perf_counter()
    window = None if options.window is None else Window.parse(options.window)
    folder = options.out.parent if options.out.parent.is_dir() else None
    cube = decode(
        options.stream, level=options.level, window=window, bands=_bands(options.bands),
        workers=max(0, options.workers), folder=folder,
    )
    write(cube, options.out)
    bands, rows, cols = cube.shape
    result = {"out": str(options.out), "bands": bands, "rows": rows, "cols": cols, "dtype": cube.data.dtype.name}
    print_result({**result, **spent(start)}, as_json=options.json)
    return 0


def _bands(text: str | None) -> slice | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if match is None or int(match[1]) >= int(match[2]):
        raise UsageError("not a range of bands", got=repr(text), wanted="A:B with A < B, 0-based, half-open")
    return slice(int(match[1]), int(match[2]))
