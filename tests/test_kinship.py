"""What a mixture leaves over, carried into a gap as the library's own leftovers go together."""

from __future__ import annotations

import numpy as np
import pytest
from restoration_cubes import GRID, cube_of, knowledge, mixtures, with_gap

from palimpsest.cubes import BandTable
from palimpsest.restoration.library.kinship import carried, kinship
from palimpsest.restoration.library.semantic_mapper import library_for, read_scene
from palimpsest.restoration.spectrum.kriging import carry
from palimpsest.restoration.study.sources import LIBRARY, LIBRARY_FADING, LIBRARY_KINDRED
from palimpsest.restoration.study.study import study
from palimpsest.restoration.view import Axis

WEIGHTS = np.ones(len(GRID))


def kin(amplitudes: np.ndarray) -> np.ndarray:
    """Spectra of a line and a cosine that all share, and two lobes that each has in its own strength."""
    slow = np.stack([np.full(len(GRID), 0.3), 0.2 + 0.1 * np.cos(GRID / 700)])
    lobes = np.exp(-(((GRID - 900) / 60) ** 2)) - np.exp(-(((GRID - 1500) / 60) ** 2))
    rng = np.random.default_rng(0)
    return rng.dirichlet([1, 1], len(amplitudes)) @ slow + amplitudes[:, None] * lobes


def test_what_goes_together_in_the_library_is_carried_into_the_gap_and_fading_is_not():
    spectra = np.concatenate([kin(np.zeros(8)), kin(np.random.default_rng(1).normal(0, 0.05, 30))])
    covariance = kinship(spectra, np.arange(8), WEIGHTS, GRID)
    gap = (GRID > 1350) & (GRID < 1650)
    # Only the lobes are asked for, in three pixels.
    pure = np.exp(-(((GRID - 900) / 60) ** 2)) - np.exp(-(((GRID - 1500) / 60) ** 2))
    rest = np.array([[0.04], [0.0], [-0.03]]) * pure
    shown = np.where(gap, 0.0, rest)
    found = carried(shown, gap, covariance, WEIGHTS)
    plain = carry(Axis.of(BandTable(len(GRID), GRID)), gap, shown, 80.0)
    assert np.abs(found - rest)[:, gap].max() < 0.25 * np.abs(plain - rest)[:, gap].max()
    assert not found[:, ~gap].any()
    assert np.abs(found[1]).max() == 0


def test_a_band_that_no_mixture_explains_is_hardly_listened_to():
    spectra = np.concatenate([kin(np.zeros(8)), kin(np.random.default_rng(1).normal(0, 0.05, 30))])
    covariance = kinship(spectra, np.arange(8), WEIGHTS, GRID)
    gap, rest = (GRID > 1350) & (GRID < 1650), np.zeros((1, len(GRID)))
    rim = int(np.flatnonzero(gap)[0]) - 1
    rest[0, rim] = 0.1
    doubted = WEIGHTS.copy()
    doubted[rim] = 0.03
    assert np.abs(carried(rest, gap, covariance, WEIGHTS)).max() > 0.03
    assert np.abs(carried(rest, gap, covariance, doubted)).max() < 0.005


def test_the_covariance_is_one():
    spectra = np.concatenate([kin(np.zeros(8)), kin(np.random.default_rng(1).normal(0, 0.05, 30))])
    covariance = kinship(spectra, np.arange(8), WEIGHTS, GRID)
    assert np.allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9
    assert np.median(np.diag(covariance)) == pytest.approx(1.0, abs=0.3)


def test_nothing_seen_and_nothing_lost_leave_nothing_to_carry():
    rest = np.ones((2, len(GRID)))
    assert not carried(rest, np.ones(len(GRID), bool), np.eye(len(GRID)), WEIGHTS).any()
    assert not carried(rest, np.zeros(len(GRID), bool), np.eye(len(GRID)), WEIGHTS).any()


def test_what_is_stored_where_the_air_is_shut_is_neither_fitted_nor_carried_into_the_gap_beside_it():
    library = library_for(Axis.of(BandTable(len(GRID), GRID)), knowledge())
    assert library.shut.any()
    clean = mixtures()
    spoiled = clean.copy()
    spoiled[library.shut] += 0.3  # what a correction made of darkness
    first = int(np.flatnonzero(library.shut)[-1]) + 1
    proposals = []
    for reflectance in (clean, spoiled):
        cube = with_gap(cube_of(reflectance), first, first + 8)
        seen = study(cube, cube.voxel_reasons(), knowledge())
        assert not seen.sources.flat.weights[library.shut].any()
        proposals.append(seen.proposals.values[:, :, first : first + 8] * seen.unit / 10000)
    for source in (LIBRARY, LIBRARY_FADING, LIBRARY_KINDRED):
        assert np.abs(proposals[1][source] - proposals[0][source]).max() < 0.02


def test_a_scene_that_shows_hardly_more_than_shut_bands_is_read_by_them():
    library = library_for(Axis.of(BandTable(len(GRID), GRID)), knowledge())
    means = mixtures().reshape(len(GRID), -1).T[::10]
    observed = library.shut.copy()
    assert observed.sum() >= 8
    observed[:4] = True
    assert read_scene(library, means, observed, lit=False).weights[library.shut].any()


def test_in_a_gas_window_of_a_corrected_cube_the_library_is_silent_and_under_sunlight_it_speaks():
    library = library_for(Axis.of(BandTable(len(GRID), GRID)), knowledge())
    first, last = (int(np.argmin(np.abs(GRID - nm))) for nm in (1100, 1175))
    sun = np.exp(library.basis @ np.array([0.0, 0.8, 1.0, 0.0, 0.0]))
    for reflectance, speaks in ((mixtures(), False), (mixtures() * (sun / sun.max())[:, None, None], True)):
        cube = with_gap(cube_of(reflectance), first, last)
        seen = study(cube, cube.voxel_reasons(), knowledge())
        assert seen.proposals.speaks[LIBRARY, :, first:last].all() == speaks
        assert seen.proposals.speaks[LIBRARY_KINDRED, :, first:last].any() == speaks
    wide = with_gap(cube_of(mixtures()), first - 8, last + 8)
    assert study(wide, wide.voxel_reasons(), knowledge()).proposals.speaks[LIBRARY, :, first:last].all()
