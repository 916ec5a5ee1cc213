"""What a scene shows twice: patches of the eigen-images alike elsewhere, filtered together.

All components share one search, because edges of fields lie in all of them. First pass: each group of similar patches
goes through a cosine transform along rows, columns and likeness, and what noise alone could have made is set to zero.
Second pass: groups are found again in the first answer; a local spectral basis turns each group's few spectra apart,
and every coefficient is weighted by its expected power. Noise must have unit variance in each component.

Source: the idea of collaborative filtering is published in Dabov et al. 2007, IEEE Trans. Image Process. 16, 2080-2095;
on whitened eigen-images in Zhuang and Bioucas-Dias 2018, IEEE JSTARS 11, 730-742. This code is written from scratch;
the joint search, the local spectral basis and the variance map are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np
from scipy.fft import dct

from palimpsest.restoration.computing.side_by_side import side_by_side

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Images = NDArray[np.float32]
    Row = NDArray[np.floating]
    Corners = NDArray[np.int64]
    Places = NDArray[np.int32]

PATCH = 4
STEP = 3
REACH = 12
ALIKE_FIRST, ALIKE_SECOND = 16, 32
HARD = 3.0  # sigmas: coefficients below are noise in the first pass
_CHUNK = 256  # groups at a time
_STRIP = 4  # rows of patches that are compared at a time
_KAISER = 2.0
_FAR = 1e30


@dataclass(frozen=True, slots=True)
class Filtered:
    """Denoised images and how sure they are.

    Args:
        images: ``(row, col, component)``.
        variance: expected of the error, in units of the noise, the same shape.
    """

    images: Images
    variance: Images


def denoise_images(images: Images, power: NDArray[np.float64]) -> Filtered:
    """Both passes.

    Args:
        images: ``(row, col, component)`` with noise of unit variance.
        power: variance of the signal in each component, ``(component,)``.
    """
    prior = (power / (1.0 + power)).astype(np.float32)
    first = _first_pass(images, np.ascontiguousarray(images * prior))
    return refine(images, first)


def refine(images: Images, pilot: Images) -> Filtered:
    """The second pass alone, with a pilot from elsewhere: each group's spectra apart, each coefficient by its power."""
    pilot = np.ascontiguousarray(pilot, np.float32)
    side, groups = _groups(pilot, ALIKE_SECOND)
    forth = _cosines(side, ALIKE_SECOND)
    out = _Sums.of(images.shape)
    claimed, told = np.full(images.shape[2], 1e-9), np.zeros(images.shape[2])

    def filtered(part: NDArray[np.int32]) -> tuple[Images, Row, NDArray[np.floating], Row]:
        noisy, known = _gathered(images, part, side), _gathered(pilot, part, side)
        flat = known.reshape(len(part), -1, images.shape[2])
        basis = np.linalg.eigh(np.matmul(flat.transpose(0, 2, 1), flat))[1]  # (group, component, local)
        share = forth.there(_turned(known, basis)) ** 2
        share /= share + 1.0
        seen = forth.there(_turned(noisy, basis))
        clean = _turned(forth.back(seen * share), basis.transpose(0, 2, 1))
        left = share.mean(axis=(1, 2))  # (group, local): what remains of unit noise
        variance = np.matmul(basis**2, left[:, :, None])[..., 0]
        # The same without trust in the pilot: what was taken off besides noise, told by how much was taken off.
        risk = ((1 - share) ** 2 * (seen**2 - 1) + share**2).mean(axis=(1, 2))
        weight = 1.0 / np.maximum(np.square(share).sum(axis=(1, 2, 3)), 1e-3)
        return clean, weight, variance, np.matmul(basis**2, risk[:, :, None])[..., 0].sum(0)

    chunks = _chunks(groups)
    for part, (clean, weight, variance, missed) in zip(chunks, side_by_side(filtered, chunks), strict=True):
        told += missed
        claimed += variance.sum(0)
        out.add(clean, part, side, weight, variance)
    found = out.mean()
    return Filtered(found.images, found.variance * np.maximum(told / claimed, 1.0).astype(np.float32))


def _first_pass(images: Images, guide: Images) -> Images:
    side, groups = _groups(guide, ALIKE_FIRST)
    forth = _cosines(side, ALIKE_FIRST)
    out = _Sums.of(images.shape)

    def filtered(part: NDArray[np.int32]) -> tuple[Images, NDArray[np.int64]]:
        there = forth.there(_gathered(images, part, side))
        kept = np.abs(there) > HARD
        kept[:, 0, 0] = True  # the mean stays
        return forth.back(there * kept), kept.sum(axis=(1, 2, 3))

    chunks = _chunks(groups)
    for part, (clean, count) in zip(chunks, side_by_side(filtered, chunks), strict=True):
        out.add(clean, part, side, 1.0 / count, np.ones((len(part), images.shape[2])))
    return out.mean().images


def _groups(guide: Images, alike: int) -> tuple[int, NDArray[np.int32]]:
    """Side of the patches and the corners of alike ones, ``(group, alike)``, best first."""
    rows, cols, _ = guide.shape
    side = min(PATCH, rows, cols)
    guide, down, right = np.ascontiguousarray(guide), _corners(rows, side), _corners(cols, side)
    strips = [down[start : start + _STRIP] for start in range(0, len(down), _STRIP)]
    found = side_by_side(lambda strip: _alike(guide, strip, right, side, REACH, alike), strips)
    return side, np.concatenate(list(found))


def _corners(length: int, side: int) -> NDArray[np.int64]:
    places = np.arange(0, length - side + 1, STEP)
    return np.unique(np.append(places, length - side)).astype(np.int64)


def _chunks(groups: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    return [groups[start : start + _CHUNK] for start in range(0, len(groups), _CHUNK)]


def _turned(group: Images, basis: NDArray[np.floating]) -> Images:
    flat = group.reshape(len(group), -1, group.shape[3])
    return np.matmul(flat, basis).reshape(group.shape)


@dataclass(frozen=True, slots=True)
class _Cosines:
    """Orthonormal transforms of groups ``(group, alike, place, component)`` along places and likeness."""

    within: Images
    across: Images

    def there(self, group: Images) -> Images:
        turned = np.matmul(self.within, group)
        return np.matmul(self.across, turned.reshape(*group.shape[:2], -1)).reshape(group.shape)

    def back(self, group: Images) -> Images:
        turned = np.matmul(self.across.T, group.reshape(*group.shape[:2], -1)).reshape(group.shape)
        return np.matmul(self.within.T, turned)


def _cosines(side: int, alike: int) -> _Cosines:
    one = dct(np.eye(side), axis=0, norm="ortho")
    return _Cosines(
        np.kron(one, one).astype(np.float32), dct(np.eye(alike), axis=0, norm="ortho").astype(np.float32)
    )


@dataclass(frozen=True, slots=True)
class _Sums:
    """Overlapping answers, weighted; patches count more in their middle."""

    images: Images
    variance: Images
    weight: Images

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> _Sums:
        return cls(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape[:2], np.float32))

    def add(
        self, group: Images, corners: NDArray[np.int32], side: int, weight: NDArray[np.floating],
        variance: NDArray[np.floating],
    ) -> None:
        window = np.kaiser(side, _KAISER)
        _scatter(
            self.images, self.variance, self.weight, corners, np.ascontiguousarray(group, np.float32),
            weight.astype(np.float32), variance.astype(np.float32), np.outer(window, window).astype(np.float32),
        )

    def mean(self) -> Filtered:
        weight = self.weight[..., None]
        return Filtered(self.images / weight, self.variance / weight)


def _gathered(images: Images, corners: NDArray[np.int32], side: int) -> Images:
    count, alike = corners.shape
    out = np.empty((count, alike, side * side, images.shape[2]), np.float32)
    _gather(images, corners, side, out)
    return out


@numba.njit(
    "int32[:,::1](float32[:,:,::1], int64[::1], int64[::1], int64, int64, int64)", cache=True, nogil=True,
    fastmath=True,
)
def _alike(
    guide: Images, down: Corners, right: Corners, side: int, reach: int, alike: int
) -> NDArray[np.int32]:
    """Corners of the nearest patches of each reference patch; repeated where the window holds too few."""
    rows, cols, components = guide.shape
    found = np.empty((down.size * right.size, alike), np.int32)
    best = np.empty(alike, np.float32)
    place = np.empty(alike, np.int32)
    group = 0
    for y in down:
        for x in right:
            best[:] = np.float32(_FAR)
            count = 0
            for v in range(max(0, y - reach), min(rows - side, y + reach) + 1):
                for u in range(max(0, x - reach), min(cols - side, x + reach) + 1):
                    apart = np.float32(-1.0)  # a patch is the nearest to itself, whatever else is equal
                    if v != y or u != x:
                        apart = np.float32(0.0)
                        for i in range(side):
                            for j in range(side):
                                for c in range(components):
                                    step = guide[y + i, x + j, c] - guide[v + i, u + j, c]
                                    apart += step * step
                            if apart >= best[alike - 1]:
                                break
                    if apart < best[alike - 1]:
                        at = alike - 1
                        while at > 0 and best[at - 1] > apart:
                            best[at] = best[at - 1]
                            place[at] = place[at - 1]
                            at -= 1
                        best[at] = apart
                        place[at] = v * cols + u
                        count = min(count + 1, alike)
            for k in range(alike):
                found[group, k] = place[k % count]
            group += 1
    return found


@numba.njit("void(float32[:,:,::1], int32[:,::1], int64, float32[:,:,:,::1])", cache=True, nogil=True)
def _gather(images: Images, corners: Places, side: int, out: Images) -> None:
    cols, components = images.shape[1], images.shape[2]
    for group in range(corners.shape[0]):
        for k in range(corners.shape[1]):
            y, x = corners[group, k] // cols, corners[group, k] % cols
            for i in range(side):
                for j in range(side):
                    for c in range(components):
                        out[group, k, i * side + j, c] = images[y + i, x + j, c]


@numba.njit(
    "void(float32[:,:,::1], float32[:,:,::1], float32[:,::1], int32[:,::1], float32[:,:,:,::1], float32[::1],"
    " float32[:,::1], float32[:,::1])",
    cache=True, nogil=True,
)
def _scatter(
    images: Images, variances: Images, weights: Images, corners: Places, group: Images, weight: Images,
    variance: Images, window: Images,
) -> None:
    cols, components = images.shape[1], images.shape[2]
    side = window.shape[0]
    for g in range(corners.shape[0]):
        for k in range(corners.shape[1]):
            y, x = corners[g, k] // cols, corners[g, k] % cols
            for i in range(side):
                for j in range(side):
                    share = weight[g] * window[i, j]
                    weights[y + i, x + j] += share
                    for c in range(components):
                        images[y + i, x + j, c] += share * group[g, k, i * side + j, c]
                        variances[y + i, x + j, c] += share * variance[g, c]
