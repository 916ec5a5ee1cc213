"""``palimpsest compress``: cube to ``.plm`` stream."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, note, print_result
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
    mode.add_argument("--max-error", type=float, help="largest absolute error, stored units")
    mode.add_argument("--lossless", action="store_true", help="every bit comes back")
    parser.add_argument("--keep", help="'labels': every material label is kept, certified")
    parser.add_argument("--knowledge", default=None, help="release: folder, .plk, id, or 'none'")
    parser.add_argument("--strength", type=float, default=0.5, help="0 plain rate-distortion ... 1 full importance")
    parser.add_argument("--effort", type=int, default=5, choices=range(1, 10), metavar="1..9")
    parser.add_argument("--denoise", action="store_true", help="denoise before coding (recorded in the stream)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Encode and print the report."""
    from palimpsest.codec.encoder import encode
    from palimpsest.formats import read

    settings = _settings(options)
    cube = read(options.cube)
    if options.denoise:
        from palimpsest.cubes.preprocess import denoise

        cube = denoise(cube)
    importance, judge = _knowledge(cube, settings, options.knowledge)
    report = encode(cube, settings, importance=importance, judge=judge, out=options.out)
    print_result(
        {
            "bytes": report.size, "bpppc": report.bpppc,
            "psnr_db": report.psnr_db if math.isfinite(report.psnr_db) else None, "max_error": report.max_error,
            "labels_kept": report.labels_kept, "stream_sha256": report.stream_sha256,
        },
        as_json=options.json,
    )
    return 0


def _settings(options: argparse.Namespace) -> EncodeSettings:
    from palimpsest.codec.contract import EncodeSettings

    if not 0 <= options.strength <= 1:
        raise UsageError("strength out of range", got=options.strength, wanted="0 to 1")
    if options.keep not in (None, "labels"):
        raise UsageError("cannot keep that", got=options.keep, wanted="labels")
    keep = options.keep == "labels"
    if keep and (options.lossless or options.max_error is not None):
        raise UsageError("--keep goes with a rate or alone", got="--lossless or --max-error")
    if keep and options.knowledge == "none":
        raise MissingWavelengths("labels cannot be kept without knowledge", got="--knowledge none", wanted="a release")
    mode: Mode = "lossless" if options.lossless else "bound" if options.max_error is not None else "rate"
    bpppc = options.bpppc if options.bpppc is not None or keep else DEFAULT_BPPPC
    return EncodeSettings(
        mode=mode, bpppc=bpppc, max_error=options.max_error, strength=options.strength, effort=options.effort,
        keep_labels=keep,
    )


def _knowledge(
    cube: Cube, settings: EncodeSettings, release: str | None
) -> tuple[ImportanceMap | None, LabelJudge | None]:
    """Importance and judge, loaded only where they play a part."""
    if settings.keep_labels and not cube.bands.has_wavelengths:
        raise MissingWavelengths("labels cannot be kept", where=cube.name, got="no wavelengths", wanted="band centres")
    weighs = settings.strength > 0 and release != "none" and settings.mode == "rate"
    if weighs and not cube.bands.has_wavelengths:
        note("palimpsest: no wavelengths, so every band weighs alike")
        weighs = False
    if not weighs and not settings.keep_labels:
        return None, None
    from palimpsest.knowledge.importance import importance_map
    from palimpsest.knowledge.judge import ReleaseJudge
    from palimpsest.knowledge.release import load

    knowledge = load(release)
    importance = importance_map(cube, knowledge, settings.strength) if weighs else None
    return importance, ReleaseJudge(knowledge) if settings.keep_labels else None
