"""Small cubes from seeds, for tests of formats, measures and preprocessing."""

from __future__ import annotations

import numpy as np

from palimpsest.cubes import BandTable, Cube, Georeference, Reason
from palimpsest.formats.map_info import utm_wkt


def made_cube(bands=5, rows=4, cols=6, dtype="int16", seed=0, **changes):
    """A cube with every field filled, values over the type's useful range."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        data = rng.normal(0.3, 0.2, (bands, rows, cols)).astype(kind)
    else:
        limits = np.iinfo(kind)
        data = rng.integers(max(limits.min, -9000), min(limits.max, 9000) + 1, (bands, rows, cols)).astype(kind)
    good = np.ones(bands, bool)
    band_reasons = np.zeros(bands, np.uint8)
    if bands > 2:
        good[1], band_reasons[1] = False, Reason.OPAQUE
    reasons = np.where(rng.random(data.shape) < 0.1, np.uint8(Reason.DEAD), np.uint8(0))
    fields = {
        "bands": BandTable(
            bands, np.linspace(400.125, 2490.7, bands) + 1 / 3, rng.uniform(5, 12, bands), good, band_reasons,
            tuple(f"band {i}" for i in range(bands)),
        ),
        "reasons": reasons,
        "nodata": 0.0,
        "scale": 0.0001,
        "units": "reflectance",
        "georeference": Georeference(utm_wkt(33, north=True), (30.0, 0.0, 383472.37, 0.0, -30.0, 5818302.35)),
        "sensor": "EnMAP",
        "metadata": {"description": "made", "acquisition time": "2022-07-24T10:15:00Z"},
        "history": ("made from a seed",),
        **changes,
    }
    return Cube(data, **fields)


def plain_cube(data, **fields):
    """A cube of these values and nothing else."""
    return Cube(np.asarray(data), BandTable(len(data)), **fields)
