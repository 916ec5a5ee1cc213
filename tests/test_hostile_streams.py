"""Cut, altered and hostile streams: each is refused with words, none crashes, hangs, or passes for something else."""

from __future__ import annotations

import contextlib
import json
import os
import random
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from palimpsest.codec.container import stream as container
from palimpsest.codec.contract import EncodeSettings
from palimpsest.codec.decoder import decode, finest_whole_level
from palimpsest.codec.encoder import encode
from palimpsest.codec.inspect import describe, verify
from palimpsest.cubes import BandTable, Cube
from palimpsest.errors import PalimpsestError, StreamCorrupt

if TYPE_CHECKING:
    from pathlib import Path

MUTATIONS = int(os.environ.get("PALIMPSEST_FUZZ", "120"))  # of each stream; thousands on request


@pytest.fixture(scope="module")
def streams(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("streams")
    rng = np.random.default_rng(5)
    spectra = np.cumsum(rng.normal(size=(12, 3)), axis=0)
    fields = np.cumsum(np.cumsum(rng.normal(size=(3, 20, 24)), 1), 2)
    data = np.tensordot(spectra, fields, 1) + rng.normal(size=(12, 20, 24))
    whole = np.rint(data / np.abs(data).max() * 3000).astype(np.int16)
    whole[:, 3:6, 3:6] = -9999
    bands = BandTable(12, np.linspace(400.0, 2400.0, 12))
    integers = Cube(whole, bands, nodata=-9999)
    made = {
        "rate": (integers, EncodeSettings(bpppc=2.5, strength=0)),
        "quick": (integers, EncodeSettings(bpppc=2.5, strength=0, effort=1)),
        "bound": (integers, EncodeSettings(mode="bound", max_error=4, strength=0)),
        "lossless": (Cube(data.astype(np.float32), bands), EncodeSettings(mode="lossless", strength=0)),
    }
    for name, (cube, settings) in made.items():
        encode(cube, settings, out=folder / f"{name}.plm")
    return {name: folder / f"{name}.plm" for name in made}


def rebuilt(data: bytes, path: Path, *, head=None, rows=None) -> bytes:
    """A stream whose head or index was changed by someone who also mends the checksums."""
    path.write_bytes(data)
    opened = container.open_stream(path)
    start = next(iter(opened.sections.values())).offset
    head_bytes = data[container.FIXED.size :][: container.FIXED.unpack_from(data)[1]]
    if head is not None:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=container._DICTIONARY)
        head_bytes = packer.compress(json.dumps({**opened.head, **head}).encode()) + packer.flush()
    table = [(section.kind, section.tile, section.length, section.crc) for section in opened.sections.values()]
    for at, row in (rows or {}).items():
        table[at] = row
    index = struct.pack("<II", len(table), len(opened.tile_hashes))
    index += b"".join([*(container.ROW.pack(*row) for row in table), *opened.tile_hashes])
    crc = zlib.crc32(index, zlib.crc32(head_bytes))
    fixed = container.FIXED.pack(container.MAGIC, len(head_bytes), len(index), crc)
    return fixed + head_bytes + index + data[start:]


@pytest.mark.parametrize("mode", ["rate", "quick", "bound", "lossless"])
def test_a_stream_cut_anywhere_is_refused_and_its_whole_levels_are_named_and_decode(streams, tmp_path, mode):
    data = streams[mode].read_bytes()
    cut = tmp_path / "cut.plm"
    rng = random.Random(7)
    named = set()
    starts = [section.offset + 1 for section in container.open_stream(streams[mode]).sections.values()]
    for length in sorted({0, 1, 7, 19, 20, *starts, *rng.sample(range(len(data) - 33), 30)}):
        cut.write_bytes(data[:length])
        with pytest.raises(StreamCorrupt) as caught:
            decode(cut)
        assert caught.value.exit_code == 4
        named.add(caught.value.whole_level)
        if caught.value.whole_level:
            picture = decode(cut, level=caught.value.whole_level)
            assert np.array_equal(picture.data, decode(streams[mode], level=caught.value.whole_level).data)
    assert len(named) > 2


@pytest.mark.parametrize("mode", ["rate", "quick", "bound", "lossless"])
def test_flipped_bits_are_never_taken_for_values(streams, tmp_path, mode):
    data = streams[mode].read_bytes()
    truth = decode(streams[mode]).data.tobytes()
    rng = random.Random(11)
    altered = tmp_path / "altered.plm"
    for _ in range(MUTATIONS):
        mutated = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 30))):
            mutated[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        altered.write_bytes(bytes(mutated))
        with pytest.raises(PalimpsestError):
            verify(altered)
        # Bytes that decoding has no need of (the trailer) may be wrong; then the values are still right.
        with contextlib.suppress(PalimpsestError):
            assert decode(altered).data.tobytes() == truth


@pytest.mark.parametrize("mode", ["rate", "quick", "bound", "lossless"])
def test_sections_altered_by_someone_who_mends_their_checksums_are_refused(streams, tmp_path, mode):
    data = streams[mode].read_bytes()
    opened = container.open_stream(streams[mode])
    truth = decode(streams[mode]).data.tobytes()
    rng = random.Random(13)
    altered = tmp_path / "mended.plm"
    refused = 0
    for _ in range(MUTATIONS):
        at, section = rng.choice(list(enumerate(opened.sections.values())))
        body = bytearray(data[section.offset : section.offset + section.length])
        if not body:
            continue
        for _ in range(rng.choice((1, 3, 50))):
            body[rng.randrange(len(body))] = rng.randrange(256)
        row = (section.kind, section.tile, section.length, zlib.crc32(bytes(body)))
        mended = bytearray(rebuilt(data, altered, rows={at: row}))
        place = len(mended) - (len(data) - section.offset)
        mended[place : place + section.length] = body
        altered.write_bytes(bytes(mended))
        try:
            decoded = decode(altered).data.tobytes()
        except PalimpsestError:
            refused += 1
        else:
            assert decoded == truth or section.kind in (container.BANDS, container.LABELS)
    assert refused > MUTATIONS // 3


ABSURD = [
    {"shape": [1 << 15, 1 << 20, 1 << 20]}, {"shape": [12, 0, 24]}, {"shape": [12, -5, 24]}, {"shape": "many"},
    {"shape": [12, 20]}, {"shape": [1e300, 1, 1]}, {"dtype": "complex128"}, {"dtype": 7}, {"mode": "magic"},
    {"tile": 1}, {"tile": 1 << 40}, {"tile": 8}, {"quantum": 0}, {"quantum": -1.0}, {"step": 0}, {"step": 1e308},
    {"step": "wide"}, {"fraction_bits": 900}, {"fraction_bits": -3}, {"components": 0}, {"components": 1 << 40},
    {"components": 11}, {"model": "0" * 64}, {"version": 99}, {"coder": "slow"}, {"coder": 7}, {"nodata": []},
    {"max_error": "none"},
    {"max_error": [1.0, 2.0]}, {"max_error": [[4.0] * 12]}, {"max_error": -4}, {"max_error": 1e300}, {"max_error": {}},
    {"lattice": [1e4]}, {"lattice": [0.0]}, {"lattice": "tenth"}, {"lattice": [1.0] * 5}, {"lattice": []},
    {"trained_levels": [99]}, {"geotransform": [1, 2]}, {"names": 5}, {"shape": [12, 21, 24]}, {"metadata": 3},
]


@pytest.mark.parametrize("fields", ABSURD, ids=str)
@pytest.mark.parametrize("mode", ["rate", "quick", "bound", "lossless"])
def test_absurd_heads_are_refused_before_memory_is_taken_for_them(streams, tmp_path, mode, fields):
    path = tmp_path / "absurd.plm"
    path.write_bytes(rebuilt(streams[mode].read_bytes(), path, head=fields))
    truth = decode(streams[mode]).data.tobytes()
    with contextlib.suppress(PalimpsestError):
        assert decode(path).data.tobytes() == truth  # a field that decides no value
    with pytest.raises(PalimpsestError):
        verify(path)


def test_files_that_are_no_streams_are_refused(tmp_path):
    for data in (b"", b"\x89PLM", b"ENVI\n" * 100, os.urandom(4096), container.MAGIC + b"\xff" * 64):
        path = tmp_path / "x.plm"
        path.write_bytes(data)
        for read in (decode, describe, verify):
            with pytest.raises(StreamCorrupt):
                read(path)


def test_an_index_that_claims_more_than_the_file_is_refused(streams, tmp_path):
    data = streams["rate"].read_bytes()
    opened = container.open_stream(streams["rate"])
    path = tmp_path / "x.plm"
    for at, section in enumerate(opened.sections.values()):
        path.write_bytes(rebuilt(data, path, rows={at: (section.kind, section.tile, 0xFFFFFFFF, section.crc)}))
        with pytest.raises(StreamCorrupt):
            decode(path)
    spliced = bytearray(data)
    struct.pack_into("<I", spliced, 8, (1 << 24) - 1)
    path.write_bytes(bytes(spliced))
    with pytest.raises(StreamCorrupt):
        decode(path)


def test_a_whole_stream_has_level_zero(streams):
    for path in streams.values():
        assert finest_whole_level(container.open_stream(path)) == 0
