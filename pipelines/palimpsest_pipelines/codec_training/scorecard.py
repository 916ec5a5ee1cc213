"""How much smaller training makes the files: BD-rate under the coder that ships.

Trained levels against CDF 9/7 with the same quantiser, contexts and steps; then the entropy coder's network against
its fourteen views alone; then its learnt first state against one that has seen nothing; then where samples stand in
their cells, by table against by what the encoder measures alone. Each teacher is measured on its test region, which no
step of training saw.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.codec.entropy.planes import MixerState
from palimpsest.codec.quantisation import cells
from palimpsest.codec.quantisation.trellis import SIXTEEN
from palimpsest.codec.space.spatial import LevelTransform
from palimpsest.codec.tiles.tile import TileCoder, level_count
from palimpsest.measure import bd_rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from palimpsest.codec.entropy.foresight import Foresight
    from palimpsest.codec.quantisation.cells import Offsets, Sums
    from palimpsest_pipelines.codec_training.training_data import Teacher

FRACTION_BITS = 6
TEACHING = SIXTEEN  # states of the quantiser that teaches and measures here: the one that ships
LADDER_DB = {"image": (30.0, 34.0, 38.0, 42.0)}
SCENE_LADDER_DB = (42.0, 46.0, 50.0, 54.0)
LEARNING_DB = (56.0, 52.0, 48.0, 44.0, 40.0)
PLACING_DB = (66.0, 62.0, 58.0, 54.0, 50.0, 46.0, 42.0, 38.0)
PLACING_WEIGHTS = {"scene": 3.0, "made": 1.0}  # of a sample


def against_cdf97(
    transform: LevelTransform, found: list[Teacher], note: Callable[[str], None]
) -> dict[str, Any]:
    """BD-rate of trained levels in percent on the test region of each teacher, and the mean over those of scenes."""
    neutral = MixerState.for_details(trellis=TEACHING)
    return _table(found, (LevelTransform(), neutral), (transform, neutral), "trained levels against CDF 9/7", note)


def with_foresight(
    transform: LevelTransform, net: Foresight, found: list[Teacher], note: Callable[[str], None]
) -> dict[str, Any]:
    """BD-rate of the network with six views against fourteen views alone, both from nothing; scenes only."""
    rival = (transform, MixerState.for_details(trellis=TEACHING))
    ours = (transform, MixerState.for_details(net, TEACHING))
    return _table(_scenes(found), rival, ours, "foresight", note)


def with_first_state(
    transform: LevelTransform, state: MixerState, found: list[Teacher], note: Callable[[str], None]
) -> dict[str, Any]:
    """BD-rate of the learnt first state against none, both with the network; scenes only."""
    rival = (transform, MixerState.for_details(state.foresight, TEACHING))
    return _table(_scenes(found), rival, (transform, replace(state, trellis=TEACHING)), "learnt first state", note)


def with_offsets(
    transform: LevelTransform, state: MixerState, offsets: Offsets, found: list[Teacher], note: Callable[[str], None]
) -> dict[str, Any]:
    """BD-rate of the table of offsets against none, both with network and first state; scenes only."""
    rival = replace(state, trellis=TEACHING)
    ours = (transform, replace(rival, offsets=offsets))
    return _table(_scenes(found), (transform, rival), ours, "offsets within cells", note)


def _scenes(found: list[Teacher]) -> list[Teacher]:
    return [one for one in found if one.kind != "image"]


def _table(
    found: list[Teacher], rival: tuple[LevelTransform, MixerState], ours: tuple[LevelTransform, MixerState],
    what: str, note: Callable[[str], None],
) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for one in found:
        ladder = LADDER_DB.get(one.kind, SCENE_LADDER_DB)
        table[one.name] = round(bd_rate(curve(one, *rival, ladder), curve(one, *ours, ladder)), 3)
        note(f"{one.name}: BD-rate {table[one.name]:+.2f} % ({what}, test region)")
    scenes = [table[one.name] for one in found if one.kind != "image"]
    table["mean of scenes"] = round(float(np.mean(scenes)), 3) if scenes else None
    return table


def curve(
    one: Teacher, transform: LevelTransform, state: MixerState, ladder_db: tuple[float, ...], region: str = "test"
) -> list[tuple[float, float]]:
    """(bits a sample, PSNR dB) of the component planes of a region, one point a step."""
    planes = one.region(region)
    points = []
    for psnr in ladder_db:
        step = one.step(psnr)
        units = units_of(one, psnr, region)
        kept = len(units)
        coder = TileCoder(transform, state, level_count(*units.shape[1:]))
        code, rebuilt = coder.encode(units, FRACTION_BITS, None)
        bits = 8 * sum(len(chunk) for chunk in code.chunks)
        error = ((rebuilt / (1 << FRACTION_BITS) * step - planes[:kept]) ** 2).sum() + (planes[kept:] ** 2).sum()
        points.append((bits / planes.size, 10 * float(np.log10(one.peak**2 * planes.size / error))))
    return points


def units_of(one: Teacher, psnr_db: float, region: str) -> NDArray[np.int32]:
    """Components worth coding at a step, in fixed point of that step, ``(component, row, col)``."""
    step = one.step(psnr_db)
    kept = max(1, int((one.variances > step**2 / 12).sum()))
    units: NDArray[np.int32] = np.rint(one.region(region)[:kept] / step * (1 << FRACTION_BITS)).astype(np.int32)
    return units


class _Running(MixerState):
    """A state that a tile coder goes on learning in, instead of in a copy; only guesses start anew."""

    def copy(self) -> MixerState:
        self.guides[:] = 0
        return self


def learn_first_state(transform: LevelTransform, net: Foresight, found: list[Teacher]) -> MixerState:
    """What the entropy coder knows after coding every scene's training region, finest step first."""
    fresh = MixerState.for_details(net, TEACHING)
    state = _Running(**{part.name: getattr(fresh, part.name) for part in fields(fresh)})
    for psnr in LEARNING_DB:
        for one in _scenes(found):
            units = units_of(one, psnr, "train")
            TileCoder(transform, state, level_count(*units.shape[1:])).encode(units, FRACTION_BITS, None)
    return state


def gather_rests(transform: LevelTransform, net: Foresight, found: list[Teacher]) -> Sums:
    """How far samples of every scene's training region are from their points, by hint; see :func:`cells.gather`."""
    total = np.zeros((cells.ROWS, cells.HINTS, 2))
    for one in _scenes(found):
        rests = np.zeros_like(total)
        state = replace(MixerState.for_details(net, TEACHING), rests=rests)
        for psnr in PLACING_DB:
            units = units_of(one, psnr, "train")
            TileCoder(transform, state, level_count(*units.shape[1:])).encode(units, FRACTION_BITS, None)
        total += PLACING_WEIGHTS[one.kind] * rests
    return total
