"""Which components of the spectral level are worth their bits, asked of the scene itself.

A component whose variance is under the distortion may still be worth sending, if what it holds is gathered in few
places or smooth, and one above it may not, if it is white noise and the cube is small. So every component in doubt is
quantised in a few windows, and what that takes off the squared error is held against what its samples and its numbers
in the basis cost, at the exchange of high-rate theory. Encoder only, floating point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.quantisation.quantiser import block_gains, dequantise, pull_of, quantise, unit_step
from palimpsest.codec.space.spatial import checked
from palimpsest.codec.space.tiling import in_order
from palimpsest.cubes.window import tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from palimpsest.codec.space.spatial import LevelTransform
    from palimpsest.codec.spectrum.spectral import SpectralLevel
    from palimpsest.cubes.window import Window

    Stack = NDArray[np.int32]
    Looked = tuple[Stack, NDArray[np.uint8] | None]

LEAST = 0.08  # of the distortion, the variance from which a component is looked at
SURE, SURE_BASIS = 16.0, 8.0  # times the distortion, and what its basis costs, from where on it is sent unasked
EXCHANGE = 0.12  # squared steps that a bit is worth: 2 ln 2 / 12 in theory, 0.13 to the trellis
CONTEXTS = 1.0  # of the static entropy, what samples are taken to cost (in truth a little less)
SIDE, PIXELS = 64, 1 << 14  # of a window, and about how many pixels are looked at


def worth_sending(
    level: SpectralLevel, variances: NDArray[np.float64], windows: Sequence[Window], look: Callable[[Window], Looked],
    transform: LevelTransform, levels: int, pixels: int, workers: int = 1,
) -> NDArray[np.bool_]:
    """Which components of a level to send, ``(component,)``; at least one.

    Args:
        level: with every component that may be worth it.
        variances: of its components, in squared steps, ``(component,)``.
        windows: pieces of the cube.
        look: gives the component planes of one, and the gain steps of its blocks.
        transform: the spatial levels.
        levels: how many of them.
        pixels: of the whole cube.
        workers: windows looked at side by side; the answer is the same.
    """
    told = basis_bits(level)
    sure = variances * 12 > np.maximum(SURE, SURE_BASIS * told / max(pixels, 1))
    asked = np.flatnonzero(~sure)
    if not asked.size:
        return sure

    def weighed(window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        planes, gains = look(window)
        return _weighed(np.ascontiguousarray(planes[asked]), gains, level.fraction_bits, transform, levels)

    saved, bits = np.zeros(asked.size), np.zeros(asked.size)
    for here in in_order(weighed, windows, workers):
        saved += here[0]
        bits += here[1]
    seen = sum(window.rows * window.cols for window in windows)
    scale = pixels / max(seen, 1)
    found = sure.copy()
    found[asked] = scale * saved > EXCHANGE * (CONTEXTS * scale * bits + told[asked])
    if not found.any():
        found[0] = True
    return found


def looked_at(rows: int, cols: int, side: int) -> list[Window]:
    """Windows spread over a cube that is coded in tiles of a side."""
    places = list(tiles(rows, cols, min(SIDE, side)))
    count = max(1, PIXELS // min(SIDE, side) ** 2)
    if len(places) <= count:
        return places
    # Not a multiple of the windows in a row, or all would lie in the same columns.
    every = len(places) // count
    return [places[n * len(places) // count + n % every] for n in range(count)]


def basis_bits(level: SpectralLevel) -> NDArray[np.float64]:
    """About how many bits each component's numbers in the basis take, ``(component,)``."""
    found: NDArray[np.float64] = 0.75 * np.log2(1.0 + 2.0 * np.abs(level.basis)).sum(axis=0) + 0.4 * len(level.basis)
    return found


def _weighed(
    planes: Stack, gains: NDArray[np.uint8] | None, fraction_bits: int, transform: LevelTransform, levels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared error in squared steps that sending each component saves, and bits of its samples."""
    spread = transform.synthesis_gains(levels)
    coarse, details = transform.analyse_stack(checked(planes), levels)
    parts = [(coarse, spread.coarse, levels)]
    for at, (three, gains_of) in enumerate(zip(details, spread.details, strict=True)):
        parts += [(part, one, at + 1) for part, one in zip(three, gains_of, strict=True)]
    saved, bits = np.zeros(len(planes)), np.zeros(len(planes))
    for samples, gain, deep in parts:
        if not samples.size:
            continue
        local = block_gains(gains, samples.shape[1:], 1 << deep)
        step = unit_step(fraction_bits, gain)
        coded, scaled = quantise(samples, step, local, 1)
        back = dequantise(coded, step, local, pull_of(coded, scaled))
        unit = gain * 2.0**-fraction_bits
        scale = np.float32(unit) if local is None else (unit / 1024 * local).astype(np.float32)
        before, after = samples * scale, (samples - back) * scale
        saved += np.einsum("krc,krc->k", before, before) - np.einsum("krc,krc->k", after, after)
        bits += static_bits(np.abs(coded.reshape(len(coded), -1)))
    return saved, bits


def static_bits(magnitudes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Bits of samples ``(component, sample)`` without contexts: is it zero, one, two; signs; the rest by its size."""
    count = np.full(len(magnitudes), magnitudes.shape[1], np.float64)
    found = np.zeros(len(magnitudes))
    for least in (1, 2, 3):
        beyond = (magnitudes >= least).sum(axis=1).astype(np.float64)
        found += _entropy(beyond, count) + (beyond if least == 1 else 0)
        count = beyond
    large = np.maximum(magnitudes - 2, 1)
    rest: NDArray[np.float64] = found + 2 * np.log2(large).sum(axis=1)
    return rest


def _entropy(ones: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bits that tell which of so many are ones, all told."""
    share = np.clip(ones / np.maximum(of, 1), 1e-9, 1 - 1e-9)
    found: NDArray[np.float64] = -of * (share * np.log2(share) + (1 - share) * np.log2(1 - share))
    return found
