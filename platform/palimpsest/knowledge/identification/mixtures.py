"""What a pixel is made of: up to three materials with their shares, how sure each is, or that nothing here explains it.

The whole spectrum is explained as a non-negative mixture of reference spectra. What a mixture may miss is part of the
model: noise of its band, a little of anything, and a broad, smooth deviation, because the ground is never quite as
bright or as red as its sample in the laboratory was. Spectra are whitened by that covariance, so narrow features
decide and broad colour does not. How many materials there are is settled by evidence (:mod:`sparse_fit`); how often
such evidence is right was learnt on made scenes (:mod:`probability`).

The expert rules name the feature that they see; this names what fills the pixel. The two are kept apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes.noise import noise_sigma
from palimpsest.errors import CubeRefused
from palimpsest.knowledge.identification.identify import UNNAMED, label_names
from palimpsest.knowledge.identification.probability import LEVELS, Calibration
from palimpsest.knowledge.identification.reading import Reading
from palimpsest.knowledge.identification.sparse_fit import best_mixtures
from palimpsest.spectra import resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase

DARKEST = 0.1  # square of a pixel's brightness against the scene's, below which noise speaks instead
MORE_LIKELY = 0.5  # than not
MOST = 3  # materials of a pixel
BROAD, BROAD_NM, ROUGH = 0.2, 140.0, 0.01  # deviation from a reference: smooth, along how many nm, and of single bands
USUAL_BROAD = 0.03  # smooth deviation that is still usual: what is told unknown is told by this
WORTH = 0.3  # of a whitened band in the criterion: deviations are not quite independent still
SHUT = 0.3  # transmission of an atmospheric window below which its bands say nothing of the ground
FEWEST_BANDS = 20
MOST_LOST = 0.2  # of a pixel's bands that may be unusable
LEAST_KNOWN = 0.4  # of a reference's bands that must be known; beyond its ends it is taken to go on level


@dataclass(frozen=True, slots=True)
class Composition:
    """Materials of every pixel.

    Args:
        materials: labels (place in ``knowledge.materials`` plus one), largest share first, 0 where there are fewer,
            ``(3, row, col)`` uint16.
        shares: of the pixel's light, sum 1 where anything is named, ``(3, row, col)`` float32.
        probability: that the material, its group and its kind are there with a tenth of the pixel or more,
            ``(level, 3, row, col)`` float32, levels as in
            :data:`~palimpsest.knowledge.identification.probability.LEVELS`.
        misfit: mean square of what is left, in units of what mixtures usually miss, ``(row, col)`` float32; NaN where a
            pixel has too few usable bands.
        is_unknown: where the misfit is larger than in 99 of 100 pixels of known materials, ``(row, col)``.
        farthest_nm: where the best mixture is farthest off, ``(row, col)`` float32; NaN where nothing is unknown.
        names: name of each label, the first is 'unnamed', on each level, ``(level)(label)``.
        library: number of materials that took part.
        release: hash of the release.
        notes: what was assumed or left out.
    """

    materials: NDArray[np.uint16]
    shares: NDArray[np.float32]
    probability: NDArray[np.float32]
    misfit: NDArray[np.float32]
    is_unknown: NDArray[np.bool_]
    farthest_nm: NDArray[np.float32]
    names: tuple[tuple[str, ...], ...]
    library: int
    release: str
    notes: tuple[str, ...]

    def sentence(self, row: int, col: int) -> str:
        """What is said of one pixel, in words.

        Raises:
            CubeRefused: no such pixel.
        """
        rows, cols = self.misfit.shape
        if not (0 <= row < rows and 0 <= col < cols):
            raise CubeRefused("no such pixel", got=f"{row},{col}", wanted=f"rows 0:{rows}, cols 0:{cols}")
        if np.isnan(self.misfit[row, col]):
            return "Too few usable bands to say anything."
        named = [self._told(place, row, col) for place in range(MOST) if self.materials[place, row, col]]
        if not self.is_unknown[row, col]:
            return ", ".join(named) + "."
        nearest = f"; nearest would be {', '.join(named)}" if named else ""
        return (
            f"Unknown: no mixture of up to {MOST} of {self.library} materials explains it; what is left is "
            f"{np.sqrt(self.misfit[row, col]):.1f} times what such spectra differ by, most near "
            f"{self.farthest_nm[row, col]:.0f} nm{nearest}."
        )

    def _told(self, place: int, row: int, col: int) -> str:
        """One material on the finest level that is more likely than not; the coarsest where none is."""
        sure = self.probability[:, place, row, col]
        level = int(np.argmax(sure >= MORE_LIKELY)) if (sure >= MORE_LIKELY).any() else len(sure) - 1
        label, share = int(self.materials[place, row, col]), self.shares[place, row, col]
        like = f", most like {self.names[0][label]}" if level else ""
        return f"{self.names[level][label]} {share:.0%} (sure to {sure[level]:.0%}{like})"

    def counts(self) -> dict[str, int]:
        """Pixels in which each material is named, most first; 'unknown' among them."""
        number = np.bincount(self.materials[:, ~self.is_unknown].ravel(), minlength=len(self.names[0]))
        number[0] = 0
        order = np.argsort(-number, kind="stable")
        found = {self.names[0][i]: int(number[i]) for i in order if number[i]}
        return {**found, **({"unknown": int(self.is_unknown.sum())} if self.is_unknown.any() else {})}


def level_names(knowledge: KnowledgeBase) -> tuple[tuple[str, ...], ...]:
    """Name of each label as material, as its nearest group and as its kind, the widest group but the one of all."""
    def words(iri: str) -> str:
        return iri.rstrip("/").rsplit("/", 1)[-1].replace("-", " ")

    groups = [words(material.broader[0]) if material.broader else material.label for material in knowledge.materials]
    kinds = [
        words(material.broader[-2]) if len(material.broader) > 1 else group
        for material, group in zip(knowledge.materials, groups, strict=True)
    ]
    return label_names(knowledge), (UNNAMED, *groups), (UNNAMED, *kinds)


def compose(
    cube: Cube, knowledge: KnowledgeBase, *, reading: Reading | None = None, calibration: Calibration | None = None
) -> Composition:
    """What every pixel is a mixture of.

    Args:
        cube: reflectance (scaled as the cube says) with wavelengths, any band order.
        knowledge: the compiled release; every material with a spectrum over nine tenths of the bands takes part.
        reading: how to read the cube, when that was settled before.
        calibration: how often evidence is right; what ships when left out.

    Raises:
        MissingWavelengths: the cube has no band centres.
        CubeRefused: fewer than 20 bands, or no material that they can see.
    """
    how = Reading.of(cube, knowledge) if reading is None else reading
    learnt = Calibration.packaged() if calibration is None else calibration
    bands, labels, spectra = _library(cube, knowledge, how)
    centre = how.rules.centre_nm[bands]
    noise = np.nan_to_num(noise_sigma(cube))[how.rules.bands[bands]] * abs(how.scale)
    level = _level(cube, how, bands)
    whiten, strict = (_whitening(centre, noise, level, broad) for broad in (BROAD, USUAL_BROAD))
    library = np.ascontiguousarray(spectra @ whiten.T)
    order = np.log(WORTH * bands.size) + 2 * np.log(len(labels))

    _, rows, cols = cube.shape
    materials = np.zeros((MOST, rows, cols), np.uint16)
    shares = np.zeros((MOST, rows, cols), np.float32)
    probability = np.zeros((len(LEVELS), MOST, rows, cols), np.float32)
    misfit, farthest = (np.full((rows, cols), np.nan, np.float32) for _ in range(2))
    is_unknown = np.zeros((rows, cols), bool)
    for window, whole in how.blocks(cube):
        values, usable = _filled(whole[:, bands], centre)
        found = np.flatnonzero(usable)
        if not found.size:
            continue
        chosen, part, sureness = best_mixtures(
            np.ascontiguousarray(values[found] @ whiten.T), library, worth=WORTH, order=order
        )
        turn = np.argsort(-part, axis=1, kind="stable")
        chosen = np.take_along_axis(chosen, turn, axis=1)
        part, sureness = (np.take_along_axis(one, turn, axis=1) for one in (part, sureness))
        share = part / np.maximum(part.sum(axis=1, keepdims=True), 1e-12)
        rest = values[found] - sum(part[:, t, None] * spectra[np.maximum(chosen[:, t], 0)] for t in range(MOST))
        bright = ((values[found] / level) ** 2).mean(axis=1)  # deviations grow with the light that there is
        left = ((rest @ strict.T) ** 2).mean(axis=1) / np.maximum(bright, DARKEST)
        row, col = window.row0 + found // cols, found % cols
        materials[:, row, col] = np.where(chosen >= 0, labels[np.maximum(chosen, 0)], 0).T
        shares[:, row, col] = share.T
        sure = learnt.presence(sureness, share, left[:, None])
        probability[:, :, row, col] = np.where(chosen >= 0, sure, 0.0).transpose(0, 2, 1)
        misfit[row, col] = left
        strange = (left > learnt.strange) | (chosen[:, 0] < 0)
        is_unknown[row, col] = strange
        if strange.any():
            off = rest[strange] * (rest[strange] @ strict.T @ strict)  # what each band adds to the misfit
            farthest[row[strange], col[strange]] = centre[off.argmax(axis=1)]
    return Composition(
        materials, shares, probability, misfit, is_unknown, farthest, level_names(knowledge), len(labels),
        knowledge.release, how.notes,
    )


def _library(
    cube: Cube, knowledge: KnowledgeBase, how: Reading
) -> tuple[NDArray[np.intp], NDArray[np.uint16], NDArray[np.float64]]:
    """Places among the used bands, labels of the materials that take part, and their spectra there."""
    centre = how.rules.centre_nm
    open_bands = np.ones(centre.size, bool)
    for window in knowledge.windows:
        if window.transmission <= SHUT:
            open_bands &= (centre < window.from_nm) | (centre > window.to_nm)
    bands = np.flatnonzero(open_bands)
    if bands.size < FEWEST_BANDS:
        raise CubeRefused(
            "too few bands to unmix", where=cube.name, got=bands.size, wanted=f"{FEWEST_BANDS} from 360 to 2490 nm"
        )
    known = [
        (number, material) for number, material in enumerate(knowledge.materials, start=1)
        if material.spectrum is not None and "is_described" not in material.extra
    ]
    if not known:
        raise CubeRefused("no material to unmix by", where=cube.name, got="no reference spectra in the release")
    stack = np.stack([np.asarray(material.spectrum) for _, material in known])
    seen = resample(stack, knowledge.grid_nm, centre[bands], how.fwhm_nm[bands])
    has = np.isfinite(seen)
    enough = has.mean(axis=1) >= LEAST_KNOWN
    if not enough.any():
        raise CubeRefused("no material to unmix by", where=cube.name, got="no reference spectrum covers these bands")
    at = centre[bands]
    rows = [np.interp(at, at[ok], row[ok]) for row, ok in zip(seen[enough], has[enough], strict=True)]
    return bands, np.array([number for number, _ in known], np.uint16)[enough], np.maximum(np.stack(rows), 1e-4)


def _level(cube: Cube, how: Reading, bands: NDArray[np.intp]) -> NDArray[np.float64]:
    """Root mean square of the reflectance of each band, ``(band,)``."""
    square, count = np.zeros(bands.size), np.zeros(bands.size)
    for _, values in how.blocks(cube):
        square += np.nansum(values[:, bands] ** 2, axis=0)
        count += np.isfinite(values[:, bands]).sum(axis=0)
    return np.asarray(np.sqrt(square / np.maximum(count, 1)) + 1e-3)


def _whitening(
    centre_nm: NDArray[np.float64], noise: NDArray[np.float64], level: NDArray[np.float64], broad: float
) -> NDArray[np.float64]:
    """The matrix that makes what a mixture may miss white, with smooth deviations of that size, ``(band, band)``."""
    apart = (centre_nm[:, None] - centre_nm) / BROAD_NM
    smooth = np.outer(level, level) * broad**2 * np.exp(-0.5 * apart**2)
    return np.asarray(np.linalg.inv(np.linalg.cholesky(smooth + np.diag(noise**2 + (ROUGH * level) ** 2))))


def _filled(
    values: NDArray[np.float64], centre_nm: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Single lost bands from their neighbours, and which spectra have not lost too many."""
    lost = ~np.isfinite(values)
    usable = lost.mean(axis=1) <= MOST_LOST
    for row in np.flatnonzero(usable & lost.any(axis=1)):
        gone = lost[row]
        values[row, gone] = np.interp(centre_nm[gone], centre_nm[~gone], values[row, ~gone])
    return values, usable
