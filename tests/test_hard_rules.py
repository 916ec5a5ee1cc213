"""No voxel that a restoration changed breaks a hard rule; measured ones that do are reported and stay."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from restoration_cubes import cube_of, knowledge, mixtures, with_gap

from palimpsest.commands import main
from palimpsest.cubes import Reason
from palimpsest.formats import write
from palimpsest.knowledge.rules import Rule
from palimpsest.restoration.repair import repair

BOUNDS = "https://w3id.org/palimpsest/rule/reflectance-bounds"


def dark_cube(seed, noise=25.0, gap=True):
    """Spectra near nothing, so that half of the measured noise lies below it."""
    cube = cube_of(0.004 * mixtures(seed=seed), noise=noise, seed=seed)
    return with_gap(cube, 30, 45) if gap else cube


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("is_denoised", [False, True])
def test_no_changed_voxel_breaks_a_bound_and_measured_ones_stay(seed, is_denoised):
    cube = dark_cube(seed)
    result = repair(cube, knowledge=knowledge(), is_denoised=is_denoised, is_searched=False)
    changed = np.zeros(cube.data.size, bool)
    changed[result.changed] = True
    changed = changed.reshape(cube.data.shape)
    after, before = result.restored.data, cube.data
    assert after[changed].min() >= 0
    assert after[changed].max() <= 12000
    assert np.array_equal(after[~changed], before[~changed])
    measured = (cube.voxel_reasons() == Reason.GOOD) & ~changed
    told = result.report["hard_rules"][BOUNDS]
    assert told["measured_voxels_that_break_it"] == int((after[measured] < 0).sum())
    assert result.is_exact()
    if is_denoised:
        assert told["restored_voxels_brought_to_it"] > 0
        assert any(one.rule == BOUNDS for one in result.decisions)
    else:
        assert told["measured_voxels_that_break_it"] > 0, "measured voxels must break it for this test to say anything"


def test_a_rule_of_order_holds_where_a_whole_gap_was_restored():
    base = knowledge()
    rising = Rule("https://x.example/rises", "monotone", {"from_nm": 700.0, "to_nm": 800.0, "direction": 1.0}, (), True,
                  1.0, "Rises from 700 to 800 nm.", base.rules[0].source)
    cube = cube_of(mixtures(seed=4), noise=30.0)
    centre = cube.bands.centre_nm
    first, last = np.searchsorted(centre, 690), np.searchsorted(centre, 810)
    cube = with_gap(cube, int(first), int(last))
    result = repair(cube, knowledge=replace(base, rules=(*base.rules, rising)), is_searched=False)
    inside = result.restored.data[first:last].astype(int)
    assert np.isin(np.arange(first, last) * cube.data[0].size, result.changed).all()
    assert (np.diff(inside, axis=0) >= -1).all(), "but for the rounding of the stored type"


def test_without_knowledge_there_are_no_rules():
    assert "hard_rules" not in repair(dark_cube(1), knowledge=None, is_searched=False).report


def test_the_verb_reports_the_rules(tmp_path, capsys):
    write(dark_cube(5), tmp_path / "dark.hdr")
    assert main(["restore", str(tmp_path / "dark.hdr"), str(tmp_path / "out.hdr"), "--denoise", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["hard_rules"][BOUNDS]
    assert set(told) == {"restored_voxels_brought_to_it", "measured_voxels_that_break_it"}
