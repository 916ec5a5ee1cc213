"""Seeded patterns on the ground: power-law noise, parcels, blocks, lines. All deterministic, lengths in pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import irfft2, next_fast_len
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray


def power_law(
    rng: np.random.Generator, rows: int, cols: int, slope: float, *, longest_px: float = 128.0
) -> NDArray[np.float64]:
    """Gaussian field whose power falls with frequency as ``f ** -slope`` below a longest scale, ``(row, col)``.

    Mean 0, variance 1 over the endless field. The longest scale is in pixels, not in pictures, so that a crop of a
    large scene and a small scene look alike.
    """
    # A border that is thrown away keeps the transform's wrap-around out of the picture.
    height, width = (next_fast_len(n + int(min(longest_px, 64)), real=True) for n in (rows, cols))
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = np.maximum(f, 1 / longest_px) ** (-slope / 2)
    amplitude[0, 0] = 0
    twice = np.full(f.shape[1], 2.0)
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    power = float((amplitude**2 * twice).sum()) / (height * width)
    white = rng.standard_normal((height, f.shape[1])) + 1j * rng.standard_normal((height, f.shape[1]))
    field = irfft2(amplitude * white, s=(height, width), norm="ortho")
    return np.asarray(field[:rows, :cols] / np.sqrt(2 * power))


def uniform(field: NDArray[np.float64]) -> NDArray[np.float64]:
    """A standard Gaussian field bent to be uniform within 0 and 1."""
    from scipy.special import ndtr

    return np.asarray(ndtr(field))


def parcels(
    rng: np.random.Generator, rows: int, cols: int, size_px: float, *, warp_px: float = 2.0, blocks: bool = False
) -> NDArray[np.int32]:
    """Number of the parcel each pixel belongs to, ``(row, col)``: Voronoi cells with bent borders, or town blocks.

    Args:
        rng: source of chance.
        rows: height of the field.
        cols: width of the field.
        size_px: mean diameter of a parcel.
        warp_px: how far borders bend.
        blocks: cells of the maximum norm in a turned frame: rectangular outlines.
    """
    count = max(2, round(rows * cols / size_px**2))
    turn = rng.uniform(0, np.pi / 2)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    sites = rng.uniform(0, 1, (count, 2)) * (rows, cols)
    place = np.stack(np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij"), axis=-1).reshape(-1, 2)
    bent = place.astype(np.float64)
    if warp_px > 0:
        for axis in (0, 1):
            bent[:, axis] += warp_px * power_law(rng, rows, cols, 2.5, longest_px=4 * size_px).ravel()
    order = np.inf if blocks else 2.0
    _, nearest = cKDTree(sites @ axes).query(bent @ axes, p=order)
    return np.asarray(nearest, np.int32).reshape(rows, cols)


def roads(rng: np.random.Generator, rows: int, cols: int, *, every_px: float = 90.0) -> NDArray[np.bool_]:
    """Straight lines one to three pixels wide, ``(row, col)``."""
    row, col = np.mgrid[:rows, :cols].astype(np.float64)
    made = np.zeros((rows, cols), bool)
    main = rng.uniform(0, np.pi)
    for _ in range(max(1, round((rows + cols) / every_px))):
        angle = main + rng.choice([0, np.pi / 2]) + 0.1 * rng.standard_normal()
        offset = rng.uniform(0, rows) * np.cos(angle) + rng.uniform(0, cols) * np.sin(angle)
        made |= np.abs(row * np.cos(angle) + col * np.sin(angle) - offset) < rng.uniform(0.5, 1.5)
    return made


def river(rng: np.random.Generator, rows: int, cols: int, width_px: float) -> NDArray[np.bool_]:
    """A winding band across the scene, ``(row, col)``: a straight line bent by a smooth field."""
    row, col = np.mgrid[:rows, :cols].astype(np.float64)
    angle = rng.uniform(0, np.pi)
    bend = 14.0 * power_law(rng, rows, cols, 4.0, longest_px=140.0)
    distance = (row - rows * rng.uniform(0.25, 0.75)) * np.cos(angle) + (col - cols * rng.uniform(0.25, 0.75)) * np.sin(
        angle
    )
    return np.asarray(np.abs(distance + bend) < width_px / 2)


def sunlight(
    terrain: np.random.Generator, light: np.random.Generator, rows: int, cols: int, relief: float
) -> NDArray[np.float64]:
    """Direct sunlight on rolling ground relative to flat ground, ``(row, col)``, within 0.25 and 1.6.

    ``relief`` is the root mean square slope, rise over run; the terrain is one stream's, the light on it another's.
    """
    height = power_law(terrain, rows, cols, 4.0, longest_px=160.0)
    down, right = np.gradient(height) if min(rows, cols) > 1 else (np.zeros_like(height), np.zeros_like(height))
    steepness = relief / max(float(np.sqrt((down**2 + right**2).mean())), 1e-9)
    down, right = steepness * down, steepness * right
    sun = np.radians(light.uniform(25.0, 45.0))
    # Missions pass at much the same hour: the sun stands between south-east and south, rows running south.
    azimuth = np.radians(light.uniform(-10.0, 60.0))
    towards = np.sin(sun) * (down * np.cos(azimuth) + right * np.sin(azimuth))
    facing = (np.cos(sun) - towards) / np.sqrt(1 + down**2 + right**2) / np.cos(sun)
    across = np.linspace(-1, 1, cols)[None] * light.uniform(-0.04, 0.04)  # view-angle effect across the swath
    return np.asarray(np.clip(facing * (1 + across), 0.25, 1.6))
