"""Names of bands come back letter for letter, and cost next to nothing where they repeat the wavelength."""

from __future__ import annotations

import json

import numpy as np
import pytest

from palimpsest.codec.container.band_names import packed, unpacked
from palimpsest.errors import StreamCorrupt

NUMBERS = np.array([*range(1, 63), *range(71, 95), *range(99, 124)])
CENTRES = np.round(np.linspace(455.4, 2446.5, NUMBERS.size), 1)


@pytest.mark.parametrize(
    ("pattern", "most"),
    [("band {n} ({um:.6f} Micrometers)", 100), ("{nm:.1f}", 60), ("Band_{n}", 70), ("{nm:.0f} nm, no. {n}", 90),
     ("run 17 (band {n}) ({single:.6f})", 130)],
)
def test_names_that_repeat_number_and_wavelength_become_a_pattern(pattern, most):
    names = tuple(
        pattern.format(n=n, um=c / 1000, nm=c, single=float(np.float32(c)))
        for n, c in zip(NUMBERS, CENTRES, strict=True)
    )
    kept = json.loads(json.dumps(packed(names, CENTRES)))
    assert unpacked(kept, NUMBERS.size, CENTRES) == names
    assert len(json.dumps(kept)) < most


@pytest.mark.parametrize(
    "names",
    [("red", "green", "blue"), ("b1", "b2", "c3"), ("b01", "b02", "b03"), ("1.0", "1.00", "2.0"), (), ("only 1",),
     ("x 5", "x 9", "x 2"), ("a 400.06", "a 500.07", "a 600.08")],
)
def test_names_without_a_pattern_are_kept_as_they_are(names):
    centres = np.array([400.0, 500.0, 600.0])[: len(names)]
    assert packed(names, centres) == list(names)
    assert unpacked(list(names), len(names), centres) == names
    assert unpacked(packed(names, None), len(names), None) == names


@pytest.mark.parametrize(
    "kept",
    [7, {"text": ["a"]}, {"text": ["a", ""], "numbers": [[[1, 2]]]}, {"text": ["a", ""], "numbers": ["um99"]},
     {"text": ["a", ""], "numbers": [[[1, -3], [1, 6]]]}, {"text": ["a", ""], "numbers": [[[1, 1 << 60]]]}],
)
def test_patterns_that_no_encoder_writes_are_refused(kept):
    with pytest.raises(StreamCorrupt):
        unpacked(kept, 3, np.array([1.0, 2.0, 3.0]))
