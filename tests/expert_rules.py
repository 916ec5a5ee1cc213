"""What the outside judge says, as names that can be laid beside ours."""

from __future__ import annotations

import numpy as np
import pytest

from palimpsest_pipelines.codec_benchmark import judge


def cramm_names(cube):
    """Rule name of each pixel, ``(row, col)`` strings, '' where none is named; reflectance cube with wavelengths."""
    pytest.importorskip("cramm")
    return judge.judged(cube).names


def our_names(found, knowledge):
    """The same of our identification: the rule base's own name of each pixel's material."""
    notations = [judge.UNNAMED, *(str(m.extra.get("notation", m.label)) for m in knowledge.materials)]
    return np.array(notations)[found.labels]


def agreement(ours, theirs):
    """Share of the pixels that either names that both name alike."""
    either = (ours != judge.UNNAMED) | (theirs != judge.UNNAMED)
    return float((ours == theirs)[either].mean())
