"""Stream to cube: whole, a coarser level, a window, or some bands. Needs numpy and the integer kernels alone."""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec import header, layers
from palimpsest.codec import stream as container
from palimpsest.codec.models import model_by_hash
from palimpsest.codec.sampling import is_void
from palimpsest.codec.tile import TileCoder, TilePlan
from palimpsest.cubes import Cube, Georeference, Reason, Window
from palimpsest.errors import PalimpsestError, StreamCorrupt, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_DC_PROBE = 1 << 16
_NO_ENCODER = (AttributeError, IndexError, KeyError, TypeError, OverflowError, ValueError, struct.error)


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """What a decoder knows of its own error.

    Args:
        band_rmse: expected root mean square error of each band, stored units, ``(band,)``; 0 where exact.
        bound: largest error promised, stored units; None in rate mode.
    """

    band_rmse: NDArray[np.float64]
    bound: float | None


def decode(
    path: Path | str, level: int = 0, window: Window | None = None, bands: Sequence[int] | slice | None = None
) -> Cube:
    """Decode a ``.plm`` file.

    Args:
        path: the file.
        level: 0 is the whole cube; n stops before the n finest levels: a picture of ceil(rows / 2^n) x
            ceil(cols / 2^n) pixels.
        window: rows and columns to decode (level 0 only); only the tiles that it touches are read.
        bands: which bands; saves computing, not bytes.

    Raises:
        StreamCorrupt: cut or altered; names the finest level that is still whole.
        ModelMissing: made with weights that are not installed.
        UsageError: a level or window that the stream does not have.
    """
    stream = container.open_stream(Path(path))
    try:
        return _Decoder(stream).decode(level, window, bands)
    except StreamCorrupt as error:
        if error.whole_level is not None:
            raise
        whole = finest_whole_level(stream)
        left = "no level is left whole" if whole is None else f"--level {whole} is the finest still whole"
        raise StreamCorrupt(
            f"{error.what} ({left})", where=error.where or path, got=error.got, wanted=error.wanted, whole_level=whole
        ) from error
    except PalimpsestError:
        raise
    except _NO_ENCODER as error:
        # Checksums can be mended by whoever alters a stream: a field of the wrong kind must not end in a traceback.
        raise StreamCorrupt("a field that no encoder writes", where=path, got=repr(error)) from error


def finest_whole_level(stream: container.Stream) -> int | None:
    """The smallest ``level`` that :func:`decode` can still give of a damaged stream; None when there is none."""
    try:
        plan = header.checked_plan(stream)
        header.read_bands(stream, plan.shape.bands)
        header.read_spectral(stream, plan.shape.bands)
    except StreamCorrupt:
        return None
    worst = 0
    levels = plan.levels
    for at in range(len(plan.windows)):
        if not stream.is_whole(container.GAINS, at) or (
            stream.has(container.MASK, at) and not stream.is_whole(container.MASK, at)
        ):
            return None
        whole = 0
        while whole <= levels and stream.is_whole(container.LEVEL0 + whole, at):
            whole += 1
        if whole == 0:
            return None
        left = levels - (whole - 1)
        exact_broken = stream.has(container.RESIDUAL, at) and not stream.is_whole(container.RESIDUAL, at)
        worst = max(worst, left, 1 if exact_broken and levels else 0)
    return worst


def error_model(path: Path | str) -> ErrorModel:
    """What the stream tells about the error of its decoded values."""
    stream = container.open_stream(Path(path))
    plan = header.checked_plan(stream)
    if plan.exact_bound is not None:
        bound = float(stream.head.get("max_error", 0.0) or 0.0)
        return ErrorModel(np.full(plan.shape.bands, bound / math.sqrt(3)), bound)
    spectral = header.read_spectral(stream, plan.shape.bands)
    weights = spectral.weights / 256
    # A uniform quantiser errs by step^2 / 12 a component; what was not kept errs by less than that each.
    rmse = np.sqrt(spectral.step**2 / 12) / weights * plan.sampling.quantum
    return ErrorModel(rmse, None)


class _Decoder:
    def __init__(self, stream: container.Stream) -> None:
        self.stream = stream
        self.plan = header.checked_plan(stream)
        head = stream.head
        model = model_by_hash(str(head.get("model", "")), [int(n) for n in head.get("trained_levels", ())])
        self.transform = model.transform
        self.coder = TileCoder(model.transform, model.state, self.plan.levels)
        self.bands = header.read_bands(stream, self.plan.shape.bands)
        self.spectral = header.read_spectral(stream, self.plan.shape.bands)

    def decode(self, level: int, window: Window | None, bands: Sequence[int] | slice | None) -> Cube:
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
        data = self._coarse(level, chosen) if level else self._whole(target, chosen)
        return replace(self._cube(data, chosen, target, level), reasons=self._all_reasons(chosen, target, level))

    def _all_reasons(self, chosen: NDArray[np.intp], target: Window, level: int) -> NDArray[np.uint8] | None:
        """Reasons that the values cannot tell by themselves, ``(band, row, col)``; None when there are none."""
        if not any(kind == container.MASK for kind, _ in self.stream.sections):
            return None
        _, rows, cols = self.plan.shape
        reach = 1 << level
        out = np.zeros((chosen.size, -(-rows // reach), -(-cols // reach)), np.uint8)
        for at, window in enumerate(self.plan.windows):
            part = self._reasons(at, window)[chosen][:, ::reach, ::reach]
            row, col = window.row0 // reach, window.col0 // reach
            out[:, row : row + part.shape[1], col : col + part.shape[2]] = part
        if level == 0:
            out = np.ascontiguousarray(out[(slice(None), *target.slices)])
        return out if (~np.isin(out, (0, Reason.NODATA, Reason.NOT_FINITE))).any() else None

    def _whole(self, target: Window, chosen: NDArray[np.intp]) -> NDArray[np.generic]:
        out = np.empty((chosen.size, target.rows, target.cols), self.plan.sampling.dtype)
        for at, window in enumerate(self.plan.windows):
            top, bottom = max(window.row0, target.row0), min(window.row1, target.row1)
            left, right = max(window.col0, target.col0), min(window.col1, target.col1)
            if top >= bottom or left >= right:
                continue
            tile = self._tile(at, window, chosen)
            out[:, top - target.row0 : bottom - target.row0, left - target.col0 : right - target.col0] = tile[
                :, top - window.row0 : bottom - window.row0, left - window.col0 : right - window.col0
            ]
        return out

    def _tile(self, at: int, window: Window, chosen: NDArray[np.intp]) -> NDArray[np.generic]:
        plan, sampling = self.plan, self.plan.sampling
        all_bands = chosen.size == plan.shape.bands and bool((chosen == np.arange(chosen.size)).all())
        needs_all = plan.exact_bound is not None
        computed = np.arange(plan.shape.bands) if needs_all else chosen
        planes = self._planes(at, window, 0)
        integers = np.clip(self.spectral.synthesise(planes, computed), *sampling.limits)
        reasons = self._reasons(at, window)
        if plan.exact_bound is not None:
            values = self._exact(at, integers, reasons, plan.exact_bound)
        else:
            integers = self._refined(at, window, integers, computed)
            values = header.put_back(
                sampling.stored(integers), reasons[computed], plan.nodata, is_exact=False
            )
        if all_bands or needs_all:
            self._check_hash(at, values)
        return values if not needs_all else values[chosen]

    def _refined(
        self, at: int, window: Window, integers: NDArray[np.int64], computed: NDArray[np.intp]
    ) -> NDArray[np.int64]:
        if not self.stream.has(container.REFINEMENT, at):
            return integers
        from palimpsest.codec import refinement

        bands, rows, cols = self.plan.shape
        labels, bands_of, rmse = refinement.unpack_labels(self.stream.read(container.LABELS), rows, cols, bands)
        local = np.ascontiguousarray(labels[window.slices])
        fixes = refinement.decode_corrections(self.stream.read(container.REFINEMENT, at), local, bands_of)
        part = refinement.Corrections(fixes.rungs, np.ascontiguousarray(fixes.steps[:, computed]))
        return refinement.corrected(
            integers, local, part, bands_of[:, computed], rmse[computed], self.plan.sampling.limits
        )

    def _planes(self, at: int, window: Window, level: int) -> NDArray[np.int32]:
        levels = self.plan.levels
        pulls, gains = header.read_side(self.stream, at, window, levels)
        chunks = [self.stream.read(container.LEVEL0 + n, at) for n in range(levels - level + 1)]
        shape = TilePlan(window.rows, window.cols, self.spectral.components, self.spectral.fraction_bits)
        return self.coder.decode(chunks, pulls, shape, gains, level)

    def _reasons(self, at: int, window: Window) -> NDArray[np.uint8]:
        shape = (self.plan.shape.bands, window.rows, window.cols)
        if not self.stream.has(container.MASK, at):
            return np.zeros(shape, np.uint8)
        return header.unpack_mask(self.stream.read(container.MASK, at), shape)

    def _exact(
        self, at: int, integers: NDArray[np.int64], reasons: NDArray[np.uint8], bound: int
    ) -> NDArray[np.generic]:
        sampling, data = self.plan.sampling, self.stream.read(container.RESIDUAL, at)
        if sampling.is_float and self.plan.mode == "lossless":
            base = layers.ordered_bits(sampling.stored(integers).astype(np.float32))
            every = np.ones(base.shape, bool)
            bits = layers.decode_exact(data, base, every, bound, layers.FLOAT_LIMITS)
            return layers.unordered_bits(bits).astype(sampling.dtype)
        exact = layers.decode_exact(data, integers, ~is_void(reasons), bound, sampling.limits)
        return header.put_back(sampling.stored(exact), reasons, self.plan.nodata, is_exact=True)

    def _check_hash(self, at: int, values: NDArray[np.generic]) -> None:
        got = hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()[: container.HASH]
        if got != self.stream.tile_hashes[at]:
            raise StreamCorrupt(
                "decoded values are not those that were encoded", where=f"{self.stream.path}, tile {at}",
                got=got.hex(), wanted=self.stream.tile_hashes[at].hex(),
            )

    def _coarse(self, level: int, chosen: NDArray[np.intp]) -> NDArray[np.generic]:
        _, rows, cols = self.plan.shape
        reach = 1 << level
        out = np.empty((chosen.size, -(-rows // reach), -(-cols // reach)), self.plan.sampling.dtype)
        gain = _dc_gain(self.transform, level)
        for at, window in enumerate(self.plan.windows):
            planes = self._planes(at, window, level)
            # A coarse sample is a weighted sum, not a mean: divide by what the levels make of a constant.
            scaled = np.rint(planes.astype(np.float64) / gain).astype(np.int32)
            integers = self.spectral.synthesise(scaled, chosen)
            reasons = self._reasons(at, window)[chosen][:, ::reach, ::reach]
            values = header.put_back(
                self.plan.sampling.stored(integers), reasons, self.plan.nodata, is_exact=False
            )
            row, col = window.row0 // reach, window.col0 // reach
            out[:, row : row + values.shape[1], col : col + values.shape[2]] = values
        return out

    def _cube(self, data: NDArray[np.generic], chosen: NDArray[np.intp], target: Window, level: int) -> Cube:
        head = self.stream.head
        place = header.read_georeference(head)
        if place is not None:
            place = place.shifted(target.row0, target.col0)
            reach = float(1 << level)
            a, b, c, d, e, f = place.transform
            place = Georeference(place.crs_wkt, (a * reach, b * reach, c, d * reach, e * reach, f))
        cube = Cube(
            data, self.bands.select(chosen), nodata=self.plan.nodata, scale=float(head.get("scale", 1.0)),
            offset=float(head.get("offset", 0.0)), units=str(head.get("units", "")), georeference=place,
            name=str(head.get("name", "cube")), sensor=str(head.get("sensor", "")),
            metadata={str(k): str(v) for k, v in head.get("metadata", {}).items()},
            history=tuple(str(line) for line in head.get("history", ())),
        )
        step = f"decoded from a {self.plan.mode} stream" + (f" at level {level}" if level else "")
        return replace(cube, history=(*cube.history, step))


def _dc_gain(transform: object, level: int) -> float:
    """What ``level`` levels of analysis make of a constant plane, relative to it."""
    from palimpsest.codec.spatial import LevelTransform

    assert isinstance(transform, LevelTransform)
    side = 8 << level
    plane = np.full((side, side), _DC_PROBE, np.int32)
    return float(np.median(transform.analyse(plane, level).coarse)) / _DC_PROBE
