"""Feature safety: what taking noise off must not take away.

A denoiser keeps what many pixels share and what stands out in single bands; a weak absorption of few pixels is neither,
and was measured to lose most of its depth. Rules of the release say which features are guarded and how surely they must
be seen (``plm:FeatureSafetyRule``): the diagnostic features of materials, and narrow bands anywhere in a range, as
gases have them. What was taken off is compared with the shape of each; where it is that shape with more significance
than the rule asks for, in a pixel or in a square of nine, that much of the shape is given back, by a contribution in
the rule's name. The noise around it stays off.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter

from palimpsest.restoration.computing.side_by_side import done, side_by_side
from palimpsest.restoration.ledger.grid import Grid
from palimpsest.restoration.result import FULL_TRUST, Contribution, Decision, ProvenanceClass, on_grid
from palimpsest.restoration.view import Axis, unit_of
from palimpsest.spectra import resample
from palimpsest.spectra.continuum import ContinuumWindow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase, Rule
    from palimpsest.restoration.result import Restoration

KIND = "feature_safety"
REPORTED = "guarded_features"
ROUNDS = 3  # features that a pixel may get back
ALIKE = 0.98  # correlation from which two shapes are one
BLOCK_PIXELS = 2048  # of 224 bands: 25 to 35 MB for each worker
_PIECE = 2**22  # voxels at a time
_SOURCE = "correlation.denoise"
_ASSUMED_FWHM_NM = 10.0
_MAD_TO_SIGMA = 1.4826


def with_features(result: Restoration, knowledge: KnowledgeBase | None) -> Restoration:
    """The restoration with guarded features given back where noise was taken off.

    Args:
        result: of a whole cube; nothing is done where no noise was taken off.
        knowledge: the release; without rules of feature safety, or without wavelengths, nothing is guarded.

    Returns:
        The report has, under ``guarded_features``, by IRI: pixels to which something was given back.
    """
    rules = [] if knowledge is None else [rule for rule in knowledge.rules if rule.kind == KIND]
    axis = Axis.of(result.decoded.bands)
    if knowledge is None or not rules or axis.centre_nm is None:
        return result
    taken = _taken(result)
    if not taken.any():
        return result
    cube, unit = result.decoded, unit_of(result.decoded, result.reasons)
    ascending = axis.order if (np.diff(axis.order) < 0).any() else slice(None)  # a slice copies nothing
    grid, data = Grid.of(cube.data, unit), np.array(result.restored.data)
    decisions, parts = list(result.decisions), list(result.contributions)
    told: dict[str, int] = {}
    for rule in rules:
        shapes = shapes_of(rule, knowledge, axis)
        if not len(shapes):
            continue
        back, pixels = given_back(taken[ascending], data[ascending], shapes, rule.parameters.get("significance", 5.0))
        told[rule.iri] = pixels
        moved = np.flatnonzero(back)
        more = back.reshape(-1)[moved]
        del back  # as large as the scene, and the next rule makes its own
        if not pixels:
            continue
        plane = cube.shape.rows * cube.shape.cols
        voxels = axis.order[moved // plane].astype(np.int64) * plane + moved % plane
        flat = data.reshape(-1)
        fresh, _ = grid.stored(flat[voxels].astype(np.float64) + more)
        is_other = fresh != flat[voxels]
        voxels, fresh = voxels[is_other], fresh[is_other]
        quanta = on_grid(fresh, result.quantum) - on_grid(flat[voxels], result.quantum)
        flat[voxels] = fresh
        taken.reshape(-1)[voxels] -= (quanta * result.quantum).astype(np.float32)
        order = np.argsort(voxels, kind="stable")
        narrow = np.int32 if not quanta.size or np.abs(quanta).max() < 2**31 else np.int64
        parts.append(Contribution(
            len(decisions), voxels[order].astype(np.int32 if data.size < 2**31 else np.int64),
            quanta[order].astype(narrow), np.full(voxels.size, FULL_TRUST, np.uint8),
        ))
        decisions.append(Decision("rule", rule.sentence, rule.iri))
    return replace(
        result, restored=replace(result.restored, data=data), decisions=tuple(decisions), contributions=tuple(parts),
        report={**result.report, REPORTED: told},
    )


def _taken(result: Restoration) -> NDArray[np.float32]:
    """What taking noise off took from measured voxels, stored units, ``(band, row, col)``.

    The denoiser's word on a damaged voxel is no noise that was taken off: against a band's noise it is a feature of its
    own, and the shapes that it resembles were given back to its neighbours.
    """
    taken = np.zeros(result.decoded.data.size, np.float32)
    measured = result.classes.reshape(-1) == ProvenanceClass.DENOISED
    for part in result.contributions:
        if result.decisions[part.decision].source == _SOURCE:
            # No contribution names a voxel twice.
            for start in range(0, part.voxels.size, _PIECE):
                some = slice(start, start + _PIECE)
                voxels = part.voxels[some]
                amount = (part.values[some] * result.quantum).astype(np.float32)
                taken[voxels] -= np.where(measured[voxels], amount, np.float32(0))
    return taken.reshape(result.decoded.data.shape)


def shapes_of(rule: Rule, knowledge: KnowledgeBase, axis: Axis) -> NDArray[np.float64]:
    """Shapes that a rule guards, depth one at their deepest, ``(shape, band)``, bands ascending; 0 outside."""
    assert axis.centre_nm is not None
    widths = np.full(axis.count, _ASSUMED_FWHM_NM) if axis.fwhm_nm is None else axis.fwhm_nm
    if "width_nm" in rule.parameters:
        return _narrow(rule, axis.centre_nm, widths)
    found: list[NDArray[np.float64]] = []
    for material in knowledge.materials:
        outside = rule.scope and material.iri not in rule.scope and not set(rule.scope) & set(material.broader)
        if material.spectrum is None or not material.features or outside:
            continue
        seen = resample(np.asarray(material.spectrum)[None], knowledge.grid_nm, axis.centre_nm, widths)[0]
        for feature in material.features:
            window = ContinuumWindow.at(axis.centre_nm, feature.left_nm, feature.right_nm)
            if window is None or feature.weight <= 0 or not np.isfinite(seen[window.bands]).all():
                continue
            depth = 1 - window.removed(seen[None])[0]
            if not depth.max() > 0.005:
                continue
            shape = np.zeros(axis.count)
            shape[window.bands] = np.maximum(depth, 0) / depth.max()
            if all(_correlation(shape, other) < ALIKE for other in found):
                found.append(shape)
    return np.stack(found) if found else np.zeros((0, axis.count))


def _narrow(rule: Rule, centre_nm: NDArray[np.float64], widths: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = rule.parameters.get("from_nm", -np.inf), rule.parameters.get("to_nm", np.inf)
    at = np.flatnonzero((centre_nm >= low) & (centre_nm <= high))
    sigma = np.hypot(rule.parameters["width_nm"], widths[at]) / 2.355
    shapes = np.exp(-0.5 * ((centre_nm[None] - centre_nm[at, None]) / sigma[:, None]) ** 2)
    return np.asarray(np.where(shapes > 0.05, shapes, 0.0))


def given_back(
    taken: NDArray[np.floating], level: NDArray[np.generic], shapes: NDArray[np.float64], significance: float
) -> tuple[NDArray[np.float32], int]:
    """What of the shapes was taken away and is given back.

    Args:
        taken: measured minus denoised, ``(band, row, col)``; 0 where no noise was taken off.
        level: the denoised cube, an absorption being a share of it.
        shapes: ``(shape, band)``.
        significance: standard errors of a depth from which it is given back.

    Returns:
        What to add, ``(band, row, col)``, nowhere positive; and how many pixels get anything.
    """
    _, rows, cols = taken.shape
    step = max(1, BLOCK_PIXELS // cols)
    noise = np.array(list(side_by_side(_noise_taken, taken)))
    worth = np.where(noise > 0, 1.0 / np.where(noise > 0, noise, 1.0) ** 2, 0.0)[:, None, None]
    back = np.zeros(taken.shape, np.float32)
    deepest, which = np.zeros((rows, cols)), np.zeros((rows, cols), np.intp)

    def look(start: int) -> None:
        low, high = max(0, start - 1), min(rows, start + step + 1)  # a square of nine reaches a row further
        inside, here = slice(start - low, start - low + min(step, rows - start)), slice(start, start + step)
        local = np.maximum(level[:, low:high].astype(np.float64), 0.0)
        measured = worth * (taken[:, low:high] != 0)
        power = np.einsum("brc,tb->trc", measured * local**2, shapes**2, optimize=True)
        measured *= local
        measured *= back[:, low:high] - taken[:, low:high].astype(np.float64)
        along = np.einsum("brc,tb->trc", measured, shapes, optimize=True)
        depth, found = (part[..., inside, :] for part in _supported(along, power, significance))
        which[here] = depth.argmax(axis=0)
        deepest[here] = np.where(found, depth.max(axis=0), 0.0)

    def give(start: int) -> None:
        row, col = np.nonzero(deepest[start : start + step])
        row += start
        is_measured = (taken[:, row, col] != 0) & (noise > 0)[:, None]
        light = np.maximum(level[:, row, col].astype(np.float64), 0.0) * is_measured
        back[:, row, col] -= (deepest[row, col] * shapes[which[row, col]].T * light).astype(np.float32)

    touched = np.ones(rows, bool)
    for _ in range(ROUNDS):
        # All blocks look before any gives: neither sees what the other does to their common border meanwhile.
        deepest[...] = 0.0
        due = [start for start in range(0, rows, step) if touched[max(0, start - 1) : start + step + 1].any()]
        done(side_by_side(look, due))
        done(side_by_side(give, due))
        touched = np.asarray(deepest.any(axis=1))
        if not touched.any():
            break
    return back, int((back != 0).any(axis=0).sum())


def _noise_taken(plane: NDArray[np.floating]) -> np.floating | float:
    """Standard deviation of what was taken off a band; 0 where nothing was."""
    return _MAD_TO_SIGMA * np.median(np.abs(plane[plane != 0])) if plane.any() else 0.0


def _supported(
    along: NDArray[np.float64], power: NDArray[np.float64], significance: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Depth of the most significant shape of each pixel, 0 for the others, and where there is one."""
    best = np.zeros(along.shape)
    most = np.full(along.shape[1:], significance)
    for size in (1, 3):
        mean_along, mean_power = along, power
        if size > 1:
            mean_along, mean_power = (
                np.stack([uniform_filter(one, size, mode="constant") for one in every]) * size**2
                for every in (along, power)
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            sure = np.nan_to_num(mean_along / np.sqrt(mean_power))
            depth = np.nan_to_num(mean_along / mean_power)
        which = sure.argmax(axis=0)[None]
        top = np.take_along_axis(sure, which, axis=0)[0]
        better = top > most
        fresh = np.zeros(along.shape)
        np.put_along_axis(fresh, which, np.take_along_axis(depth, which, axis=0), axis=0)
        best = np.where(better, fresh, best)
        most = np.where(better, top, most)
    return np.clip(best, 0.0, 1.0), most > significance


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))
