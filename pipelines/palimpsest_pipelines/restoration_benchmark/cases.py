"""The struck cubes of the restoration benchmark, each with its truth and with what restorers are told.

Cases: noise (a05, a10, b: every voxel is judged); c, d, e (noise with impulses, stripes, dead lines) with the mask
known and, as 'c:blind', without it; f (short runs of bands missing), g (half the voxels missing), wide:NAME (whole
runs of bands missing in every pixel), clean:N:NAME (the same, but for N pixels; five draws of them, 'clean:N:NAME' and
'clean:N:NAME:1' to ':4', since one decides by chance); mixed (impulses, stripes, dead lines, saturation, short runs and
a wide one together) with the mask known and, as 'mixed:blind', with nothing told but what a sensor flags; 'decoded' (a
stream of a tenth of a bit per sample: every voxel is judged, none may get worse). Made scenes have mixed defects of
their own, 'made' and 'made:blind'. Noise, struck and g are run on made scenes too, which have a truth without noise; f,
wide and clean on made scenes as a sensor would have measured them, judged against that truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube

MADE_SEED = 770_001  # training draws its seeds below 2 ** 30 by chance; these scenes were never among its lists
MADE_SIDE = 64
MADE_KINDS = ("mixed", "vegetation", "urban", "geology")
NOISELESS_KINDS = ("mixed", "urban")  # made scenes whose truth is struck as recorded ones are
MEASURED = (
    ("urban", "aviris"), ("vegetation", "enmap"), ("mixed", "emit"), ("geology", "hymap"), ("coast", "aviris"),
    ("urban", "enmap"),
)  # kinds and sensors of made scenes that lose bands
OTHERS_SEED = MADE_SEED + 100  # of the other kinds on the other sensors, which are run by their names alone
GAPS = ("f", "wide", "clean")  # cases of missing bands
MEASURED_SIDE = 32
FEWEST_BANDS = 80
DECODED = "decoded"
DECODED_BPPPC = 0.1
NOISE = ("a05", "a10", "b")
STRUCK = ("c", "d", "e")
MIXED = "mixed"
BLIND = ":blind"
CLEAN = (1, 3, 10)
DRAWS = 5  # of clean pixels
_CLEAN_SEED = 41


@dataclass(frozen=True, slots=True)
class Case:
    """A struck cube and its truth.

    Args:
        scene: which scene.
        name: which case.
        struck: the cube to restore.
        truth: clean values, ``(band, row, col)``.
        reasons: a :class:`~palimpsest.cubes.Reason` where a voxel is to be judged, 0 elsewhere, ``(band, row, col)``.
        usable: what restorers are told, True = usable, ``(band, row, col)``.
        unit: stored units of one: the 99.9th percentile of the truth.
        is_decoded: whether the struck cube comes from a stream.
        sigma: standard deviation of the noise that was added, stored units, ``(band,)``; None where none was.
        measured: what the sensor measured before it was struck, ``(band, row, col)``, where that is not the truth:
            intervals of single voxels promise measurements.
    """

    scene: str
    name: str
    struck: Cube
    truth: NDArray[np.generic]
    reasons: NDArray[np.uint8]
    usable: NDArray[np.bool_]
    unit: float
    is_decoded: bool = False
    sigma: NDArray[np.float64] | None = None
    measured: NDArray[np.generic] | None = None

    @property
    def damaged(self) -> NDArray[np.bool_]:
        """Voxels to be judged, ``(band, row, col)``."""
        return np.not_equal(self.reasons, 0)

    @property
    def gap(self) -> NDArray[np.bool_]:
        """Bands that hardly any pixel shows, ``(band,)``."""
        return np.asarray(self.usable.mean(axis=(1, 2)) <= 0.5)

    @property
    def kind(self) -> str:
        """The case without its variant: 'c' of 'c:blind', 'wide' of 'wide:red_edge'."""
        return self.name.split(":")[0]

    @property
    def draw(self) -> int:
        """Which draw of clean pixels; 0 where nothing is drawn several times."""
        return draw_of(self.name)

    @property
    def is_blind(self) -> bool:
        """Whether nobody tells which voxels are damaged."""
        return self.name.endswith(BLIND)

    @property
    def is_noisy(self) -> bool:
        """Whether noise was added that is to be taken off."""
        return self.kind in (*NOISE, *STRUCK)


def cases_of(
    scenes: Sequence[Path], only: tuple[str, ...] = (), wanted: tuple[str, ...] = (), side: int | None = None
) -> Iterator[Case]:
    """The cases asked for, scene by scene.

    Args:
        scenes: folders of ENVI cubes, or single cubes of any format.
        only: names of the scenes to take; 'made' is the name of the made ones, 'made-KIND-SENSOR' that of a single one
            of any kind on any sensor, for the cases of missing bands.
        wanted: cases; all that apply when empty. A name without variant stands for all variants.
        side: rows and columns that are cut from the middle of larger scenes.
    """
    from palimpsest.formats import read

    for path in (path for place in scenes for path in (sorted(place.glob("*.hdr")) if place.is_dir() else [place])):
        if only and path.stem not in only:
            continue
        cube = read(path)
        whole = int(cube.usable().reshape(cube.shape.bands, -1).all(axis=1).sum())
        if whole < FEWEST_BANDS and not only:
            continue  # a mosaic with holes or a camera says nothing about these cases
        yield from scene_cases(path.stem, whole_bands(cube if side is None else middle(cube, side)), wanted)
    if not only or "made" in only:
        yield from _made_cases(wanted)
    for name, (kind, sensor, seed) in measured_scenes().items():
        if name in only:
            yield from _measured_cases(kind, sensor, seed, _of_gaps(wanted or GAPS))


def measured_scenes() -> dict[str, tuple[str, str, int]]:
    """Kind, sensor and seed of every made scene that may lose bands, by name; first the six that 'made' stands for."""
    from palimpsest.scenes import KINDS, SENSORS

    others = [(kind, sensor) for kind in KINDS for sensor in SENSORS if (kind, sensor) not in MEASURED]
    first = MADE_SEED + len(MADE_KINDS)
    seeds = (*range(first, first + len(MEASURED)), *range(OTHERS_SEED, OTHERS_SEED + len(others)))
    return {
        f"made-{kind}-{sensor}": (kind, sensor, seed)
        for (kind, sensor), seed in zip((*MEASURED, *others), seeds, strict=True)
    }


def _of_gaps(wanted: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in wanted if name.split(":")[0] in GAPS)


def scene_cases(scene: str, cube: Cube, wanted: tuple[str, ...] = ()) -> Iterator[Case]:
    """The cases of one scene whose values are taken for the truth."""
    from palimpsest.cubes import Reason
    from palimpsest.scenes import degrade

    if is_wanted(DECODED, wanted):
        yield _decoded_case(scene, cube)
    for name in case_names(cube):
        if not is_wanted(name, wanted):
            continue
        if name.startswith("clean:"):
            yield clean_case(scene, cube, name)
            continue
        base = name.removesuffix(BLIND)
        # Noise on dark voxels goes below zero: a type without a sign would cut it off and so change the noise.
        struck = degrade(signed(cube) if base in (*NOISE, *STRUCK) else cube, base)
        reasons, usable, given = struck.reasons, ~struck.damaged, struck.cube
        if name in NOISE:
            reasons = np.full(reasons.shape, Reason.USER, np.uint8)
        if name == MIXED + BLIND:  # a sensor tells what it lost, and nothing of stripes and impulses
            usable = given.usable()
        elif name.endswith(BLIND):
            usable, given = np.ones(reasons.shape, bool), replace(given, reasons=None)
        yield Case(scene, name, given, cube.data, reasons, usable, struck.unit, sigma=struck.noise_sigma)


def signed(cube: Cube) -> Cube:
    """The cube in 32-bit floating point."""
    return replace(cube, data=np.asarray(cube.data).astype(np.float32))


def is_wanted(name: str, wanted: tuple[str, ...]) -> bool:
    """Whether a case was asked for by its name, by that of its kind or by that of all its draws."""
    return not wanted or name in wanted or name.split(":")[0] in wanted or cell_of(name) in wanted


def draw_of(name: str) -> int:
    """Which draw of clean pixels a case is: 2 of 'clean:3:red_edge:2', 0 of 'clean:3:red_edge' and of all others."""
    parts = name.split(":")
    return int(parts[3]) if len(parts) > 3 else 0


def cell_of(name: str) -> str:
    """The name of a case without its draw: 'clean:3:red_edge' of 'clean:3:red_edge:2'."""
    return ":".join(name.split(":")[:3])


def clean_case(scene: str, cube: Cube, name: str) -> Case:
    """Whole runs missing in all pixels but a few, seeded: 'clean:N:NAME', or 'clean:N:NAME:DRAW'."""
    from palimpsest.scenes import degrade

    _, number, run = cell_of(name).split(":")
    draw = draw_of(name)
    struck = degrade(cube, f"wide:{run}")
    rng = np.random.default_rng([_CLEAN_SEED, int(number), *([draw] if draw else [])])
    spared = rng.choice(cube.data[0].size, int(number), replace=False)
    data, reasons = np.array(struck.cube.data), struck.reasons.copy()
    bands = len(data)
    data.reshape(bands, -1)[:, spared] = np.asarray(cube.data).reshape(bands, -1)[:, spared]
    reasons.reshape(bands, -1)[:, spared] = 0
    given = replace(struck.cube, data=data, reasons=reasons)
    return Case(scene, name, given, cube.data, reasons, reasons == 0, struck.unit)


def middle(cube: Cube, side: int) -> Cube:
    """The middle of a cube, ``side`` rows and columns at most."""
    from palimpsest.cubes import Window

    _, rows, cols = cube.shape
    row, col = max(0, (rows - side) // 2), max(0, (cols - side) // 2)
    return cube.window(Window(row, min(rows, row + side), col, min(cols, col + side)))


def whole_bands(cube: Cube) -> Cube:
    """The cube's bands in which every voxel is usable: what can serve as truth.

    Raises:
        UsageError: fewer than eight such bands.
    """
    good = np.flatnonzero(cube.usable().reshape(cube.shape.bands, -1).all(axis=1))
    if good.size < 8:
        raise UsageError("too few whole bands to benchmark on", where=cube.name, got=good.size, wanted="8 or more")
    reasons = None if cube.reasons is None else cube.reasons[good]
    data = np.ascontiguousarray(np.asarray(cube.data)[good])
    return replace(cube, data=data, bands=cube.bands.select(good), reasons=reasons)


def case_names(cube: Cube) -> tuple[str, ...]:
    """The cases that apply: wide runs given in nm only where the scene covers them whole."""
    from palimpsest.scenes import WIDE_NM

    centres = cube.bands.centre_nm
    inside = [] if centres is None else [
        name for name, runs in WIDE_NM.items()
        if all(centres.min() <= low and high <= centres.max() + 25 for low, high in runs)
    ]
    inside.append("three_runs_of_15")
    struck = [name + variant for name in STRUCK for variant in ("", BLIND)]
    again = ["", *(f":{draw}" for draw in range(1, DRAWS))]
    clean = [f"clean:{number}:{name}{draw}" for name in inside for number in CLEAN for draw in again]
    return (*NOISE, *struck, "f", "g", MIXED, MIXED + BLIND, *(f"wide:{name}" for name in inside), *clean)


def _decoded_case(scene: str, cube: Cube) -> Case:
    import tempfile
    from pathlib import Path

    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.codec.decoder import decode
    from palimpsest.codec.encoder import encode
    from palimpsest.cubes import Reason

    with tempfile.TemporaryDirectory() as folder:
        stream = Path(folder) / f"{scene}.plm"
        encode(cube, EncodeSettings(bpppc=DECODED_BPPPC), out=stream)
        decoded = decode(stream)
    judged = np.full(cube.data.shape, Reason.USER, np.uint8)
    unit = float(np.percentile(np.asarray(cube.data), 99.9))
    return Case(scene, DECODED, decoded, cube.data, judged, decoded.usable(), unit, is_decoded=True)


def _made_cases(wanted: tuple[str, ...]) -> Iterator[Case]:
    from palimpsest.scenes import make_scene

    names = [name for name in ("made", "made:blind") if is_wanted(name, wanted)]
    for number, kind in enumerate(MADE_KINDS if names else ()):
        made = make_scene(MADE_SIDE, MADE_SIDE, seed=MADE_SEED + number, kind=kind, defects="mixed")
        measured = make_scene(MADE_SIDE, MADE_SIDE, seed=MADE_SEED + number, kind=kind).observed.data
        unit = float(np.percentile(np.asarray(made.clean.data), 99.9))
        judged = np.where(made.observed.bands.good[:, None, None], made.reasons, np.uint8(0))
        flagged = made.observed.usable()
        for name in names:
            usable = flagged & ~made.damaged if name == "made" else flagged
            yield Case(
                f"made-{kind}", name, made.observed, made.clean.data, judged, usable, unit, measured=measured,
            )
    struck = [name + variant for name in STRUCK for variant in ("", BLIND)]
    noisy = tuple(name for name in (*NOISE, *struck, "g") if wanted and is_wanted(name, wanted))
    for kind in NOISELESS_KINDS if noisy else ():
        yield from scene_cases(f"made-{kind}", noiseless(kind), noisy)
    gaps = _of_gaps(wanted)
    for kind, sensor, seed in list(measured_scenes().values())[: len(MEASURED)] if gaps else ():
        yield from _measured_cases(kind, sensor, seed, gaps)


def _measured_cases(kind: str, sensor: str, seed: int, wanted: tuple[str, ...]) -> Iterator[Case]:
    """Cases of missing bands of a made scene with its sensor's noise, judged against the scene without."""
    from palimpsest.scenes import make_scene

    made = make_scene(MEASURED_SIDE, MEASURED_SIDE, sensor=sensor, seed=seed, kind=kind)
    clean = np.ascontiguousarray(np.asarray(made.clean.data)[made.observed.bands.good])
    for case in scene_cases(f"made-{kind}-{sensor}", whole_bands(made.observed), wanted):
        yield replace(case, truth=clean)


def noiseless(kind: str) -> Cube:
    """The truth of a made scene of a kind, in the bands that are no opaque window."""
    from palimpsest.scenes import make_scene

    made = make_scene(MADE_SIDE, MADE_SIDE, seed=MADE_SEED + MADE_KINDS.index(kind), kind=kind)
    good = np.flatnonzero(made.observed.bands.good)
    clean = np.ascontiguousarray(np.asarray(made.clean.data)[good])
    return replace(made.clean, data=clean, bands=made.clean.bands.select(good))
