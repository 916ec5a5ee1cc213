"""What the benchmark measures: scenes of a folder, single cubes, and made ones, each with what may be asked of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from palimpsest.cubes import Cube

MADE = (("mixed", "aviris"), ("geology", "emit"), ("vegetation", "enmap"), ("urban", "hymap"))
MADE_SEED = 880_001  # training draws its places from seeds far below
MADE_SIDE = 128
APPROXIMATE = ("indian_pines",)  # scenes whose wavelengths are a guess: no feature is judged on them
HELD_OUT = {"indian_pines": "without-indian-pines", "gatorsense": "without-gatorsense"}


@dataclass(frozen=True, slots=True)
class Scene:
    """A cube to measure on.

    Args:
        name: the file's stem, or 'made-KIND'.
        cube: what is coded.
        digest: hash of its values, hex.
        truth: of a made scene, its clean reflectance; what labels are compared with.
    """

    name: str
    cube: Cube
    digest: str
    truth: Cube | None = None

    @property
    def model(self) -> str:
        """Name of the codec model that did not learn from this scene."""
        return HELD_OUT.get(self.name, "")

    @property
    def has_true_wavelengths(self) -> bool:
        """Whether band centres are known well enough to judge absorption features."""
        return self.cube.bands.has_wavelengths and self.name not in APPROXIMATE

    @property
    def is_whole(self) -> bool:
        """Whether every voxel holds a value: only then can codecs without a mask be compared at equal rate."""
        return bool(self.cube.usable().all())


def scenes(
    places: tuple[Path, ...], only: tuple[str, ...], *, made: bool, side: int = MADE_SIDE
) -> Iterator[Scene]:
    """Every scene asked for, one at a time.

    Args:
        places: folders of ENVI cubes, or single files of any format.
        only: names to take; empty takes all.
        made: also the made ones.
        side: rows and columns of the made ones.

    Raises:
        UsageError: none is left.
    """
    from palimpsest.formats import read

    paths = [path for place in places for path in (sorted(place.glob("*.hdr")) if place.is_dir() else [place])]
    chosen = [path for path in paths if not only or path.stem in only]
    # A place keeps its seed whichever of them are asked for.
    kinds = [(at, *pair) for at, pair in enumerate(MADE) if made and (not only or f"made-{pair[0]}" in only)]
    if not chosen and not kinds:
        raise UsageError("no such scene", where=", ".join(map(str, places)), got=only, wanted="names of cubes there")
    for path in chosen:
        cube = read(path)
        yield Scene(path.stem, cube, digest(cube))
    for at, kind, sensor in kinds:
        yield made_scene(kind, sensor, MADE_SEED + at, side)


def made_scene(kind: str, sensor: str, seed: int, side: int) -> Scene:
    """A made scene on the bands that a user would keep: opaque ones hold noise, and every codec is spared them."""
    from palimpsest.scenes import make_scene

    made = make_scene(side, side, kind=kind, sensor=sensor, seed=seed)
    kept = np.flatnonzero(made.observed.bands.good)

    def bands_kept(cube: Cube) -> Cube:
        return replace(cube, data=np.ascontiguousarray(cube.data[kept]), bands=cube.bands.select(kept), reasons=None)

    observed = bands_kept(made.observed)
    return Scene(f"made-{kind}", observed, digest(observed), bands_kept(made.clean))


def digest(cube: Cube) -> str:
    """SHA-256 of shape, type and values, hex."""
    values = np.ascontiguousarray(cube.data)
    return hashlib.sha256(f"{values.shape} {values.dtype.str}".encode() + values.tobytes()).hexdigest()
