"""One cube, encoded at any quantiser step: what does not depend on the step is gathered once and kept.

Sample (integers, void voxels), gather the moments; then, for a step, fit the spectral level and code the tiles. Which
step it should be is asked elsewhere: :mod:`~palimpsest.codec.encoding.rate_target`,
:mod:`~palimpsest.codec.encoding.bound_target`, :mod:`~palimpsest.codec.keeping.label_loop`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from palimpsest.codec.container import header, worst
from palimpsest.codec.container import stream as container
from palimpsest.codec.container.models import basis_state, load_model, quick_model
from palimpsest.codec.container.stream import HASH, pack
from palimpsest.codec.contract import EXACT_MODES
from palimpsest.codec.encoding.lattice_search import lattice_of
from palimpsest.codec.encoding.settling import settled
from palimpsest.codec.entropy import cube_state
from palimpsest.codec.integers import layers
from palimpsest.codec.integers.sampling import (
    asked_bounds,
    filled_spectra,
    is_hollow,
    is_void,
    largest_of,
    sampling_of,
    smooth_over,
    voxel_reasons,
)
from palimpsest.codec.quantisation import rdoq
from palimpsest.codec.quick.coder import QuickState
from palimpsest.codec.space.tiling import WHOLE, allowed_workers, in_order, tile_side
from palimpsest.codec.spectrum import basis_coder, components, spectral
from palimpsest.codec.spectrum.weighing import BandWeights, gain_steps, looked_at
from palimpsest.codec.tiles.encoded import UNKNOWN, EncodedTile, Encoding, Settled
from palimpsest.codec.tiles.tile import TileCoder, level_count
from palimpsest.cubes.mapped import KEPT_BYTES, forget
from palimpsest.cubes.window import Window, tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.codec.entropy.cube_state import Learnt
    from palimpsest.cubes import Cube, ImportanceMap

SAMPLED_PIXELS = 1 << 20  # of a large cube, at least as many teach the spectral level
KEEPING_BPPPC = 0.25  # sizes the tiles where labels are kept at whatever rate it takes
SLOWEST_QUICK = 2  # from this effort on samples go through the mixing coder
T = TypeVar("T")
K = TypeVar("K")
MANY_PIXELS = 1 << 16  # from which on the basis is so little of a stream that tries for a rate may guess its length
SHORT_REAL = 1 << 12  # steps in the largest value, up to which planes are computed in 32 bits
NEAR_STEPS = 0.1  # logarithm, within which the same components are worth sending
STRIP = 32  # rows that are held as 64-bit numbers at a time


class CubeEncoder:
    """Encodes one cube at any step; keeps what does not depend on the step.

    Args:
        cube: what to encode.
        settings: how.
        importance: weights of errors; None is uniform.

    Raises:
        CubeRefused: nothing usable to encode in a mode that needs values.
    """

    def __init__(self, cube: Cube, settings: EncodeSettings, importance: ImportanceMap | None) -> None:
        self.cube, self.settings = cube, settings
        bands, rows, cols = cube.shape
        uniform = importance is None or settings.strength == 0 or importance.is_uniform
        self.importance = None if uniform else importance
        self.workers = settings.workers or allowed_workers()
        self.side = settings.tile or tile_side(rows, cols, bands, _aimed(settings), quick=is_quick(settings))
        self.windows = list(tiles(rows, cols, self.side))
        self.model = quick_model() if is_quick(settings) else load_model(settings.model, settings.trained_levels)
        self.levels = level_count(min(rows, self.side), min(cols, self.side))
        self.coder = TileCoder(self.model.transform, self.model.state, self.levels, passes=_passes(settings.effort))
        self.opening = b""  # the section that tells where all tiles start, where that is not the shipped state
        self.bounds = asked_bounds(settings, bands)
        lattice = None if settings.mode == "rate" else lattice_of(cube, list(self._strips()))
        self.sampling = sampling_of(cube, largest_of(cube, self._strips()), self.bounds, lattice)
        self.statistics = spectral.gather(self._spectra(), bands, self.workers)
        self.weights = BandWeights.of(self.importance, self.statistics, map(self.samples, looked_at(rows, cols)))
        self._chosen: tuple[float, NDArray[np.bool_]] | None = None
        self._told: tuple[spectral.SpectralLevel, bool, bytes] | None = None
        self.is_settled = False
        if self.bounds.any() and np.ptp(self.sampling.widths(self.bounds)) > 0:
            self.weights = BandWeights.by_size(self.sampling.widths(self.bounds).astype(np.float64))

    def _spectra(self) -> Iterator[NDArray[np.generic]]:
        """Complete usable spectra strip by strip, ``(n, band)``; filled ones where none is complete."""
        every = max(1, self.cube.shape.rows * self.cube.shape.cols // SAMPLED_PIXELS)
        dead = self._dead_bands(every)
        for fallback in (False, True):
            found = 0
            for window in self._strips(every):
                integers, told = self.values(window)
                if told is None and not dead.any():
                    found += window.rows * window.cols
                    yield integers.reshape(len(integers), -1).T
                    continue
                void = np.zeros(integers.shape, bool) if told is None else told & ~dead[:, None, None]
                complete = ~void.any(axis=0)
                if fallback:
                    usable = ~void
                    mean = (integers * usable).sum(axis=(1, 2)) / np.maximum(usable.sum(axis=(1, 2)), 1)
                    integers = np.rint(filled_spectra(integers, void, mean)).astype(np.int64)
                    complete = usable.any(axis=0)
                block = integers[:, complete].T.astype(np.float64)
                block[:, dead] = 0.0
                found += len(block)
                yield block
            if found:
                return

    def _dead_bands(self, every: int) -> NDArray[np.bool_]:
        """Bands void in (nearly) every pixel that has anything at all, ``(band,)``."""
        used, pixels = np.zeros(self.cube.shape.bands), 0
        for window in self._strips(every):
            reasons = voxel_reasons(self.cube, window)
            if not reasons.any():
                used += window.rows * window.cols
                pixels += window.rows * window.cols
                continue
            void = is_hollow(reasons)
            used += (~void).sum(axis=(1, 2))
            pixels += int((~void).any(axis=0).sum())
        dead: NDArray[np.bool_] = used < 0.01 * max(pixels, 1)
        return dead

    def _strips(self, every: int = 1) -> Iterator[Window]:
        """The cube a few rows at a time, tiles of a whole cube's width apart; every n-th of these strips."""
        _, rows, cols = self.cube.shape
        for number, row in enumerate(range(0, rows, STRIP)):
            if number % every == 0:
                for col in range(0, cols, WHOLE):
                    yield Window(row, min(row + STRIP, rows), col, min(col + WHOLE, cols))
                forget(self.cube.data)

    def values(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """As :meth:`samples`, integers of any type, and None where no voxel is void."""
        reasons = voxel_reasons(self.cube, window)
        values = np.asarray(self.cube.data[(slice(None), *window.slices)])
        integers = values if self.cube.is_integer else self.sampling.integers(values)
        return integers, is_hollow(reasons) if reasons.any() else None

    def samples(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Integers of a window and which of its voxels teach and cost nothing, ``(band, row, col)``."""
        void = is_hollow(voxel_reasons(self.cube, window))
        values = np.asarray(self.cube.data[(slice(None), *window.slices)])
        return self.sampling.integers(values), void

    def promised(self, window: Window) -> NDArray[np.bool_] | None:
        """Voxels whose error counts, ``(band, row, col)``, None being all: in rate mode dead ones do not."""
        reasons = voxel_reasons(self.cube, window)
        if not reasons.any():
            return None
        return ~(is_hollow(reasons) if self.settings.mode == "rate" else is_void(reasons))

    def level_at(self, step: float) -> spectral.SpectralLevel:
        """The spectral level for a quantiser step, with the components that are worth their bits about there."""
        weighed = self.weights.at(step)
        if self._chosen is None or not (self.is_settled or abs(math.log(step / self._chosen[0])) < NEAR_STEPS):
            level = spectral.fit(self.statistics, *weighed, least=components.LEAST)
            _, rows, cols = self.cube.shape
            self._chosen = step, components.worth_sending(
                level, level.variances(self.statistics.covariance), components.looked_at(rows, cols, self.side),
                lambda window: self._planes_and_gains(window, level), self.model.transform, self.levels, rows * cols,
                self.workers,
            )
        return spectral.fit(self.statistics, *weighed, chosen=self._chosen[1])

    def choose_anew(self) -> None:
        """Ask again which components are worth sending, wherever the step goes."""
        self._chosen, self.is_settled = None, False

    def settle_on(self, step: float) -> None:
        """Send what is worth it at this step, at any step: the last tries for a rate must not jump."""
        self.choose_anew()
        self.level_at(step)
        self.is_settled = True

    def encode(self, step: float, *, exact: layers.Exactness | None = None) -> Encoding:
        """Encode everything at one quantiser step.

        Args:
            step: in weighted integer units.
            exact: add the exact layer; None in rate mode.
        """
        level = self.level_at(step)
        return self.packed(level, tuple(self.each(lambda window: self._tile(window, level, exact), self.windows)))

    def sized(self, step: float) -> Encoding:
        """As :meth:`encode`, of the same size, but without asking what the decoder would give."""
        level = self.level_at(step)
        return self.packed(level, tuple(self.each(lambda window: self.coded(window, level)[0], self.windows)))

    def each(self, work: Callable[[K], T], tiles_or_windows: list[K]) -> Iterator[T]:
        """Results of every tile in order, several tiles at a time; what was read of a mapped cube is let go."""
        read, largest = 0, self.windows[0]
        for result in in_order(work, tiles_or_windows, self.workers):
            yield result
            read += largest.rows * largest.cols * self.cube.shape.bands * self.cube.data.dtype.itemsize
            if read > KEPT_BYTES:
                forget(self.cube.data)
                read = 0

    def exact_tile(
        self, window: Window, level: spectral.SpectralLevel, exact: layers.Exactness | None
    ) -> EncodedTile:
        """A tile with what the decoder will give for it, and the exact layer where there is one."""
        tile, rebuilt = self.coded(window, level)
        tile = replace(tile, decoded=np.clip(level.synthesise(rebuilt), *self.sampling.limits))
        if exact is None:
            return tile
        integers, _ = self.samples(window)
        return self._with_exact(tile, integers, is_void(voxel_reasons(self.cube, window)), exact)

    def _tile(self, window: Window, level: spectral.SpectralLevel, exact: layers.Exactness | None) -> EncodedTile:
        tile = self.exact_tile(window, level, exact)
        if self.settings.keeps:
            return tile
        return replace(tile, decoded=UNKNOWN, settled=self.settle(tile))

    def start_from(self, lessons: Sequence[Learnt], most: int) -> bool:
        """Let every tile start from what some of them have learnt, if that can be told in ``most`` bytes."""
        first = self.model.state
        if not lessons or isinstance(first, QuickState):
            return False
        opening = cube_state.packed(lessons, first)
        if len(opening) > most:
            return False
        self.opening = opening
        self.coder = self.coder.starting(cube_state.started(first, opening))
        return True

    def coded(
        self, window: Window, level: spectral.SpectralLevel, learnt: list[Learnt] | None = None
    ) -> tuple[EncodedTile, NDArray[np.int32]]:
        """A tile's spatial levels and the planes that the decoder will rebuild; ``learnt`` gets what it taught."""
        planes, gains = self._planes_and_gains(window, level)
        code, rebuilt = self.coder.encode(planes, level.fraction_bits, gains, learnt)
        mask = header.pack_mask(voxel_reasons(self.cube, window))
        return EncodedTile(window, code, mask, gains, UNKNOWN), rebuilt

    def _planes_and_gains(
        self, window: Window, level: spectral.SpectralLevel
    ) -> tuple[NDArray[np.int32], NDArray[np.uint8] | None]:
        planes, empty = self.planes(window, level)
        return smooth_over(planes, empty), None if self.importance is None else gain_steps(self.importance, window)

    def planes(self, window: Window, level: spectral.SpectralLevel) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Component planes of a tile, and which of its pixels say nothing at all."""
        planes = np.empty((level.components, window.rows, window.cols), np.int32)
        empty = np.empty((window.rows, window.cols), bool)
        # 24 digits are enough for steps that are not tiny beside the values.
        real = np.float32 if level.step * SHORT_REAL > self.statistics.largest else np.float64
        for row in range(window.row0, window.row1, STRIP):
            strip = Window(row, min(row + STRIP, window.row1), window.col0, window.col1)
            values, void = self.values(strip)
            if void is not None:
                values = filled_spectra(values.astype(np.int64), void, level.mean.astype(np.float64))
            rows = slice(strip.row0 - window.row0, strip.row1 - window.row0)
            planes[:, rows] = level.analyse(values, real)
            empty[rows] = False if void is None else np.logical_and.reduce(void, axis=0)
        return planes, empty

    def settle(self, tile: EncodedTile) -> Settled:
        """Hash and errors of a tile's decoded values."""
        before = np.asarray(self.cube.data[(slice(None), *tile.window.slices)])
        return settled(before, self.stored(tile), self.promised(tile.window))

    @property
    def _codes_bits(self) -> bool:
        """Whether the exact layer codes the bits of floating-point values, no better integers being known."""
        return self.settings.mode == "lossless" and self.sampling.is_float and self.sampling.lattice is None

    def _with_exact(
        self, tile: EncodedTile, integers: NDArray[np.int64], void: NDArray[np.bool_],
        exact: layers.Exactness,
    ) -> EncodedTile:
        base, limits = tile.decoded, self.sampling.limits
        if self._codes_bits:
            stored = np.asarray(self.cube.data[(slice(None), *tile.window.slices)]).astype(np.float32)
            integers = layers.ordered_bits(stored)
            base = layers.ordered_bits(self.sampling.stored(base).astype(np.float32))
            void, limits = np.zeros_like(void), layers.FLOAT_LIMITS
        section, rebuilt = layers.encode_exact(integers, base, ~void, exact, limits)
        return replace(tile, exact=section, decoded=rebuilt)

    def stored(self, tile: EncodedTile) -> NDArray[np.generic]:
        """What the decoder will give for a tile, stored values, void voxels put back."""
        if self._codes_bits and tile.exact:
            return layers.unordered_bits(tile.decoded).astype(self.cube.data.dtype)
        reasons = voxel_reasons(self.cube, tile.window)
        return header.put_back(
            self.sampling.stored(tile.decoded), reasons, self.cube.nodata, is_exact=bool(tile.exact)
        )

    def packed(
        self, level: spectral.SpectralLevel, coded: tuple[EncodedTile, ...], *,
        certificate: Mapping[str, object] | None = None, sections: Sequence[tuple[int, bytes]] = (),
    ) -> Encoding:
        """Coded tiles as a stream; ``sections`` are more of the whole cube, (kind, data)."""
        hashes = [self._digest(tile) for tile in coded]
        head = header.build_head(self.cube, self.settings, self.sampling, level, self.model, self.side, self.importance)
        extra = [(kind, container.WHOLE, data) for kind, data in sections]
        if self.opening:
            head["version"] = container.LATEST_VERSION
        if certificate is not None:
            head["certificate"] = dict(certificate)
        extra += self._worst(coded)
        vectors = self._vectors(level, is_final=coded[0].settled is not None or coded[0].decoded.size > 0)
        found = header.build_sections(self.cube, vectors, coded, extra, self.opening)
        return Encoding(level, coded, pack(head, found, hashes))

    def _vectors(self, level: spectral.SpectralLevel, *, is_final: bool) -> bytes:
        """The spectral level as a section, kept while asked for; of large cubes, for sizes alone, about as long."""
        known = self._told
        if known is not None and known[0] is level and known[1] >= is_final:
            return known[2]
        if known is not None and not is_final and self.cube.shape.rows * self.cube.shape.cols >= MANY_PIXELS:
            like = components.basis_bits(level).sum() / components.basis_bits(known[0]).sum()
            return bytes(round(len(known[2]) * like))
        data = basis_coder.encode_level(level, basis_state(self.model.sha256), is_thorough=is_final)
        self._told = level, is_final, data
        return data

    def _worst(self, coded: tuple[EncodedTile, ...]) -> list[tuple[int, int, bytes]]:
        """The section of worst errors: always under a bound, else where it is next to nothing of the stream."""
        found = [tile.settled.worst for tile in coded if tile.settled is not None]
        if self.settings.mode == "lossless" or len(found) < len(coded):
            return []
        data = worst.pack(np.max(found, axis=0), self.sampling.unit)
        is_small = worst.SHARE * len(data) <= sum(header.tile_bytes(tile) for tile in coded)
        return [(container.WORST, container.WHOLE, data)] if is_small or self.settings.mode == "bound" else []

    def _digest(self, tile: EncodedTile) -> bytes:
        if tile.settled is not None:
            return tile.settled.digest
        if tile.decoded.size == 0:
            return bytes(HASH)  # only the size of this stream is wanted
        return hashlib.sha256(self.stored(tile).tobytes()).digest()[:HASH]


def is_quick(settings: EncodeSettings) -> bool:
    """Whether samples go through the quick coder; the exact modes spend their time elsewhere."""
    return settings.effort < SLOWEST_QUICK and settings.mode not in EXACT_MODES


def _passes(effort: int) -> int:
    """Passes of the trellis by effort 1..9."""
    return 1 if effort < 3 else rdoq.PASSES


def _aimed(settings: EncodeSettings) -> float | None:
    """The rate that tiles are sized for; None where every voxel is coded exactly."""
    if settings.mode in EXACT_MODES:
        return None
    return min(settings.bpppc or KEEPING_BPPPC, KEEPING_BPPPC) if settings.keeps else settings.bpppc
