"""The quantiser step for a rate: by whole encodings where a cube has few tiles, else by a sample and their texture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.container import header
from palimpsest.codec.encoding import rate
from palimpsest.codec.encoding.texture import USUAL, Texture, energies
from palimpsest.codec.quantisation.quantiser import NEUTRAL
from palimpsest.codec.spectrum import spectral
from palimpsest.codec.spectrum.weighing import gain_steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.codec.encoding.cube_encoder import CubeEncoder
    from palimpsest.codec.entropy.cube_state import Learnt
    from palimpsest.codec.tiles.encoded import EncodedTile, Encoding
    from palimpsest.cubes import Window

FEWEST_TILES = 24  # from which on the step is searched on some of them
SAMPLED_TILES, WEIGHED_TILES = 16, 32  # of them, at most; weighed ones differ more, and a miss codes a whole cube
SAMPLED_TRIES = 4  # of the sample, at most
TRUSTED_OFF = 0.09  # a sample whose rate is within e to this of the one wanted leads to the step by texture
# Weights that follow the step change what is sent, which texture knows nothing of: the sample itself must be near, and
# sizes fall by this power of the step, until two samples tell better.
TRUSTED_WEIGHED, NEAR_WEIGHED, WEIGHED_POWER = 0.01, 0.4, -0.9
LIKELY = 0.6  # of the step by theory, which is mostly too coarse
ACCEPTED = 0.018  # how far a whole cube's rate may be off before it is coded once more
FEWEST_PUPILS = 5  # tiles, from which on it is told what they have in common
LESSONS_WORTH = 0.987  # what a sample's bytes become once its tiles start from what they have learnt
SMALLEST_SHARE = 200  # of a stream, that telling it may take: one part in so many
NEARLY = 0.05  # how near a rate is when it is settled which components are sent, or after so many tries:
FIRST_TRIES = 5
FULL_ENCODINGS = 3  # of the whole cube, at most, where the sample was off


def at_rate(encoder: CubeEncoder, bpppc: float, tolerance: float = rate.TOLERANCE) -> Encoding:
    """The encoding nearest to a rate that a few tries find, within ``tolerance`` where it can be reached.

    Raises:
        PromiseBroken: head and spectral level alone are larger than the rate allows.
    """
    voxels = encoder.cube.shape.voxels
    encoder.choose_anew()
    if not _samples_tiles(encoder):
        _teach(encoder, bpppc)
        return encoder.encode(_searched(encoder, _first_step(encoder, bpppc), bpppc, tolerance))
    step, texture = _sampled_step(encoder, bpppc)
    best: tuple[float, Encoding] | None = None
    for _ in range(FULL_ENCODINGS):
        encoding = encoder.encode(step)
        size, tiles = len(encoding.data), sum(header.tile_bytes(tile) for tile in encoding.tiles)
        off = 8 * size / voxels / bpppc
        if best is None or abs(math.log(off)) < abs(math.log(best[0])):
            best = (off, encoding)
        if abs(math.log(best[0])) < max(tolerance, ACCEPTED):
            return best[1]
        # What the sample said was off by this much.
        if encoder.importance is not None:
            step *= math.exp(-math.log(off) / WEIGHED_POWER)
            continue
        wanted = max(bpppc * voxels / 8 - (size - tiles), 0.02 * tiles)
        step = texture.step_for(float(texture.bits(step).sum()) * wanted / tiles)
    return encoder.encode(_searched(encoder, step, bpppc, tolerance))  # tiles too unlike each other for a sample


def _teach(encoder: CubeEncoder, bpppc: float) -> None:
    """Let the tiles of a cube of some start from what half of them learn at a likely step."""
    if len(encoder.windows) < FEWEST_PUPILS:
        return
    level = encoder.level_at(_first_step(encoder, bpppc) * LIKELY)
    lessons: list[Learnt] = []
    for _, learnt in encoder.each(lambda window: _taught(encoder, window, level), encoder.windows[::2]):
        lessons += learnt
    encoder.start_from(lessons, round(encoder.cube.shape.voxels * bpppc / 8) // SMALLEST_SHARE)


def _taught(
    encoder: CubeEncoder, window: Window, level: spectral.SpectralLevel
) -> tuple[EncodedTile, list[Learnt]]:
    learnt: list[Learnt] = []
    return encoder.coded(window, level, learnt)[0], learnt


def _searched(encoder: CubeEncoder, start: float, bpppc: float, tolerance: float) -> float:
    """The step by coding all of a cube again and again."""
    voxels, name = encoder.cube.shape.voxels, encoder.cube.name

    def whole(step: float) -> rate.Estimate:
        return _whole(encoder, step)

    if not encoder.is_settled:
        near = rate.nearest(whole, start, bpppc, voxels, max(tolerance, NEARLY), FIRST_TRIES)
        if abs(math.log(8 * near.size / voxels / bpppc)) < tolerance:
            return near.step
        encoder.settle_on(near.step)
        start = near.step
    return rate.search(whole, start, bpppc, voxels, tolerance, name).step


def _whole(encoder: CubeEncoder, step: float) -> rate.Estimate:
    return rate.Estimate(step, len(encoder.sized(step).data))


def _sampled_step(encoder: CubeEncoder, bpppc: float) -> tuple[float, Texture]:
    """The step for a rate, by coding some of the tiles."""
    wanted = encoder.cube.shape.voxels * bpppc
    # Finer than any step that is likely, so that every component is there that may be sent.
    texture = _texture(encoder, _first_step(encoder, bpppc) * LIKELY)
    step = texture.step_for(wanted * USUAL)
    weighed, tries = encoder.importance is not None, list[tuple[float, float]]()
    for _ in range(SAMPLED_TRIES):
        found, factor = _by_sample(encoder, step, texture, WEIGHED_TILES if weighed and tries else SAMPLED_TILES)
        off = math.log(8 * found.size / wanted)
        if weighed and abs(off) < TRUSTED_WEIGHED:
            break
        if weighed and abs(off) < NEAR_WEIGHED:
            tries.append((math.log(step), off))
            step = math.exp(_by_power(tries))
            continue
        fixed = 8 * found.size - float(texture.bits(step).sum()) / factor  # head and basis
        step = texture.step_for(max(wanted - fixed, 0.02 * wanted) * factor)
        if abs(off) < TRUSTED_OFF:
            break
    return step, texture


def _by_power(tries: list[tuple[float, float]]) -> float:
    """Logarithm of the step where a size is right, from logarithms of steps and of how far sizes were off there."""
    at, off = tries[-1]
    power = WEIGHED_POWER
    if len(tries) > 1 and at != tries[-2][0]:
        power = min(max((off - tries[-2][1]) / (at - tries[-2][0]), 2 * WEIGHED_POWER), 0.5 * WEIGHED_POWER)
    return at - off / power


def step_near(encoder: CubeEncoder, bpppc: float) -> float:
    """A step near a rate, by two cheap encodings; exactness does not matter here."""
    step = _first_step(encoder, bpppc)
    for _ in range(2):
        ratio = 8 * _estimated(encoder, step).size / encoder.cube.shape.voxels / bpppc
        if ratio < 1.5:
            break
        step *= min(8.0, ratio**1.5)
    return step


def _first_step(encoder: CubeEncoder, bpppc: float) -> float:
    if encoder.statistics.count == 0:
        return 1.0
    return rate.first_step(encoder.weights.weighed(encoder.statistics.covariance), bpppc)


def _estimated(encoder: CubeEncoder, step: float) -> rate.Estimate:
    """The size that the encoder's ``encode`` would give, from some of the tiles where there are many."""
    if not _samples_tiles(encoder):
        return _whole(encoder, step)
    return _by_sample(encoder, step, _texture(encoder, step))[0]


def _samples_tiles(encoder: CubeEncoder) -> bool:
    """Whether sizes are told from some of the tiles."""
    return len(encoder.windows) >= FEWEST_TILES


def _by_sample(
    encoder: CubeEncoder, step: float, texture: Texture, most: int = SAMPLED_TILES
) -> tuple[rate.Estimate, float]:
    """The size of a stream from a sample of its tiles, and bits by texture for each real one in them."""
    level = encoder.level_at(step)
    count = min(most, max(8, len(encoder.windows) // 5))
    every = len(encoder.windows) // count
    # Not a multiple of the tiles in a row, or all would lie in the same columns.
    chosen = [n * len(encoder.windows) // count + n % every for n in range(count)]
    taught = list(encoder.each(lambda at: _taught(encoder, encoder.windows[at], level), chosen))
    coded = tuple(tile for tile, _ in taught)
    found, own = len(encoder.packed(level, coded).data), float(sum(header.tile_bytes(tile) for tile in coded))
    bits = texture.bits(step)
    share = bits[chosen].sum() / bits.sum()
    if not share > 0:  # nothing but constant tiles
        share = texture.pixels[chosen].sum() / texture.pixels.sum()
    size, worth, is_first = round(found - own + own / share), 1.0, not encoder.opening
    if encoder.start_from([each for _, one in taught for each in one], size // SMALLEST_SHARE) and is_first:
        worth = LESSONS_WORTH
    return rate.Estimate(step, round(worth * size)), float(bits[chosen].sum() / (8 * worth * own))


def _texture(encoder: CubeEncoder, step: float) -> Texture:
    """How the component planes of all tiles change from pixel to pixel."""
    # By variance alone: nothing is sent of this.
    level = spectral.fit(encoder.statistics, *encoder.weights.at(step))

    def told(window: Window) -> NDArray[np.float32]:
        found = energies(encoder.planes(window, level)[0], level.fraction_bits)
        gains = None if encoder.importance is None else gain_steps(encoder.importance, window)
        # Steps are finer by the gains of their blocks, each a half octave.
        return found if gains is None else found * np.float32(2.0 ** float((gains.astype(np.float64) - NEUTRAL).mean()))

    found = np.stack(list(encoder.each(told, encoder.windows)))
    variances = level.variances(encoder.statistics.covariance)
    return Texture(step, found, variances, np.array([window.rows * window.cols for window in encoder.windows]))
