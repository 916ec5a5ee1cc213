"""Steps before coding or restoring: defects marked, values normalised.

Each step either changes no value (marks) or leaves a line in the cube's history; :func:`normalise` can be undone
exactly. Noise is taken off where restoration is (:mod:`palimpsest.restoration.repair`).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes.bands import Reason
from palimpsest.cubes.defects import Defects, find_defects
from palimpsest.errors import CubeRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes.cube import Cube

_NORMALISED = "normalised: "


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
