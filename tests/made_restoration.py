"""Restorations made up for tests: contributions drawn at random, the restored cube computed from them."""

from __future__ import annotations

import numpy as np

from palimpsest.cubes import BandTable, Cube
from palimpsest.restoration.result import Contribution, Decision, Restoration, on_grid

DECISIONS = (
    Decision("damage", "The detector element answered nothing."),
    Decision("correlation.low_rank", "Other pixels of the scene say so."),
    Decision("library", "Looks like kaolinite.", material="https://example.org/kaolinite"),
    Decision("rule", "Reflectance is not negative.", rule="https://example.org/rule/bounds"),
    Decision("rounding", "Rounded to a whole number."),
)


def made_restoration(seed=0, shape=(12, 20, 23), dtype="int16", quantum=1 / 16, share=0.2, has_wavelengths=True):
    """A small restoration whose contributions are exact by construction."""
    rng = np.random.default_rng(seed)
    bands, rows, cols = shape
    decoded = rng.integers(100, 150, shape).astype(dtype)  # far enough from the ends of every type
    if np.dtype(dtype).kind == "f":
        decoded = (np.rint(decoded * rng.random(shape) / quantum) * quantum).astype(dtype)
    total = np.zeros(decoded.size, np.int64)
    parts = []
    for number in range(len(DECISIONS) - 1):
        mask = rng.random(decoded.size) < share * (0.1 + rng.random())
        mask[: rows * cols] = False  # band 0 is left alone
        voxels = np.flatnonzero(mask)
        values = rng.integers(-40, 41, voxels.size)
        for half in np.array_split(np.arange(voxels.size), 2):  # two windows a decision
            if half.size:
                trust = rng.integers(0, 256, half.size).astype(np.uint8)
                parts.append(Contribution(number, voxels[half], values[half], trust))
        np.add.at(total, voxels, values)
    changed = np.unique(np.concatenate([part.voxels for part in parts] or [np.zeros(0, np.int64)]))
    start = on_grid(decoded.ravel(), quantum)
    if np.dtype(dtype).kind in "iu":  # the last contribution takes the sum to a whole stored value
        whole = np.rint((start + total)[changed] * quantum / 1).astype(np.int64) * round(1 / quantum)
        rest = whole - (start + total)[changed]
        at = rest != 0
        parts.append(Contribution(len(DECISIONS) - 1, changed[at], rest[at], np.full(int(at.sum()), 255, np.uint8)))
        np.add.at(total, changed[at], rest[at])
    restored = decoded.copy().ravel()
    restored[changed] = ((start + total)[changed] * quantum).astype(dtype)
    classes = np.ones(decoded.size, np.uint8)
    classes[changed] = rng.integers(2, 6, changed.size)
    centres = np.linspace(400, 2400, bands) if has_wavelengths else None
    cube = Cube(decoded, BandTable(bands, centre_nm=centres), name="made")
    return Restoration(
        decoded=cube, restored=cube.with_data(restored.reshape(shape), "restored"), quantum=quantum,
        decisions=DECISIONS, contributions=tuple(parts), changed=changed,
        half_width=rng.random(changed.size).astype(np.float32) * 9 + 0.5, classes=classes.reshape(shape),
        reasons=np.zeros(shape, np.uint8), release="ab" * 32, model="cd" * 32, report={"worst": float("nan")},
    )
