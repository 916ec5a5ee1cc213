"""Which material each pixel is, by the expert rules of a release, over whole cubes in array operations.

Only materials with diagnostic features compete: those of the rule base, and any that somebody adds with features and a
reference spectrum. A pixel that passes nobody's gates is unnamed (label 0).

Source: Kokaly 2011, USGS Open-File Report 2011-1155 (MICA).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.knowledge.identification.gates import decide
from palimpsest.knowledge.identification.margins import flip_noise
from palimpsest.knowledge.identification.reading import Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase

UNNAMED = "unnamed"


@dataclass(frozen=True, slots=True)
class Identification:
    """Materials of a cube.

    Args:
        labels: 0 where nobody is named, else place in ``knowledge.materials`` plus one, ``(row, col)`` uint16.
        names: name of each label; the first is 'unnamed'.
        fit: weighted fit of the one named (r squared, 0..1), ``(row, col)`` float32; NaN where unnamed.
        depth: its weighted feature depth, the same way.
        margin: relative noise (share of the local continuum, one standard deviation a band) at which the decision is
            expected to flip, ``(row, col)`` float32; None when not asked for. inf where nothing could flip it.
        release: hash of the release.
        notes: what was assumed or left out.
    """

    labels: NDArray[np.uint16]
    names: tuple[str, ...]
    fit: NDArray[np.float32]
    depth: NDArray[np.float32]
    margin: NDArray[np.float32] | None
    release: str
    notes: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Pixels of each name that occurs, most frequent first."""
        number = np.bincount(self.labels.ravel(), minlength=len(self.names))
        order = np.argsort(-number, kind="stable")
        return {self.names[i]: int(number[i]) for i in order if number[i]}


def label_names(knowledge: KnowledgeBase) -> tuple[str, ...]:
    """Name of each label, 'unnamed' first."""
    return (UNNAMED, *(material.label for material in knowledge.materials))


def relative_noise(cube: Cube, sigma: NDArray[np.float64]) -> NDArray[np.float32]:
    """Noise of each pixel against its own level, the median over bands, ``(row, col)``.

    Args:
        cube: whose pixels.
        sigma: noise of each band, stored units, ``(band,)``; bands without a number are left out.
    """
    known = np.flatnonzero(np.isfinite(sigma) & (sigma > 0))
    noise = np.zeros(cube.shape[1:], np.float32)
    if not known.size:
        return noise
    for row in range(cube.shape.rows):
        level = np.asarray(cube.data[:, row])[known].astype(np.float64) + cube.offset / (cube.scale or 1.0)
        with np.errstate(invalid="ignore"):
            relative = sigma[known, None] / np.maximum(np.nan_to_num(level), sigma[known, None])
        noise[row] = np.median(relative, axis=0)
    return noise


def identify(
    cube: Cube, knowledge: KnowledgeBase, *, margins: bool = False, reading: Reading | None = None
) -> Identification:
    """The material of every pixel.

    Args:
        cube: reflectance (scaled as the cube says), any band order.
        knowledge: the compiled release.
        margins: also tell how little would flip each decision.
        reading: how to read the cube, when that was settled before (on the original of a decoded cube).

    Raises:
        MissingWavelengths: the cube has no band centres.
    """
    how = Reading.of(cube, knowledge) if reading is None else reading
    rules = how.rules
    labels = np.zeros(cube.shape[1:], np.uint16)
    fit, depth, margin = (np.full(cube.shape[1:], np.nan, np.float32) for _ in range(3))
    numbers = np.array([0, *(prepared.label for prepared in rules.materials)], np.uint16)
    for window, spectra in how.blocks(cube):
        measured = rules.measure(spectra)
        decision = decide(rules, spectra, measured)
        shape, at = (window.rows, window.cols), window.slices
        labels[at] = numbers[decision.winner + 1].reshape(shape)
        named = np.flatnonzero(decision.winner >= 0)
        for quantity, out in (("fit", fit), ("depth", depth)):
            values = np.full(len(spectra), np.nan, np.float32)
            if named.size:
                every = np.stack([getattr(one, quantity) for one in decision.candidates])
                values[named] = every[decision.winner[named], named]
            out[at] = values.reshape(shape)
        if margins:
            margin[at] = flip_noise(rules, measured, decision).noise.reshape(shape)
    return Identification(
        labels, label_names(knowledge), fit, depth, margin if margins else None, knowledge.release, how.notes
    )
