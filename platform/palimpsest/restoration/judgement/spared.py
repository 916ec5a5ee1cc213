"""What a few spared pixels tell: a band that hardly any pixel shows is lost, and still not quite.

Too few for statistics of their own, they show how far the judgement was off where they stand, which sources were
nearer, and what the band looks like at all. There are several ways of carrying that to the other pixels
(:mod:`~palimpsest.restoration.judgement.spared_tellers`); they are mixed by how well each foretells the pixels from
each other and by habits that were fitted on made scenes (:mod:`~palimpsest.restoration.judgement.spared_habits`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.judgement.correlation_decoder import mixture
from palimpsest.restoration.judgement.spared_habits import believed, load
from palimpsest.restoration.judgement.spared_tellers import strain, tellers
from palimpsest.restoration.study.shared_error import shared_error
from palimpsest.restoration.study.sources import propose, runs_of
from palimpsest.restoration.view import ACCEPTED, view_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.restoration.judgement.spared_habits import Habits
    from palimpsest.restoration.study.sources import Proposals, Run
    from palimpsest.restoration.study.study import Study
    from palimpsest.restoration.view import View

MOST_PIXELS = 200
COMPONENTS = 15
_MOSTLY = 0.5  # of a run's voxels: a source that speaks less there is not followed
_REACH_NM, _FAR = 100.0, 0.03  # how fast bands count less away from a run, and the least that one counts
_USUAL_STEP_NM = 10.0  # of bands without wavelengths
_LEAST_NOISE = 1e-5
_FEWEST_JUDGED = 3  # pixels from which on what is left of the error is told by the others


@dataclass(frozen=True, slots=True)
class Likeness:
    """A scene in the bands that are not lost: where its pixels stand, and what is judged of some of them.

    Pixels stand among the scene's principal components; and, for each lost run, among those of the bands beside it:
    the nearer a band, the more it counts, and the noisier, the less.

    Args:
        told: those bands, ``(band,)``.
        run: number of the lost run that a band is of, -1 of those bands, ``(band,)``.
        mean: of the scene there, ``(told band,)``.
        turned: principal components over the first one's standard deviation, of the scene, then beside each run,
            ``(1 + run, told band, component)``.
        spread: standard deviation of each component, ``(1 + run, component)``.
        dark: where a spectrum of zeros stands among the scene's components, and how far from their span,
            ``(component + 1,)``.
        elsewhere: values of some pixels, ``(pixel, told band)``.
        judged: what is judged of those, ``(pixel, band)``.
        apart: the sources less that, ``(source, pixel, band)``.
        shared: part of the squared error that all pixels share where bands show it.
    """

    told: NDArray[np.bool_]
    run: NDArray[np.intp]
    mean: NDArray[np.float64]
    turned: NDArray[np.float64]
    spread: NDArray[np.float64]
    dark: NDArray[np.float64]
    elsewhere: NDArray[np.float64]
    judged: NDArray[np.float64]
    apart: NDArray[np.float64]
    shared: float

    def values(self, view: View) -> NDArray[np.float64]:
        """Of a view's pixels in the bands that are not lost, the mean where one is dead, ``(pixel, told band)``."""
        return _values(self.told, self.mean, view)

    def places(self, values: NDArray[np.float64], number: int = 0) -> NDArray[np.float64]:
        """Where such values stand, ``(pixel, component)``: in the scene (0), or beside run ``number - 1``."""
        return np.asarray((values - self.mean) @ self.turned[number])


@dataclass(frozen=True, slots=True)
class Spared:
    """A correction that spared pixels taught.

    Args:
        scene: where its pixels stand.
        habits: identity of what belief went by.
        constant: correction of all pixels, ``(band,)``; zero in bands that are not spared.
        slope: of each band that is not lost, ``(told band, band)``.
        kept: share of the judgement that stays, ``(band,)``; the rest is told by the spared pixels alone.
        follows: how far each source is followed from the judgement, ``(source, band)``.
        left: share of the error that is left, by how the pixels tell each other, ``(band,)``; one where too few are.
    """

    scene: Likeness
    habits: str
    constant: NDArray[np.float64]
    slope: NDArray[np.float64]
    kept: NDArray[np.float64]
    follows: NDArray[np.float64]
    left: NDArray[np.float64]

    def correction(self, view: View, proposals: Proposals, judged: NDArray[np.float64]) -> NDArray[np.float64]:
        """What to add to the judged values of a view, both ``(pixel, band)``; ``proposals`` of the same pixels."""
        moved = self.constant + (self.scene.values(view) - self.scene.mean) @ self.slope
        moved -= (1 - self.kept) * judged
        for source in np.flatnonzero(self.follows.any(1)).tolist():
            moved += self.follows[source] * apart_from(proposals, judged, source)
        return np.asarray(moved)


def spared_of(
    cube: Cube, reasons: NDArray[np.uint8], seen: Study, table: NDArray[np.float64], habits: Habits | None = None
) -> Spared | None:
    """What the few pixels that show otherwise lost bands teach; None where there are none.

    Args:
        cube: the damaged cube.
        reasons: why voxels are not to be believed, ``(band, row, col)``.
        seen: the scene.
        table: the judgement, ``(group, band, source)``.
        habits: what belief goes by; those that ship when left out.

    Raises:
        ModelMissing: no habits are installed.
    """
    lost = seen.sources.everywhere
    usable = np.isin(reasons.reshape(len(reasons), -1), ACCEPTED)[seen.axis.order]
    rare = lost & usable.any(1)
    if not rare.any() or lost.all():
        return None
    habits = load() if habits is None else habits
    pixels = np.flatnonzero(usable[rare].any(0))
    pixels = pixels[:: -(-pixels.size // MOST_PIXELS)]
    view = view_of(cube, reasons, seen.axis, pixels, seen.unit)
    said, judged = judged_as_lost(seen, view, table)
    scene = likeness_of(seen, table)
    values, others = scene.values(view), scene.elsewhere
    strained = strain((scene.places(values), values), (scene.places(others), others), scene.spread[0], scene.dark)
    shown = view.usable & rare
    zeros, ones = np.zeros(lost.size), np.ones(lost.size)
    slope, follows = np.zeros((len(scene.mean), lost.size)), np.zeros((len(said.values), lost.size))
    out = Spared(scene, habits.digest, zeros, slope, ones, follows, ones.copy())
    # Bands of one run that the same pixels show are told together: the judgement may be right in the next run.
    run = np.cumsum(np.diff(np.flatnonzero(rare), prepend=-1) > 1)
    _, first, kind = np.unique(
        np.vstack([run, shut_in(seen)[rare], shown[:, rare]]), axis=1, return_index=True, return_inverse=True
    )
    for number, band in enumerate(np.flatnonzero(rare)[first]):
        bands = np.flatnonzero(rare)[kind.reshape(-1) == number]
        here = np.ix_(shown[:, band], bands)
        true = view.values[here].astype(np.float64)
        speaking = spoken(said.speaks[:, :, bands])
        apart = np.zeros((speaking.size, *true.shape))
        for row, source in enumerate(speaking.tolist()):
            apart[row] = apart_from(said, judged, source)[here]
        beside = 1 + int(scene.run[band])
        places, far = (
            np.hstack([scene.places(part), scene.places(part, beside)]) for part in (values[shown[:, band]], others)
        )
        spread = np.concatenate([scene.spread[0], scene.spread[beside]])
        ways = tellers(true, judged[here], apart, scene.judged[:, bands].mean(0), places, spread, scene.dark,
                       habits.kernels_at(scene.shared))
        elsewhere = ways.answers(far, scene.judged[:, bands], scene.apart[speaking][:, :, bands])
        share = believed(habits, ways.missed, float(scene.judged[:, bands].var(0).mean()), strained, elsewhere,
                         scene.shared)
        out.constant[bands] = share @ ways.constant
        turned = np.concatenate([scene.turned[0], scene.turned[beside]], 1)
        out.slope[:, bands] = turned @ np.tensordot(share, ways.slope, 1)
        out.kept[bands] = share @ ways.kept
        out.follows[np.ix_(speaking, bands)] = np.tensordot(share, ways.follows, 1)
        if len(true) >= _FEWEST_JUDGED:
            missed = float(np.square(np.tensordot(share, ways.missed, 1)).mean())
            off = max(float(np.square(true - judged[here]).mean()), 1e-30)
            # As if two more pixels had told nothing: three that agree are no proof.
            out.left[bands] = np.sqrt((missed / off * len(true) + 2) / (len(true) + 2))
    return out


def shut_in(seen: Study) -> NDArray[np.bool_]:
    """Bands to which the air lets hardly any light through, ``(band,)``: what a pixel shows there is mostly noise.

    They are told apart from the open bands beside them, so that their noise does not decide what is believed there.
    """
    reading = seen.sources.flat if seen.sources.lit is None else seen.sources.lit
    return np.zeros(seen.sources.everywhere.size, bool) if reading is None else reading.shut


def likeness_of(seen: Study, table: NDArray[np.float64]) -> Likeness:
    """Where a scene's pixels stand, by the bands that are not lost; ``table`` as of :func:`spared_of`."""
    lost = seen.sources.everywhere
    told = ~lost
    known = seen.judged.usable[:, told]
    mean = np.asarray((seen.judged.values[:, told] * known).sum(0) / np.maximum(known.sum(0), 1), np.float64)
    centred = np.where(known, seen.judged.values[:, told] - mean, 0.0).astype(np.float64)
    runs = runs_of(lost)
    run = np.full(lost.size, -1)
    for number, each in enumerate(runs):
        run[each.first : each.last] = number
    weights = np.vstack([np.ones(len(mean)), *(_counted_beside(seen, each) for each in runs)])
    found = [_turned(centred, weight) for weight in weights]
    turned = np.stack([components for components, _ in found])
    dark = -mean @ turned[0]
    beyond = np.sqrt(max(float(np.square(mean).sum()) / found[0][1] ** 2 - float(np.square(dark).sum()), 0.0))
    some = seen.judged.rows(np.arange(0, len(seen.judged.pixels), -(-len(seen.judged.pixels) // MOST_PIXELS)))
    said, judged = judged_as_lost(seen, some, table)
    apart = np.stack([apart_from(said, judged, source) for source in range(len(said.values))])
    spread = ((_values(told, mean, seen.judged) - mean) @ turned).std(1)
    return Likeness(
        told, run, mean, turned, spread, np.append(dark, beyond), _values(told, mean, some), judged, apart,
        shared_error(seen),
    )


def _values(told: NDArray[np.bool_], mean: NDArray[np.float64], view: View) -> NDArray[np.float64]:
    return np.where(view.usable[:, told], view.values[:, told], mean).astype(np.float64)


def _turned(centred: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Components of weighed bands over the first one's standard deviation, ``(band, component)``, and that."""
    _, strength, directions = np.linalg.svd(centred * weight, full_matrices=False)
    first = max(float(strength[0]) / np.sqrt(max(len(centred), 1)), 1e-9) if strength.size else 1.0
    return np.asarray(weight[:, None] * directions[:COMPONENTS].T / first, np.float64), first


def _counted_beside(seen: Study, run: Run) -> NDArray[np.float64]:
    """What each band that is not lost counts for beside a lost run, ``(told band,)``."""
    told = ~seen.sources.everywhere
    nm = seen.axis.along * (1.0 if seen.axis.centre_nm is not None else _USUAL_STEP_NM)
    away = np.maximum(np.maximum(nm[run.first] - nm, nm - nm[run.last - 1]), 0.0)[told]
    noise = np.maximum(seen.noise[told].astype(np.float64), _LEAST_NOISE)
    return np.asarray((np.exp(-away / _REACH_NM) + _FAR) / np.sqrt(noise / max(float(np.median(noise)), _LEAST_NOISE)))


def judged_as_lost(seen: Study, view: View, table: NDArray[np.float64]) -> tuple[Proposals, NDArray[np.float64]]:
    """What is said of a view's pixels if the lost bands are hidden in them too, and the judgement of it."""
    blind = view.hiding(np.tile(seen.sources.everywhere, (len(view.pixels), 1)))
    said = propose(seen.sources, blind)
    return said, mixture(said, np.moveaxis(table[seen.groups.of(blind)], 2, 0))


def spoken(speaks: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The sources to be heard about a run, of where they speak there, ``(source, pixel, band)``."""
    return np.flatnonzero(speaks.mean((1, 2)) > _MOSTLY)


def apart_from(said: Proposals, judged: NDArray[np.float64], source: int) -> NDArray[np.float64]:
    """A source less the judgement, ``(pixel, band)``; zero where it is silent."""
    return np.where(said.speaks[source], said.values[source] - judged, 0.0)
