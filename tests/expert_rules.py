"""What the outside judge says: the MICA rules as the PyPI package cramm evaluates them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest


def cramm_names(cube):
    """Rule name of each pixel, ``(row, col)`` strings, '-' where none is named; reflectance cube with wavelengths."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own dependencies warn while they are imported
        engine = pytest.importorskip("cramm.mica_engine")
        judge = engine.MicaEngine()._classifier
    table = cube.bands.with_assumed_fwhm()
    order = table.ascending()
    centre, width = table.centre_nm[order] / 1000, table.fwhm_nm[order] / 1000
    use = np.flatnonzero((centre > 0.36) & (centre < 2.49))
    spectra = np.ascontiguousarray(cube.physical()[order].transpose(1, 2, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides by zero where a spectrum is dark
        found = judge.classify(spectra, centre[use], centre, width, use, n_workers=1, log_callback=lambda line: None)
    names = np.array([*found.index, "-"])
    return names[np.where(found.fit > 0, found.num.astype(int), -1)].reshape(cube.shape[1:])


def our_names(found, knowledge):
    """The same of our identification: the rule base's own name of each pixel's material."""
    notations = ["-"] + [str(material.extra.get("notation", material.label)) for material in knowledge.materials]
    return np.array(notations)[found.labels]


def agreement(ours, theirs):
    """Share of the pixels that either names that both name alike."""
    either = (ours != "-") | (theirs != "-")
    return float((ours == theirs)[either].mean())
