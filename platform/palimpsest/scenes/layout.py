"""What lies where: abundances of a landscape's materials, with borders mixed by the sensor's blur."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from palimpsest.scenes import fields

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.scenes.landscapes import Landscape

LEAST_SHARE = 2e-3


def ground_cover(
    rng: np.random.Generator, rows: int, cols: int, place: Landscape
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Main material of each pixel before any mixing, and the parcel it belongs to, each ``(row, col)``."""
    plots = fields.parcels(rng, rows, cols, place.parcel_px, warp_px=0.3 if place.blocks else 2.0, blocks=place.blocks)
    indices = np.array([index for index, _ in place.parcels])
    weights = np.array([weight for _, weight in place.parcels], np.float64)
    # Neighbouring parcels tend to alike uses: each part of the scene has its own weights.
    quarter = fields.parcels(rng, rows, cols, 4 * place.parcel_px, warp_px=place.parcel_px / 3)
    local = weights * rng.gamma(0.8, 1.0, (int(quarter.max()) + 1, weights.size)) + 1e-6
    local /= local.sum(axis=1, keepdims=True)
    count = int(plots.max()) + 1
    first = np.unique(plots.ravel(), return_index=True)
    home = np.zeros(count, np.int64)
    home[first[0]] = quarter.ravel()[first[1]]
    drawn = (rng.random(count)[:, None] > np.cumsum(local[home], axis=1)).sum(axis=1)
    cover = indices[np.minimum(drawn, indices.size - 1)][plots].astype(np.int16)
    for material, share in place.patches:
        cover[fields.uniform(fields.power_law(rng, rows, cols, 2.4, longest_px=90.0)) < share] = material
    if place.river is not None:
        cover[fields.river(rng, rows, cols, float(rng.uniform(3, 8)))] = place.river
    if place.shore is not None:
        slope = np.add.outer(np.linspace(-1, 1, rows) * rng.uniform(-1, 1), np.linspace(-1, 1, cols))
        cover[slope + 0.25 * fields.power_law(rng, rows, cols, 3.0, longest_px=150.0) < -0.1] = place.shore
    if place.road is not None:
        cover[fields.roads(rng, rows, cols) & (cover != place.shore)] = place.road
    return cover, plots


def abundances(
    rng: np.random.Generator, cover: NDArray[np.int16], place: Landscape, blur_px: float
) -> NDArray[np.float32]:
    """Share of each material in each pixel, ``(material, row, col)`` float32, non-negative, sum 1.

    Borders mix by the blur; inside its parcels a material lets its undergrowth through by a field of its own.
    """
    rows, cols = cover.shape
    count = len(place.materials)
    shares = np.zeros((count, rows, cols), np.float32)
    for material in np.unique(cover):
        here = cover == material
        other = place.undergrowth[material]
        through = np.zeros((rows, cols))
        if other != material:
            openness = fields.power_law(rng, rows, cols, 1.8, longest_px=60.0)
            through = np.clip(0.12 + 0.13 * openness, 0.0, 0.6)
        shares[material] += np.where(here, 1 - through, 0).astype(np.float32)
        shares[other] += np.where(here, through, 0).astype(np.float32)
    for plane in shares:
        if plane.any():
            plane[:] = gaussian_filter(plane, blur_px, mode="nearest", truncate=3.0)
    shares[shares < LEAST_SHARE] = 0
    shares /= shares.sum(axis=0, keepdims=True)
    return shares
