"""Steps before coding or restoring: defects marked, noise taken off, values normalised.

Each step either changes no value (marks) or leaves a line in the cube's history; :func:`normalise` can be undone
exactly. Denoising loses what it takes off, which is why nothing does it unasked.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.cubes.bands import Reason
from palimpsest.cubes.defects import Defects, find_defects
from palimpsest.cubes.noise import noise_sigma
from palimpsest.errors import CubeRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes.cube import Cube

_NORMALISED = "normalised: "
_LARGEST_SAMPLE = 60_000


def mark_defects(cube: Cube, found: Defects | None = None) -> Cube:
    """The same values, with the defects that were found in the band table and in the mask.

    Args:
        cube: any cube; reasons that it carries already are kept.
        found: what :func:`~palimpsest.cubes.defects.find_defects` gave, when it was asked before.
    """
    defects = find_defects(cube) if found is None else found
    counts = defects.counts()
    if not counts:
        return cube
    bands = cube.bands
    for reason in np.unique(defects.bands[defects.bands > 0]):
        bands = bands.marked(defects.bands == reason, Reason(reason))
    voxels = cube.reasons
    if defects.voxels.any():
        known = np.zeros(cube.shape, np.uint8) if cube.reasons is None else cube.reasons
        voxels = np.where(known == Reason.GOOD, defects.voxels, known)
    line = "defects marked: " + ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return replace(cube, bands=bands, reasons=voxels, history=(*cube.history, line))


def denoise(cube: Cube, rank: int | None = None) -> Cube:
    """Noise-whitened principal components, truncated: what noise alone could have made is dropped.

    Args:
        cube: needs a noise estimate in at least two bands; others are left alone.
        rank: components kept; by default those whose whitened variance exceeds what noise gives (1 + sqrt(bands /
            pixels), squared: the edge of the Marchenko-Pastur distribution).

    Returns:
        The cube in its stored type, rounded and clipped to its range. Unusable voxels keep their value; pixels that
        hold one are fitted on their other bands' means.

    Source: Green et al. 1988, IEEE Trans. Geosci. Remote Sens. 26, 65-74 (minimum noise fraction).
    """
    sigma = noise_sigma(cube)
    bands = np.flatnonzero(np.isfinite(sigma) & (sigma > 0))
    if bands.size < 2:
        return cube
    usable = cube.usable()[bands]
    mean, basis, kept = _signal_space(cube, bands, usable, sigma[bands], rank)
    out = np.array(cube.data)
    for row in range(cube.shape.rows):
        block, known = np.asarray(cube.data[bands, row], np.float64), usable[:, row]  # (band, col)
        white = np.where(known, (block - mean) / sigma[bands, None], 0.0)
        clean = (basis @ (basis.T @ white)) * sigma[bands, None] + mean
        out[bands, row] = np.where(known, _stored(clean, out.dtype), out[bands, row])
    return cube.with_data(out, f"denoised: noise-whitened principal components, {kept} of {bands.size} kept")


def _signal_space(
    cube: Cube, bands: NDArray[np.intp], usable: NDArray[np.bool_], sigma: NDArray[np.float64], rank: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Mean spectrum ``(band, 1)``, basis ``(band, component)`` in whitened units, and the number kept."""
    step = max(1, cube.shape.rows * cube.shape.cols // _LARGEST_SAMPLE)
    values = np.stack([np.asarray(cube.data[b], np.float64).ravel()[::step] for b in bands])
    known = usable.reshape(bands.size, -1)[:, ::step]
    number = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, values, 0.0).sum(axis=1, keepdims=True) / number
    white = np.where(known, (values - mean) / sigma[:, None], 0.0)
    pixels = white.shape[1]
    variance, vectors = np.linalg.eigh(white @ white.T / pixels)
    edge = (1 + np.sqrt(bands.size / pixels)) ** 2
    kept = int((variance > edge).sum()) if rank is None else min(rank, bands.size)
    kept = max(1, kept)
    return mean, vectors[:, ::-1][:, :kept], kept


def _stored(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def normalise(cube: Cube) -> Cube:
    """Bands brought to about the same scale, in float64, so that :func:`denormalise` gives back every bit.

    Each band loses its rounded median and is divided by a power of two near its spread: both are exact for integers,
    and for floats the subtraction is left out where it would round.
    """
    usable = cube.usable()
    offsets, exponents = [], []
    out = np.empty(cube.shape, np.float64)
    for band in range(cube.shape.bands):
        plane = np.asarray(cube.data[band], np.float64)
        middle, power = _band_scale(plane[usable[band]])
        for offset, exponent in ((middle, power), (0.0, power), (0.0, 0)):
            out[band] = np.ldexp(plane - offset if offset else plane, -exponent)
            if _back(out[band], offset, exponent).tobytes() == plane.tobytes():
                break
        offsets.append(offset)
        exponents.append(exponent)
    nodata = None if cube.nodata is None else repr(float(cube.nodata))
    facts = {
        "dtype": cube.data.dtype.name, "offset": offsets, "exponent": exponents, "nodata": nodata,
        "scale": cube.scale, "physical_offset": cube.offset,
    }
    marked = replace(cube, reasons=cube.voxel_reasons(), nodata=None, scale=1.0, offset=0.0)
    return marked.with_data(out, _NORMALISED + json.dumps(facts))


def _band_scale(values: NDArray[np.float64]) -> tuple[float, int]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0
    middle = float(np.rint(np.median(finite)))
    spread = float(np.abs(finite - middle).mean())
    return middle, int(np.frexp(spread)[1]) if spread > 0 else 0


def _back(scaled: NDArray[np.float64], offset: float, exponent: int) -> NDArray[np.float64]:
    values = np.ldexp(scaled, exponent)
    return np.asarray(values + offset if offset else values)  # adding nothing would still turn -0.0 into 0.0


def denormalise(cube: Cube) -> Cube:
    """The cube before :func:`normalise`, bit for bit; its own mask is kept.

    Raises:
        CubeRefused: the last step in the history is not a normalisation.
    """
    if not cube.history or not cube.history[-1].startswith(_NORMALISED):
        raise CubeRefused(
            "nothing to undo", where=cube.name, got=cube.history[-1][:60] if cube.history else "an empty history",
            wanted="a cube whose last step is a normalisation",
        )
    facts = json.loads(cube.history[-1].removeprefix(_NORMALISED))
    data = np.empty(cube.shape, facts["dtype"])
    for band, (offset, exponent) in enumerate(zip(facts["offset"], facts["exponent"], strict=True)):
        data[band] = _back(np.asarray(cube.data[band], np.float64), offset, exponent)
    nodata = None if facts["nodata"] is None else float(facts["nodata"])
    return replace(
        cube, data=data, nodata=nodata, scale=facts["scale"], offset=facts["physical_offset"],
        history=cube.history[:-1],
    )
