"""Exact non-negative least squares for many pixels on the same few materials, compiled.

Source: active sets, Lawson and Hanson 1974, Solving Least Squares Problems, chapter 23, on the Gram matrix as in Bro
and de Jong 1997, J. Chemometrics 11, 393-401.
"""

from __future__ import annotations

import numba
import numpy as np

_TOLERANCE = 1e-9  # of the largest product: a material that would gain less has no share
_ROUNDS = 5  # for each material: a pixel that is not done by then keeps the best mixture so far
_NO_SHARE = 1e-14


@numba.njit("void(f8[:,::1], f8[::1], i8[::1], i8, f8[:,::1], f8[::1])", cache=True, nogil=True)
def _solve(gram, right, active, count, factor, found):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Least squares of the active materials alone, by Cholesky's factor."""
    for i in range(count):
        for j in range(i + 1):
            total = gram[active[i], active[j]]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            factor[i, j] = np.sqrt(total) if i == j else total / factor[j, j]
    for i in range(count):
        total = right[active[i]]
        for k in range(i):
            total -= factor[i, k] * found[k]
        found[i] = total / factor[i, i]
    for i in range(count - 1, -1, -1):
        total = found[i]
        for k in range(i + 1, count):
            total -= factor[k, i] * found[k]
        found[i] = total / factor[i, i]


@numba.njit("void(f8[:,::1], f8[:,::1], f8[:,::1])", cache=True, nogil=True)
def nonnegative(gram, right, shares) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Non-negative least squares of many pixels at once.

    Args:
        gram: products of the materials, positive definite, ``(material, material)``.
        right: products of the materials and the pixels, ``(pixel, material)``.
        shares: to be filled, ``(pixel, material)``.
    """
    materials = gram.shape[0]
    active, is_active = np.zeros(materials, np.int64), np.zeros(materials, np.bool_)
    factor, found = np.zeros((materials, materials)), np.zeros(materials)
    for pixel in range(right.shape[0]):
        share = shares[pixel]
        share[:] = 0.0
        is_active[:] = False
        count = 0
        least = _TOLERANCE * np.abs(right[pixel]).max()
        for _ in range(_ROUNDS * materials):
            best, chosen = least, -1
            for k in range(materials):
                if is_active[k]:
                    continue
                gain = right[pixel, k]
                for i in range(count):
                    gain -= gram[k, active[i]] * share[active[i]]
                if gain > best:
                    best, chosen = gain, k
            if chosen < 0:
                break
            active[count] = chosen
            is_active[chosen] = True
            count += 1
            while count > 0:
                _solve(gram, right[pixel], active, count, factor, found)
                # The way to the answer ends where the first share would fall below zero.
                step = 1.0
                for i in range(count):
                    if found[i] <= 0.0:
                        before = share[active[i]]
                        step = min(step, before / (before - found[i]) if before > found[i] else 0.0)
                if step >= 1.0:
                    for i in range(count):
                        share[active[i]] = found[i]
                    break
                kept = 0
                for i in range(count):
                    k = active[i]
                    after = share[k] + step * (found[i] - share[k])
                    if found[i] <= 0.0 and after <= _NO_SHARE:
                        share[k] = 0.0
                        is_active[k] = False
                    else:
                        share[k] = after
                        active[kept] = k
                        kept += 1
                if kept == count:  # rounding: nothing reached zero
                    break
                count = kept
                if not is_active[chosen] and kept == 0:
                    break
