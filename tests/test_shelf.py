"""What outgrows memory is read back from a file as it was."""

import numpy as np
import pytest

from palimpsest.restoration.ledger.shelf import Shelf


def test_arrays_beyond_the_room_come_back_equal_and_cannot_be_changed():
    shelf = Shelf(room=100, segment=4096)
    rng = np.random.default_rng(0)
    put, back = [], []
    for size in (10, 0, 700, 1, 90_000, 1200):
        arrays = (
            rng.integers(0, 2**31 - 1, size, np.int32), rng.integers(-(2**40), 2**40, size),
            rng.integers(0, 255, size, np.uint8),
        )
        put.append(arrays)
        back.append(shelf.put(*arrays))
    for wanted, found in zip(put, back, strict=True):
        for one, other in zip(wanted, found, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="read-only"):
        back[4][0][:] = 0


def test_what_has_room_stays_the_very_array():
    array = np.arange(5)
    assert Shelf().put(array)[0] is array
