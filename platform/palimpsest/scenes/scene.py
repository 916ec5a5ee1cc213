"""A made scene: what a sensor would have seen of a place that is known completely.

Spectra of the release's reference materials and radiative transfer models, laid out by seeded patterns, mixed at
borders and inside pixels, lit over terrain, seen through a sensor's blur, bands and noise. Clean reflectance, shares of
every material, labels, noise and every defect are kept beside the cube. The same arguments give the same scene.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.sparse import csr_matrix

from palimpsest.cubes import Cube, Reason
from palimpsest.errors import UsageError
from palimpsest.scenes import atmosphere, fields
from palimpsest.scenes.defects import degrade
from palimpsest.scenes.landscapes import landscape
from palimpsest.scenes.layout import abundances, ground_cover
from palimpsest.scenes.noise import band_noise, band_transmission
from palimpsest.scenes.palette import STEPS, Library
from palimpsest.scenes.sensors import Spectrometer, spectrometer
from palimpsest.spectra import resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import BandTable
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.scenes.defects import Degraded
    from palimpsest.scenes.landscapes import Landscape

UNITS_PER_REFLECTANCE = 10000.0
UNITS_PER_RADIANCE = 100.0  # per W m-2 sr-1 um-1
BLOCK_PIXELS = 8192
MOST_NOISE = 1e6  # relative to the nominal: everything saturates long before
_PLACE, _LIGHT, _NOISE = 0, 1, 2  # streams of chance: the place must not change with the date


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """What made a scene; enough to make it again with the same release."""

    rows: int
    cols: int
    sensor: str
    seed: int
    kind: str
    noise: float
    defects: str
    date: int
    units: str
    release: str


@dataclass(frozen=True, slots=True)
class MadeScene:
    """A scene with its truth.

    Args:
        observed: reflectance x 10000, or radiance x 100, int16, with noise and defects; opaque bands marked;
            ``reasons`` holds what a mission would flag itself.
        clean: the same without noise and defects, float32, every band good.
        abundances: share of each material in each pixel, ``(material, row, col)`` float32, sum 1.
        materials: name of each material.
        material_iris: IRI of each material in the release.
        labels: number of the largest share plus one, ``(row, col)`` uint16; 0 is never used.
        reasons: :class:`~palimpsest.cubes.Reason` of every damaged voxel, flagged in ``observed`` or not,
            ``(band, row, col)`` uint8.
        noise_sigma: root mean square of the noise, stored units, ``(band,)``.
        settings: what made it.
    """

    observed: Cube
    clean: Cube
    abundances: NDArray[np.float32]
    materials: tuple[str, ...]
    material_iris: tuple[str, ...]
    labels: NDArray[np.uint16]
    reasons: NDArray[np.uint8]
    noise_sigma: NDArray[np.float32]
    settings: SceneSettings

    @property
    def damaged(self) -> NDArray[np.bool_]:
        """Voxels struck by a defect (not by noise alone), ``(band, row, col)``."""
        return np.not_equal(self.reasons, np.uint8(Reason.GOOD))


def make_scene(
    rows: int = 128, cols: int = 128, *, sensor: str | Spectrometer | BandTable = "aviris", seed: int = 0,
    kind: str = "mixed", noise: float = 1.0, defects: str = "none", date: int = 0,
    opaque: Literal["noise", "zero"] = "noise", units: Literal["reflectance", "radiance"] = "reflectance",
    knowledge: KnowledgeBase | None = None,
) -> MadeScene:
    """A scene of a place.

    Args:
        rows: height in pixels, 1 and more.
        cols: width in pixels, 1 and more.
        sensor: one of :data:`~palimpsest.scenes.sensors.SENSORS`, or bands with centres.
        seed: the place.
        kind: 'mixed', 'vegetation', 'geology', 'urban', 'coast' or 'snow'.
        noise: relative to the sensor's nominal noise; 0 is none.
        defects: 'none', or a case of :func:`~palimpsest.scenes.defects.degrade`, 'mixed' among them.
        date: another light, noise and set of defects over the same place; runs of bands that chance takes away lie
            elsewhere than at the dates before it, as far as there is room.
        opaque: what opaque bands hold: the noise that a division by nothing leaves, or the zeros that some products
            write.
        units: reflectance x 10000, or radiance at the sensor in W m-2 sr-1 um-1, x 100.
        knowledge: the release that spectra are taken from; the packaged one when left out.

    Raises:
        UsageError: no pixels, noise that is no number, or an unknown sensor, kind or defect.
    """
    if min(rows, cols) < 1 or not 0 <= noise <= MOST_NOISE or seed < 0 or date < 0:
        raise UsageError(
            "no such scene", got=f"{rows} x {cols}, noise {noise}, seed {seed}, date {date}",
            wanted=f"a pixel or more, nothing negative, noise to {MOST_NOISE:g}",
        )
    if knowledge is None:
        from palimpsest.knowledge.releases.release import load

        knowledge = load(None)
    instrument = spectrometer(sensor)
    library = Library(knowledge)
    rng = np.random.default_rng([seed, _PLACE])
    place = landscape(kind, library, rng)
    cover, plots = ground_cover(rng, rows, cols, place)
    shares = abundances(rng, cover, place, instrument.blur_px)
    ground = _Ground(place, shares, _variation(rng, place, plots), _texture(rng, place, shares))
    lattice = _lattice(place, library.grid_nm, instrument)
    clean, observed, sigma, is_opaque = _acquire(ground, lattice, instrument, noise, (seed, date))

    bands = instrument.band_table()
    if opaque == "zero":
        observed[is_opaque] = 0
    scale = 1 / UNITS_PER_REFLECTANCE
    if units == "radiance":
        clean, observed, sigma = _as_radiance(instrument, clean, observed, sigma)
        scale = 1 / UNITS_PER_RADIANCE
    common = {"scale": scale, "units": units, "sensor": instrument.name}
    name = f"made-{kind}-{seed}" + (f"-{date}" if date else "")
    truth = Cube(clean, bands, name=f"{name}-clean", **common)  # type: ignore[arg-type]  # all of them are fields
    seen = Cube(
        observed, bands.marked(is_opaque, Reason.OPAQUE), name=name, history=(f"made: {kind}, seed {seed}",), **common  # type: ignore[arg-type]  # as above
    )
    reasons = np.zeros(seen.shape, np.uint8)
    if defects != "none":
        struck = _struck(seen, defects, seed, date)
        seen, reasons = struck.cube, struck.reasons
        sigma = np.sqrt(sigma**2 + struck.noise_sigma**2)
    return MadeScene(
        observed=seen, clean=truth, abundances=shares, materials=tuple(entry.name for entry in place.materials),
        material_iris=tuple(entry.iri for entry in place.materials),
        labels=(shares.argmax(axis=0) + 1).astype(np.uint16), reasons=reasons, noise_sigma=sigma.astype(np.float32),
        settings=SceneSettings(
            rows, cols, instrument.name, seed, kind, float(noise), defects, date, units, knowledge.release
        ),
    )


def _struck(seen: Cube, defects: str, seed: int, date: int) -> Degraded:
    lost = np.zeros(seen.shape.bands, np.int64)
    if defects not in ("mixed", "f"):  # no others draw the bands that they take away
        return degrade(seen, defects, seed=1000 * seed + date)
    struck = degrade(seen, defects, seed=1000 * seed)
    for later in range(1, date + 1):
        # Defects that differ: what chance took away whole at one date is there at the next.
        lost += (struck.reasons == Reason.BAD_BAND).reshape(seen.shape.bands, -1).all(axis=1)
        struck = degrade(seen, defects, seed=1000 * seed + later, lost=lost)
    return struck


def _as_radiance(
    sensor: Spectrometer, clean: NDArray[np.float32], observed: NDArray[np.int16], sigma: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.int16], NDArray[np.float64]]:
    """The same look before any atmospheric correction: each band scaled by its sunlight, path light on top."""
    gain, path = atmosphere.radiance_terms(sensor.centre_nm, band_transmission(sensor))
    gain, path = gain * np.float32(UNITS_PER_RADIANCE / UNITS_PER_REFLECTANCE), path * np.float32(UNITS_PER_RADIANCE)
    seen = np.empty_like(observed)
    for band in range(len(clean)):
        clean[band] = clean[band] * gain[band] + path[band]
        seen[band] = np.clip(np.rint(observed[band] * gain[band] + path[band]), -32000, 32000)
    return clean, seen, sigma * gain


@dataclass(frozen=True, slots=True)
class _Ground:
    """The place: shares, where each pixel lies in its materials' lattices ``(material, 2, row, col)``, brightness."""

    place: Landscape
    shares: NDArray[np.float32]
    variation: NDArray[np.float32]
    texture: NDArray[np.float32]


def _variation(rng: np.random.Generator, place: Landscape, plots: NDArray[np.int32]) -> NDArray[np.float32]:
    rows, cols = plots.shape
    placed = np.zeros((len(place.materials), 2, rows, cols), np.float32)
    count = int(plots.max()) + 1
    for material in placed:
        for axis in material:
            own = 0.75 * rng.standard_normal(count)[plots]
            drift = 0.6 * fields.power_law(rng, rows, cols, 2.4, longest_px=70.0)
            fine = 0.28 * fields.power_law(rng, rows, cols, 1.0, longest_px=16.0)
            axis[:] = fields.uniform(own + drift + fine)
    return placed


def _texture(
    rng: np.random.Generator, place: Landscape, shares: NDArray[np.float32]
) -> NDArray[np.float32]:
    rows, cols = shares.shape[1:]
    deviation = np.tensordot(np.array([entry.texture for entry in place.materials]), shares, axes=1)
    grain = fields.power_law(rng, rows, cols, 1.1, longest_px=24.0)
    return np.exp(deviation * grain - deviation**2 / 2).astype(np.float32)


def _lattice(place: Landscape, grid_nm: NDArray[np.float64], sensor: Spectrometer) -> NDArray[np.float32]:
    """Every lattice spectrum at the sensor's bands, ``(material * STEPS * STEPS, band)``.

    Raises:
        UsageError: bands beyond the reference spectra.
    """
    fine = np.concatenate([entry.spectra.reshape(STEPS * STEPS, -1) for entry in place.materials])
    seen = resample(fine, grid_nm, sensor.centre_nm, sensor.fwhm_nm, least_share=0.3)
    lost = np.isnan(seen).any(axis=0)
    if lost.any():
        raise UsageError(
            "bands beyond the reference spectra", where=f"band {int(np.flatnonzero(lost)[0])}",
            got=f"{sensor.centre_nm[lost][0]:.1f} nm", wanted=f"{grid_nm[0]:.0f} to {grid_nm[-1]:.0f} nm",
        )
    return np.asarray(seen, np.float32)


def _mixing(ground: _Ground, pixels: slice) -> csr_matrix:
    """Weights of the lattice spectra in some pixels, ``(pixel, material * STEPS * STEPS)``, rows sum to 1."""
    count = ground.shares.shape[0]
    shares = ground.shares.reshape(count, -1)[:, pixels]
    material, pixel = np.nonzero(shares)
    share = shares[material, pixel]
    at = ground.variation.reshape(count, 2, -1)[:, :, pixels][material, :, pixel] * (STEPS - 1)
    low = np.minimum(at.astype(np.int64), STEPS - 2)
    part = at - low
    rows, columns, weights = [], [], []
    for down in (0, 1):
        for right in (0, 1):
            rows.append(pixel)
            columns.append(material * STEPS * STEPS + (low[:, 0] + down) * STEPS + low[:, 1] + right)
            across = np.abs(1 - down - part[:, 0]) * np.abs(1 - right - part[:, 1])
            weights.append(share * across)
    shape = (shares.shape[1], count * STEPS * STEPS)
    return csr_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape, np.float32)


def _acquire(
    ground: _Ground, lattice: NDArray[np.float32], sensor: Spectrometer, noise: float, chance: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.int16], NDArray[np.float64], NDArray[np.bool_]]:
    """Clean and observed values, noise per band, opaque bands: one look at the place."""
    seed, date = chance
    rng = np.random.default_rng([seed, _LIGHT, date])
    rows, cols = ground.texture.shape
    bands = sensor.centre_nm.size
    relief = ground.place.relief
    sun = fields.sunlight(np.random.default_rng([seed, _LIGHT]), rng, rows, cols, relief).astype(np.float32)
    level = ground.shares[[entry.is_level for entry in ground.place.materials]].sum(axis=0)
    sun += (1 - sun) * level
    sun *= np.float32(1 if date == 0 else rng.uniform(0.8, 1.15))
    clear = band_transmission(sensor)
    sky = atmosphere.diffuse_share(sensor.centre_nm).astype(np.float32)
    # What an atmospheric correction leaves behind: small errors of gain, larger in gas bands, and uneven vapour. As
    # strong as in GatorSense: 0.1 to 0.4 % between neighbouring clear bands, 0.4 to 0.9 % in vapour bands.
    residue = (1 + rng.standard_normal(bands) * (0.0015 + 0.007 * (1 - clear))).astype(np.float32)
    vapour = (0.02 * fields.power_law(rng, rows, cols, 3.0, longest_px=120.0)).astype(np.float32).ravel()
    depth = np.minimum(atmosphere.vapour_depth(sensor.centre_nm), 1.5).astype(np.float32)
    model = band_noise(np.random.default_rng([seed, _NOISE]), sensor, noise)
    chance_noise = np.random.default_rng([seed, _NOISE, date])
    columns = chance_noise.standard_normal((cols, bands), np.float32)

    clean = np.empty((bands, rows * cols), np.float32)
    observed = np.empty((bands, rows * cols), np.int16)
    power = np.zeros(bands)
    brightness, direct = ground.texture.ravel(), sun.ravel()
    white_share = np.float32(np.sqrt(1 - model.column_share**2))
    for first in range(0, rows * cols, BLOCK_PIXELS):
        pixels = slice(first, min(first + BLOCK_PIXELS, rows * cols))
        values = np.asarray(_mixing(ground, pixels) @ lattice, np.float32)  # (pixel, band)
        values *= (sky + (1 - sky) * direct[pixels, None]) * brightness[pixels, None]
        values *= residue * (1 + vapour[pixels, None] * depth)
        np.clip(values, 0.0, 1.6, out=values)
        sigma = model.sigma(values)
        power += (sigma.astype(np.float64) ** 2).sum(axis=0)
        error = white_share * chance_noise.standard_normal(values.shape, np.float32)
        error += np.float32(model.column_share) * columns[np.arange(pixels.start, pixels.stop) % cols]
        clean[:, pixels] = UNITS_PER_REFLECTANCE * values.T
        noisy = np.rint(UNITS_PER_REFLECTANCE * (values + error * sigma))
        observed[:, pixels] = np.clip(noisy, -32000, 32000).astype(np.int16).T
    shape = (bands, rows, cols)
    spread = np.sqrt(power / (rows * cols)) * UNITS_PER_REFLECTANCE
    return clean.reshape(shape), observed.reshape(shape), spread, model.opaque


def make_group(
    count: int, rows: int = 128, cols: int = 128, *, sensor: str | Spectrometer | BandTable = "aviris", seed: int = 0,
    kind: str = "mixed", noise: float = 1.0, defects: str = "mixed", knowledge: KnowledgeBase | None = None,
) -> tuple[MadeScene, ...]:
    """Co-registered scenes of one place on several dates: light, noise and defects differ, the ground does not.

    Args:
        count: dates: the scenes are those of :func:`make_scene` at dates 0 and on.
        rows: height in pixels.
        cols: width in pixels.
        sensor: as for ``make_scene``, and so are the rest.
        seed: the place.
        kind: of place.
        noise: relative to the sensor's nominal noise.
        defects: their case; drawn runs of bands are missing at one date only while there is room for another run.
        knowledge: the release that spectra are taken from.

    Raises:
        UsageError: no date, or what :func:`make_scene` refuses.
    """
    if count < 1:
        raise UsageError("an empty group", got=count, wanted="1 or more")
    return tuple(
        make_scene(
            rows, cols, sensor=sensor, seed=seed, kind=kind, noise=noise, defects=defects, date=date,
            knowledge=knowledge,
        )
        for date in range(count)
    )


def make_pile(
    count: int, rows: int = 48, cols: int = 48, *, places: tuple[str, ...] = ("vegetation", "urban", "geology"),
    sensors: tuple[str, ...] = ("aviris", "enmap"), seed: int = 0, defects: str = "mixed",
    knowledge: KnowledgeBase | None = None,
) -> tuple[tuple[MadeScene, tuple[int, str]], ...]:
    """A shuffled pile of scenes of several places and sensors, each with its true (place, sensor)."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        place = number % len(places)
        sensor = sensors[number // len(places) % len(sensors)]
        scene = make_scene(
            rows, cols, sensor=sensor, seed=seed + place, kind=places[place], defects=defects,
            date=number // (len(places) * len(sensors)), knowledge=knowledge,
        )
        unnamed = replace(scene.observed, name=f"cube-{number}", history=())
        made.append((replace(scene, observed=unnamed), (place, sensor)))
    return tuple(made[index] for index in rng.permutation(count))
