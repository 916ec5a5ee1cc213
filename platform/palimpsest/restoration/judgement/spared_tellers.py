"""Several ways to tell a lost band from a few pixels that show it, and how far each is believed.

What the pixels show is explained from a base and carried on from it by likeness of spectrum: the judgement, the
judgement with half or none of its differences between pixels, the sources weighed anew by what the pixels show, and no
base at all, which is a ridge regression of the band on the observed ones. Likeness is that of the whole spectrum, or
that of the bands beside the lost run, which go with it more closely than all others do. What a base leaves over is a
Gaussian process over the principal components of these with a constant; how much of it all pixels share and how much of
what one pixel shows is its own is thought to be as in the bands that show, and several answers are averaged by that and
by how well each pixel is foretold by the others.

Source: Rasmussen and Williams 2006, sections 2.2, 2.7 and 5.4.2 (basis functions, leaving one out); Wolpert 1992,
Neural Networks 5, 241-259 (stacking).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

NAMES = (
    "judged", "carried", "carried half", "carried level", "restacked", "restacked warily", "gained",
    "gained restacked", "carried beside", "regressed sharply beside", "regressed beside", "proportional",
    "regressed evenly", "regressed",
)
_KEPT = (1.0, 0.5, 0.0)  # share of the judgement's differences between pixels
_PULLS = (0.3, 2.0)  # towards the judgement, against what the pixels show, where sources are weighed anew
REGRESSIONS = 3  # of these, the last, without a base and over the whole scene's components
REGRESSIONS_BESIDE = 2  # of these, before the last: over the components beside the run
_RATIOS = (0.1, 0.5, 2.0, 8.0)  # of the variance that goes with the spectrum to that which all pixels share
DOUBTS = (0.015, 0.2, 2.0, 20.0)  # variance of what is a pixel's own, to both of these
_RAISED = ((0.0, 0.3), (0.5, 0.7))  # powers by which weak components are raised, and how far each is believed
KERNELS = len(_RATIOS), len(DOUBTS)
_SHARP = 0.3  # how sharply better doubts and ratios are preferred
_EVEN = 0.5  # the same of the regression 'regressed evenly'
_LEAST_RAISED = 1e-3
_DRAWN = 0.05  # of a mean pixel, that speaks for a gain of one
_MOST_GAIN = 20.0
_IN_PROPORTION = 1e-3  # of the mean spectrum's square: what a band may differ by that nothing foretells
_RIDGE = 1e-2
_DOUBTS_BESIDE = (0.2 * _RIDGE, _RIDGE)
_FREE = 1e4  # prior variance of a level that nobody foretold
_TINY = 1e-14
_SOLVABLE = 1e-8  # of the mean square of what a regression rests on: a pixel beyond all measure leaves it solvable
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Tellers:
    """Each way's answer in the bands of a run: ``constant + places @ slope + kept * judged + sum of follows * apart``.

    Args:
        constant: ``(way, band)``.
        slope: ``(way, component, band)``.
        kept: ``(way, band)``.
        follows: of each source, ``(way, source, band)``.
        missed: what each pixel shows less what the way foretells of it by the others, ``(way, pixel, band)``.
    """

    constant: NDArray[np.float64]
    slope: NDArray[np.float64]
    kept: NDArray[np.float64]
    follows: NDArray[np.float64]
    missed: NDArray[np.float64]

    def answers(
        self, places: NDArray[np.float64], judged: NDArray[np.float64], apart: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """What each way says of some pixels, ``(way, pixel, band)``; arguments as of :func:`tellers`."""
        told = self.constant[:, None] + places @ self.slope + self.kept[:, None] * judged
        return np.asarray(told + np.einsum("wsb,spb->wpb", self.follows, apart, optimize=True))


def tellers(
    shown: NDArray[np.float64], judged: NDArray[np.float64], apart: NDArray[np.float64], level: NDArray[np.float64],
    places: NDArray[np.float64], spread: NDArray[np.float64], dark: NDArray[np.float64],
    usual: NDArray[np.float64],
) -> Tellers:
    """All ways of telling.

    Args:
        shown: values in the bands of a run, ``(pixel, band)``.
        judged: the judgement there, ``(pixel, band)``.
        apart: the sources less the judgement there, ``(source, pixel, band)``; zeros where one is silent.
        level: mean judgement of the scene, ``(band,)``.
        places: of the pixels among the scene's components, then among those beside the run, ``(pixel, component)``.
        spread: standard deviation of each component in the scene, ``(component,)``.
        dark: where a spectrum of zeros stands among the scene's components, and how far from their span, ``(their
            number + 1,)``: all further components are those beside the run.
        usual: what is believed of each kernel before any pixel is left out, of the shape :data:`KERNELS`.
    """
    count, bands = shown.shape
    everywhere, beside = slice(dark.size - 1), slice(dark.size - 1, None)
    bank, near = (_bank(places[:, part], spread[part], usual) for part in (everywhere, beside))
    ones, nobody = np.ones(bands), np.zeros((len(apart), bands))
    error = shown - judged
    out = [(np.zeros(bands), np.zeros((places.shape[1], bands)), ones, nobody, error)]

    def at(part: slice, slope: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.zeros((places.shape[1], bands))
        whole[part] = slope
        return whole

    def carry(base: NDArray[np.float64], kept: NDArray[np.float64], follows: NDArray[np.float64],
              rest: NDArray[np.float64], alone: NDArray[np.float64], part: slice = everywhere) -> None:
        constant, slope, missed = _carried(bank if part is everywhere else near, rest, alone)
        out.append((base + constant, at(part, slope), kept, follows, missed))

    for share in _KEPT:
        rest = shown - level - share * (judged - level)
        carry((1 - share) * level, share * ones, nobody, rest, rest)
    for pull in _PULLS:
        followed, rest, alone = _restacked(error, apart, pull)
        carry(np.zeros(bands), ones, followed[:, None] * ones, rest, alone)
    for follow in (0 * followed, followed):
        said = judged + np.tensordot(follow, apart, 1)
        gain, rest, alone = _gained(shown, said, level)
        carry(np.zeros(bands), gain, follow[:, None] * gain, rest, alone)
    carry(np.zeros(bands), ones, nobody, error, error, beside)
    told = [(beside, _regressed(places[:, beside], shown, doubt)) for doubt in _DOUBTS_BESIDE]
    told += [(everywhere, way) for way in _regressions(places[:, everywhere], shown, spread[everywhere], dark)]
    for part, (constant, slope, missed) in told:
        out.append((constant, at(part, slope), 0 * ones, nobody, missed if count > 1 else shown - level))
    return Tellers(*(np.stack(part) for part in zip(*out, strict=True)))


def strain(
    pixels: tuple[NDArray[np.float64], NDArray[np.float64]], scene: tuple[NDArray[np.float64], NDArray[np.float64]],
    spread: NDArray[np.float64], dark: NDArray[np.float64],
) -> NDArray[np.float64]:
    """How much worse each regression does in the scene than where each pixel is told by the others, logarithms.

    Seen in bands that all show. Negative where the pixels stand further apart than the scene does; zero for one pixel.

    Args:
        pixels: places among the components ``(pixel, component)`` and values in those bands ``(pixel, band)``.
        scene: the same of other pixels.
        spread: standard deviation of each component in the scene, ``(component,)``.
        dark: where a spectrum of zeros stands, ``(component + 1,)``; see :func:`tellers`.

    Returns:
        ``(3,)``, in the order of the regressions among :data:`NAMES`.
    """
    if len(pixels[0]) < 2:
        return np.zeros(3)
    out = []
    for constant, slope, missed in _regressions(*pixels, spread, dark):
        off = np.square(constant + scene[0] @ slope - scene[1]).mean()
        out.append(float(np.log(off / max(float(np.square(missed).mean()), _TINY) + _LEAST)))
    return np.array(out)


def _raised(spread: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """What components are divided by for weak ones to count more, ``(component,)``."""
    return np.maximum(spread / max(float(spread.max(initial=0.0)), _TINY), _LEAST_RAISED) ** power


def _power(spread: NDArray[np.float64], raised: NDArray[np.float64]) -> float:
    power = float(np.square(spread / raised).sum())
    return power if power > _TINY else 1.0  # a scene without differences


@dataclass(frozen=True, slots=True)
class _Bank:
    places: NDArray[np.float64]  # (pixel, component)
    shared: NDArray[np.float64]  # (kernel,): variance of the constant
    drawn: NDArray[np.float64]  # (kernel, component): variance of the slopes
    inverse: NDArray[np.float64]  # (kernel, pixel, pixel)
    usual: NDArray[np.float64]  # (kernel,): what is believed of each before any pixel is left out


def _bank(places: NDArray[np.float64], spread: NDArray[np.float64], usual: NDArray[np.float64]) -> _Bank:
    ratio, doubt = (part.reshape(-1) for part in np.meshgrid(_RATIOS, DOUBTS, indexing="ij"))
    shared = np.tile(1 / (1 + ratio), len(_RAISED))
    several = [_raised(spread, power) for power, _ in _RAISED]
    drawn = np.stack([1 / np.square(raised) / _power(spread, raised) for raised in several]).repeat(ratio.size, 0)
    drawn *= (1 - shared)[:, None]
    covariance = shared[:, None, None] + np.einsum("pc,kc,qc->kpq", places, drawn, places)
    solvable = _SOLVABLE * np.diagonal(covariance, axis1=1, axis2=2).mean(1)
    own = np.maximum(np.tile(doubt, len(_RAISED)), solvable)[:, None, None] * np.eye(len(places))
    each = np.concatenate([share * np.reshape(usual, -1) for _, share in _RAISED])
    return _Bank(places, shared, drawn, np.asarray(np.linalg.inv(covariance + own), np.float64), each)


def _carried(
    bank: _Bank, rest: NDArray[np.float64], alone: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Constant, slope and what is missed where each pixel is left out.

    Args:
        bank: the kernels.
        rest: what the base leaves over, ``(pixel, band)``.
        alone: the same of a base that did not see the pixel, ``(pixel, band)``.
    """
    own = np.diagonal(bank.inverse, axis1=1, axis2=2)[..., None]
    if len(rest) == 1:
        believed, missed = bank.usual, rest
    else:
        each = bank.inverse @ alone / own
        score = 0.5 * (np.log(bank.usual) - _SHARP * len(rest) * np.log(np.square(each).mean((1, 2)) + _TINY))
        believed = np.exp(score - score.max())
        believed /= believed.sum()
        missed = np.tensordot(believed, each, 1)
    ahead = bank.inverse @ rest
    constant = np.tensordot(believed * bank.shared, ahead.sum(1), 1)
    slope = np.einsum("k,kc,pc,kpb->cb", believed, bank.drawn, bank.places, ahead, optimize=True)
    return constant, slope, missed


def _restacked(
    error: NDArray[np.float64], apart: NDArray[np.float64], pull: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """How far each source is followed from the judgement, what is left, and what is where the pixel is not asked.

    Args:
        error: what the pixels show less the judgement, ``(pixel, band)``.
        apart: the sources less the judgement, ``(source, pixel, band)``.
        pull: towards the judgement.
    """
    count = len(error)
    each = np.einsum("ipb,jpb->pij", apart, apart)
    onto = np.einsum("ipb,pb->pi", apart, error)
    whole, aim = each.sum(0), onto.sum(0)
    followed = _followed(whole, aim, pull / count)
    rest = error - np.tensordot(followed, apart, 1)
    if count == 1:
        return followed, rest, rest
    alone = np.stack([
        error[k] - _followed(whole - each[k], aim - onto[k], pull / (count - 1)) @ apart[:, k] for k in range(count)
    ])
    return followed, rest, alone


def _followed(joint: NDArray[np.float64], aim: NDArray[np.float64], pull: float) -> NDArray[np.float64]:
    """Shares, none negative, of sum one at most, of least squares that are drawn to zero, ``(source,)``."""
    from scipy.optimize import nnls

    own = np.diagonal(joint)
    if not own.any():
        return np.zeros(len(own))
    system = joint + np.diag(pull * own + 1e-9 * own.max())
    root = np.linalg.cholesky(system)
    shares, _ = nnls(root.T, np.linalg.solve(root, aim))
    return np.asarray(shares / max(1.0, float(shares.sum())))


def _gained(
    shown: NDArray[np.float64], said: NDArray[np.float64], level: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What each band is to be multiplied by, what is left, and what is where the pixel is not asked.

    Light, path and calibration are wrong by a factor: it shows in one pixel, and dark ones share it.

    Args:
        shown: ``(pixel, band)``.
        said: of them, ``(pixel, band)``.
        level: of the scene, ``(band,)``.
    """
    square = _DRAWN * np.square(level) + _TINY
    onto, own = shown * said, np.square(said)

    def gain(onto: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.clip((onto + square) / (own + square), 1 / _MOST_GAIN, _MOST_GAIN))

    whole = gain(onto.sum(0), own.sum(0))
    rest = shown - whole * said
    if len(shown) == 1:
        return whole, rest, rest
    return whole, rest, shown - gain(onto.sum(0) - onto, own.sum(0) - own) * said


def _regressions(
    places: NDArray[np.float64], shown: NDArray[np.float64], spread: NDArray[np.float64], dark: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    """Constant, slope and what is missed where each pixel is left out, of the ways that have no base."""
    yield _proportional(places, shown, dark)
    raised = _raised(spread, _EVEN)
    for scale, doubt in ((raised, _RIDGE * _power(spread, raised)), (np.ones_like(raised), _RIDGE)):
        constant, slope, missed = _regressed(places / scale, shown, doubt)
        yield constant, slope / scale[:, None], missed


def _proportional(
    places: NDArray[np.float64], shown: NDArray[np.float64], dark: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A ridge regression through the dark: what shows no light anywhere shows none in the gap."""
    from_dark = places - dark[:-1]
    doubt = max(_IN_PROPORTION * max(float(np.square(dark).sum()), _TINY), _SOLVABLE * _mean_square(from_dark))
    inverse = np.linalg.inv(from_dark @ from_dark.T + dark[-1] ** 2 + doubt * np.eye(len(places)))
    ahead = inverse @ shown
    slope = from_dark.T @ ahead
    return dark[-1] ** 2 * ahead.sum(0) - dark[:-1] @ slope, slope, ahead / np.diag(inverse)[:, None]


def _mean_square(places: NDArray[np.float64]) -> float:
    """Of the pixels' distance from the origin."""
    return float(np.square(places).sum(1).mean())


def _regressed(
    places: NDArray[np.float64], shown: NDArray[np.float64], doubt: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Constant, slope and what is missed where each pixel is left out, of a ridge regression with a free level."""
    doubt = max(doubt, _SOLVABLE * _mean_square(places))
    middle, mean = places.mean(0), shown.mean(0)
    off = places - middle
    slope = off.T @ np.linalg.solve(off @ off.T + doubt * np.eye(len(off)), shown - mean)
    level = _FREE * max(_mean_square(places), 1.0)
    inverse = np.linalg.inv(level + places @ places.T + doubt * np.eye(len(places)))
    return mean - middle @ slope, slope, inverse @ shown / np.diag(inverse)[:, None]
