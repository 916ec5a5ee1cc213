"""An open stream gives pixels, windows and levels from the bytes they need; tiles in parallel change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palimpsest.codec.contract import EncodeSettings
from palimpsest.codec.decoder import decode
from palimpsest.codec.encoder import encode
from palimpsest.codec.encoding import cube_encoder, rate_target
from palimpsest.codec.reader import open_stream
from palimpsest.codec.space.tiling import in_order, tile_side
from palimpsest.cubes import BandTable, Cube, Window
from palimpsest.cubes.mapped import forget, scratch
from palimpsest.errors import UsageError
from palimpsest.formats import read, write


def made(rows: int = 70, cols: int = 90, bands: int = 10) -> Cube:
    rng = np.random.default_rng(2)
    fields = np.cumsum(np.cumsum(rng.normal(size=(3, rows, cols)), 1), 2)
    data = np.tensordot(np.cumsum(rng.normal(size=(bands, 3)), 0), fields / np.abs(fields).max(), 1) * 900
    noisy = np.rint(data + rng.normal(size=data.shape) * 9 + 3000).astype(np.int16)
    noisy[2, 40:44, 50:55] = -9999
    return Cube(noisy, BandTable(bands), nodata=-9999, name="made")


SETTINGS = {
    "rate": EncodeSettings(bpppc=1.0, strength=0, tile=16),
    "bound": EncodeSettings(mode="bound", max_error=3, strength=0, tile=32),
    "lossless": EncodeSettings(mode="lossless", strength=0, tile=32),
}


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open")
    for name, settings in SETTINGS.items():
        encode(made(), settings, out=folder / f"{name}.plm")
    return {name: folder / f"{name}.plm" for name in SETTINGS}


@pytest.mark.parametrize("mode", SETTINGS)
def test_pixels_and_windows_are_those_of_the_whole_cube(streams, mode):
    whole = decode(streams[mode]).data
    with open_stream(streams[mode]) as stream:
        for row, col in ((0, 0), (69, 89), (41, 52), (31, 32), (16, 15)):
            assert np.array_equal(stream.spectrum(row, col), whole[:, row, col])
        part = stream.window(Window(10, 45, 30, 61), bands=[7, 2])
        assert np.array_equal(part.data, whole[[7, 2], 10:45, 30:61])
        for row, col in ((70, 0), (0, 90), (-1, 3)):
            with pytest.raises(UsageError, match="pixel beyond"):
                stream.spectrum(row, col)


def test_a_pixel_costs_the_bytes_of_its_tile_once(streams):
    with open_stream(streams["rate"]) as stream:
        opened = stream.bytes_read
        first = stream.spectrum(20, 20)
        read_for_it = stream.bytes_read - opened
        own = sum(s.length for (kind, tile), s in stream.stream.sections.items() if tile == 7)
        assert stream.plan.windows[7].row0 == stream.plan.windows[7].col0 == 16
        assert read_for_it == own
        assert read_for_it < 0.06 * stream.stream.size
        assert np.array_equal(stream.spectrum(21, 19)[:3].shape, first[:3].shape)
        assert stream.bytes_read == opened + read_for_it


def test_a_coarse_level_reads_no_finer_sections(streams):
    with open_stream(streams["rate"]) as stream:
        before = stream.bytes_read
        coarse = stream.level(stream.levels)
        assert coarse.shape[1:] == (-(-70 // 2**stream.levels), -(-90 // 2**stream.levels))
        assert stream.bytes_read - before < 0.5 * stream.stream.size
        assert np.array_equal(coarse.data, decode(streams["rate"], level=stream.levels).data)


def test_little_room_for_tiles_changes_no_value(streams):
    whole = decode(streams["rate"]).data
    with open_stream(streams["rate"], cache_bytes=1) as stream:
        for row, col in ((0, 0), (60, 80), (0, 1)):
            assert np.array_equal(stream.spectrum(row, col), whole[:, row, col])


@pytest.mark.parametrize("mode", SETTINGS)
def test_any_number_of_workers_makes_and_reads_the_same(streams, tmp_path, mode):
    for workers in (1, 3):
        encode(made(), replace(SETTINGS[mode], workers=workers), out=tmp_path / "again.plm")
        assert (tmp_path / "again.plm").read_bytes() == streams[mode].read_bytes()
    assert np.array_equal(decode(streams[mode], workers=1).data, decode(streams[mode], workers=4).data)


def test_what_a_worker_raises_is_raised_and_results_keep_their_order():
    assert list(in_order(lambda n: n * n, range(40), 3)) == [n * n for n in range(40)]

    def fails(number: int) -> int:
        if number == 5:
            raise KeyError(number)
        return number

    with pytest.raises(KeyError):
        list(in_order(fails, range(40), 3))


def test_tiles_are_small_where_rates_are_high_and_one_where_cubes_are_small():
    assert tile_side(150, 150, 200, 0.5) == 512
    sides = [tile_side(512, 512, 224, rate) for rate in (0.05, 0.1, 0.5, 2.0)]
    assert sides == sorted(sides, reverse=True)
    assert sides[2] ** 2 < 0.05 * 512 * 512
    assert tile_side(4000, 4000, 5000, None) ** 2 * 5000 <= 1 << 23


def test_the_rate_is_met_though_its_step_was_found_on_a_sample(monkeypatch, tmp_path):
    monkeypatch.setattr(rate_target, "FEWEST_TILES", 4)
    monkeypatch.setattr(rate_target, "SAMPLED_TILES", 4)
    report = encode(made(), replace(SETTINGS["rate"], bpppc=1.3), out=tmp_path / "x.plm")
    assert report.bpppc == pytest.approx(1.3, rel=0.02)


def test_a_mapped_cube_is_coded_as_one_in_memory_and_decoded_into_a_file(streams, tmp_path, monkeypatch):
    from palimpsest.codec import reader

    write(made(), tmp_path / "made.hdr")
    mapped = read(tmp_path / "made.hdr")
    monkeypatch.setattr(cube_encoder, "KEPT_BYTES", 1000)
    encode(mapped, SETTINGS["rate"], out=tmp_path / "mapped.plm")
    encode(replace(mapped, data=np.array(mapped.data)), SETTINGS["rate"], out=tmp_path / "memory.plm")
    assert (tmp_path / "mapped.plm").read_bytes() == (tmp_path / "memory.plm").read_bytes()
    monkeypatch.setattr(reader, "MAPPED_BYTES", 1000)
    monkeypatch.setattr(reader, "KEPT_BYTES", 1000)
    scratched = decode(streams["rate"], folder=tmp_path)
    assert isinstance(scratched.data, np.memmap)
    monkeypatch.undo()
    assert np.array_equal(scratched.data, decode(streams["rate"]).data)


def test_what_is_forgotten_comes_back_and_private_changes_stay(tmp_path):
    array = scratch((4, 5000), np.int16, tmp_path)
    array[:] = 7
    forget(array[1:3])
    assert (array == 7).all()
    assert not list(tmp_path.iterdir())
    np.arange(5000, dtype=np.int16).tofile(tmp_path / "x")
    private = np.memmap(tmp_path / "x", np.int16, mode="c")
    private[0] = 99
    forget(private)
    assert private[0] == 99
    forget(np.zeros(3))
