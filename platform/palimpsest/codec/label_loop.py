"""The closed loop: encode, decode, identify, refine what flipped, until every label is the original's.

A judge (``contract.LabelJudge``) says what each pixel is. Pixels whose label the base encoding lost climb a ladder of
corrections until the judge agrees; the last rung is exact in every band, so the loop ends with every label kept. The
stream carries the label map and a certificate relative to the judge's release. With no rate asked for, base rates are
tried and the smallest stream wins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec import refinement
from palimpsest.codec.refinement import LADDER, Corrections, Rung, band_steps
from palimpsest.codec.sampling import voxel_reasons
from palimpsest.errors import PromiseBroken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.codec.contract import LabelJudge
    from palimpsest.codec.encoded import EncodedTile, Encoding
    from palimpsest.codec.encoder import Encoder
    from palimpsest.codec.sampling import Sampling
    from palimpsest.cubes import Cube

BASE_RATES = (0.065, 0.1, 0.16, 0.25, 0.4, 0.8, 1.6)
ROUNDINGS = (0.34, 0.5)  # a dead zone first: corrections that turn out to be zero are cheap


@dataclass(frozen=True, slots=True)
class LabelTruth:
    """The original's labels as the stream will carry them.

    Args:
        labels: index into ``names``, most frequent first, ``(row, col)`` int32.
        codes: the judge's label of each index, ``(index,)`` uint16.
        names: for people.
        bands_of: bands that an index hangs on, ``(index, band)``.
    """

    labels: NDArray[np.int32]
    codes: NDArray[np.uint16]
    names: tuple[str, ...]
    bands_of: NDArray[np.bool_]


def truth_of(cube: Cube, judge: LabelJudge) -> LabelTruth:
    """Labels of the original, renumbered so that common ones are small numbers."""
    judged = judge.labels(cube)
    codes, inverse, counts = np.unique(judged, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    names = tuple(judge.label_names[int(code)] for code in codes[order])
    bands_of = judge.decision_bands(cube, judged)[codes[order]]
    return LabelTruth(rank[inverse].reshape(judged.shape).astype(np.int32), codes[order], names, bands_of)


def encode_keeping_labels(encoder: Encoder, judge: LabelJudge) -> tuple[Encoding, float]:
    """The smallest encoding found whose decoded cube has every label of the original, and the share kept (1.0).

    Raises:
        PromiseBroken: a rate was asked for and the labels do not fit into it.
    """
    truth = truth_of(encoder.cube, judge)
    best: Encoding | None = None
    ceiling = encoder.settings.bpppc
    for rate in BASE_RATES:
        if ceiling is not None and rate > ceiling:
            break
        try:
            base = encoder.at_rate(rate, tolerance=0.1)
        except PromiseBroken:
            continue  # head and basis alone are larger: a small cube starts higher
        refined = _refined(encoder, base, truth, judge)
        if best is not None and len(refined.data) > len(best.data):
            break
        best = refined
    voxels = encoder.cube.shape.voxels
    if best is None or (ceiling is not None and 8 * len(best.data) / voxels > ceiling):
        got = "more" if best is None else f"{8 * len(best.data) / voxels:.4f} bpppc"
        raise PromiseBroken(
            "every label cannot be kept at this rate", where=encoder.cube.name, got=got, wanted=f"{ceiling} bpppc"
        )
    return best, 1.0


def _refined(encoder: Encoder, base: Encoding, truth: LabelTruth, judge: LabelJudge) -> Encoding:
    rmse = _band_errors(encoder, base)
    coded: list[EncodedTile] = []
    for tile in base.tiles:
        labels = truth.labels[tile.window.slices]
        corrections = _corrections(encoder, tile, labels, truth, rmse, judge)
        decoded = refinement.corrected(
            tile.decoded, labels, corrections, truth.bands_of, rmse, encoder.sampling.limits
        )
        section = refinement.encode_corrections(corrections, labels, truth.bands_of)
        coded.append(replace(tile, decoded=decoded, refinement=section))
    certificate = {
        "release": judge.release, "pixels": int(truth.labels.size), "agreement": 1.0, "labels": list(truth.names),
    }
    extra = refinement.pack_labels(truth.labels, truth.bands_of, rmse)
    return encoder.packed(base.level, tuple(coded), certificate=certificate, label_section=extra)


def _band_errors(encoder: Encoder, base: Encoding) -> NDArray[np.int64]:
    """Root mean square error of each band in eighths of an integer unit, ``(band,)``, at least one."""
    square, count = np.zeros(encoder.cube.shape.bands), 0
    for tile in base.tiles:
        integers, void = encoder.samples(tile.window)
        square += np.where(void, 0.0, (integers - tile.decoded).astype(np.float64) ** 2).sum(axis=(1, 2))
        count += tile.window.rows * tile.window.cols
    return np.maximum(1, np.rint(8 * np.sqrt(square / count))).astype(np.int64)


def _corrections(
    encoder: Encoder, tile: EncodedTile, labels: NDArray[np.int32], truth: LabelTruth, rmse: NDArray[np.int64],
    judge: LabelJudge,
) -> Corrections:
    """Climb the ladder with every pixel whose label is not the original's."""
    bands = encoder.cube.shape.bands
    integers, _ = encoder.samples(tile.window)
    original = integers.reshape(bands, -1).T
    base = tile.decoded.reshape(bands, -1).T
    void = voxel_reasons(encoder.cube, tile.window).reshape(bands, -1).T != 0
    wanted = truth.codes[labels.ravel()]
    asker = _Asker(encoder.cube, encoder.sampling, judge)
    every = np.arange(labels.size)
    pending = every[asker.labels(base, void) != wanted]
    rungs, steps = np.zeros(labels.size, np.int32), np.zeros((labels.size, bands), np.int32)
    for index, rung in enumerate(LADDER):
        for rounding in ROUNDINGS:
            if pending.size == 0:
                break
            candidate = _steps(rung, rounding, original[pending] - base[pending], rmse)
            if not rung.every_band:
                candidate *= truth.bands_of[labels.ravel()[pending]]
            tried = np.clip(base[pending] + candidate * band_steps(rung, rmse), *encoder.sampling.limits)
            good = asker.labels(tried, void[pending]) == wanted[pending]
            rungs[pending[good]], steps[pending[good]] = index + 1, candidate[good]
            pending = pending[~good]
    if pending.size:
        raise PromiseBroken(
            "a pixel restored exactly is still judged otherwise: the judge is not a function of the spectrum",
            where=encoder.cube.name, got=pending.size,
        )
    refined = np.flatnonzero(rungs)
    return Corrections(rungs.reshape(labels.shape), np.ascontiguousarray(steps[refined]))


def _steps(
    rung: Rung, rounding: float, error: NDArray[np.int64], rmse: NDArray[np.int64]
) -> NDArray[np.int64]:
    scaled = error / band_steps(rung, rmse)
    magnitude = np.floor(np.abs(scaled) + (0.5 if rung.eighths == 0 else rounding))
    return np.where(scaled < 0, -magnitude, magnitude).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Asker:
    """Asks the judge about spectra in integer units."""

    cube: Cube
    sampling: Sampling
    judge: LabelJudge

    def labels(self, integers: NDArray[np.int64], void: NDArray[np.bool_]) -> NDArray[np.uint16]:
        return self.judge.labels_of(self.sampling.stored(integers), self.cube, ~void)
