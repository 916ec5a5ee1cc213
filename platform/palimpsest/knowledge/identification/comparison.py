"""Whether two cubes say the same: labels and depths of their features, read alike; for command line and service."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from palimpsest.knowledge.identification.identify import identify
from palimpsest.measure import depth_error, label_agreement

if TYPE_CHECKING:
    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase


def meanings_compared(reference: Cube, test: Cube, knowledge: KnowledgeBase) -> dict[str, object]:
    """Label agreement and depth error of a test cube, read with the reference's band table.

    Args:
        reference: with wavelengths.
        test: of the same shape.
        knowledge: that labels are judged by.

    Returns:
        ``{label_agreement, depth_error, named_pixels, release}``; NaN where nothing is named.
    """
    before = identify(reference, knowledge)
    after = identify(replace(test, bands=reference.bands), knowledge)
    return {
        "label_agreement": label_agreement(before.labels, after.labels),
        "depth_error": depth_error(before.labels, before.depth, after.labels, after.depth),
        "named_pixels": int((before.labels > 0).sum()),
        "release": knowledge.release,
    }
