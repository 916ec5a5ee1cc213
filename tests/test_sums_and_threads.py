"""Contributions add up whatever is asked for together, and no result hangs on how many processors there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from palimpsest.cubes import Reason
from palimpsest.restoration.computing.one_thread import one_thread
from palimpsest.restoration.defects.defect_search import search
from palimpsest.restoration.group import restore_group, restore_member
from palimpsest.restoration.repair import repair
from palimpsest.scenes import make_scene


@pytest.mark.parametrize(("is_denoised", "infer_opaque"), [*itertools.product((False, True), repeat=2)])
def test_contributions_add_up_whatever_is_asked_for_together(is_denoised, infer_opaque):
    cube = make_scene(16, 16, sensor="hymap", seed=5, defects="mixed").observed
    done = repair(
        cube, knowledge=None, is_searched=False, is_decoded=True, is_denoised=is_denoised, infer_opaque=infer_opaque
    )
    assert done.is_exact()
    opaque = cube.voxel_reasons() == Reason.OPAQUE
    moved = done.restored.data[opaque] != cube.data[opaque]
    assert moved.any() == (infer_opaque or is_denoised)
    assert done.changed.size == np.unique(done.changed).size


def test_linear_algebra_of_a_restoration_runs_on_one_thread():
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(limits=2):
        before = threads()
        with one_thread():
            assert threads() == {1}
        assert threads() == before
    for work in (repair, search, restore_group, restore_member):
        assert hasattr(work, "__wrapped__"), f"{work.__name__} is not held to one thread"
