"""How a cube is read for identification: which bands, how wide, in what units. Decided once, then the same for all.

Conventions: stored band order is kept and bands are sorted by centre (stable) for rules; overlapping detectors take
part, none is dropped; a band that is bad or unusable in every pixel is left out; missing widths are 10 nm unless the
release knows the sensor; a cube that does not say what its numbers mean is taken for reflectance x 10000 when they are
too large for reflectance. Whatever was assumed is said in ``notes``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import Window
from palimpsest.errors import MissingWavelengths
from palimpsest.knowledge.identification.feature_fit import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from palimpsest.cubes import BandTable, Cube
    from palimpsest.knowledge.identification.feature_fit import SensorRules
    from palimpsest.knowledge.rules import KnowledgeBase

BLOCK_PIXELS = 8192  # a few megabytes of measurements at a time, whatever the cube's size
LARGEST_REFLECTANCE = 2.0
ASSUMED_SCALE = 1e-4
NOT_REFLECTANCE = ("radiance", "w/", "w m", "w cm", "counts", "dn")
SAME_BAND_NM = 2.0  # a band this near to one of a sensor is taken for it


@dataclass(frozen=True, slots=True)
class Reading:
    """A cube's numbers as reflectance on a sensor's rules.

    Args:
        rules: the expert rules on the bands used.
        scale: reflectance = stored value * scale + offset.
        offset: see ``scale``.
        nodata: stored value that is no measurement, or None.
        scale_is_assumed: whether the cube did not say and ``scale`` is a guess.
        notes: what was assumed or left out, one sentence each.
        fwhm_nm: widths of the bands that are used, nm, ``(used,)``.
    """

    rules: SensorRules
    scale: float
    offset: float
    nodata: float | None
    scale_is_assumed: bool
    notes: tuple[str, ...]
    fwhm_nm: NDArray[np.float64]

    @classmethod
    def of(cls, cube: Cube, knowledge: KnowledgeBase) -> Reading:
        """How to read this cube, and every other one that shares its bands and units.

        Raises:
            MissingWavelengths: the cube has no band centres.
        """
        if cube.bands.centre_nm is None:
            raise MissingWavelengths(
                "identification needs band centres", where=cube.name, got="none",
                wanted="a cube with wavelengths; 'palimpsest convert --wavelengths FILE' adds them",
            )
        bands, notes = _with_widths(cube, knowledge)
        usable = bands.good & _ever_usable(cube)
        if not usable.all():
            notes.append(f"{int((~usable).sum())} bad bands left out")
        scale, offset, assumed, remark = _scale(cube)
        notes += [remark] if remark else []
        assert bands.centre_nm is not None
        assert bands.fwhm_nm is not None
        # Streams keep wavelengths in picometres: labels must come out the same before and after.
        centre, fwhm = (np.rint(column * 1000) / 1000 for column in (bands.centre_nm, bands.fwhm_nm))
        rules = prepare(knowledge, centre, fwhm, usable)
        if rules.unseen:
            notes.append(f"{len(rules.unseen)} materials have a feature that these bands do not cover")
        return cls(rules, scale, offset, cube.nodata, assumed, tuple(notes), fwhm[rules.bands])

    def reflectance(
        self, spectra: NDArray[np.generic], usable: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Stored spectra ``(spectrum, band)``, all bands in stored order, as reflectance ``(spectrum, used band)``.

        Args:
            spectra: stored values.
            usable: True where a value may be used, of the same shape; NaN comes out elsewhere.
        """
        stored = np.take(spectra, self.rules.bands, axis=1)
        values = stored.astype(np.float64) * self.scale + self.offset
        if usable is not None:
            values[~np.take(usable, self.rules.bands, axis=1)] = np.nan
        if self.nodata is not None and not np.isnan(self.nodata):
            values[stored == np.asarray(self.nodata).astype(stored.dtype)] = np.nan
        values[~np.isfinite(values)] = np.nan
        return values

    def blocks(self, cube: Cube) -> Iterator[tuple[Window, NDArray[np.float64]]]:
        """Reflectance of whole rows at a time, ``(pixel, used band)``, with the window they come from."""
        _, rows, cols = cube.shape
        step = max(1, BLOCK_PIXELS // cols)
        for row in range(0, rows, step):
            window = Window(row, min(row + step, rows), 0, cols)
            part = cube.window(window)
            stored = np.asarray(part.data).reshape(part.shape.bands, -1).T
            usable = None if cube.reasons is None else part.usable().reshape(part.shape.bands, -1).T
            yield window, self.reflectance(stored, usable)


def _with_widths(cube: Cube, knowledge: KnowledgeBase) -> tuple[BandTable, list[str]]:
    """The band table with widths: the file's, else those of the sensor that it names, else 10 nm."""
    bands = cube.bands
    centre = bands.centre_nm
    if bands.fwhm_nm is not None or centre is None:
        return bands, ["the file says that its band widths are assumed"] if bands.fwhm_is_assumed else []
    named = cube.sensor.casefold()
    for sensor in knowledge.sensors:
        family = sensor.iri.rstrip("/").rsplit("/", 1)[-1].split("-")[0].casefold()
        distance = np.abs(centre[:, None] - sensor.centre_nm[None])
        if family in named and (distance.min(axis=1) <= SAME_BAND_NM).all():
            widths = sensor.fwhm_nm[distance.argmin(axis=1)]
            return replace(bands, fwhm_nm=widths), [f"band widths are not given: those of {sensor.label} taken"]
    return bands.with_assumed_fwhm(), ["band widths are not given: 10 nm assumed"]


def _ever_usable(cube: Cube) -> NDArray[np.bool_]:
    """Bands with a usable value somewhere, ``(band,)``."""
    found = np.zeros(cube.shape.bands, bool)
    step = max(1, BLOCK_PIXELS // cube.shape.cols)
    for row in range(0, cube.shape.rows, step):
        part = cube.window(Window(row, min(row + step, cube.shape.rows), 0, cube.shape.cols))
        found |= part.usable().any(axis=(1, 2))
        if (found | ~cube.bands.good).all():
            break
    return found


def _scale(cube: Cube) -> tuple[float, float, bool, str]:
    """Scale, offset, whether they are a guess, and what to say about it.

    Fractions up to 2 are reflectance until somebody says otherwise.
    """
    if any(word in cube.units.casefold() for word in NOT_REFLECTANCE):
        return cube.scale, cube.offset, True, f"the cube is in {cube.units}, and rules speak of reflectance"
    if cube.scale != 1.0 or cube.units == "reflectance":
        return cube.scale, cube.offset, False, ""
    rows = slice(None, None, max(1, cube.shape.rows // 64))
    sample = np.asarray(cube.data[:, rows]).astype(np.float64)
    if cube.nodata is not None:
        sample = sample[sample != cube.nodata]
    sample = sample[np.isfinite(sample)]
    unsaid = "the cube does not say that it is reflectance: "
    if sample.size and np.percentile(sample, 99) > LARGEST_REFLECTANCE:
        return ASSUMED_SCALE, 0.0, True, unsaid + "taken for reflectance x 10000"
    return 1.0, cube.offset, cube.is_integer, unsaid + "its values lie where reflectance does"
