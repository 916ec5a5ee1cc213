"""All dates of a place in one model: worth it in strong noise, and no trap where the dates have nothing in common."""

from __future__ import annotations

import numpy as np
import pytest
from restoration_cubes import cube_of, error_db, mixtures, with_dead_columns

from palimpsest.restoration import restore
from palimpsest.restoration.companions.companion import Member
from palimpsest.restoration.companions.dates import dates_of, fit_dates
from palimpsest.restoration.companions.together import Companions
from palimpsest.restoration.factors.surroundings import fit_scene
from palimpsest.restoration.group import restore_group, restore_member

SIDE = 28
NOISE = 300.0  # of 10,000
LIGHTS = ((1.0, 0.0), (0.85, 0.08), (0.95, -0.08), (0.8, 0.0))


def ground(light: tuple[float, float], seed: int = 1) -> np.ndarray:
    truth = mixtures(SIDE, SIDE, seed)
    level, tilt = light
    along = np.linspace(-1, 1, len(truth))[:, None, None]
    return truth * level * (1 + tilt * along * np.linspace(0, 2, SIDE))


@pytest.fixture(scope="module")
def dates():
    return [with_dead_columns(cube_of(ground(light), noise=NOISE, seed=30 + k), k, bands=12)
            for k, light in enumerate(LIGHTS)]


def test_noisy_dates_with_dead_lines_of_their_own_beat_each_alone(dates):
    together = restore_group(dates, knowledge=None)
    gains = []
    for light, cube, both in zip(LIGHTS, dates, together, strict=True):
        clean, where = ground(light) * 10000, cube.reasons > 0
        alone = restore(cube, knowledge=None)
        gains.append(error_db(both.restored.data, clean, where) - error_db(alone.restored.data, clean, where))
        assert both.is_exact()
        assert np.array_equal(both.restored.data[~where], cube.data[~where])
    assert np.mean(gains) > 0.5, gains
    assert min(gains) > -0.2
    again = restore_member(2, dates, knowledge=None)
    assert np.array_equal(again.restored.data, together[2].restored.data)
    assert np.array_equal(again.half_width, together[2].half_width)


def test_dates_without_anything_in_common_cost_nothing(dates):
    mine = Member.of(dates[0], dates[0].voxel_reasons())
    strangers = [cube_of(ground(LIGHTS[k], seed=50 + k), noise=NOISE, seed=k) for k in range(3)]
    model = dates_of([mine, *(Member.of(cube, cube.voxel_reasons()) for cube in strangers)])
    every = np.arange(SIDE * SIDE)
    alone = fit_scene(mine.cube, mine.reasons, mine.axis, mine.unit, every, mine.noise)
    asked = Companions(mine, (), model, None, np.full(mine.axis.count, np.inf), "")
    hearing = asked.beside(alone)
    view = mine.view(every)
    share = hearing.share
    mixed = share * asked(view)[0] + (1 - share) * alone.predict(view)[0]
    clean = ground(LIGHTS[0]).reshape(len(share), -1).T * 10000 / mine.unit
    lost = ~view.usable
    cost = 10 * np.log10(np.square(mixed - clean)[lost].mean() / np.square(alone.predict(view)[0] - clean)[lost].mean())
    assert cost < 0.1


def test_a_factor_of_one_date_is_silent_in_the_other():
    rng = np.random.default_rng(5)
    shared, own = rng.standard_normal((600, 1)), rng.standard_normal((600, 1))
    first = shared @ rng.standard_normal((1, 20))
    second = shared @ rng.standard_normal((1, 25)) + own @ rng.standard_normal((1, 25))
    values = (np.concatenate([first, second], 1) + 0.1 * rng.standard_normal((600, 45))).astype(np.float32)
    model = fit_dates(values, np.ones(values.shape, bool), np.full(45, 0.1), [20, 25], 8)
    over = model.loadings / np.sqrt(model.noise)[:, None]
    strength = [np.linalg.svd(part, compute_uv=False) for part in (over[:20], over[20:])]
    assert strength[0][0] > 20
    assert strength[0][1] < 0.5
    assert min(strength[1][:2]) > 20
    assert np.sqrt(model.noise).mean() == pytest.approx(0.1, rel=0.05)
