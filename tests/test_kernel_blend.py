"""Short gaps: the blend of kernels learns from the scene how smooth its spectra are."""

import numpy as np

from palimpsest.cubes import BandTable, Cube
from palimpsest.restoration.spectrum import kernel_blend
from palimpsest.restoration.study.sources import KRIGING, LINEAR, PCHIP, Run, Sources, propose
from palimpsest.restoration.view import Axis, View, unit_of, view_of

BANDS = 90
GAP = np.arange(40, 44)


def view_with_gap(spectra: np.ndarray) -> tuple[View, np.ndarray, np.ndarray]:
    """The view of spectra ``(pixel, band)`` with :data:`GAP` hidden, the hidden bands, and the scaled truth."""
    cube = Cube(np.ascontiguousarray(spectra.T[:, :, None], np.float32), BandTable(BANDS))
    reasons = np.zeros(cube.data.shape, np.uint8)
    axis, unit = Axis.of(cube.bands), unit_of(cube, reasons)
    view = view_of(cube, reasons, axis, np.arange(len(spectra)), unit)
    hidden = np.zeros(BANDS, bool)
    hidden[GAP] = True
    return view.hiding(np.tile(hidden, (len(spectra), 1))), hidden, view.values


def smooth(rng: np.random.Generator) -> np.ndarray:
    at = np.arange(BANDS)
    return 500 + rng.uniform(50, 200, (60, 1)) * np.sin(at / 9.0 + rng.uniform(0, 6, (60, 1)))


def error(values: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(((values - truth[:, GAP]) ** 2).mean()))


def test_smooth_spectra_are_bent_and_jagged_ones_are_levelled():
    rng = np.random.default_rng(3)
    curves = smooth(rng)
    jagged = 500 + np.tile(40 * rng.standard_normal(BANDS), (60, 1)) * rng.uniform(0.5, 1.5, (60, 1))
    for spectra in (curves, jagged):
        view, hidden, truth = view_with_gap(spectra)
        blend = kernel_blend.fit(view, GAP, hidden)
        assert blend is not None
        ours = error(blend.fill(view.axis, view.values, GAP, hidden), truth)
        said = propose(Sources(hidden, None, None, None), view)
        assert ours < 0.9 * min(error(said.values[n][:, GAP], truth) for n in (LINEAR, PCHIP))
        assert np.isclose(blend.shares.sum(), 1)
        assert (blend.shares >= 0).all()
        assert blend.error[2] <= blend.error[:2].min() * 1.05


def test_hidden_bands_are_never_looked_at():
    view, hidden, _ = view_with_gap(smooth(np.random.default_rng(5)))
    spoiled = view.values.copy()
    spoiled[:, GAP] = 1e3
    blend = kernel_blend.fit(view, GAP, hidden)
    assert blend is not None
    calm = blend.fill(view.axis, view.values, GAP, hidden)
    assert np.array_equal(calm, blend.fill(view.axis, spoiled, GAP, hidden))


def test_there_is_no_blend_at_an_end_nor_in_a_wide_gap_nor_among_few_bands():
    view, hidden, _ = view_with_gap(smooth(np.random.default_rng(6)))
    assert kernel_blend.fit(view, np.arange(40, 41 + kernel_blend.WIDEST), hidden) is None
    for gap in (np.arange(3), np.arange(BANDS - 3, BANDS)):
        at_end = np.zeros(BANDS, bool)
        at_end[gap] = True
        assert kernel_blend.fit(view, gap, at_end) is None
    few = hidden.copy()
    few[:36] = few[48:] = True
    assert kernel_blend.fit(view, GAP, few) is None


def test_a_flat_scene_stays_flat():
    view, hidden, truth = view_with_gap(np.full((30, BANDS), 700.0))
    blend = kernel_blend.fit(view, GAP, hidden)
    assert blend is not None
    assert np.allclose(blend.fill(view.axis, view.values, GAP, hidden), truth[:, GAP], atol=1e-5)


def test_line_and_cubic_are_silent_where_the_blend_speaks():
    view, hidden, _ = view_with_gap(smooth(np.random.default_rng(8)))
    blend = kernel_blend.fit(view, GAP, hidden)
    assert blend is not None
    said = propose(Sources(hidden, None, None, None, {Run(int(GAP[0]), int(GAP[-1]) + 1): blend}), view)
    assert said.speaks[KRIGING][:, GAP].all()
    assert not said.speaks[[LINEAR, PCHIP]][:, :, GAP].any()
    expected = blend.fill(view.axis, said.values[LINEAR], GAP, hidden)
    assert np.array_equal(said.values[KRIGING][:, GAP], expected)
