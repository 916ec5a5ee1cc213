"""What a stream says about its cube: the head's fields, the sections of the whole cube, masks.

Built by the encoder and read by the decoder; anything a head says is checked against what the file can hold before
memory is taken for it.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.codec.container import band_names
from palimpsest.codec.container import stream as container
from palimpsest.codec.container.models import basis_state
from palimpsest.codec.entropy.planes import decode_table, encode_table
from palimpsest.codec.integers.lattice import Lattice
from palimpsest.codec.integers.sampling import Sampling
from palimpsest.codec.quantisation.quantiser import BLOCK, Pull
from palimpsest.codec.spectrum.basis import decode_basis
from palimpsest.codec.spectrum.basis_coder import decode_level
from palimpsest.codec.spectrum.spectral import SpectralLevel, check_loaded
from palimpsest.codec.tiles.tile import level_count
from palimpsest.cubes import BandTable, CubeShape, Georeference, Reason
from palimpsest.cubes.cube import STORED_DTYPES
from palimpsest.cubes.window import tiles
from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from palimpsest.codec.container.models import CodecModel
    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.codec.tiles.encoded import EncodedTile
    from palimpsest.cubes import Cube, ImportanceMap, Window

NANOMETRE_UNIT = 1000  # band centres and widths are kept in picometres
MOST_BANDS = 1 << 16
FREE_VOXELS = 1 << 23  # of a tile, decoded without asking; beyond it a stream must be of plausible size
VOXELS_A_BYTE = 1 << 12
LARGEST_TILE = 1 << 26
LARGEST_BASIS = 1 << 22


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked head.

    Args:
        shape: of the whole cube.
        mode: 'rate', 'bound' or 'lossless'.
        tile: side of a tile.
        sampling: integers and stored values.
        nodata: the cube's, or None.
        windows: of all tiles.
        levels: how many spatial levels every tile has.
        widths: of the exact layer's cells, integer units, ``(band,)``; None where there is no such layer.
        asked: the bounds in stored units, ``(band,)``; None without.
    """

    shape: CubeShape
    mode: str
    tile: int
    sampling: Sampling
    nodata: float | None
    windows: tuple[Window, ...]
    levels: int
    widths: NDArray[np.int64] | None
    asked: NDArray[np.float64] | None


def build_head(
    cube: Cube, settings: EncodeSettings, sampling: Sampling, level: SpectralLevel, model: CodecModel, tile: int,
    importance: ImportanceMap | None,
) -> dict[str, object]:
    """The head's fields; those at their default are left out."""
    head: dict[str, object] = {
        "version": container.LATEST_VERSION, "shape": list(cube.shape),
        "dtype": cube.data.dtype.name, "mode": settings.mode,
        "tile": tile, "step": level.step, "fraction_bits": level.fraction_bits, "components": level.components,
        "name": cube.name,
    }
    optional: dict[str, tuple[object, object]] = {
        "quantum": (sampling.quantum, 1.0), "lattice": (_packed_lattice(sampling), None), "model": (model.sha256, ""),
        "coder": (model.coder, ""),
        "trained_levels": (list(model.trained_levels), []), "nodata": (_number(cube.nodata), None),
        "scale": (cube.scale, 1.0), "offset": (cube.offset, 0.0), "units": (cube.units, ""),
        "sensor": (cube.sensor, ""), "metadata": (dict(cube.metadata), {}), "history": (list(cube.history), []),
        "release": ("" if importance is None else importance.release, ""),
        "strength": (0.0 if importance is None else settings.strength, 0.0),
        "max_error": (_told(settings.max_error) if settings.mode == "bound" else None, None),
        "names": (band_names.packed(cube.bands.names, _as_decoded(cube.bands.centre_nm)), []),
        "fwhm_is_assumed": (cube.bands.fwhm_is_assumed, False),
    }
    head |= {key: value for key, (value, default) in optional.items() if value != default}
    if cube.georeference is not None:
        head["crs_wkt"] = cube.georeference.crs_wkt
        head["geotransform"] = list(cube.georeference.transform)
    if cube.bands.centre_nm is not None:
        head["wavelengths"] = [float(cube.bands.centre_nm.min()), float(cube.bands.centre_nm.max())]
    return head


def _as_decoded(centre_nm: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Band centres as the decoder will have them."""
    return None if centre_nm is None else np.rint(centre_nm * NANOMETRE_UNIT).astype(np.int64) / NANOMETRE_UNIT


def _packed_lattice(sampling: Sampling) -> list[float] | None:
    """The lattice's numbers; one where all bands have the same."""
    if sampling.lattice is None:
        return None
    numbers = [float(number) for number in sampling.lattice.numbers]
    return numbers[:1] if len(set(numbers)) == 1 else numbers


def _lattice_of(head: Mapping[str, Any], shape: CubeShape, *, is_exact: bool) -> Lattice | None:
    if "lattice" not in head:
        return None
    numbers = np.asarray(head["lattice"], np.float64)
    sane = numbers.shape in ((1,), (shape.bands,)) and np.isfinite(numbers).all() and (numbers != 0).all()
    if not (sane and is_exact and str(head["dtype"]).startswith("float")):
        raise ValueError(f"absurd lattice of {numbers.shape} numbers")
    return Lattice(np.broadcast_to(numbers, shape.bands))


def _told(bounds: float | tuple[float, ...] | None) -> float | list[float] | None:
    """One number where all bands have the same bound."""
    if not isinstance(bounds, tuple):
        return bounds
    return bounds[0] if len(set(bounds)) == 1 else list(bounds)


def _number(value: float | None) -> float | str | None:
    """JSON has no NaN."""
    return value if value is None or math.isfinite(value) else str(value)


def build_sections(
    cube: Cube, vectors: bytes, coded: Sequence[EncodedTile], extra: Sequence[tuple[int, int, bytes]] = (),
    opening: bytes = b"",
) -> list[tuple[int, int, bytes]]:
    """All sections in file order: the whole cube's, each tile's side information, levels coarse to fine, the rest.

    ``vectors`` is the spectral level.
    """
    sections = [
        (container.BANDS, container.WHOLE, _pack_bands(cube.bands)),
        (container.VECTORS, container.WHOLE, vectors),
        *(section for section in extra if section[0] == container.WORST),
    ]
    if opening:
        sections.append((container.CUBE_STATE, container.WHOLE, opening))
    for at, tile in enumerate(coded):
        if tile.mask:
            sections.append((container.MASK, at, tile.mask))
        sections.append((container.GAINS, at, _pack_side(tile)))
    for turn in range(len(coded[0].code.chunks)):
        sections += [(container.LEVEL0 + turn, at, tile.code.chunks[turn]) for at, tile in enumerate(coded)]
    sections += [(container.RESIDUAL, at, tile.exact) for at, tile in enumerate(coded) if tile.exact]
    sections += [section for section in extra if section[0] != container.WORST]
    sections += [(container.DEPTHS, at, tile.depths) for at, tile in enumerate(coded) if tile.depths]
    sections += [(container.REFINEMENT, at, tile.refinement) for at, tile in enumerate(coded) if tile.refinement]
    return sections


def tile_bytes(tile: EncodedTile) -> int:
    """What a tile adds to the size of a stream, its rows of the index included."""
    parts = [tile.mask, _pack_side(tile), *tile.code.chunks, tile.exact, tile.refinement, tile.depths]
    return container.HASH + sum(len(part) + container.ROW_BYTES for part in parts if part)


def checked_plan(stream: container.Stream) -> Plan:
    """The head's numbers, if an encoder could have written them for a file of this size.

    Raises:
        StreamCorrupt: absurd or contradictory.
    """
    head = stream.head
    try:
        shape = CubeShape(*(int(n) for n in head["shape"]))
        dtype, mode, tile = str(head["dtype"]), str(head["mode"]), int(head["tile"])
        quantum, nodata = float(head.get("quantum", 1.0)), head.get("nodata")
        nodata = None if nodata is None else float(nodata)
        asked = np.atleast_1d(np.asarray(head.get("max_error", 0.0), np.float64))
        lattice = _lattice_of(head, shape, is_exact=mode != "rate")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise StreamCorrupt("head lacks what every stream has", where=stream.path, got=error) from error
    sane = (
        min(shape) >= 1 and shape.bands <= MOST_BANDS and 8 <= tile <= 1 << 14 and dtype in STORED_DTYPES
        and mode in ("rate", "bound", "lossless") and 0 < quantum < math.inf
    )
    if not (sane and is_plausible(shape, tile, stream.actual)):
        raise StreamCorrupt("absurd head", where=stream.path, got=f"{tuple(shape)} {dtype} {mode}, tile {tile}")
    count = -(-shape.rows // tile) * -(-shape.cols // tile)
    if count != len(stream.tile_hashes):
        raise StreamCorrupt("tiles do not fit the cube", where=stream.path, got=len(stream.tile_hashes), wanted=count)
    sampling = Sampling(dtype, quantum, lattice)
    windows = tuple(tiles(shape.rows, shape.cols, tile))
    levels = level_count(min(shape.rows, tile), min(shape.cols, tile))
    if mode == "rate":
        return Plan(shape, mode, tile, sampling, nodata, windows, levels, None, None)
    if asked.ndim > 1 or asked.size not in (1, shape.bands) or not ((asked >= 0) & np.isfinite(asked)).all():
        raise StreamCorrupt("absurd error bounds", where=stream.path, got=asked.shape, wanted=f"1 or {shape.bands}")
    asked = np.broadcast_to(asked if mode == "bound" else 0.0, shape.bands)
    return Plan(shape, mode, tile, sampling, nodata, windows, levels, sampling.widths(asked), asked)


def is_plausible(shape: CubeShape, tile: int, size: int) -> bool:
    """Whether a file of ``size`` bytes may hold tiles of this side: memory is taken for a tile before it is decoded."""
    voxels = min(shape.rows, tile) * min(shape.cols, tile) * shape.bands
    return voxels <= min(LARGEST_TILE, max(FREE_VOXELS, size * VOXELS_A_BYTE))


def read_bands(stream: container.Stream, count: int) -> BandTable:
    """The band table."""
    data = stream.read(container.BANDS)
    try:
        return _unpack_bands(data, count, stream.head)
    except (struct.error, zlib.error, ValueError) as error:
        raise StreamCorrupt("band table cannot be read", where=stream.path, got=error) from error


def read_spectral(stream: container.Stream, bands: int) -> SpectralLevel:
    """The spectral level."""
    head = stream.head
    try:
        components = int(head["components"])
        step, fraction_bits = float(head["step"]), int(head["fraction_bits"])
    except (KeyError, TypeError, ValueError) as error:
        raise StreamCorrupt("head lacks the spectral level", where=stream.path, got=error) from error
    if not 1 <= components <= min(bands, LARGEST_BASIS // bands):
        raise StreamCorrupt("absurd number of components", where=stream.path, got=components, wanted=f"1 to {bands}")
    if stream.has(container.VECTORS):
        first = basis_state(str(head.get("model", "")))
        return decode_level(stream.read(container.VECTORS), bands, components, step, fraction_bits, first)
    parts = _unpack_parts(stream.read(container.SPECTRAL), 5)
    mean = (decode_table(parts[0], (1, bands), order=1)[0] << 16) + decode_table(parts[1], (1, bands), order=1)[0]
    weights = decode_table(parts[2], (1, bands), order=1)[0]
    shifts = decode_table(parts[3], (1, components), order=1)[0]
    basis = decode_basis(parts[4], bands, components)
    return check_loaded(SpectralLevel(mean, weights, basis, shifts, step, fraction_bits))


def _pack_parts(parts: Sequence[bytes]) -> bytes:
    return b"".join([*(struct.pack("<I", len(part)) for part in parts), *parts])


def _unpack_parts(data: bytes, count: int) -> list[bytes]:
    if len(data) < 4 * count:
        raise StreamCorrupt("section is cut", got=len(data))
    lengths = struct.unpack_from(f"<{count}I", data)
    if 4 * count + sum(lengths) != len(data):
        raise StreamCorrupt("section of the wrong length", got=len(data), wanted=4 * count + sum(lengths))
    parts, at = [], 4 * count
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    return parts


def _pack_bands(bands: BandTable) -> bytes:
    columns = []
    for column in (bands.centre_nm, bands.fwhm_nm):
        fixed = None if column is None else np.rint(column * NANOMETRE_UNIT).astype(np.int64)[None]
        columns.append(b"" if fixed is None else encode_table(fixed, order=2))
    reasons = b"" if bands.good.all() else zlib.compress(bands.reasons.tobytes(), 9)
    return _pack_parts([*columns, reasons])


def _unpack_bands(data: bytes, count: int, head: Mapping[str, Any]) -> BandTable:
    centre, fwhm, packed = _unpack_parts(data, 3)
    columns = [
        decode_table(part, (1, count), order=2)[0] / NANOMETRE_UNIT if part else None for part in (centre, fwhm)
    ]
    reasons = np.zeros(count, np.uint8)
    if packed:
        reasons = np.frombuffer(zlib.decompressobj().decompress(packed, count), np.uint8).copy()
    return BandTable(
        count, columns[0], columns[1], reasons == Reason.GOOD, reasons,
        names=band_names.unpacked(head.get("names", ()), count, columns[0]),
        fwhm_is_assumed=bool(head.get("fwhm_is_assumed", False)),
    )


def read_georeference(head: Mapping[str, Any]) -> Georeference | None:
    """Where the cube lies, or None."""
    if "geotransform" not in head:
        return None
    a, b, c, d, e, f = (float(number) for number in head["geotransform"])
    return Georeference(str(head.get("crs_wkt", "")), (a, b, c, d, e, f))


def pack_mask(reasons: NDArray[np.uint8]) -> bytes:
    """Reasons ``(band, row, col)`` deflated; empty where there are none."""
    if not reasons.any():
        return b""
    changes = reasons.copy()
    changes[1:] ^= reasons[:-1]  # most bands repeat the one before
    return zlib.compress(changes.tobytes(), 9)


def unpack_mask(data: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The inverse of :func:`pack_mask`."""
    wanted = math.prod(shape)
    try:
        raw = zlib.decompressobj().decompress(data, wanted + 1)
    except zlib.error as error:
        raise StreamCorrupt("mask cannot be read", got=error) from error
    if len(raw) != wanted:
        raise StreamCorrupt("mask of the wrong size", got=len(raw), wanted=wanted)
    return np.bitwise_xor.accumulate(np.frombuffer(raw, np.uint8).reshape(shape), axis=0)


def put_back(
    values: NDArray[np.generic], reasons: NDArray[np.uint8] | None, nodata: float | None, *, is_exact: bool
) -> NDArray[np.generic]:
    """Stored values with nodata (NaN in floating point where there is no such value) where voxels are void.

    Where values are not exact, an integer that is nodata by chance moves by one: it must not turn into a hole.
    """
    if nodata is None and (reasons is None or not reasons.any()):
        return values
    by_chance = np.zeros(values.shape, bool)
    if nodata is not None and values.dtype.kind in "iu" and not is_exact:
        by_chance = np.asarray(np.equal(values, nodata))
        if reasons is not None:
            by_chance &= reasons != Reason.NODATA
    if (reasons is None or not reasons.any()) and not by_chance.any():
        return values
    void = math.nan if values.dtype.kind == "f" else 0.0
    out = values.copy()
    if nodata is not None:
        out[by_chance] = nodata - 1 if nodata > 0 else nodata + 1
    if reasons is not None:
        out[reasons == Reason.NODATA] = void if nodata is None else nodata
        out[reasons == Reason.NOT_FINITE] = void
    return out


def _pack_side(tile: EncodedTile) -> bytes:
    pulls = np.array([[pull.ones, pull.larger] for pull in tile.code.pulls], np.int8).tobytes()
    gains = b"" if tile.gains is None else encode_table(tile.gains.astype(np.int64), order=0)
    return pulls + gains


def read_side(
    stream: container.Stream, at: int, window: Window, levels: int
) -> tuple[list[Pull], NDArray[np.uint8] | None]:
    """Pulls of the parts, and the gains of the blocks, of a tile."""
    data = stream.read(container.GAINS, at)
    count = 2 * (1 + 3 * levels)
    if len(data) < count:
        raise StreamCorrupt("side information is cut", where=f"tile {at}", got=len(data), wanted=count)
    pulls = np.frombuffer(data[:count], np.int8).reshape(-1, 2)
    shape = (-(-window.rows // BLOCK), -(-window.cols // BLOCK))
    gains = None
    if len(data) > count:
        gains = np.clip(decode_table(data[count:], shape, order=0), 0, 15).astype(np.uint8)
    return [Pull(int(ones), int(larger)) for ones, larger in pulls], gains
