"""An open stream: pixels, windows and levels out of it, each from the bytes that it needs and no others.

``with open_stream(path) as stream: stream.spectrum(row, col)``. Head, band table, spectral level and the trained
weights are read once; tiles that were decoded are kept, so that the next pixel of a tile costs next to nothing.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.container import header
from palimpsest.codec.container import stream as container
from palimpsest.codec.container.damage import refusing
from palimpsest.codec.container.models import model_by_hash
from palimpsest.codec.decoded import DecodedTile
from palimpsest.codec.entropy import cube_state
from palimpsest.codec.entropy.planes import MixerState
from palimpsest.codec.integers import layers
from palimpsest.codec.integers.sampling import is_void
from palimpsest.codec.keeping import depths, refinement
from palimpsest.codec.space.tiling import allowed_workers, in_order
from palimpsest.codec.tiles.tile import TileCoder, TilePlan
from palimpsest.cubes import Cube, Georeference, Reason, Window
from palimpsest.cubes.mapped import KEPT_BYTES, forget, scratch
from palimpsest.errors import StreamCorrupt, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CACHE_BYTES = 1 << 26
MAPPED_BYTES = 1 << 28  # decoded cubes from this size on are put into a file, where a folder for it is given
TOLD_BY_VALUES = (Reason.GOOD, Reason.NODATA, Reason.NOT_FINITE)


class StreamReader:
    """A stream that is open for reading; made by :func:`open_stream`.

    Args:
        stream: its container.
        workers: tiles decoded at a time; 0 is as many as processors may be used.
        cache_bytes: how much of decoded tiles is kept.
    """

    def __init__(self, stream: container.Stream, *, workers: int = 0, cache_bytes: int = CACHE_BYTES) -> None:
        self.stream = stream
        self.plan = header.checked_plan(stream)
        self.bands = header.read_bands(stream, self.plan.shape.bands)
        self._workers = workers or allowed_workers()
        self._spectral = header.read_spectral(stream, self.plan.shape.bands)
        head = stream.head
        levels = [int(n) for n in head.get("trained_levels", ())]
        model = model_by_hash(str(head.get("model", "")), levels, int(head["version"]), str(head.get("coder", "")))
        state = model.state
        if stream.has(container.CUBE_STATE) and isinstance(state, MixerState):
            state = cube_state.started(state, stream.read(container.CUBE_STATE))
        self._coder = TileCoder(model.transform, state, self.plan.levels)
        self._label_map: tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.int64]] | None = None
        self._bump_table: tuple[depths.Bumps, NDArray[np.int64]] | None = None
        self._cache: OrderedDict[int, DecodedTile] = OrderedDict()
        self._room = cache_bytes
        self._lock = threading.Lock()

    def __enter__(self) -> StreamReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._cache.clear()

    @property
    def bytes_read(self) -> int:
        """Bytes of the file that were read so far, head and index included."""
        return self.stream.tally.bytes

    @property
    def levels(self) -> int:
        """How many levels can be left out: :meth:`level` of this many is the coarsest."""
        return self.plan.levels

    def spectrum(self, row: int, col: int) -> NDArray[np.generic]:
        """The stored values of one pixel, ``(band,)``: those that decoding the whole cube gives.

        Only the tile that holds the pixel is read, and each of its sections is checked by its own checksum; the hash
        of the whole tile's values is not asked for.

        Raises:
            UsageError: beyond the cube.
            StreamCorrupt: what is read was cut or altered.
        """
        _, rows, cols = self.plan.shape
        if not (0 <= row < rows and 0 <= col < cols):
            raise UsageError("pixel beyond the cube", got=f"{row},{col}", wanted=f"0:{rows},0:{cols}")
        side = self.plan.tile
        at = row // side * -(-cols // side) + col // side
        with refusing(self.stream):
            window = self.plan.windows[at]
            r, c = row - window.row0, col - window.col0
            part = self._cached(at).at(slice(r, r + 1), slice(c, c + 1))
            return self._values(part, np.arange(self.plan.shape.bands))[:, 0, 0]

    def window(self, window: Window, bands: Sequence[int] | slice | None = None) -> Cube:
        """The cube inside a window; only the tiles that it touches are read."""
        return self.cube(window=window, bands=bands)

    def level(self, level: int, bands: Sequence[int] | slice | None = None) -> Cube:
        """The whole cube without its finest levels; only the sections of the others are read."""
        return self.cube(level, bands=bands)

    def cube(
        self, level: int = 0, window: Window | None = None, bands: Sequence[int] | slice | None = None, *,
        folder: Path | None = None,
    ) -> Cube:
        """What :func:`palimpsest.codec.decoder.decode` says.

        Args:
            level: as there.
            window: as there.
            bands: as there.
            folder: where values too many for memory may be kept in a nameless file; None keeps all in memory.
        """
        count, rows, cols = self.plan.shape
        deepest = self.plan.levels
        if not 0 <= level <= deepest:
            raise UsageError("no such level", where=self.stream.path, got=level, wanted=f"0 to {deepest}")
        if level and window is not None:
            raise UsageError("a window is cut from the whole cube", got=f"level {level}", wanted="level 0")
        try:
            chosen = np.arange(count) if bands is None else np.arange(count)[bands]
        except IndexError as error:
            raise UsageError("no such band", where=self.stream.path, got=bands, wanted=f"some of 0:{count}") from error
        if chosen.size == 0:
            raise UsageError("no band chosen", got=bands, wanted=f"some of 0:{count}")
        target = window or Window(0, rows, 0, cols)
        if target.row1 > rows or target.col1 > cols:
            raise UsageError("window beyond the cube", got=str(target), wanted=f"0:{rows},0:{cols}")
        with refusing(self.stream):
            data, reasons = self._assembled(chosen, target, level, folder)
            return replace(self._cube(data, chosen, target, level), reasons=reasons)

    def _assembled(
        self, chosen: NDArray[np.intp], target: Window, level: int, folder: Path | None
    ) -> tuple[NDArray[np.generic], NDArray[np.uint8] | None]:
        """Values of a target, and reasons that the values cannot tell by themselves (None where there are none)."""
        touched = [at for at, window in enumerate(self.plan.windows) if _overlap(window, target) is not None]
        reach = 1 << level
        shape = (chosen.size, -(-target.rows // reach), -(-target.cols // reach))
        out: NDArray[np.generic] | None = None
        reasons: NDArray[np.uint8] | None = None
        written = 0
        for at, (values, why) in zip(
            touched, in_order(lambda at: self._part(at, target, chosen, level), touched, self._workers), strict=True
        ):
            if out is None:  # only now: a tile that decodes is a reason to believe in the shape
                out = self._room_for(shape, folder)
            window = _overlap(self.plan.windows[at], target)
            assert window is not None
            row, col = (window.row0 - target.row0) // reach, (window.col0 - target.col0) // reach
            place = (slice(None), slice(row, row + values.shape[1]), slice(col, col + values.shape[2]))
            out[place] = values
            if why is not None and (~np.isin(why, TOLD_BY_VALUES)).any() and reasons is None:
                reasons = np.zeros(shape, np.uint8)
                reasons = self._reasons_so_far(reasons, chosen, target, level, touched[: touched.index(at)])
            if why is not None and reasons is not None:
                reasons[place] = why
            written += values.nbytes
            if written > KEPT_BYTES:
                forget(out)
                written = 0
        assert out is not None
        return out, reasons

    def _room_for(self, shape: tuple[int, int, int], folder: Path | None) -> NDArray[np.generic]:
        dtype = np.dtype(self.plan.sampling.dtype)
        if folder is not None and math.prod(shape) * dtype.itemsize > MAPPED_BYTES:
            return scratch(shape, dtype, folder)
        return np.empty(shape, dtype)

    def _reasons_so_far(
        self, out: NDArray[np.uint8], chosen: NDArray[np.intp], target: Window, level: int, done: list[int]
    ) -> NDArray[np.uint8]:
        reach = 1 << level
        for at in done:
            window = _overlap(self.plan.windows[at], target)
            why = self._reasons(at)
            if why is None or window is None:
                continue
            part = why[(chosen, *_inside(window, self.plan.windows[at], reach))]
            row, col = (window.row0 - target.row0) // reach, (window.col0 - target.col0) // reach
            out[:, row : row + part.shape[1], col : col + part.shape[2]] = part
        return out

    def _part(
        self, at: int, target: Window, chosen: NDArray[np.intp], level: int
    ) -> tuple[NDArray[np.generic], NDArray[np.uint8] | None]:
        """Values and reasons of the part of a tile that lies inside a target."""
        own = self.plan.windows[at]
        window = _overlap(own, target)
        assert window is not None
        every = chosen.size == self.plan.shape.bands and bool((chosen == np.arange(chosen.size)).all())
        if level:
            return self._coarse(at, own, level, chosen)
        if window == own and (every or self.plan.widths is not None):
            tile = self._decoded(at)
            values = self._values(tile, np.arange(self.plan.shape.bands))
            self._check_hash(at, values)
            return values[chosen] if not every else values, None if tile.reasons is None else tile.reasons[chosen]
        tile = self._cached(at) if window != own else self._decoded(at)
        rows, cols = _inside(window, own, 1)
        part = tile.at(rows, cols)
        return self._values(part, chosen), None if part.reasons is None else part.reasons[chosen]

    def _cached(self, at: int) -> DecodedTile:
        with self._lock:
            if at in self._cache:
                self._cache.move_to_end(at)
                return self._cache[at]
        tile = self._decoded(at)
        with self._lock:
            self._cache[at] = tile
            while len(self._cache) > 1 and sum(kept.size for kept in self._cache.values()) > self._room:
                self._cache.popitem(last=False)
        return tile

    def _decoded(self, at: int) -> DecodedTile:
        window, sampling = self.plan.windows[at], self.plan.sampling
        reasons = self._reasons(at)
        planes = self._planes(at, window, 0)
        if self.plan.widths is not None:
            integers = np.clip(self._spectral.synthesise(planes), *sampling.limits)
            return DecodedTile(reasons, values=self._exact(at, integers, reasons, self.plan.widths))
        refined, deepened = (self.stream.has(kind, at) for kind in (container.REFINEMENT, container.DEPTHS))
        if not (refined or deepened):
            return DecodedTile(reasons, planes)
        labels, bands_of, _ = self._labels()
        local = np.ascontiguousarray(labels[window.slices])
        numbers, fixes = None, None
        if deepened:
            numbers = depths.decode_numbers(self.stream.read(container.DEPTHS, at), local, self._bumps()[0])
        if refined:
            fixes = refinement.decode_corrections(self.stream.read(container.REFINEMENT, at), local, bands_of)
        return DecodedTile(reasons, planes, None, local, numbers, fixes)

    def _values(self, tile: DecodedTile, chosen: NDArray[np.intp]) -> NDArray[np.generic]:
        """Stored values ``(band, row, col)`` of a decoded tile, or of a part of one."""
        if tile.values is not None:
            return tile.values[chosen]
        assert tile.planes is not None
        limits, sampling = self.plan.sampling.limits, self.plan.sampling
        reasons = None if tile.reasons is None else tile.reasons[chosen]
        planes = np.ascontiguousarray(tile.planes)
        if not sampling.is_float and tile.labels is None:
            values = self._spectral.synthesise(planes, chosen, limits, sampling.dtype)
            return header.put_back(values, reasons, self.plan.nodata, is_exact=False)
        integers = self._spectral.synthesise(planes, chosen, limits)
        if tile.numbers is not None and tile.labels is not None:
            bumps, shares = self._bumps()
            integers = depths.applied(integers, tile.numbers, tile.labels, bumps, shares[:, chosen], limits)
        if tile.fixes is not None and tile.labels is not None:
            _, bands_of, rmse = self._labels()
            fixes = refinement.Corrections(tile.fixes.rungs, np.ascontiguousarray(tile.fixes.steps[:, chosen]))
            integers = refinement.corrected(integers, tile.labels, fixes, bands_of[:, chosen], rmse[chosen], limits)
        return header.put_back(sampling.stored(integers), reasons, self.plan.nodata, is_exact=False)

    def _labels(self) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.int64]]:
        with self._lock:
            if self._label_map is None:
                bands, rows, cols = self.plan.shape
                self._label_map = refinement.unpack_labels(self.stream.read(container.LABELS), rows, cols, bands)
            return self._label_map

    def _bumps(self) -> tuple[depths.Bumps, NDArray[np.int64]]:
        """All bumps of the stream, and what each takes of each band."""
        labels, _, _ = self._labels()
        with self._lock:
            if self._bump_table is None:
                if self.bands.centre_nm is None:
                    raise StreamCorrupt("features without wavelengths", where=self.stream.path)
                data = self.stream.read(container.BUMPS)
                bumps = depths.unpack_bumps(data, int(labels.max()) + 1, self.bands.count)
                self._bump_table = bumps, bumps.shares(depths.ranks(self.bands.centre_nm))
            return self._bump_table

    def _planes(self, at: int, window: Window, level: int) -> NDArray[np.int32]:
        pulls, gains = header.read_side(self.stream, at, window, self.plan.levels)
        chunks = [self.stream.read(container.LEVEL0 + n, at) for n in range(self.plan.levels - level + 1)]
        shape = TilePlan(window.rows, window.cols, self._spectral.components, self._spectral.fraction_bits)
        return self._coder.decode(chunks, pulls, shape, gains, level)

    def _reasons(self, at: int) -> NDArray[np.uint8] | None:
        if not self.stream.has(container.MASK, at):
            return None
        window = self.plan.windows[at]
        shape = (self.plan.shape.bands, window.rows, window.cols)
        return header.unpack_mask(self.stream.read(container.MASK, at), shape)

    def _exact(
        self, at: int, integers: NDArray[np.int64], reasons: NDArray[np.uint8] | None,
        widths: NDArray[np.int64],
    ) -> NDArray[np.generic]:
        sampling, data = self.plan.sampling, self.stream.read(container.RESIDUAL, at)
        every = np.ones(integers.shape, bool)
        if sampling.is_float and sampling.lattice is None and self.plan.mode == "lossless":
            base = layers.ordered_bits(sampling.stored(integers).astype(np.float32))
            bits = layers.decode_exact(data, base, every, widths, layers.FLOAT_LIMITS)
            return layers.unordered_bits(bits).astype(sampling.dtype)
        usable = every if reasons is None else ~is_void(reasons)
        exact = layers.decode_exact(data, integers, usable, widths, sampling.limits)
        return header.put_back(sampling.stored(exact), reasons, self.plan.nodata, is_exact=True)

    def _check_hash(self, at: int, values: NDArray[np.generic]) -> None:
        got = hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()[: container.HASH]
        if got != self.stream.tile_hashes[at]:
            raise StreamCorrupt(
                "decoded values are not those that were encoded", where=f"{self.stream.path}, tile {at}",
                got=got.hex(), wanted=self.stream.tile_hashes[at].hex(),
            )

    def _coarse(
        self, at: int, window: Window, level: int, chosen: NDArray[np.intp]
    ) -> tuple[NDArray[np.generic], NDArray[np.uint8] | None]:
        planes = self._planes(at, window, level)
        # A coarse sample is a weighted sum, not a mean: divide by what the levels make of a constant.
        gain = self._coder.constant_gain(level)
        scaled = np.rint(planes.astype(np.float64) / gain).astype(np.int32)
        integers = self._spectral.synthesise(scaled, chosen)
        reach, reasons = 1 << level, self._reasons(at)
        part = None if reasons is None else reasons[chosen][:, ::reach, ::reach]
        stored = self.plan.sampling.of(chosen).stored(integers)
        return header.put_back(stored, part, self.plan.nodata, is_exact=False), part

    def _cube(self, data: NDArray[np.generic], chosen: NDArray[np.intp], target: Window, level: int) -> Cube:
        head = self.stream.head
        place = header.read_georeference(head)
        if place is not None:
            place = place.shifted(target.row0, target.col0)
            reach = float(1 << level)
            a, b, c, d, e, f = place.transform
            place = Georeference(place.crs_wkt, (a * reach, b * reach, c, d * reach, e * reach, f))
        bands = self.bands.select(chosen)
        if self.plan.mode == "rate" and level == 0:
            with np.errstate(over="ignore"):  # an absurd quantum
                rmse = self._spectral.band_rmse[chosen] * self.plan.sampling.quantum
            bands = replace(bands, coder_rmse=rmse if np.isfinite(rmse).all() else None)
        cube = Cube(
            data, bands, nodata=self.plan.nodata, scale=float(head.get("scale", 1.0)),
            offset=float(head.get("offset", 0.0)), units=str(head.get("units", "")), georeference=place,
            name=str(head.get("name", "cube")), sensor=str(head.get("sensor", "")),
            metadata={str(k): str(v) for k, v in head.get("metadata", {}).items()},
            history=tuple(str(line) for line in head.get("history", ())),
        )
        step = f"decoded from a {self.plan.mode} stream" + (f" at level {level}" if level else "")
        return replace(cube, history=(*cube.history, step))


def open_stream(path: Path | str, *, workers: int = 0, cache_bytes: int = CACHE_BYTES) -> StreamReader:
    """Open a ``.plm`` file for random access.

    Args:
        path: the file.
        workers: tiles decoded at a time; 0 is as many as processors may be used.
        cache_bytes: how much of decoded tiles is kept.

    Raises:
        StreamCorrupt: not a stream, or a damaged head.
        ModelMissing: made with weights that are not installed.
    """
    stream = container.open_stream(Path(path))
    with refusing(stream):
        return StreamReader(stream, workers=workers, cache_bytes=cache_bytes)


def _overlap(window: Window, target: Window) -> Window | None:
    top, bottom = max(window.row0, target.row0), min(window.row1, target.row1)
    left, right = max(window.col0, target.col0), min(window.col1, target.col1)
    return None if top >= bottom or left >= right else Window(top, bottom, left, right)


def _inside(window: Window, own: Window, reach: int) -> tuple[slice, slice]:
    """A window inside a tile, relative to it, every ``reach``-th row and column."""
    return (
        slice(window.row0 - own.row0, window.row1 - own.row0, reach),
        slice(window.col0 - own.col0, window.col1 - own.col0, reach),
    )
