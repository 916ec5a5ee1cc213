"""Spectral libraries, resampling to a sensor, continuum removal, feature depth."""

from palimpsest.spectra.continuum import ContinuumWindow, convex_hull, remove_continuum
from palimpsest.spectra.features import band_depth, feature_area, feature_centre, fit_feature
from palimpsest.spectra.library import SpectralLibrary
from palimpsest.spectra.resampling import resample, resample_for_rules

__all__ = [
    "ContinuumWindow", "SpectralLibrary", "band_depth", "convex_hull", "feature_area", "feature_centre", "fit_feature",
    "remove_continuum", "resample", "resample_for_rules",
]
