"""The compiled form of a release: what materials, features and rules are, as values that array code can work on.

Everything that identifies, weighs or restores sees materials, features, rules and bands only through these
attributes (spectra, continuum endpoints, thresholds, wavelengths), never through a learned index: a material added
to the ontology this morning is one more row here.

Names of bounds, wavelengths in nm: on a feature 'fit', 'depth', 'continuum_left', 'continuum_mean', 'continuum_right',
'continuum_ratio' (right over left) and 'centre_nm' (high exclusive); on a material 'fit' and 'depth' (weighted by the
features' weights), 'fit_depth' and 'depth_ratio' (second feature over first); on an exclusion 'fit' with 'depth'
(absolute) or 'relative_depth'. ``Material.extra`` may hold 'rank' (int, order in its rule base: ties go to the lowest;
a material without one loses every tie), 'arbitration' (IRI of the family whose members the centre of the first feature
tells apart), 'notation' (the rule base's own name), 'record' (in the spectral library), 'spectrum' (its IRI),
'formula', 'formula_tier' and 'is_constituent' (absorbs inside a material, is never named alone).

Source of the expert-system form: the USGS Material Identification and Characterization Algorithm (MICA; Kokaly 2011,
USGS Open-File Report 2011-1155) and its rule base.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Interval:
    """Closed bounds that a value must lie in; None leaves a side open."""

    low: float | None = None
    high: float | None = None

    def holds(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Elementwise: within the bounds (NaN never is)."""
        inside = np.isfinite(values)
        if self.low is not None:
            inside &= values >= self.low
        if self.high is not None:
            inside &= values <= self.high
        return inside


@dataclass(frozen=True, slots=True)
class DiagnosticFeature:
    """An absorption feature of a material.

    Args:
        iri: the feature's IRI.
        left_nm, right_nm: the two continuum intervals, each (low, high), nm.
        weight: its share in the material's fit (features of a material are normalised by area, as the rule base does).
        constraints: name of the measured quantity ('fit', 'depth', 'continuum_left', ...) to its bounds.
        feature_type: 'scored', or 'gate' where the weight is zero and only the constraints speak.
        extra: any further fields of the rule base, by name.
    """

    iri: str
    left_nm: tuple[float, float]
    right_nm: tuple[float, float]
    weight: float
    constraints: dict[str, Interval] = field(default_factory=dict)
    feature_type: str = ""
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotFeature:
    """A feature of another material whose presence speaks against this one.

    Args:
        material_iri: the other material, whose reference spectrum the fit is made with.
        feature_iri: the exclusion's own IRI.
        constraints: reaching all their lower bounds excludes: 'fit' and 'depth' or 'relative_depth'.
        left_nm, right_nm: the continuum intervals the fit is made over, each (low, high), nm.
        is_relative: the depth is taken relative to that of the material's first feature.
    """

    material_iri: str
    feature_iri: str
    constraints: dict[str, Interval] = field(default_factory=dict)
    extra: dict[str, object] = field(default_factory=dict)
    left_nm: tuple[float, float] = (0.0, 0.0)
    right_nm: tuple[float, float] = (0.0, 0.0)
    is_relative: bool = False


@dataclass(frozen=True, slots=True)
class Material:
    """A material with what identifies it.

    Args:
        iri: its IRI in the release.
        label: name for people.
        broader: IRIs of its ancestors in the closure, nearest first.
        spectrum: reference reflectance on ``KnowledgeBase.grid_nm``, ``(grid,)`` float32, NaN where unknown; None when
            the material has none.
        features: diagnostic features; empty for a material known by spectrum alone.
        not_features: exclusions.
        constraints: bounds on the material as a whole: 'fit', 'depth' (sums weighted by feature), 'fit_depth' (its
            low bound is exclusive, as in the rule base) and 'depth_ratio' (second feature's depth over the first's;
            its high bound is exclusive).
        priority: an expert's priority, 1 is neutral.
        source: IRI of the source of these facts.
    """

    iri: str
    label: str
    broader: tuple[str, ...]
    spectrum: NDArray[np.float32] | None
    features: tuple[DiagnosticFeature, ...] = ()
    not_features: tuple[NotFeature, ...] = ()
    constraints: dict[str, Interval] = field(default_factory=dict)
    priority: float = 1.0
    source: str = ""
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """A declarative rule.

    Args:
        iri: its IRI.
        kind: class of the vocabulary in lower snake case: 'bounds', 'band_order', 'monotone', 'feature_depth',
            'feature_presence', 'smoothness', 'mixing', 'co_occurrence', 'feature_safety'.
        parameters: numbers by name (``low``, ``high``, ``from_nm``, ``to_nm``, ...), as the vocabulary defines them.
        scope: IRIs of the materials it holds for; empty means all.
        is_hard: projected onto, rather than weighed.
        weight: strength of a soft rule.
        sentence: what it says, for people.
        source: IRI of its source.
        partners: 'co_occurrence' alone: the materials that those of the scope are found with, ``parameters['ratio']``
            times as often as by chance (below 1: more rarely).
        feature: IRI of the diagnostic feature that the rule is about; its continuum is in the parameters
            (``left_from_nm``, ``left_to_nm``, ``right_from_nm``, ``right_to_nm``).
    """

    iri: str
    kind: str
    parameters: dict[str, float]
    scope: tuple[str, ...]
    is_hard: bool
    weight: float
    sentence: str
    source: str = ""
    partners: tuple[str, ...] = ()
    feature: str = ""


@dataclass(frozen=True, slots=True)
class SpectralWindow:
    """A wavelength range in which the atmosphere lets little or nothing through."""

    iri: str
    label: str
    from_nm: float
    to_nm: float
    transmission: float  # 0 opaque ... 1 clear


@dataclass(frozen=True, slots=True)
class Sensor:
    """An instrument whose bands the release knows.

    Args:
        iri: its IRI.
        label: name for people.
        centre_nm: band centres in the instrument's order, nm, ``(band,)``.
        fwhm_nm: their full widths at half maximum, nm, ``(band,)``.
    """

    iri: str
    label: str
    centre_nm: NDArray[np.float64]
    fwhm_nm: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Source:
    """Where facts come from, and how far they are to be trusted."""

    iri: str
    label: str
    reliability: float  # 0 ... 1


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """A release compiled to values.

    Args:
        release: SHA-256 of the canonical graph (RDFC-1.0), hex.
        version: the release's own version string.
        grid_nm: wavelengths of the reference spectra, nm, ``(grid,)``.
        materials, rules, windows, sources, sensors: in canonical (IRI) order.
        priorities: expert priorities as (from_nm, to_nm, factor).
    """

    release: str
    version: str
    grid_nm: NDArray[np.float64]
    materials: tuple[Material, ...]
    rules: tuple[Rule, ...] = ()
    windows: tuple[SpectralWindow, ...] = ()
    sources: tuple[Source, ...] = ()
    priorities: tuple[tuple[float, float, float], ...] = ()
    sensors: tuple[Sensor, ...] = ()

    def material(self, iri: str) -> Material:
        """A material by IRI.

        Raises:
            UnknownTerm: the release has no such material.
        """
        from palimpsest.errors import UnknownTerm

        for candidate in self.materials:
            if candidate.iri == iri:
                return candidate
        raise UnknownTerm("no such material in the release", where=iri, wanted=f"one of {len(self.materials)}")
