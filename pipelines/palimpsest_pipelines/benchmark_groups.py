"""Cubes restored together against the same cubes restored alone, and piles put in order; on made scenes only.

Each place is made anew on several dates: another light, other vapour, other noise, other defects; no date's wide or
short runs of missing bands are another's while there is room. Both ways are judged by the same error against each
cube's own clean values, on its damaged voxels; opaque bands are not judged. Piles are shuffled and nameless.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.scenes import MadeScene

SEED = 880_001  # training draws its seeds below 2 ** 30 by chance; these places were never among its lists


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Args:
        kinds: of places.
        sensors: each kind is seen by each.
        seeds: places of each kind and sensor.
        dates: cubes of a place.
        side: rows and columns, pixels.
        defects: case of :func:`~palimpsest.scenes.degrade`.
        is_blind: only flagged defects and those that a search finds are known; otherwise every one.
        piles: piles to organise.
        pile_cubes: cubes in each.
        pile_places: kinds of the three places of a pile; alike kinds are other places all the same.
        pile_sensors: each place is seen by each.
        first: seed of the first place, and of the first pile.
        out: file for one JSON line a cube; lines are added.
    """

    kinds: tuple[str, ...] = ("mixed", "vegetation", "urban", "geology")
    sensors: tuple[str, ...] = ("aviris", "enmap")
    seeds: int = 1
    dates: int = 2
    side: int = 64
    defects: str = "mixed"
    is_blind: bool = False
    piles: int = 0
    pile_cubes: int = 40
    pile_places: tuple[str, ...] = ("vegetation", "urban", "geology")
    pile_sensors: tuple[str, ...] = ("aviris", "enmap")
    first: int = 0
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class Gain:
    """One cube, alone and together.

    Args:
        place: kind, seed and sensor.
        date: which cube of the place.
        alone_db: PSNR on damaged voxels, restored alone; peak: the truth's 99.9th percentile.
        together_db: restored with its group.
        seconds_alone: wall clock.
        seconds_together: wall clock of the group, divided by its cubes.
    """

    place: str
    date: int
    alone_db: float
    together_db: float
    seconds_alone: float
    seconds_together: float

    @property
    def gain_db(self) -> float:
        """How much better it is together."""
        return self.together_db - self.alone_db


def run(plan: Plan, note: Callable[[str], None]) -> dict[str, float]:
    """Both figures of every cube, the least and the mean gain, and the mistakes made in piles.

    Raises:
        UsageError: nothing to measure.
    """
    from palimpsest.knowledge.releases.release import load

    knowledge, table = load(None), {}
    gains: list[Gain] = []
    for kind in plan.kinds:
        for sensor in plan.sensors:
            for seed in range(plan.seeds):
                gains += _gains(plan, (kind, sensor, SEED + plan.first + seed), knowledge)
                for gain in gains[-plan.dates :]:
                    note(f"{gain.place:<32} date {gain.date}: alone {gain.alone_db:6.2f} dB, together "
                         f"{gain.together_db:6.2f} dB, gain {gain.gain_db:+6.2f} dB, "
                         f"{gain.seconds_alone:.1f} and {gain.seconds_together:.1f} s")
                    table[f"{gain.place} date {gain.date} alone"] = round(gain.alone_db, 3)
                    table[f"{gain.place} date {gain.date} together"] = round(gain.together_db, 3)
                    if plan.out is not None:
                        with plan.out.open("a") as lines:
                            lines.write(json.dumps(asdict(gain)) + "\n")
    if gains:
        table[f"least gain ({len(gains)} cubes)"] = round(min(gain.gain_db for gain in gains), 3)
        table["mean gain"] = round(float(np.mean([gain.gain_db for gain in gains])), 3)
    for seed in range(plan.first, plan.first + plan.piles):
        mistakes = pile_mistakes(
            plan.pile_cubes, seed, knowledge, places=plan.pile_places, sensors=plan.pile_sensors
        )
        note(f"pile {seed}: {plan.pile_cubes} cubes, {mistakes} mistakes")
        table[f"pile {seed} mistakes"] = mistakes
    if not table:
        raise UsageError("nothing to measure", got=plan, wanted="a kind and a sensor, or a pile")
    return table


def pile_mistakes(
    count: int, seed: int, knowledge: KnowledgeBase | None = None, *,
    places: tuple[str, ...] = ("vegetation", "urban", "geology"), sensors: tuple[str, ...] = ("aviris", "enmap"),
) -> int:
    """Pairs of cubes of a made pile that were put together and do not belong so, or were parted and belong together.

    Cubes of one place belong together, whatever the sensor.
    """
    from palimpsest.restoration.organiser import organise
    from palimpsest.scenes import make_pile

    pile = make_pile(count, places=places, sensors=sensors, seed=seed, knowledge=knowledge)
    group = np.zeros(count, int)
    for number, found in enumerate(organise([scene.observed for scene, _ in pile])):
        group[list(found.members)] = number
    place = np.array([truth[0] for _, truth in pile])
    wrong = (group[:, None] == group[None]) != (place[:, None] == place[None])
    return int(np.triu(wrong, 1).sum())


def _gains(plan: Plan, place: tuple[str, str, int], knowledge: KnowledgeBase) -> list[Gain]:
    from palimpsest.restoration.defects.defect_search import search
    from palimpsest.restoration.group import restore_group
    from palimpsest.restoration.restorer import restore
    from palimpsest.scenes import make_group

    kind, sensor, seed = place
    dates = make_group(
        plan.dates, plan.side, plan.side, sensor=sensor, seed=seed, kind=kind, defects=plan.defects, knowledge=knowledge
    )
    cubes = [search(made.observed).marked().cube if plan.is_blind else made.observed for made in dates]
    masks = [None if plan.is_blind else ~made.damaged for made in dates]
    started = time.perf_counter()
    together = restore_group(cubes, knowledge=knowledge, masks=masks)
    shared = (time.perf_counter() - started) / len(cubes)
    found = []
    for number, (made, cube, mask) in enumerate(zip(dates, cubes, masks, strict=True)):
        started = time.perf_counter()
        alone = restore(cube, knowledge=knowledge, mask=mask)
        found.append(Gain(
            f"{kind} {seed} {sensor}", number, damaged_psnr(made, alone.restored.data),
            damaged_psnr(made, together[number].restored.data), time.perf_counter() - started, shared,
        ))
    return found


def damaged_psnr(made: MadeScene, values: NDArray[np.generic]) -> float:
    """PSNR of ``values`` ``(band, row, col)`` on a scene's damaged voxels, dB, opaque bands left out."""
    truth = np.asarray(made.clean.data)
    judged = made.damaged & made.observed.bands.good[:, None, None]
    apart = np.asarray(values)[judged].astype(np.float64) - truth[judged]
    unit = float(np.percentile(truth, 99.9))
    return float(-10 * np.log10(max(float(np.square(apart / unit).mean()), 1e-12)))
