"""Symmetric matrices of many pixels by half: the products of each two columns, each pair once.

Pairs stand in the order of ``np.triu_indices``, and lie in memory pair by pair: sums over them run along pixels. The
kernels round where numpy would; they are here because picking columns one by one was dearer than what is done to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = NDArray[np.float64]  # (column, row) or (pair, row): transposed, so that the kernels run along rows
    Matrices = NDArray[np.float64]  # (matrix, row, column)

_TILE = 32  # rows at a time: their matrices stay at hand


def products(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Products of each two columns, ``(row, pair)``; ``left`` and ``right`` are ``(row, column)``."""
    rows, k = left.shape
    out = np.empty((k * (k + 1) // 2, rows))
    _products(np.ascontiguousarray(left.T, np.float64), np.ascontiguousarray(right.T, np.float64), out)
    return out.T


def second_moments(
    mean: NDArray[np.float64], whole: NDArray[np.float64], apart: NDArray[np.float64], kind: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Products of each two columns of ``mean`` ``(row, column)`` and the rows' covariances, ``(row, pair)``.

    Args:
        mean: of each row.
        whole: covariance of most rows, ``(column, column)``.
        apart: the others, ``(kind, column, column)``.
        kind: which of these a row has, ``(row,)``; negative: ``whole``.
    """
    rows, k = mean.shape
    out = np.empty((k * (k + 1) // 2, rows))
    _second_moments(
        np.ascontiguousarray(mean.T), np.ascontiguousarray(whole), np.ascontiguousarray(apart),
        kind.astype(np.int64, copy=False), out,
    )
    return out.T


def packed(square: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pairs of symmetric matrices ``(matrix, k, k)``, ``(matrix, pair)``."""
    number, k, _ = square.shape
    out = np.empty((k * (k + 1) // 2, number))
    _packed(np.ascontiguousarray(square), out)
    return out.T


def squares(pairs: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Symmetric matrices ``(..., k, k)`` from their pairs ``(..., pair)``."""
    out = np.empty((*pairs.shape[:-1], k, k))
    _squares(np.ascontiguousarray(pairs, np.float64).reshape(-1, pairs.shape[-1]), out.reshape(-1, k, k))
    return out


@numba.njit("void(float64[:,::1], float64[:,::1], float64[:,::1])", cache=True, nogil=True)
def _products(left: Columns, right: Columns, out: Columns) -> None:
    k, rows = left.shape
    at = 0
    for one in range(k):
        for other in range(one, k):
            for row in range(rows):
                out[at, row] = left[one, row] * right[other, row]
            at += 1


@numba.njit(
    "void(float64[:,::1], float64[:,::1], float64[:,:,::1], int64[::1], float64[:,::1])", cache=True, nogil=True
)
def _second_moments(
    mean: Columns, whole: Columns, apart: Matrices, kind: NDArray[np.int64], out: Columns
) -> None:
    k, rows = mean.shape
    for start in range(0, rows, _TILE):
        stop = min(rows, start + _TILE)
        at = 0
        for one in range(k):
            for other in range(one, k):
                usual = whole[one, other]
                for row in range(start, stop):
                    moment = mean[one, row] * mean[other, row] + usual
                    if kind[row] >= 0:
                        moment += apart[kind[row], one, other] - usual
                    out[at, row] = moment
                at += 1


@numba.njit("void(float64[:,:,::1], float64[:,::1])", cache=True, nogil=True)
def _packed(square: Matrices, out: Columns) -> None:
    number, k, _ = square.shape
    at = 0
    for one in range(k):
        for other in range(one, k):
            for matrix in range(number):
                out[at, matrix] = square[matrix, one, other]
            at += 1


@numba.njit("void(float64[:,::1], float64[:,:,::1])", cache=True, nogil=True)
def _squares(pairs: Columns, out: Matrices) -> None:
    number, k, _ = out.shape
    for matrix in range(number):
        at = 0
        for one in range(k):
            for other in range(one, k):
                out[matrix, one, other] = pairs[matrix, at]
                out[matrix, other, one] = pairs[matrix, at]
                at += 1
