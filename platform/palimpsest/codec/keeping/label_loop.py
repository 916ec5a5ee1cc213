"""The closed loop: encode, decode, identify, refine what changed, until all that was asked for is kept.

A judge (``contract.LabelJudge``) says what each pixel is, and how deep its features are. What the base encoding lost is
brought back: depths by bumps (:mod:`palimpsest.codec.keeping.feature_loop`), and pixels that still differ climb a
ladder of corrections until the judge agrees; the last rung is exact in every band, so the loop ends with everything
kept. The stream carries the label map and a certificate relative to the judge's release. With no rate asked for, base
rates are tried and the smallest stream wins; under one that was asked for, the base takes what the rest leaves of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from palimpsest.codec.container import stream as container
from palimpsest.codec.encoding import rate_target
from palimpsest.codec.integers.sampling import voxel_reasons
from palimpsest.codec.keeping import depths as depths_room
from palimpsest.codec.keeping import feature_loop, refinement
from palimpsest.codec.keeping.depths import pack_bumps
from palimpsest.codec.keeping.refinement import LADDER, Corrections, Rung, band_steps
from palimpsest.codec.keeping.thinning import thinned
from palimpsest.errors import PromiseBroken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from palimpsest.codec.contract import FeatureJudge, LabelJudge
    from palimpsest.codec.encoding.cube_encoder import CubeEncoder
    from palimpsest.codec.integers.sampling import Sampling
    from palimpsest.codec.keeping.feature_loop import FeatureTruth
    from palimpsest.codec.tiles.encoded import EncodedTile, Encoding
    from palimpsest.cubes import Cube, Window

BASE_RATES = (0.055, 0.08, 0.12, 0.18, 0.28, 0.45, 0.8, 1.6)
FIRST_SHARE = 0.7  # of a rate that was asked for, what the base may take at first
CEILING_FILLED, CEILING_TRIES = 0.97, 5  # of it, what is enough, and how often the base is coded for that
ROUNDINGS = (0.34, 0.5)  # a dead zone first: corrections that turn out to be zero are cheap
LARGEST_ERROR = 2**30  # what the coder of corrections carries, with room to spare


@dataclass(frozen=True, slots=True)
class LabelTruth:
    """The original's labels as the stream will carry them.

    Args:
        labels: index into ``names``, most frequent first, ``(row, col)`` int32.
        codes: the judge's label of each index, ``(index,)`` uint16.
        names: for people.
        bands_of: bands that an index hangs on, ``(index, band)``.
        features: what keeps depths; None where they need not be kept.
    """

    labels: NDArray[np.int32]
    codes: NDArray[np.uint16]
    names: tuple[str, ...]
    bands_of: NDArray[np.bool_]
    features: FeatureTruth | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What the closed loop promises.

    Args:
        labels: share of pixels whose label is the original's; None where labels were not asked for.
        depth_error: largest relative error of a diagnostic feature's depth; None where depths were not asked for.
    """

    labels: float | None
    depth_error: float | None


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


def encode_keeping(encoder: CubeEncoder, judge: LabelJudge) -> tuple[Encoding, Kept]:
    """The smallest encoding found whose decoded cube has what was asked for, and what that is.

    Under a rate that was asked for, what keeping leaves of it goes to the base: the finest one found that fits.

    Raises:
        PromiseBroken: a rate was asked for and what must be kept does not fit into it.
    """
    truth = _with_features(encoder, truth_of(encoder.cube, judge), judge)
    ceiling, settings = encoder.settings.bpppc, encoder.settings
    best = _smallest(encoder, truth, judge) if ceiling is None else _finest_under(encoder, truth, judge, ceiling)
    return best[0], Kept(1.0 if settings.keep_labels else None, None if settings.keep_depths is None else best[1])


def _smallest(encoder: CubeEncoder, truth: LabelTruth, judge: LabelJudge) -> tuple[Encoding, float]:
    """The smallest over the base rates, and the largest relative error of a depth."""
    best: tuple[Encoding, float] | None = None
    for rate in BASE_RATES:
        try:
            base = rate_target.at_rate(encoder, rate, tolerance=0.1)
        except PromiseBroken:
            continue  # head and basis alone are larger: a small cube starts higher
        refined, worst = _refined(encoder, base, truth, judge)
        if best is not None and len(refined.data) > len(best[0].data):
            break
        best = refined, worst
    if best is None:  # so small that head and basis outweigh every rate
        best = _refined(encoder, encoder.encode(rate_target.step_near(encoder, BASE_RATES[-1])), truth, judge)
    return best


def _finest_under(
    encoder: CubeEncoder, truth: LabelTruth, judge: LabelJudge, ceiling: float
) -> tuple[Encoding, float]:
    """The finest base found that fits under a rate with what keeping adds, and the largest relative error of a depth.

    Raises:
        PromiseBroken: none fits.
    """
    voxels = encoder.cube.shape.voxels
    best: tuple[float, Encoding, float] | None = None  # rate, encoding, worst
    rate, least = FIRST_SHARE * ceiling, math.inf
    for _ in range(CEILING_TRIES):
        try:
            base = rate_target.at_rate(encoder, rate)
        except PromiseBroken:
            break  # head and basis alone are larger
        refined, worst = _refined(encoder, base, truth, judge)
        own, total = (8 * len(one.data) / voxels for one in (base, refined))
        least = min(least, total)
        if total <= ceiling and (best is None or total > best[0]):
            best = total, refined, worst
        if CEILING_FILLED * ceiling <= total <= ceiling:
            break
        rate = (1 + CEILING_FILLED) / 2 * ceiling - (total - own)
        if rate <= 0:
            break
    if best is None:
        what = "every label" if encoder.settings.keep_depths is None else "what was asked for"
        got = "more" if math.isinf(least) else f"{least:.4f} bpppc"
        raise PromiseBroken(
            f"{what} cannot be kept at this rate", where=encoder.cube.name, got=got, wanted=f"{ceiling} bpppc"
        )
    return best[1], best[2]


def _with_features(encoder: CubeEncoder, truth: LabelTruth, judge: LabelJudge) -> LabelTruth:
    """The truth, with what keeps depths where they are to be kept; their bands count as those of the label."""
    tolerance, cube = encoder.settings.keep_depths, encoder.cube
    if tolerance is None or cube.bands.centre_nm is None:
        return truth
    features = cast("FeatureJudge", judge)
    bands_of = truth.bands_of.copy()
    feature_bands = features.feature_bands(cube)

    def parts() -> Iterator[tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_]]]:
        for window in encoder.windows:
            asker = _Asker.of(encoder, window, truth, judge)
            depths, counts = asker.features(asker.original, asker.void)
            label = truth.labels[window.slices].ravel()
            for feature in np.flatnonzero(counts.any(axis=0)):
                bands_of[np.ix_(np.unique(label[counts[:, feature]]), feature_bands[feature])] = True
            yield label, depths, counts

    kept = feature_loop.truth_of(parts(), feature_bands, cube.bands.centre_nm, len(truth.names), tolerance)
    return replace(truth, bands_of=bands_of, features=kept)


def _refined(encoder: CubeEncoder, base: Encoding, truth: LabelTruth, judge: LabelJudge) -> tuple[Encoding, float]:
    """The base with everything asked for brought back, and the largest relative error of a depth."""
    rmse = _band_errors(encoder, base)
    coded: list[EncodedTile] = []
    checked, worst = 0, 0.0
    for tile in base.tiles:
        labels = truth.labels[tile.window.slices]
        asker = _Asker.of(encoder, tile.window, truth, judge)
        if truth.features is not None and truth.features.bumps.count:
            tile = _deepened(encoder, tile, labels, truth.features, asker)
        corrections = _corrections(encoder, tile, labels, truth, rmse, asker)
        decoded = refinement.corrected(
            tile.decoded, labels, corrections, truth.bands_of, rmse, encoder.sampling.limits
        )
        section = refinement.encode_corrections(corrections, labels, truth.bands_of)
        coded.append(replace(tile, decoded=decoded, refinement=section))
        if truth.features is not None:
            depths, _ = asker.features(decoded.reshape(len(decoded), -1).T, asker.void)
            off = feature_loop.excess(asker.depths, asker.counts, depths, truth.features.tolerance)
            checked, worst = checked + int(asker.counts.sum()), max(worst, float(off.max(initial=0)))
    certificate: dict[str, object] = {
        "release": judge.release, "pixels": int(truth.labels.size), "labels": list(truth.names),
        "map": refinement.map_digest(truth.labels),
    }
    sections = [(container.LABELS, refinement.pack_labels(truth.labels, truth.bands_of, rmse))]
    if encoder.settings.keep_labels:
        certificate["agreement"] = 1.0
    if truth.features is not None:
        worst *= truth.features.tolerance
        certificate["features"] = {"tolerance": truth.features.tolerance, "checked": checked, "worst": worst}
        if truth.features.bumps.count:
            sections.append((container.BUMPS, pack_bumps(truth.features.bumps)))
    return encoder.packed(base.level, tuple(coded), certificate=certificate, sections=sections), worst


def _deepened(
    encoder: CubeEncoder, tile: EncodedTile, labels: NDArray[np.int32], kept: FeatureTruth, asker: _Asker
) -> EncodedTile:
    """A tile with the bumps that its features need."""
    bumps, limits = kept.bumps, encoder.sampling.limits
    flat = tile.decoded.reshape(len(tile.decoded), -1).T
    numbers = np.zeros((int(np.bincount(bumps.label).max()), labels.size), np.int32)
    for pixels, own in depths_room.groups(labels, bumps):
        serves = kept.serves[int(bumps.label[own[0]])]
        place = np.where(serves >= 0, serves - own[0], -1)
        features = np.flatnonzero(asker.counts[pixels].any(axis=0))

        def measure(
            spectra: NDArray[np.int64], which: NDArray[np.intp], pixels: NDArray[np.intp] = pixels,
            features: NDArray[np.intp] = features,
        ) -> NDArray[np.float64]:
            return asker.features(spectra, asker.void[pixels[which]])[0][:, features]

        numbers[: own.size, pixels] = feature_loop.solved(
            flat[pixels], asker.depths[np.ix_(pixels, features)], asker.counts[np.ix_(pixels, features)], own, kept,
            place[features], limits, measure,
        ).T
    shaped = numbers.reshape(-1, *labels.shape)
    decoded = depths_room.applied(tile.decoded, shaped, labels, bumps, kept.shares, limits)
    return replace(tile, decoded=decoded, depths=depths_room.encode_numbers(shaped, labels, bumps))


def _band_errors(encoder: CubeEncoder, base: Encoding) -> NDArray[np.int64]:
    """Root mean square error of each band in eighths of an integer unit, ``(band,)``, at least one."""
    square, count = np.zeros(encoder.cube.shape.bands), 0
    for tile in base.tiles:
        integers, void = encoder.samples(tile.window)
        square += np.where(void, 0.0, (integers - tile.decoded).astype(np.float64) ** 2).sum(axis=(1, 2))
        count += tile.window.rows * tile.window.cols
    return np.clip(np.rint(8 * np.sqrt(square / count)), 1, LARGEST_ERROR).astype(np.int64)


def _corrections(
    encoder: CubeEncoder, tile: EncodedTile, labels: NDArray[np.int32], truth: LabelTruth, rmse: NDArray[np.int64],
    asker: _Asker,
) -> Corrections:
    """Climb the ladder with every pixel that is not yet what it was."""
    bands = encoder.cube.shape.bands
    original, base = asker.original, tile.decoded.reshape(bands, -1).T
    every = np.arange(labels.size)
    pending = every[~asker.agrees(base, every)]
    rungs, steps = np.zeros(labels.size, np.int32), np.zeros((labels.size, bands), np.int32)
    for index, rung in enumerate(LADDER):
        for rounding in ROUNDINGS:
            if pending.size == 0:
                break
            candidate = _steps(rung, rounding, original[pending] - base[pending], rmse)
            if not rung.every_band:
                candidate *= truth.bands_of[labels.ravel()[pending]]
            tried = np.clip(base[pending] + candidate * band_steps(rung, rmse), *encoder.sampling.limits)
            good = asker.agrees(tried, pending) & (np.abs(candidate).max(axis=1) <= LARGEST_ERROR)
            rungs[pending[good]], steps[pending[good]] = index + 1, candidate[good]
            pending = pending[~good]
    if pending.size and np.abs(original[pending] - base[pending]).max() > LARGEST_ERROR:
        raise PromiseBroken(
            "labels cannot be kept over errors of more than 30 bits", where=encoder.cube.name, wanted="--lossless"
        )
    if pending.size:
        raise PromiseBroken(
            "a pixel restored exactly is still judged otherwise: the judge is not a function of the spectrum",
            where=encoder.cube.name, got=pending.size,
        )
    refined = np.flatnonzero(rungs)
    sizes = np.stack([band_steps(rung, rmse) for rung in LADDER])

    def agrees(tried: NDArray[np.int32], which: NDArray[np.intp]) -> NDArray[np.bool_]:
        at = refined[which]
        spectra = np.clip(base[at] + tried * sizes[rungs[at] - 1], *encoder.sampling.limits)
        return asker.agrees(spectra, at)

    return Corrections(rungs.reshape(labels.shape), np.ascontiguousarray(thinned(steps[refined], agrees)))


def _steps(
    rung: Rung, rounding: float, error: NDArray[np.int64], rmse: NDArray[np.int64]
) -> NDArray[np.int64]:
    scaled = error / band_steps(rung, rmse)
    magnitude = np.floor(np.abs(scaled) + (0.5 if rung.eighths == 0 else rounding))
    return np.where(scaled < 0, -magnitude, magnitude).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Asker:
    """Asks the judge about spectra of one tile in integer units.

    Args:
        original: integers of the original, ``(pixel, band)``.
        void: values that may not be used, the same way.
        wanted: label of each pixel; None where labels need not be kept.
        depths: of the original's features, ``(pixel, feature)``; nothing where they need not be kept.
        counts: which of them must be kept, the same way.
    """

    cube: Cube
    sampling: Sampling
    judge: LabelJudge
    original: NDArray[np.int64]
    void: NDArray[np.bool_]
    wanted: NDArray[np.uint16] | None
    tolerance: float | None
    depths: NDArray[np.float64]
    counts: NDArray[np.bool_]

    @classmethod
    def of(cls, encoder: CubeEncoder, window: Window, truth: LabelTruth, judge: LabelJudge) -> _Asker:
        """What is asked about a tile."""
        bands, settings = encoder.cube.shape.bands, encoder.settings
        integers, _ = encoder.samples(window)
        original = integers.reshape(bands, -1).T
        void = voxel_reasons(encoder.cube, window).reshape(bands, -1).T != 0
        wanted = truth.codes[truth.labels[window.slices].ravel()] if settings.keep_labels else None
        nothing = np.zeros((len(original), 0))
        asker = cls(
            encoder.cube, encoder.sampling, judge, original, void, wanted, settings.keep_depths, nothing, nothing != 0
        )
        if settings.keep_depths is None:
            return asker
        depths, counts = asker.features(original, void)
        return replace(asker, depths=depths, counts=counts)

    def features(
        self, integers: NDArray[np.int64], void: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Depths of spectra, and which count."""
        return cast("FeatureJudge", self.judge).features_of(self.sampling.stored(integers), self.cube, ~void)

    def agrees(self, integers: NDArray[np.int64], pixels: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether spectra tried for some pixels have all that must be kept of them."""
        good = np.ones(pixels.size, bool)
        void = self.void[pixels]
        if self.wanted is not None:
            good = self.judge.labels_of(self.sampling.stored(integers), self.cube, ~void) == self.wanted[pixels]
        if self.tolerance is not None and good.any():
            depths, _ = self.features(integers[good], void[good])
            at = pixels[good]
            off = feature_loop.excess(self.depths[at], self.counts[at], depths, self.tolerance)
            good[good] = (off <= 1).all(axis=1)
        return good
