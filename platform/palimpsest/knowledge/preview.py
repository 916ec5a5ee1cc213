"""What a draft would change on real cubes before it is published: the names of their pixels.

Materials are compared by IRI, so that a renamed one counts as the same and one that moved in the list does not count as
another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase


@dataclass(frozen=True, slots=True)
class Preview:
    """The effect of a draft on one cube.

    Args:
        pixels: pixels of the cube.
        is_changed: where the name changes, ``(row, col)``.
        transitions: (from, to, pixels), most frequent first; '' is unnamed.
        notes: what was assumed while reading the cube.
    """

    pixels: int
    is_changed: NDArray[np.bool_]
    transitions: tuple[tuple[str, str, int], ...]
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
            "notes": list(self.notes),
        }


def preview(cube: Cube, before: KnowledgeBase, after: KnowledgeBase) -> Preview:
    """What happens to a cube when one release takes another's place.

    Raises:
        MissingWavelengths: the cube has no band centres, so that no release says anything about it.
    """
    from palimpsest.knowledge.identify import identify

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
    return Preview(is_changed.size, is_changed, tuple(transitions), tuple(dict.fromkeys(old.notes + new.notes)))
