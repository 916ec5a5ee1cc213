"""What a draft would change on real cubes before it is published: names of pixels, and how much their bands matter.

Materials are compared by IRI, so that a renamed one counts as the same and one that moved in the list does not count as
another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube, ImportanceMap
    from palimpsest.knowledge.rules import KnowledgeBase

NOTICEABLE = 0.01  # relative change of a pixel's weights from which on it is counted
ROWS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Preview:
    """The effect of a draft on one cube.

    Args:
        pixels: pixels of the cube.
        is_changed: where the name changes, ``(row, col)``.
        transitions: (from, to, pixels), most frequent first; '' is unnamed.
        weight_change: relative change of each pixel's weights of errors (root mean square over bands),
            ``(row, col)`` float32.
        band_change: the same of each band over the pixels, ``(band,)``.
        notes: what was assumed while reading the cube.
    """

    pixels: int
    is_changed: NDArray[np.bool_]
    transitions: tuple[tuple[str, str, int], ...]
    weight_change: NDArray[np.float32]
    band_change: NDArray[np.float64]
    notes: tuple[str, ...]

    def summary(self) -> dict[str, object]:
        """Numbers for people and for JSON."""
        return {
            "pixels": self.pixels,
            "labels_changed": int(self.is_changed.sum()),
            "labels_changed_share": float(self.is_changed.mean()),
            "transitions": [
                {"from": one or "unnamed", "to": other or "unnamed", "pixels": count}
                for one, other, count in self.transitions
            ],
            "importance_changed_pixels": int((self.weight_change > NOTICEABLE).sum()),
            "importance_mean_change": float(self.weight_change.mean()),
            "importance_largest_change": float(self.weight_change.max()),
            "notes": list(self.notes),
        }


def preview(cube: Cube, before: KnowledgeBase, after: KnowledgeBase) -> Preview:
    """What happens to a cube when one release takes another's place.

    Raises:
        MissingWavelengths: the cube has no band centres, so that no release says anything about it.
    """
    from palimpsest.knowledge.identification.identify import identify
    from palimpsest.knowledge.identification.importance import importance_map

    old, new = identify(cube, before), identify(cube, after)
    iris = ["", *sorted({one.iri for one in (*before.materials, *after.materials)})]
    places = {iri: place for place, iri in enumerate(iris)}
    was = np.array([0, *(places[one.iri] for one in before.materials)])[old.labels]
    becomes = np.array([0, *(places[one.iri] for one in after.materials)])[new.labels]
    is_changed = was != becomes
    pairs, counts = np.unique(np.stack([was[is_changed], becomes[is_changed]]), axis=1, return_counts=True)
    label = {one.iri: one.label for one in (*before.materials, *after.materials)}
    transitions = sorted(
        (
            (label.get(iris[one], ""), label.get(iris[other], ""), int(count))
            for one, other, count in zip(pairs[0], pairs[1], counts, strict=True)
        ),
        key=lambda entry: (-entry[2], entry),
    )
    by_pixel, by_band = _weight_change(importance_map(cube, before, 1.0), importance_map(cube, after, 1.0))
    notes = tuple(dict.fromkeys(old.notes + new.notes))
    return Preview(is_changed.size, is_changed, tuple(transitions), by_pixel, by_band, notes)


def _weight_change(old: ImportanceMap, new: ImportanceMap) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    rows, cols = old.index.shape
    by_pixel, by_band = np.zeros((rows, cols), np.float32), np.zeros(old.profiles.shape[1])
    for first in range(0, rows, ROWS_AT_ONCE):  # whole maps of large cubes would not fit
        part = slice(first, first + ROWS_AT_ONCE)
        was, becomes = (
            one.profiles[one.index[part]] * one.gain[part][..., None].astype(np.float64) for one in (old, new)
        )
        squared = (becomes / was - 1.0) ** 2  # (row, col, band)
        by_pixel[part] = np.sqrt(squared.mean(2))
        by_band += squared.sum((0, 1))
    return by_pixel, np.sqrt(by_band / by_pixel.size)
