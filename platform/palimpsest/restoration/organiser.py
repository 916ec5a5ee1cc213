"""Decompressed sets into groups: pixels of a cube by what they look like, cubes by place, sensor and statistics.

Inside a cube: k-means of the observed bands, brightness kept (a shadow behaves differently from its material), so that
a judgement made for a group holds for its pixels. Across cubes: the same place is the same ground grid, or the same
plane and a picture that agrees; the same sensor is the same bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.view import ACCEPTED, Axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.restoration.view import View

GROUPS = 12
_ROUNDS = 12
_SAME_PICTURE = 0.8  # correlation of two mean pictures of one place under other light and noise
_PICTURE_PIXELS = 20_000


@dataclass(frozen=True, slots=True)
class PixelGroups:
    """Groups of the pixels of a cube.

    Args:
        centres: mean spectra, ``(group, band)`` float64.
        bands: bands that were observed everywhere and that tell groups apart, ``(band,)``.
    """

    centres: NDArray[np.float64]
    bands: NDArray[np.bool_]

    def of(self, view: View) -> NDArray[np.intp]:
        """Group of each pixel, ``(pixel,)``, by the bands it has."""
        mask = (view.usable & self.bands).astype(np.float32)
        values = view.values * mask
        centres = self.centres.astype(np.float32)
        distance = -2 * values @ centres.T + mask @ (centres**2).T
        return np.argmin(distance, axis=1)


def group_pixels(view: View, observed: NDArray[np.bool_], groups: int = GROUPS, seed: int = 0) -> PixelGroups:
    """Groups from a sample of pixels; ``observed`` ``(band,)`` are the bands that most pixels have."""
    rng = np.random.default_rng(seed)
    bands = observed if observed.any() else np.ones(observed.size, bool)
    values = view.values[:, bands].astype(np.float64)
    count = max(1, min(groups, len(np.unique(values[:, :8].round(6), axis=0)), len(values)))
    chosen = [int(rng.integers(len(values)))]
    nearest = ((values - values[chosen[0]]) ** 2).sum(1)
    for _ in range(count - 1):
        total = nearest.sum()
        chosen.append(int(rng.choice(len(values), p=nearest / total)) if total > 0 else int(rng.integers(len(values))))
        nearest = np.minimum(nearest, ((values - values[chosen[-1]]) ** 2).sum(1))
    centres = view.values[chosen].astype(np.float64)
    found = PixelGroups(centres, bands)
    for _ in range(_ROUNDS):
        member = found.of(view)
        seen = view.usable.astype(np.float64)
        total = np.stack([(view.values * seen)[member == g].sum(0) for g in range(len(centres))])
        number = np.stack([seen[member == g].sum(0) for g in range(len(centres))])
        centres = np.where(number > 0, total / np.maximum(number, 1), centres)
        found = PixelGroups(centres, bands)
    return found


@dataclass(frozen=True, slots=True)
class CubeGroup:
    """Cubes that are restored together.

    Args:
        name: for people: place and sensor in words.
        members: positions in the pile, ascending.
        is_one_place: whether their pixels are the same ground.
    """

    name: str
    members: tuple[int, ...]
    is_one_place: bool


def organise(cubes: Sequence[Cube]) -> list[CubeGroup]:
    """Groups of a pile of cubes, in order of their first member; a cube with no relation is a group of its own.

    Cubes of one place go together whatever the sensor; those left go by sensor (equal bands).
    """
    pictures = [_picture(cube) for cube in cubes]
    free = list(range(len(cubes)))
    groups: list[CubeGroup] = []
    while free:
        first = free[0]
        same = [k for k in free if k == first or is_one_place(cubes[first], cubes[k], pictures[first], pictures[k])]
        if len(same) == 1:
            free.remove(first)
            groups.append(CubeGroup(cubes[first].name, (first,), False))
            continue
        free = [k for k in free if k not in same]
        groups.append(CubeGroup(f"place of {cubes[first].name}", tuple(same), True))
    return _joined_by_sensor(cubes, groups)


def told(groups: Sequence[CubeGroup], names: Sequence[str]) -> list[dict[str, object]]:
    """Groups for JSON, ``{name, one_place, members}``; cubes by the names given, in the order of the pile."""
    return [
        {"name": group.name, "one_place": group.is_one_place, "members": [names[member] for member in group.members]}
        for group in groups
    ]


def is_one_place(
    a: Cube, b: Cube, picture_a: NDArray[np.float64] | None = None, picture_b: NDArray[np.float64] | None = None
) -> bool:
    """Whether two cubes show the same ground, pixel by pixel."""
    if a.shape[1:] != b.shape[1:]:
        return False
    if a.georeference is not None and b.georeference is not None:
        return bool(np.allclose(a.georeference.transform, b.georeference.transform)) and (
            a.georeference.crs_wkt == b.georeference.crs_wkt
        )
    first = _picture(a) if picture_a is None else picture_a
    second = _picture(b) if picture_b is None else picture_b
    if first.std() == 0 or second.std() == 0:
        return False
    return float(np.corrcoef(first, second)[0, 1]) > _SAME_PICTURE


def has_same_bands(a: Cube, b: Cube) -> bool:
    """Whether two cubes have the same bands: one sensor."""
    if a.shape.bands != b.shape.bands:
        return False
    if a.bands.centre_nm is None or b.bands.centre_nm is None:
        return a.bands.centre_nm is None and b.bands.centre_nm is None
    return bool(np.allclose(a.bands.centre_nm, b.bands.centre_nm, atol=0.5))


def _joined_by_sensor(cubes: Sequence[Cube], groups: list[CubeGroup]) -> list[CubeGroup]:
    out: list[CubeGroup] = []
    for group in groups:
        alone = len(group.members) == 1
        for place, other in enumerate(out):
            first = cubes[other.members[0]]
            if alone and not other.is_one_place and has_same_bands(cubes[group.members[0]], first):
                out[place] = CubeGroup(f"sensor of {first.name}", (*other.members, *group.members), False)
                break
        else:
            out.append(group)
    return out


def _picture(cube: Cube) -> NDArray[np.float64]:
    """Mean over a few usable bands, flattened: what the place looks like whatever the sensor."""
    axis = Axis.of(cube.bands)
    reasons = cube.voxel_reasons()
    stride = max(1, cube.shape.rows * cube.shape.cols // _PICTURE_PIXELS)
    total = np.zeros(cube.shape.rows * cube.shape.cols)
    count = np.zeros_like(total)
    for band in axis.order[:: max(1, axis.count // 12)]:
        good = np.isin(reasons[band], ACCEPTED).ravel()
        plane = np.asarray(cube.data[band]).astype(np.float64).ravel()
        if good.sum() < 0.5 * good.size or plane[good].std() == 0:
            continue
        total += np.where(good, (plane - plane[good].mean()) / plane[good].std(), 0.0)
        count += good
    return (total / np.maximum(count, 1))[::stride]
