"""CDF 9/7 as reversible integer lifting: one level of the wavelet that each trained spatial level starts from.

Planes are int32 fixed point, sums are int64, coefficients are whole multiples of 2**-14, and every step adds to one
half of the samples a rounded function of the other half: the inverse subtracts the same number, so the transform is
integer-exact and the same on every machine. The factors are left unscaled (determinant one), which keeps the transform
near orthonormal; what remains is told by the gains of :mod:`palimpsest.codec.space.spatial`. Edges are mirrored about
the edge sample, which for two-tap steps means repeating the outermost neighbour. Any size down to one sample works.

Source: Daubechies and Sweldens 1998, "Factoring wavelet transforms into lifting steps", J. Fourier Anal. Appl. 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.int32]

SHIFT = 14
HALF = 1 << (SHIFT - 1)
FACTORS = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
TAPS = tuple(round(factor * (1 << SHIFT)) for factor in FACTORS)
_T0, _T1, _T2, _T3 = TAPS


@numba.njit("void(int32[:,::1], int32[:,::1], int64, int64)", cache=True, nogil=True)
def lift_rows(odd: Plane, even: Plane, tap: int, sign: int) -> None:
    """Add ``sign`` x rounded ``tap`` x (upper + lower even neighbour) to each odd row; int32, ``(row, col)``."""
    last = even.shape[0] - 1
    for r in range(odd.shape[0]):
        below = min(r + 1, last)
        for c in range(odd.shape[1]):
            total = np.int64(even[r, c]) + np.int64(even[below, c])
            odd[r, c] = np.int32(odd[r, c] + sign * ((tap * total + HALF) >> SHIFT))


@numba.njit("void(int32[:,::1], int32[:,::1], int64, int64)", cache=True, nogil=True)
def update_rows(even: Plane, odd: Plane, tap: int, sign: int) -> None:
    """Add ``sign`` x rounded ``tap`` x (upper + lower odd neighbour) to each even row; nothing without odd rows."""
    last = odd.shape[0] - 1
    if last < 0:
        return
    for r in range(even.shape[0]):
        above = max(r - 1, 0)
        below = min(r, last)
        for c in range(even.shape[1]):
            total = np.int64(odd[above, c]) + np.int64(odd[below, c])
            even[r, c] = np.int32(even[r, c] + sign * ((tap * total + HALF) >> SHIFT))


@numba.njit("void(int32[:,::1], int32[:,::1], int64, int64)", cache=True, nogil=True)
def lift_cols(odd: Plane, even: Plane, tap: int, sign: int) -> None:
    """As :func:`lift_rows`, along columns."""
    last = even.shape[1] - 1
    for r in range(odd.shape[0]):
        for c in range(odd.shape[1]):
            total = np.int64(even[r, c]) + np.int64(even[r, min(c + 1, last)])
            odd[r, c] = np.int32(odd[r, c] + sign * ((tap * total + HALF) >> SHIFT))


@numba.njit("void(int32[:,::1], int32[:,::1], int64, int64)", cache=True, nogil=True)
def update_cols(even: Plane, odd: Plane, tap: int, sign: int) -> None:
    """As :func:`update_rows`, along columns."""
    last = odd.shape[1] - 1
    if last < 0:
        return
    for r in range(even.shape[0]):
        for c in range(even.shape[1]):
            total = np.int64(odd[r, max(c - 1, 0)]) + np.int64(odd[r, min(c, last)])
            even[r, c] = np.int32(even[r, c] + sign * ((tap * total + HALF) >> SHIFT))


@numba.njit(
    "Tuple((int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1]))(int32[:,::1])", cache=True, nogil=True
)
def split_level(plane: Plane) -> tuple[Plane, Plane, Plane, Plane]:
    """One level of CDF 9/7, rows first: (ll, hl, lh, hh); h first is high along columns, h second high along rows."""
    low, high = plane[0::2].copy(), plane[1::2].copy()
    lift_rows(high, low, _T0, 1)
    update_rows(low, high, _T1, 1)
    lift_rows(high, low, _T2, 1)
    update_rows(low, high, _T3, 1)
    ll, hl = low[:, 0::2].copy(), low[:, 1::2].copy()
    lh, hh = high[:, 0::2].copy(), high[:, 1::2].copy()
    for even, odd in ((ll, hl), (lh, hh)):
        lift_cols(odd, even, _T0, 1)
        update_cols(even, odd, _T1, 1)
        lift_cols(odd, even, _T2, 1)
        update_cols(even, odd, _T3, 1)
    return ll, hl, lh, hh


@numba.njit("int32[:,::1](int32[:,::1], int32[:,::1])", cache=True, nogil=True)
def _join_cols(even: Plane, odd: Plane) -> Plane:
    update_cols(even, odd, _T3, -1)
    lift_cols(odd, even, _T2, -1)
    update_cols(even, odd, _T1, -1)
    lift_cols(odd, even, _T0, -1)
    whole = np.empty((even.shape[0], even.shape[1] + odd.shape[1]), np.int32)
    whole[:, 0::2] = even
    whole[:, 1::2] = odd
    return whole


@numba.njit(
    "int32[:,::1](int32[:,::1], int32[:,::1], int32[:,::1], int32[:,::1])", cache=True, nogil=True
)
def join_level(ll: Plane, hl: Plane, lh: Plane, hh: Plane) -> Plane:
    """The plane whose :func:`split_level` is the four arguments, integer-exact."""
    low = _join_cols(ll.copy(), hl.copy())
    high = _join_cols(lh.copy(), hh.copy())
    update_rows(low, high, _T3, -1)
    lift_rows(high, low, _T2, -1)
    update_rows(low, high, _T1, -1)
    lift_rows(high, low, _T0, -1)
    plane = np.empty((low.shape[0] + high.shape[0], low.shape[1]), np.int32)
    plane[0::2] = low
    plane[1::2] = high
    return plane


@numba.njit(
    "int32[:,:,::1](int32[:,:,::1], int32[:,:,::1], int32[:,:,::1], int32[:,:,::1])", cache=True, nogil=True
)
def join_levels(ll: Plane, hl: Plane, lh: Plane, hh: Plane) -> Plane:
    """:func:`join_level` of many planes, ``(component, row, col)``."""
    planes = np.empty((ll.shape[0], ll.shape[1] + lh.shape[1], ll.shape[2] + hl.shape[2]), np.int32)
    for k in range(ll.shape[0]):
        planes[k] = join_level(ll[k], hl[k], lh[k], hh[k])
    return planes


@numba.njit(
    "Tuple((int32[:,:,::1], int32[:,:,::1], int32[:,:,::1], int32[:,:,::1]))(int32[:,:,::1])", cache=True, nogil=True
)
def split_levels(planes: Plane) -> tuple[Plane, Plane, Plane, Plane]:
    """:func:`split_level` of many planes, ``(component, row, col)``."""
    count, rows, cols = planes.shape
    low_rows, low_cols = (rows + 1) // 2, (cols + 1) // 2
    ll, hl = np.empty((count, low_rows, low_cols), np.int32), np.empty((count, low_rows, cols // 2), np.int32)
    lh, hh = np.empty((count, rows // 2, low_cols), np.int32), np.empty((count, rows // 2, cols // 2), np.int32)
    for k in range(count):
        ll[k], hl[k], lh[k], hh[k] = split_level(planes[k])
    return ll, hl, lh, hh


class PlainLevel:
    """CDF 9/7: a level without training."""

    split_stack = staticmethod(split_levels)
    join_stack = staticmethod(join_levels)
