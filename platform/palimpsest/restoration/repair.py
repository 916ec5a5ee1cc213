"""The whole way of a cube that was read: searched, stripes moved back, noise taken off if asked, the rest judged.

``restored = decoded + sum of contributions`` holds over all of it. Measured voxels whose column had an offset, or whose
noise was taken off, keep their measurement as the start of the sum: what was added is named ``stripe.offset`` and
``correlation.denoise``, in whole steps of the stored type. Damaged voxels go to the judge
(:mod:`~palimpsest.restoration.restorer`). Where noise is taken off and other pixels show the band, the denoiser has an
answer as well: the judge is then asked about the spectra as they were, because statistics of spectra without noise
mislead, and the two meet by the variances that they claim. In gaps that all pixels share the judge sees the cleaner
spectra and stands alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import Reason
from palimpsest.restoration.computing.one_thread import one_thread
from palimpsest.restoration.computing.planes import planes_of, runs
from palimpsest.restoration.computing.side_by_side import done, side_by_side
from palimpsest.restoration.defects.defect_search import ILL, Found, search
from palimpsest.restoration.denoising.coder_noise import LEAST_NOISE, as_before_coding
from palimpsest.restoration.denoising.denoiser import denoise
from palimpsest.restoration.denoising.feature_guard import with_features
from palimpsest.restoration.factors.robust_factors import fit_robust, whole_view
from palimpsest.restoration.ledger.explain import SENTENCES
from palimpsest.restoration.ledger.rule_check import held_to_bounds
from palimpsest.restoration.restorer import damage_of, restore, untouched
from palimpsest.restoration.result import FULL_TRUST, Contribution, Decision, ProvenanceClass, Restoration, on_grid
from palimpsest.restoration.view import ACCEPTED, HIDDEN, LEFT_ALONE, Axis, to_repair, unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.companions.together import Companions
    from palimpsest.restoration.integrator.network import Integrator

STRIPE, DENOISE = (Decision(name, SENTENCES[name]) for name in ("stripe.offset", "correlation.denoise"))
NINETY = 1.645  # half of a 90 % interval, in standard deviations
SPREAD_FACTOR = 1.4  # conformal: the 90 % quantile over struck cases of two recorded scenes and a made one
_PIECE = 2**22  # voxels at a time


@one_thread()
def repair(
    cube: Cube, *, knowledge: KnowledgeBase | None, is_searched: bool = True, is_denoised: bool = False,
    mask: NDArray[np.bool_] | None = None, weights: str | Path | Integrator | None = None,
    parts_left_out: Collection[str] = (), edges: bool = True, is_decoded: bool = False, infer_opaque: bool = False,
    companion: Companions | None = None,
) -> Restoration:
    """The cube with defects found and restored, and its noise taken off if asked; and why.

    Args:
        cube: as read or decoded.
        knowledge: a compiled release; None restores by statistics alone.
        is_searched: look for defects that nobody marked. Not for decoded streams: what a coder smoothed must not pass
            for a defect.
        is_denoised: take the noise off measured voxels too; opaque and noisy bands included, unless they are inferred.
        mask: True = usable, ``(band, row, col)``, beside the cube's own.
        weights: the integrator, or where its weights are; the packaged ones when left out.
        parts_left_out: parts of the integrator to do without.
        edges: False removes the edges of the graph.
        is_decoded: the cube comes from a lossy stream.
        infer_opaque: infer what opaque windows and noisy bands would have shown.
        companion: what other cubes of the same place say of damaged voxels.

    Raises:
        CubeRefused: a mask of another shape, or no usable voxel.
        UsageError: an unknown part.
        ModelMissing: the weights are not installed.
    """
    def judged(prepared: Cube) -> Restoration:
        return restore(
            prepared, knowledge=knowledge, mask=mask, weights=weights, parts_left_out=parts_left_out, edges=edges,
            is_decoded=is_decoded, infer_opaque=infer_opaque, companion=companion, is_claimed=is_denoised,
        )

    found = search(cube) if is_searched else Found.without_stripes(cube)
    joined = _prepared(found, mask, judged, is_denoised=is_denoised, infer_opaque=infer_opaque)
    rules = None if "rule_constrainer" in parts_left_out else knowledge
    return held_to_bounds(with_features(joined, rules), rules)


def _prepared(
    found: Found, mask: NDArray[np.bool_] | None, judged: Callable[[Cube], Restoration], *, is_denoised: bool,
    infer_opaque: bool,
) -> Restoration:
    """Stripes moved back, noise taken off, the rest judged, all joined; what is as large as the scene ends here."""
    if not is_denoised:
        found = found.marked(only_noisy=True)
    reasons = damage_of(found.cube, mask)
    kept = (*ACCEPTED, *HIDDEN) if infer_opaque else (*ACCEPTED, *LEFT_ALONE)
    measured = np.isin(reasons, kept)  # what is inferred is not denoised as well
    level = _without_stripes(found, measured)
    quiet = _without_noise(found, level, reasons, measured, kept) if is_denoised else None
    prepared = level if quiet is None or quiet.tells(reasons) else quiet.data
    given = found.cube if prepared is found.cube.data else replace(found.cube, data=prepared)
    joined = _joined(judged(given), found, level, quiet, measured)  # unnamed here: joining lets go of it
    return joined if not is_denoised or quiet is not None else replace(
        joined, report={**joined.report, "remark": "too small to take noise off"}
    )


@one_thread()
def quieted(cube: Cube, knowledge: KnowledgeBase | None) -> Restoration:
    """The cube with the noise taken off its measured voxels and nothing else done: what may be coded instead of noise.

    Unusable voxels keep their value. A cube too small for factors comes back as it is, with a remark in the report.

    Args:
        cube: as read.
        knowledge: the release whose rules guard features and bounds, or None.

    Raises:
        CubeRefused: no usable voxel.
    """
    reasons = damage_of(cube, None)
    measured = np.isin(reasons, (*ACCEPTED, *LEFT_ALONE))
    found = Found.without_stripes(cube)
    quiet = _without_noise(found, cube.data, reasons, measured)
    start = untouched(cube, reasons, is_decoded=False)
    if quiet is None:
        return replace(start, report={**start.report, "remark": "too small to take noise off"})
    result = with_features(_joined(start, found, cube.data, replace(quiet, told=quiet.data), measured), knowledge)
    done = held_to_bounds(result, knowledge)
    named = done.restored.with_data(done.restored.data, f"denoised: {quiet.factors} factors of the scene")
    report = {key: value for key, value in done.report.items() if key != "remark"}
    return replace(done, restored=named, report=report)


@dataclass(frozen=True, slots=True)
class _Quiet:
    data: NDArray[np.generic]  # stored type, measured voxels without their noise
    told: NDArray[np.generic]  # the same, and damaged voxels as the denoiser has them
    known: NDArray[np.bool_]  # (band,): bands that it can speak about
    spread: NDArray[np.float32]  # stored units, (band, row, col)
    factors: int

    def tells(self, reasons: NDArray[np.uint8]) -> bool:
        """Whether it has an answer for damaged voxels."""
        return bool(to_repair(reasons[self.known]).any())


def _without_stripes(found: Found, measured: NDArray[np.bool_]) -> NDArray[np.generic]:
    data = found.cube.data
    if not found.striped.any():
        return data
    out = np.array(data)
    for band in np.flatnonzero(found.striped):
        shift = found.shift(int(band))
        moved = _stored(np.asarray(data[band], np.float64) - shift, out.dtype)
        struck = measured[band] & (shift != 0)
        out[band][struck] = moved[struck]
    return out


def _without_noise(
    found: Found, level: NDArray[np.generic], reasons: NDArray[np.uint8], measured: NDArray[np.bool_],
    kept: tuple[Reason, ...] = (*ACCEPTED, *LEFT_ALONE),
) -> _Quiet | None:
    cube = found.cube
    axis, unit = Axis.of(cube.bands), unit_of(cube, reasons)
    view = whole_view(replace(cube, data=level), reasons, axis, unit, kept)
    model, coded = found.model, cube.bands.coder_rmse
    if model is None:
        shown = view.values if coded is None else as_before_coding(view.values, coded[axis.order] / unit)
        fitted = fit_robust(shown, view.usable, *cube.shape[1:])
        if fitted is None:
            return None
        model = fitted.model
        del fitted, shown  # as large as the scene
    least = 0.0 if coded is None else LEAST_NOISE
    struck = np.isin(reasons, (Reason.IMPULSE, Reason.SATURATED)).reshape(len(reasons), -1).mean(1)[axis.order]
    clean = denoise(view.values, view.usable, model, *cube.shape[1:], struck > ILL, least)
    out, told, spread = np.array(level), np.array(level), np.zeros(cube.shape, np.float32)
    known = np.zeros(len(out), bool)
    known[axis.order] = model.known

    def back(run: slice) -> None:
        pairs = zip(planes_of(clean.values, run), planes_of(clean.spread, run), strict=True)
        for band, (values, wide) in zip(axis.order[run], pairs, strict=True):
            plane = _stored(values.astype(np.float64) * unit, out.dtype).reshape(cube.shape[1:])
            good = measured[band] & np.isfinite(plane)
            out[band][good] = plane[good]
            told[band] = np.where(np.isfinite(plane), plane, told[band])
            spread[band] = (wide * np.float32(unit)).reshape(cube.shape[1:])

    done(side_by_side(back, runs(len(out))))
    return _Quiet(out, told, known, spread, clean.factors)


def _stored(values: NDArray[np.float64], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype.name)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def _joined(
    result: Restoration, found: Found, level: NDArray[np.generic], quiet: _Quiet | None, measured: NDArray[np.bool_]
) -> Restoration:
    """The judge's restoration with what was done to measured voxels before it, as contributions of their own."""
    before = found.cube.data
    after = level if quiet is None else quiet.data
    if quiet is not None:
        data = np.where(measured, after, result.restored.data)
        result = _told_by_denoiser(replace(result, restored=replace(result.restored, data=data)), quiet)
    is_touched = ((after != before) & measured).reshape(-1)
    touched = _places(is_touched)
    if not touched.size:
        return replace(result, decoded=found.cube)
    decisions = list(result.decisions)
    parts = list(result.contributions)
    for decision, start, end in ((STRIPE, before, level), (DENOISE, level, after)):
        if start is not end:
            if decision not in decisions:
                decisions.append(decision)
            parts.append(_moved(decisions.index(decision), touched, start, end, result.quantum))
    plane = before.shape[1] * before.shape[2]
    count = int(touched.size)
    del touched
    classes = result.classes.copy()
    classes.reshape(-1)[is_touched] = ProvenanceClass.DENOISED
    judged = result.half_width
    report = {**result.report, "stripes": int((found.offsets != 0).sum() + (found.row_offsets != 0).sum())}
    if quiet is None:
        half = np.repeat((NINETY * found.error).astype(np.float32), plane)
    else:
        half = quiet.spread.reshape(-1)
        half *= np.float32(NINETY * SPREAD_FACTOR)  # in place: the spread itself is not asked for again
        # What was judged from denoised spectra is no surer than they are.
        is_told = quiet.known[result.changed // plane]
        judged = np.where(is_told, judged, np.hypot(judged, half[result.changed]))
        report |= {"denoised_voxels": count, "factors": quiet.factors}
    half[result.changed] = judged
    is_touched[result.changed] = True
    half = _packed(half, is_touched)
    return replace(
        result, decoded=found.cube, decisions=tuple(decisions), contributions=tuple(parts),
        changed=_places(is_touched), half_width=half, classes=classes, report=report,
    )


def _told_by_denoiser(result: Restoration, quiet: _Quiet) -> Restoration:
    """Damaged voxels of known bands between judge and denoiser; the step from the judged value is one more part."""
    plane = quiet.told[0].size
    is_known = quiet.known[result.changed // plane]
    voxels = result.changed[is_known]
    if not voxels.size:
        return result
    judged = result.restored.data
    ours = np.maximum(quiet.spread.reshape(-1)[voxels].astype(np.float64) * (NINETY * SPREAD_FACTOR), 1e-30)
    theirs = np.maximum(result.half_width[is_known].astype(np.float64), 1e-30)
    share = theirs**2 / (ours**2 + theirs**2)
    start = judged.reshape(-1)[voxels].astype(np.float64)
    data = np.array(judged)
    mixed = start + share * (quiet.told.reshape(-1)[voxels].astype(np.float64) - start)
    data.reshape(-1)[voxels] = _stored(mixed, data.dtype)
    half = result.half_width.copy()
    # Both look at the same pixel: their errors go together, and the mean is no surer than the surer of them.
    half[is_known] = np.minimum(ours, theirs).astype(np.float32)
    classes = result.classes.copy()
    classes.reshape(-1)[voxels] = ProvenanceClass.CORRELATED
    step = _moved(len(result.decisions), voxels, judged, data, result.quantum)
    return replace(
        result, restored=replace(result.restored, data=data), decisions=(*result.decisions, DENOISE),
        contributions=(*result.contributions, step), classes=classes, half_width=half,
    )


def _moved(
    decision: int, voxels: NDArray[np.int64], start: NDArray[np.generic], end: NDArray[np.generic], quantum: float
) -> Contribution:
    before, after = start.reshape(-1), end.reshape(-1)
    # Room for all of them at once: what no number is written to takes no memory.
    place = np.empty(voxels.size, np.int32 if start.size < 2**31 else np.int64)
    amount, filled = np.empty(voxels.size, np.int32), 0
    for first in range(0, voxels.size, _PIECE):
        some = voxels[first : first + _PIECE]
        quanta = on_grid(after[some], quantum) - on_grid(before[some], quantum)
        given = np.flatnonzero(quanta)
        if np.abs(quanta).max(initial=0) >= 2**31 and amount.dtype == np.int32:
            amount = amount.astype(np.int64)
        here = slice(filled, filled + given.size)
        place[here], amount[here] = some[given], quanta[given]
        filled += given.size
    place, amount = place[:filled], amount[:filled]
    trust = np.broadcast_to(np.uint8(FULL_TRUST), place.shape)  # one byte, however many voxels
    return Contribution(decision, place, amount, trust)  # type: ignore[arg-type]  # as narrow as they may be


def _packed(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The values where ``mask`` is True, in order, moved to the front of their own array."""
    filled = 0
    for first in range(0, mask.size, _PIECE):
        some = values[first : first + _PIECE][mask[first : first + _PIECE]]
        values[filled : filled + some.size] = some
        filled += some.size
    return values[:filled]


def _places(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Flat indices of True, ascending, as narrow as the mask's size allows."""
    places, filled = np.empty(np.count_nonzero(mask), np.int32 if mask.size < 2**31 else np.int64), 0
    for first in range(0, mask.size, _PIECE):
        some = np.flatnonzero(mask[first : first + _PIECE])
        places[filled : filled + some.size] = some + first
        filled += some.size
    return places  # type: ignore[return-value]  # as narrow as they may be
