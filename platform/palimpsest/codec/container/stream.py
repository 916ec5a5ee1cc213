"""The ``.plm`` container: head, index, sections, checksums. What is inside the sections is not decided here.

Layout (little-endian; byte by byte in ``docs/format.md``)::

    magic 8 | head length u32 | index length u32 | CRC-32 of head and index u32
    head: deflated JSON (preset dictionary)  |  index: kind, tile, length and CRC-32 of each section, the tiles' hashes
    sections, ordered so that a cut file keeps its coarser levels whole
    SHA-256 of everything before it, 32 bytes

A section is named by (kind, tile): 'tile' is -1 for those of the whole cube. Reading touches only the head and the
sections asked for; each is checked by its own CRC-32 before anything is computed from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MAGIC = b"\x89PLM\r\n\x01\n"
FIRST_VERSION, VERSION = 1, 2  # the first one's spatial levels were coded without guess and foresight
LATEST_VERSION = 3  # streams that hold what readers of the second one do not know; others keep saying 2
FIXED = struct.Struct("<8sIII")
ROW = struct.Struct("<BiII")  # kind, tile, length, CRC-32
COLUMNS = 1 << 31  # added to the number of sections: the index is columns, not rows
ROW_BYTES = 6  # about what a section adds to the index
TRAILER = 32
HASH = 16  # bytes kept of a tile's SHA-256
LARGEST_HEAD = 1 << 24
WHOLE = -1  # 'tile' of sections that belong to the whole cube

# Kinds of sections.
BANDS, SPECTRAL, MASK, GAINS, LEVEL0, RESIDUAL, REFINEMENT, LABELS, WORST = 0, 1, 2, 3, 4, 40, 41, 42, 43
BUMPS, DEPTHS, CUBE_STATE, VECTORS = 44, 45, 46, 47  # 47 takes the place of 1

# Deflating with a preset dictionary: keys and common values cost next to nothing. Part of the format: never edit.
# What is put in front changes nothing for streams that were made without it: distances count from the end.
_DICTIONARY = (
    b'PROJCS[\\"UTM_Zone_33N\\",GEOGCS[\\"GCS_WGS_1984\\",DATUM[\\"D_WGS_1984\\",SPHEROID[\\"WGS_1984\\",6378137.0,'
    b'298.257223563]],PRIMEM[\\"Greenwich\\",0.0],UNIT[\\"Degree\\",0.0174532925199433]],PROJECTION['
    b'\\"Transverse_Mercator\\"],PARAMETER[\\"False_Easting\\",500000.0],PARAMETER[\\"False_Northing\\",0.0],PARAMETER['
    b'\\"Central_Meridian\\",15.0],PARAMETER[\\"Scale_Factor\\",0.9996],PARAMETER[\\"Latitude_Of_Origin\\",0.0],UNIT['
    b'\\"Meter\\",1.0]]PROJCS[\\"WGS 84 / UTM zone 33N\\",GEOGCS[\\"WGS 84\\",DATUM[\\"WGS_1984\\",SPHEROID['
    b'\\"WGS 84\\",6378137,298.257223563,AUTHORITY[\\"EPSG\\",\\"7030\\"]],AUTHORITY[\\"EPSG\\",\\"6326\\"]],PRIMEM['
    b'\\"Greenwich\\",0,AUTHORITY[\\"EPSG\\",\\"8901\\"]],UNIT[\\"degree\\",0.0174532925199433,AUTHORITY[\\"EPSG\\",\\"9122\\"]],AUTHORITY['
    b'\\"EPSG\\",\\"4326\\"]],PROJECTION[\\"Transverse_Mercator\\"],PARAMETER[\\"latitude_of_origin\\",0],PARAMETER['
    b'\\"central_meridian\\",15],PARAMETER[\\"scale_factor\\",0.9996],PARAMETER[\\"false_easting\\",500000],PARAMETER['
    b'\\"false_northing\\",0],UNIT[\\"metre\\",1,AUTHORITY[\\"EPSG\\",\\"9001\\"]],AXIS[\\"Easting\\",EAST],AXIS['
    b'\\"Northing\\",NORTH],AUTHORITY[\\"EPSG\\",\\"32633\\"]]"palimpsest note":"wavelengths read from the band names"'
    b'"map info":"UTM, 1, 1, , 33, North, WGS-84, units=Meters""names":{"numbers":[[[1,"um6","nm2"],"text":["band "," '
    b'("," Micrometers)"]}'
    b'{"version":1,"shape":[224,512,512],"dtype":"float32","int16","uint16","mode":"lossless","bound","rate",'
    b'"tile":512,"quantum":1.0,"step":,"fraction_bits":6,"components":,"model":"","transform":"cdf97","trained",'
    b'"trained_levels":[1,2,3,4,5],"release":"","strength":0.5,"nodata":null,"scale":0.0001,"offset":0.0,"units":'
    b'"reflectance","radiance","DN","name":"","sensor":"AVIRIS","EnMAP","crs_wkt":"","geotransform":[30.0,0.0,,-30.0],'
    b'"metadata":{"description":"","byte order":"0","wavelength units":"Nanometers","file type":"ENVI Standard"},'
    b'"history":[],"wavelengths":[true,"fwhm":"fwhm_is_assumed":true,false,"names":[],"max_error":0,"certificate":'
    b'{"pixels":,"agreement":1.0,"release":""},"pulls":[[0,0],"uniform":true}'
)


@dataclass(frozen=True, slots=True)
class Section:
    """One row of the index."""

    kind: int
    tile: int
    offset: int
    length: int
    crc: int


@dataclass(slots=True)
class Tally:
    """How many bytes of a file were read."""

    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Stream:
    """An opened stream.

    Args:
        path: the file.
        head: the decoded head.
        sections: the index, in file order.
        tile_hashes: first 16 bytes of the SHA-256 of each tile's decoded values.
        size: bytes that the file should have.
        actual: bytes that it has.
        tally: counts what is read of it.
    """

    path: Path
    head: Mapping[str, Any]
    sections: Mapping[tuple[int, int], Section]
    tile_hashes: tuple[bytes, ...]
    size: int
    actual: int
    tally: Tally = field(default_factory=Tally, compare=False)

    def has(self, kind: int, tile: int = WHOLE) -> bool:
        """Whether there is such a section."""
        return (kind, tile) in self.sections

    def read(self, kind: int, tile: int = WHOLE) -> bytes:
        """A section's bytes, checked.

        Raises:
            StreamCorrupt: missing, cut or altered.
        """
        section = self.sections.get((kind, tile))
        if section is None:
            raise StreamCorrupt("a section is missing", where=self.path, got=None, wanted=f"kind {kind}, tile {tile}")
        with self.path.open("rb") as file:
            file.seek(section.offset)
            data = file.read(min(section.length, self.actual))
        self.tally.bytes += len(data)
        if len(data) < section.length:
            raise StreamCorrupt(
                "stream is cut", where=self.path, got=f"{section.offset + len(data)} bytes", wanted=f"{self.size} bytes"
            )
        if zlib.crc32(data) != section.crc:
            raise StreamCorrupt(
                "stream is altered", where=f"{self.path} at byte {section.offset}",
                got=f"CRC {zlib.crc32(data):08x}", wanted=f"{section.crc:08x}",
            )
        return data

    def is_whole(self, kind: int, tile: int) -> bool:
        """Whether a section is there and passes its checksum."""
        try:
            self.read(kind, tile)
        except StreamCorrupt:
            return False
        return True

    def sha256(self) -> str:
        """Hash of the file without its trailer, hex.

        Raises:
            StreamCorrupt: the trailer does not agree.
        """
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            left = self.size - TRAILER
            while left > 0 and (block := file.read(min(1 << 20, left))):
                digest.update(block)
                left -= len(block)
            trailer = file.read(TRAILER + 1)
        if left or trailer != digest.digest():
            raise StreamCorrupt("stream does not agree with its own hash", where=self.path)
        return digest.hexdigest()


def pack(
    head: Mapping[str, object], sections: Sequence[tuple[int, int, bytes]], tile_hashes: Sequence[bytes]
) -> bytes:
    """A whole stream as bytes; ``sections`` are (kind, tile, data) in file order."""
    text = json.dumps(head, separators=(",", ":"), allow_nan=False, sort_keys=True).encode()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=_DICTIONARY)
    head_bytes = packer.compress(text) + packer.flush()
    index = _packed_index(sections, tile_hashes)
    crc = zlib.crc32(index, zlib.crc32(head_bytes))
    body = b"".join([
        FIXED.pack(MAGIC, len(head_bytes), len(index), crc), head_bytes, index, *(data for _, _, data in sections)
    ])
    return body + hashlib.sha256(body).digest()


def open_stream(path: Path) -> Stream:
    """Read head and index, and nothing else.

    Raises:
        StreamCorrupt: not a stream, another version, or a damaged head.
    """
    with path.open("rb") as file:
        fixed = file.read(FIXED.size)
        if len(fixed) < FIXED.size or not fixed.startswith(MAGIC[:4]):
            raise StreamCorrupt("not a Palimpsest stream", where=path, got=fixed[:8], wanted=MAGIC)
        magic, head_length, index_length, crc = FIXED.unpack(fixed)
        if magic != MAGIC:
            raise StreamCorrupt("damaged in transfer, or of another version", where=path, got=magic, wanted=MAGIC)
        if head_length > LARGEST_HEAD or index_length > LARGEST_HEAD:
            raise StreamCorrupt("absurd head", where=path, got=(head_length, index_length), wanted=f"<= {LARGEST_HEAD}")
        head_bytes, index = file.read(head_length), file.read(index_length)
        actual = file.seek(0, os.SEEK_END)
    if zlib.crc32(index, zlib.crc32(head_bytes)) != crc or len(index) != index_length:
        raise StreamCorrupt("head is cut or altered", where=path)
    head = _parsed_head(head_bytes, path)
    sections, hashes, size = _parsed_index(index, FIXED.size + head_length + index_length, path)
    tally = Tally(FIXED.size + head_length + index_length)
    return Stream(path, head, sections, hashes, size, actual, tally)


def _parsed_head(data: bytes, path: Path) -> dict[str, Any]:
    unpacker = zlib.decompressobj(-15, zdict=_DICTIONARY)
    try:
        text = unpacker.decompress(data, LARGEST_HEAD)
        head = json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise StreamCorrupt("head cannot be read", where=path, got=error) from error
    if not isinstance(head, dict) or head.get("version") not in (FIRST_VERSION, VERSION, LATEST_VERSION):
        got = head.get("version") if isinstance(head, dict) else type(head).__name__
        wanted = f"{FIRST_VERSION} to {LATEST_VERSION}"
        raise StreamCorrupt("stream of another version", where=path, got=got, wanted=wanted)
    return head


def _packed_index(sections: Sequence[tuple[int, int, bytes]], tile_hashes: Sequence[bytes]) -> bytes:
    """Kinds, tiles (as steps) and lengths column by column, deflated; checksums and hashes as they are."""
    kinds = np.array([kind for kind, _, _ in sections], np.uint8)
    tiles = np.array([WHOLE, *(tile for _, tile, _ in sections)], np.int64)
    steps = tiles[1:] - tiles[:-1]
    lengths = np.array([len(data) for _, _, data in sections], np.int64)
    planes = [_byte_planes(column) for column in (steps, lengths)]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    columns = packer.compress(b"".join([kinds.tobytes(), *planes])) + packer.flush()
    checks = struct.pack(f"<{len(sections)}I", *(zlib.crc32(data) for _, _, data in sections))
    counts = struct.pack("<III", len(sections) | COLUMNS, len(tile_hashes), len(columns))
    return b"".join([counts, columns, checks, *tile_hashes])


def _byte_planes(column: NDArray[np.int64]) -> bytes:
    return (column & 0xFFFFFFFF).astype("<u4").view(np.uint8).reshape(-1, 4).T.tobytes()


def _parsed_index(
    index: bytes, start: int, path: Path
) -> tuple[dict[tuple[int, int], Section], tuple[bytes, ...], int]:
    if len(index) < 12:
        raise StreamCorrupt("index is cut", where=path, got=len(index))
    count, tiles = struct.unpack_from("<II", index)
    rows = _columns(index, count & ~COLUMNS, tiles, path) if count & COLUMNS else _rows(index, count, tiles, path)
    sections: dict[tuple[int, int], Section] = {}
    for kind, tile, length, crc in rows:
        sections[kind, tile] = Section(kind, tile, start, length, crc)
        start += length
    first = len(index) - tiles * HASH
    hashes = tuple(index[first + at * HASH : first + (at + 1) * HASH] for at in range(tiles))
    return sections, hashes, start + TRAILER


def _rows(index: bytes, count: int, tiles: int, path: Path) -> Iterator[tuple[int, int, int, int]]:
    """The index of the first streams: one row a section."""
    if len(index) != 8 + count * ROW.size + tiles * HASH:
        raise StreamCorrupt("index of the wrong length", where=path, got=len(index))
    return ROW.iter_unpack(index[8 : 8 + count * ROW.size])


def _columns(index: bytes, count: int, tiles: int, path: Path) -> Iterator[tuple[int, int, int, int]]:
    (packed,) = struct.unpack_from("<I", index, 8)
    if len(index) != 12 + packed + 4 * count + tiles * HASH:
        raise StreamCorrupt("index of the wrong length", where=path, got=len(index))
    try:
        columns = zlib.decompressobj(-15).decompress(index[12 : 12 + packed], 9 * count + 1)
    except zlib.error as error:
        raise StreamCorrupt("index cannot be read", where=path, got=error) from error
    if len(columns) != 9 * count:
        raise StreamCorrupt("index of the wrong length", where=path, got=len(columns), wanted=9 * count)
    planes = np.frombuffer(columns[count:], np.uint8).reshape(2, 4, count)
    steps, lengths = (np.ascontiguousarray(planes[n].T).view("<u4")[:, 0] for n in range(2))
    tile = np.cumsum(steps.astype("<i4"), dtype=np.int64) + WHOLE
    checks = struct.unpack_from(f"<{count}I", index, 12 + packed)
    return zip(columns[:count], tile.tolist(), lengths.tolist(), checks, strict=True)
