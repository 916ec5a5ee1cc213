"""Cube to stream: rate target, error bound, lossless, or labels and depths kept.

What the decoder will give is known at every turn, so every promise is checked before it is made.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.atomic import write_bytes
from palimpsest.codec.container import header
from palimpsest.codec.contract import EXACT_MODES, EncodeReport
from palimpsest.codec.encoding import bound_target, rate_target
from palimpsest.codec.encoding.cube_encoder import CubeEncoder
from palimpsest.codec.integers.sampling import as_float32
from palimpsest.codec.space.tiling import SMALLEST_SIDE
from palimpsest.errors import UsageError

if TYPE_CHECKING:
    from palimpsest.codec.contract import EncodeSettings, LabelJudge
    from palimpsest.codec.keeping.label_loop import Kept
    from palimpsest.codec.tiles.encoded import Encoding
    from palimpsest.cubes import Cube, ImportanceMap


def encode(
    cube: Cube, settings: EncodeSettings, importance: ImportanceMap | None = None, judge: LabelJudge | None = None,
    out: Path | None = None,
) -> EncodeReport:
    """Encode a cube into a ``.plm`` file.

    Args:
        cube: what to encode.
        settings: mode, target, strength.
        importance: weights of errors; None is uniform.
        judge: needed by ``settings.keeps``; one that measures depths where those are kept.
        out: where to; written whole or not at all. None writes nothing and only reports.

    Raises:
        UsageError: contradictory settings.
        CubeRefused: values that the mode cannot hold.
        PromiseBroken: the rate, the bound or the labels cannot be kept.
    """
    _check(cube, settings, judge)
    encoder = CubeEncoder(cube, settings, importance)
    if settings.mode == "lossless" and cube.data.dtype == np.float64 and encoder.sampling.lattice is None:
        cube = as_float32(cube)
        encoder = CubeEncoder(cube, settings, importance)
    if settings.keeps:
        from palimpsest.codec.keeping.label_loop import encode_keeping

        assert judge is not None
        encoding, kept = encode_keeping(encoder, judge)
    else:
        kept = None
        is_exact = settings.mode in EXACT_MODES
        encoding = bound_target.exactly(encoder) if is_exact else rate_target.at_rate(encoder, settings.bpppc or 0.0)
    if not header.is_plausible(cube.shape, encoder.side, len(encoding.data)):
        # So little in so many bands that a reader would not believe it of one tile.
        return encode(cube, replace(settings, tile=SMALLEST_SIDE), importance, judge, out)
    report = _report(encoder, encoding, kept)
    if out is not None:
        write_bytes(Path(out), encoding.data)
    return report


def _check(cube: Cube, settings: EncodeSettings, judge: LabelJudge | None) -> None:
    if settings.mode == "rate" and not settings.keeps and not (settings.bpppc and settings.bpppc > 0):
        raise UsageError("a rate must be positive", got=settings.bpppc, wanted="bits per pixel per channel")
    if settings.mode == "bound" and settings.max_error is None:
        raise UsageError("an error bound is missing", got=None, wanted="stored units, one or one for each band")
    if settings.keeps and (judge is None or settings.mode != "rate"):
        raise UsageError("labels are kept in rate mode and by a judge", got=settings.mode, wanted="--bpppc or nothing")
    if settings.keep_depths is not None and not 0 < settings.keep_depths < 1:
        raise UsageError("depths are kept to a share of themselves", got=settings.keep_depths, wanted="between 0 and 1")
    if settings.mode == "bound" and not cube.is_integer and not np.all(settings.max_error):
        raise UsageError("a bound of zero on floating-point values", got=0, wanted="--lossless")


def _report(encoder: CubeEncoder, encoding: Encoding, kept: Kept | None) -> EncodeReport:
    settled = [tile.settled or encoder.settle(tile) for tile in encoding.tiles]
    square, count = sum(each.square for each in settled), sum(each.count for each in settled)
    peak = max(each.peak for each in settled)
    psnr = 10 * math.log10(peak**2 * count / square) if square > 0 and peak > 0 else math.inf
    return EncodeReport(
        len(encoding.data), 8 * len(encoding.data) / encoder.cube.shape.voxels, psnr,
        max(float(each.worst.max()) for each in settled), None if kept is None else kept.labels,
        hashlib.sha256(encoding.data).hexdigest(), None if kept is None else kept.depth_error,
    )
