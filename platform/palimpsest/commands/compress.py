"""``palimpsest compress``: cube to ``.plm`` stream."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, note, print_result, spent, tiles_have_the_threads
from palimpsest.errors import MissingWavelengths, UsageError

if TYPE_CHECKING:
    import argparse

    from palimpsest.codec.contract import EncodeSettings, LabelJudge, Mode
    from palimpsest.cubes import Cube, ImportanceMap

DEFAULT_BPPPC = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("cube", type=Path, help="any format that can be read")
    parser.add_argument("out", type=Path, help="the .plm stream to write")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--bpppc", type=float, help=f"bits per pixel per channel (default {DEFAULT_BPPPC})")
    mode.add_argument(
        "--max-error", metavar="E",
        help="largest absolute error, stored units: a number, one for each band with commas, or a text file of them",
    )
    mode.add_argument("--lossless", action="store_true", help="every bit comes back")
    parser.add_argument(
        "--keep", action="append", metavar="WHAT",
        help="'labels': every material label is kept, certified; 'features=D': no diagnostic feature's depth is off by "
        "more than D of itself; both: 'labels,features=0.1'; with --bpppc within that rate, else as small as it gets",
    )
    parser.add_argument("--knowledge", default=None, help="release: folder, .plk, id, or 'none'")
    parser.add_argument("--strength", type=float, default=0.5, help="0 plain rate-distortion ... 1 full importance")
    parser.add_argument(
        "--effort", type=int, default=5, choices=range(1, 10), metavar="1..9",
        help="1: the quick coder (rate mode), 3 to 5 times faster, some 5 %% larger; 2: one pass of the trellis; "
        "3 to 9 are alike; 5 is the default",
    )
    parser.add_argument("--denoise", action="store_true", help="denoise before coding (recorded in the stream)")
    parser.add_argument("--workers", type=int, default=0, help="tiles coded at a time (default: all processors)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Encode and print the report."""
    tiles_have_the_threads()
    from palimpsest.codec.encoder import encode
    from palimpsest.formats import read

    start = time.perf_counter()
    settings = _settings(options)
    cube = read(options.cube)
    if options.denoise:
        cube = _quieted(cube, options.knowledge)
    importance, judge = _knowledge(cube, settings, options.knowledge)
    report = encode(cube, settings, importance=importance, judge=judge, out=options.out)
    print_result(
        {
            "bytes": report.size, "bpppc": report.bpppc,
            "psnr_db": report.psnr_db if math.isfinite(report.psnr_db) else None, "max_error": report.max_error,
            "labels_kept": report.labels_kept, "stream_sha256": report.stream_sha256,
            **({} if report.depth_error is None else {"depth_error": report.depth_error}), **spent(start),
        },
        as_json=options.json,
    )
    return 0


def _quieted(cube: Cube, release: str | None) -> Cube:
    """The cube without its noise, as ``restore --denoise`` takes it off."""
    from palimpsest.knowledge.releases.release import load
    from palimpsest.restoration.repair import quieted

    done = quieted(cube, None if release == "none" else load(release))
    if "remark" in done.report:
        note(f"palimpsest: {cube.name}: {done.report['remark']}")
    return done.restored


def _settings(options: argparse.Namespace) -> EncodeSettings:
    from palimpsest.codec.contract import EncodeSettings, asked_to_keep

    if not 0 <= options.strength <= 1:
        raise UsageError("strength out of range", got=options.strength, wanted="0 to 1")
    labels, depths = asked_to_keep(",".join(options.keep or ()))
    keep = labels or depths is not None
    if keep and (options.lossless or options.max_error is not None):
        raise UsageError("--keep goes with a rate or alone", got="--lossless or --max-error")
    if keep and options.knowledge == "none":
        raise MissingWavelengths("nothing can be kept without knowledge", got="--knowledge none", wanted="a release")
    mode: Mode = "lossless" if options.lossless else "bound" if options.max_error is not None else "rate"
    bpppc = options.bpppc if options.bpppc is not None or keep else DEFAULT_BPPPC
    return EncodeSettings(
        mode=mode, bpppc=bpppc, max_error=_bounds(options.max_error), strength=options.strength, effort=options.effort,
        keep_labels=labels, keep_depths=depths, workers=max(0, options.workers),
    )


def _bounds(text: str | None) -> float | tuple[float, ...] | None:
    """Error bounds from the command line: one, or one a band."""
    if text is None:
        return None
    words = text
    try:
        if re.search(r"[^-+0-9.,eE\s]", text):
            words = Path(text).read_text(encoding="utf-8")
        numbers = tuple(float(word) for word in re.split(r"[,\s]+", words.strip()))
    except (OSError, ValueError) as error:
        wanted = "a number, numbers with commas, or a text file of numbers"
        raise UsageError("not an error bound", got=repr(text), wanted=wanted) from error
    return numbers[0] if len(numbers) == 1 else numbers


def _knowledge(
    cube: Cube, settings: EncodeSettings, release: str | None
) -> tuple[ImportanceMap | None, LabelJudge | None]:
    """Importance and judge, loaded only where they play a part."""
    if settings.keeps and not cube.bands.has_wavelengths:
        raise MissingWavelengths("nothing can be kept", where=cube.name, got="no wavelengths", wanted="band centres")
    weighs = settings.strength > 0 and release != "none" and settings.mode == "rate"
    if weighs and not cube.bands.has_wavelengths:
        note("palimpsest: no wavelengths, so every band weighs alike")
        weighs = False
    if not weighs and not settings.keeps:
        return None, None
    from palimpsest.knowledge.identification.importance import importance_map
    from palimpsest.knowledge.identification.judge import ReleaseJudge
    from palimpsest.knowledge.releases.release import load

    knowledge = load(release)
    importance = importance_map(cube, knowledge, settings.strength) if weighs else None
    return importance, ReleaseJudge(knowledge) if settings.keeps else None
