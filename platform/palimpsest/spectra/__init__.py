"""Spectral libraries, resampling to a sensor, continuum removal, feature depth."""
