"""The expert rules prepared for one sensor, and every feature of every rule measured on a block of spectra.

Many rules look at the same wavelengths, so a window's continuum is removed once and all references that are fitted
there follow together. Nothing here decides; :mod:`palimpsest.knowledge.identification.gates` does.

Source: Kokaly 2011, USGS Open-File Report 2011-1155 (MICA).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.spectra.continuum import ContinuumWindow
from palimpsest.spectra.features import ReferenceShape, fit_shapes
from palimpsest.spectra.resampling import resample_for_rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase, Material

SHORTEST_NM, LONGEST_NM = 360.0, 2490.0  # bands outside are not looked at: detectors end there, and so do references


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a feature's measurements are found: its window and its row among all fitted references."""

    window: int
    row: int


@dataclass(frozen=True, slots=True)
class PreparedMaterial:
    """A material that this sensor can see.

    Args:
        label: number of its label: place in ``knowledge.materials`` plus one.
        material: the rules themselves.
        features: slots of its diagnostic features, in order.
        exclusions: slots of its not-features, in order.
    """

    label: int
    material: Material
    features: tuple[Slot, ...]
    exclusions: tuple[Slot, ...]


@dataclass(slots=True)
class _Windows:
    """Collects windows and references while rules are prepared; equal ones are kept once."""

    centre_nm: NDArray[np.float64]
    references: dict[str, NDArray[np.float64]]
    windows: list[ContinuumWindow] = field(default_factory=list)
    shapes: list[list[ReferenceShape]] = field(default_factory=list)
    known: dict[tuple[object, ...], int | None] = field(default_factory=dict)
    slots: dict[tuple[object, ...], tuple[int, int]] = field(default_factory=dict)

    def slot(self, iri: str, left_nm: tuple[float, float], right_nm: tuple[float, float]) -> tuple[int, int] | None:
        """Window and place in it of a reference's feature; None when the sensor cannot see it."""
        reference = self.references.get(iri)
        if reference is None:
            return None
        have = np.isfinite(reference)
        key = (left_nm, right_nm, have[self._span(left_nm, right_nm)].tobytes())
        if key not in self.known:
            self.known[key] = self._open(have, left_nm, right_nm)
        window = self.known[key]
        if window is None:
            return None
        # Two rules with the same reference share the row: their fits must tie exactly, not but for rounding.
        own = (window, reference.tobytes())
        if own not in self.slots:
            shape = ReferenceShape.of(reference, self.windows[window])
            if not (np.isfinite(shape.centred).all() and shape.sum_of_squares > 0):
                return None
            self.slots[own] = (window, len(self.shapes[window]))
            self.shapes[window].append(shape)
        return self.slots[own]

    def _span(self, left_nm: tuple[float, float], right_nm: tuple[float, float]) -> NDArray[np.bool_]:
        return (self.centre_nm >= left_nm[0] - 1) & (self.centre_nm <= right_nm[1] + 1)

    def _open(
        self, have: NDArray[np.bool_], left_nm: tuple[float, float], right_nm: tuple[float, float]
    ) -> int | None:
        found = ContinuumWindow.at(self.centre_nm[have], left_nm, right_nm)
        if found is None:
            return None
        back = np.flatnonzero(have)
        self.windows.append(
            ContinuumWindow(back[found.bands], back[found.left], back[found.right], found.fraction)
        )
        self.shapes.append([])
        return len(self.windows) - 1


@dataclass(frozen=True, slots=True)
class Measured:
    """All features measured on a block of spectra.

    Args:
        fit: r squared of each reference, ``(row, spectrum)``; NaN where there is no such feature.
        depth: its depth, the same way.
        left: reflectance of the left shoulder, ``(window, spectrum)``.
        right: of the right one.
        spread: sum of squares of the continuum-removed feature about its mean, ``(window, spectrum)``.
    """

    fit: NDArray[np.float64]
    depth: NDArray[np.float64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    spread: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SensorRules:
    """A release's expert rules on the bands of one sensor.

    Args:
        bands: stored indices of the bands used, ascending by centre, ``(used,)``.
        centre_nm: their centres, ``(used,)``.
        windows: continuum windows, indices into ``bands``.
        shapes: the references fitted on each window.
        first_row: row of each window's first reference.
        materials: those that the sensor can see, in the order in which ties are settled.
        unseen: labels of materials with features of which the sensor lacks at least one.
    """

    bands: NDArray[np.intp]
    centre_nm: NDArray[np.float64]
    windows: tuple[ContinuumWindow, ...]
    shapes: tuple[tuple[ReferenceShape, ...], ...]
    first_row: NDArray[np.intp]
    materials: tuple[PreparedMaterial, ...]
    unseen: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Number of references fitted."""
        return int(self.first_row[-1])

    def measure(self, spectra: NDArray[np.float64]) -> Measured:
        """Every feature on spectra ``(spectrum, used)``, reflectance, NaN where not usable."""
        n = len(spectra)
        fit, depth = np.empty((self.rows, n)), np.empty((self.rows, n))
        left, right, spread = (np.empty((len(self.windows), n)) for _ in range(3))
        for w, (window, shapes) in enumerate(zip(self.windows, self.shapes, strict=True)):
            rows = slice(self.first_row[w], self.first_row[w + 1])
            left[w], right[w] = window.shoulders(spectra)
            if not shapes:
                spread[w] = np.nan  # opened for a reference that shows nothing on so few bands
                continue
            fit[rows], depth[rows], spread[w] = fit_shapes(window.removed(spectra, (left[w], right[w])), shapes)
        return Measured(fit, depth, left, right, spread)


def prepare(
    knowledge: KnowledgeBase, centre_nm: NDArray[np.float64], fwhm_nm: NDArray[np.float64], usable: NDArray[np.bool_]
) -> SensorRules:
    """The rules of a release on a sensor's bands.

    Args:
        knowledge: the compiled release.
        centre_nm: band centres in stored order, nm, ``(band,)``.
        fwhm_nm: their widths, nm, ``(band,)``.
        usable: bands that may be looked at, ``(band,)``.
    """
    inside = usable & (centre_nm > SHORTEST_NM) & (centre_nm < LONGEST_NM)
    order = np.argsort(centre_nm, kind="stable")
    bands = order[inside[order]]
    with_spectrum = [material for material in knowledge.materials if material.spectrum is not None]
    wanted = {
        iri
        for material in with_spectrum if material.features
        for iri in (material.iri, *(exclusion.material_iri for exclusion in material.not_features))
    }
    chosen = [material for material in with_spectrum if material.iri in wanted]
    references: dict[str, NDArray[np.float64]] = {}
    if chosen and bands.size:
        stack = np.stack([np.asarray(material.spectrum) for material in chosen])
        at = resample_for_rules(stack, knowledge.grid_nm, centre_nm[bands], fwhm_nm[bands])
        references = {material.iri: row for material, row in zip(chosen, at, strict=True)}
    collected = _Windows(centre_nm[bands], references)
    pending, unseen = [], []
    for number, material in enumerate(knowledge.materials, start=1):
        if not material.features or material.spectrum is None:
            continue
        features = [collected.slot(material.iri, f.left_nm, f.right_nm) for f in material.features]
        exclusions = [collected.slot(x.material_iri, x.left_nm, x.right_nm) for x in material.not_features]
        if None in features or None in exclusions:
            # A gate that cannot be looked at is not a gate that was passed: such a material is never named.
            unseen.append(material.label)
            continue
        pending.append((number, material, features, exclusions))
    first = np.concatenate([[0], np.cumsum([len(shapes) for shapes in collected.shapes])]).astype(np.intp)

    def slots(places: list[tuple[int, int] | None]) -> tuple[Slot, ...]:
        return tuple(Slot(w, int(first[w]) + k) for w, k in (place for place in places if place is not None))

    prepared = [PreparedMaterial(n, m, slots(features), slots(out)) for n, m, features, out in pending]
    prepared.sort(key=lambda one: (_rank(one.material), one.label))
    return SensorRules(
        bands, centre_nm[bands], tuple(collected.windows), tuple(tuple(shapes) for shapes in collected.shapes), first,
        tuple(prepared), tuple(unseen),
    )


def _rank(material: Material) -> int:
    rank = material.extra.get("rank")
    return rank if isinstance(rank, int) else 1 << 30
