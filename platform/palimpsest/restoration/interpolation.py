"""What a pixel's own neighbouring bands say: straight lines and monotone cubics along the spectrum.

Beyond the outermost usable band the nearest value holds. Pixels with the same mask are worked on together.

Source of the monotone cubic: Fritsch and Butland 1984, SIAM J. Sci. Stat. Comput. 5, 300-304 (as in scipy).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from palimpsest.restoration.view import View


def same_mask(usable: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    """Each distinct mask ``(band,)`` with the pixels that have it."""
    packed = np.packbits(usable, axis=1)
    keys = np.ascontiguousarray(packed).view([("", packed.dtype)] * packed.shape[1]).ravel()
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(which, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(which))])
    for number, at in enumerate(first):
        yield usable[at], order[bounds[number] : bounds[number + 1]]


def linear(view: View, values: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Spectra with missing voxels on straight lines between usable ones, ``(pixel, band)``.

    Args:
        view: gives mask and axis.
        values: other values to interpolate under the same mask (residuals); the view's own when left out.
    """
    source = view.values if values is None else values
    out = source.copy()
    x = view.axis.along
    for good, pixels in same_mask(view.usable):
        if good.all() or not good.any():
            continue
        gaps = np.flatnonzero(~good)
        seen = np.flatnonzero(good)
        at = np.clip(x[gaps], x[seen[0]], x[seen[-1]])
        right = np.clip(np.searchsorted(x[seen], at), 1, max(seen.size - 1, 1))
        right = np.minimum(right, seen.size - 1)
        left = np.maximum(right - 1, 0)
        span = x[seen[right]] - x[seen[left]]
        share = np.where(span > 0, (at - x[seen[left]]) / np.where(span > 0, span, 1.0), 0.0).astype(np.float32)
        block = source[pixels]
        filled = block[:, seen[left]] * (1 - share) + block[:, seen[right]] * share
        out[np.ix_(pixels, gaps)] = filled
    return out


def pchip(view: View, values: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Like :func:`linear`, on monotone cubics; pixels with a single usable band hold it."""
    from scipy.interpolate import PchipInterpolator

    source = view.values if values is None else values
    out = source.copy()
    x = view.axis.along
    for good, pixels in same_mask(view.usable):
        if good.all() or not good.any():
            continue
        gaps, seen = np.flatnonzero(~good), np.flatnonzero(good)
        block = source[pixels]
        if seen.size < 2:
            out[np.ix_(pixels, gaps)] = block[:, seen]
            continue
        curve = PchipInterpolator(x[seen], block[:, seen], axis=1)
        out[np.ix_(pixels, gaps)] = curve(np.clip(x[gaps], x[seen[0]], x[seen[-1]])).astype(np.float32)
    return out
