"""Leaves, canopies, soils and sky of made scenes obey their physics."""

import numpy as np
import pytest

from palimpsest.errors import UsageError
from palimpsest.radiative_transfer.canopy import Canopy, canopy_reflectance, leaf_angle_shares
from palimpsest.radiative_transfer.ground import grain, intimate, moist_soil, over_bottom
from palimpsest.radiative_transfer.leaf import LeafTraits, leaf_optics, surface_transmission
from palimpsest.scenes import atmosphere

WAVELENGTHS = np.arange(400.0, 2501.0, 10.0)


def at(values, nm):
    return values[..., np.abs(WAVELENGTHS - nm).argmin()]


def test_a_leaf_gives_back_no_more_light_than_it_gets():
    rng = np.random.default_rng(1)
    traits = LeafTraits(
        structure=rng.uniform(1, 3, 40), chlorophyll_ug_cm2=rng.uniform(0, 90, 40), water_cm=rng.uniform(0, 0.05, 40),
        dry_matter_g_cm2=rng.uniform(0, 0.02, 40), brown=rng.uniform(0, 1, 40),
    )
    r, t = leaf_optics(WAVELENGTHS, traits)
    assert r.shape == t.shape == (40, WAVELENGTHS.size)
    assert r.min() >= 0
    assert t.min() >= 0
    assert (r + t).max() <= 1 + 1e-9


def test_an_empty_leaf_absorbs_nothing():
    r, t = leaf_optics(WAVELENGTHS, LeafTraits(
        chlorophyll_ug_cm2=0, carotenoid_ug_cm2=0, anthocyanin_ug_cm2=0, water_cm=0, dry_matter_g_cm2=0,
    ))
    np.testing.assert_allclose(r + t, 1, atol=1e-5)


def test_more_of_a_constituent_darkens_its_own_bands():
    poor, rich = (leaf_optics(WAVELENGTHS, LeafTraits(chlorophyll_ug_cm2=c))[0] for c in (15.0, 60.0))
    assert at(rich, 550)[0] < at(poor, 550)[0] - 0.05
    np.testing.assert_allclose(at(rich, 1650), at(poor, 1650), atol=1e-3)
    dry, wet = (leaf_optics(WAVELENGTHS, LeafTraits(water_cm=c))[0] for c in (0.004, 0.03))
    assert at(wet, 1450)[0] < at(dry, 1450)[0] - 0.05
    np.testing.assert_allclose(at(wet, 550), at(dry, 550), atol=1e-3)
    plain, red = (leaf_optics(WAVELENGTHS, LeafTraits(anthocyanin_ug_cm2=c))[0] for c in (0.0, 15.0))
    assert at(red, 550)[0] < at(plain, 550)[0] - 0.02
    light, heavy = (leaf_optics(WAVELENGTHS, LeafTraits(dry_matter_g_cm2=c))[0] for c in (0.003, 0.015))
    assert at(heavy, 2100)[0] < at(light, 2100)[0] - 0.01


def test_a_green_leaf_has_the_known_shape():
    r = leaf_optics(WAVELENGTHS, LeafTraits())[0][0]
    assert at(r, 550) > at(r, 670)
    assert at(r, 550) > at(r, 480)
    assert at(r, 850) > 0.4 > 0.1 > at(r, 670)
    assert at(r, 1650) > at(r, 2200) > at(r, 1940)


def test_traits_of_no_leaf_are_refused():
    with pytest.raises(UsageError, match="structure"):
        leaf_optics(WAVELENGTHS, LeafTraits(structure=0.5))


def test_surface_transmission_agrees_with_normal_incidence_in_a_narrow_cone():
    index = np.array([1.3, 1.5])
    np.testing.assert_allclose(surface_transmission(index, 1.0), 4 * index / (index + 1) ** 2, rtol=1e-4)


@pytest.mark.parametrize("angles", ["planophile", "erectophile", "plagiophile", "spherical", "uniform"])
def test_leaf_angle_shares_sum_to_one(angles):
    shares = leaf_angle_shares(angles)
    assert shares.min() >= 0
    assert shares.sum() == pytest.approx(1)


def test_a_bare_canopy_is_its_soil_and_a_deep_one_hides_it():
    r, t = leaf_optics(WAVELENGTHS, LeafTraits())
    soil = np.linspace(0.1, 0.4, WAVELENGTHS.size)
    bare = canopy_reflectance(r, t, soil, Canopy(leaf_area_index=1e-6))
    for part in bare:
        np.testing.assert_allclose(part[0], soil, atol=1e-5)
    deep = [canopy_reflectance(r, t, ground, Canopy(leaf_area_index=25.0)) for ground in (soil, 0 * soil)]
    np.testing.assert_allclose(deep[0].directional, deep[1].directional, atol=1e-3)


def test_leaves_and_soil_that_absorb_nothing_send_everything_back():
    leaf = np.full((1, 3), 0.5)
    white = canopy_reflectance(leaf, leaf - 1e-7, np.ones(3), Canopy(leaf_area_index=4.0))
    np.testing.assert_allclose(white.hemispherical, 1, atol=5e-3)
    np.testing.assert_allclose(white.sky_hemispherical, 1, atol=5e-3)


def test_sun_behind_the_viewer_is_the_brightest():
    r, t = leaf_optics(WAVELENGTHS, LeafTraits())
    soil = np.full(WAVELENGTHS.size, 0.15)

    def seen(azimuth):
        view = Canopy(view_zenith_deg=35.0, sun_zenith_deg=35.0, azimuth_deg=azimuth)
        return at(canopy_reflectance(r, t, soil, view).directional, 670)[0]

    assert seen(0.0) > seen(30.0) > seen(180.0)


def test_water_films_darken_a_soil_and_deepen_its_water_bands():
    dry = np.full(WAVELENGTHS.size, 0.35)
    wet = moist_soil(WAVELENGTHS, dry, 2.0)
    assert (wet < dry).all()
    assert at(wet, 1450) < 0.8 * at(wet, 1250)
    np.testing.assert_array_equal(moist_soil(WAVELENGTHS, dry, 0.0), dry)


def test_shallow_water_shows_its_bottom_only_where_water_is_clear():
    deep, sand = np.full(WAVELENGTHS.size, 0.02), np.full(WAVELENGTHS.size, 0.4)
    seen = over_bottom(WAVELENGTHS, deep, sand, 1.0)
    assert at(seen, 550) > 0.1
    assert at(seen, 1200) == pytest.approx(0.02, abs=1e-3)


def test_intimate_mixtures_lie_between_and_are_darker_than_linear_ones():
    pair = np.stack([np.full(5, 0.05), np.full(5, 0.7)])
    mixed = intimate(pair, np.array([0.5, 0.5]))
    assert (mixed > 0.05).all()
    assert (mixed < 0.375).all()
    np.testing.assert_allclose(intimate(pair, np.array([1.0, 0.0])), 0.05, rtol=1e-6)
    assert (grain(pair, 2.0) < pair).all()


def test_the_sky_is_opaque_where_water_vapour_says_so():
    grid = np.arange(400.0, 2500.0)
    through = atmosphere.transmission(grid)
    assert through[grid == 1385][0] < 0.01
    assert through[grid == 1870][0] < 0.01
    assert through[grid == 2200][0] > 0.9
    assert through.max() <= 1
    whole = np.trapezoid(atmosphere.solar_irradiance(np.arange(200.0, 20000.0)))
    assert whole == pytest.approx(1361, rel=0.02)


def test_radiance_of_a_bright_ground_shows_the_oxygen_band():
    grid = np.arange(740.0, 790.0)
    gain, path = atmosphere.radiance_terms(grid, atmosphere.transmission(grid))
    seen = 0.5 * gain + path
    assert seen[grid == 762].item() < 0.6 * seen[grid == 748].item()
