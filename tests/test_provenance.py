"""What is written about a restoration says exactly who changed what, and shows when it was tampered with."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_restoration import DECISIONS, made_restoration

from palimpsest.catalogue import open_file
from palimpsest.cubes.window import tiles
from palimpsest.errors import CubeRefused, EvidenceBroken, FormatError, MissingWavelengths, PromiseBroken
from palimpsest.formats import write
from palimpsest.provenance import layers, manifest
from palimpsest.provenance.bundle import verify_path, write_bundle
from palimpsest.provenance.describe import describe, where_acted
from palimpsest.provenance.explain import explain
from palimpsest.provenance.keys import public_hex, signing_key
from palimpsest.provenance.record import Origin, write_provenance
from palimpsest.provenance.tiling import parts_sha256, tiled
from palimpsest.restoration.result import on_grid


@pytest.fixture
def written(tmp_path):
    made = made_restoration()
    write(made.decoded, tmp_path / "made.hdr")
    target = tmp_path / "made.provenance"
    write_provenance(made, target, Origin.of_file(tmp_path / "made.hdr"), full=True, tile=8)
    return made, target


@given(seed=st.integers(0, 2**16), size=st.integers(1, 30), dtype=st.sampled_from(["int16", "uint8", "float32"]))
@settings(max_examples=25, deadline=None)
def test_tiles_are_those_of_the_restoration_itself(seed, size, dtype):
    made = made_restoration(seed, (3, 9, 11), dtype)
    found = list(tiled(made, size))
    assert [piece.window for piece in found] == list(tiles(9, 11, size))
    for piece in found:
        assert parts_sha256(made.decisions, piece.parts) == made.hash_within(piece.window)
        assert piece.decoded.size == piece.changed.size == piece.half_width.size
    assert sum(piece.changed.size for piece in found) == made.changed.size


@given(seed=st.integers(0, 2**16), dtype=st.sampled_from(["int16", "uint16", "float32"]))
@settings(max_examples=6, deadline=None)
def test_contributions_sum_exactly_over_whole_cubes(tmp_path_factory, seed, dtype):
    folder = tmp_path_factory.mktemp("sums")
    made = made_restoration(seed, (4, 5, 6), dtype)
    assert made.is_exact()
    write(made.decoded, folder / "made.hdr")
    write_provenance(made, folder / "p", Origin.of_file(folder / "made.hdr"), full=True, tile=4)
    for row in range(5):
        for col in range(6):
            told = explain(folder / "p", row, col, input_path=folder / "made.hdr").to_dict()
            assert told["restored"] == made.restored.data[:, row, col].tolist()
            before = on_grid(made.decoded.data[:, row, col], made.quantum) * made.quantum
            total = np.array(before, dtype=np.float64)
            for contribution in told["contributions"]:
                total += np.array(contribution["value"], dtype=np.float64)
            assert total.tolist() == made.restored.data[:, row, col].astype(np.float64).tolist()
            assert [sum(c["quanta"] for c in group["contributions"]) for group in told["groups"]] == [
                group["quanta"] for group in told["groups"]
            ]


@given(
    values=st.lists(st.integers(0, 5) | st.integers(0, 255), max_size=300), repeat=st.integers(1, 500),
    dtype=st.sampled_from(["uint8", "uint16", "int64", "float32", "int8"]),
)
@settings(max_examples=60, deadline=None)
def test_a_layer_unpacks_to_what_was_packed(values, repeat, dtype):
    array = np.repeat(np.array(values, np.int64), repeat).astype(dtype)
    again = layers.unpack(layers.pack(array))
    assert again.dtype == array.dtype
    assert np.array_equal(again, array)
    assert layers.pack(array) == layers.pack(array.copy())


def test_a_layer_with_one_value_takes_a_few_bytes_and_long_runs_survive():
    array = np.zeros((224, 64, 64), np.uint8)
    array[3:200] = 7
    blob = layers.pack(array)
    assert len(blob) < 80
    assert np.array_equal(layers.unpack(blob), array)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_layer_is_refused_or_read_as_something_of_its_shape(data):
    blob = bytearray(layers.pack((np.arange(600) // 50).astype(np.uint16).reshape(2, 15, 20)))
    if data.draw(st.booleans()):
        blob = blob[: data.draw(st.integers(0, len(blob) - 1))]
    else:
        blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = layers.unpack(bytes(blob))
    except EvidenceBroken:
        return
    assert found.size <= layers.MOST_VOXELS


def test_interval_widths_are_stored_rounded_up_and_close():
    widths = np.random.default_rng(1).random(1000).astype(np.float32) * 50
    widths[::7] = 0
    back = layers.widths_of(*layers.quantise_widths(widths))
    assert np.array_equal(back == 0, widths == 0)
    some = widths > 0
    assert (back[some] >= widths[some] * (1 - 1e-6)).all()
    assert (back[some] <= widths[some] * (widths[some].max() / widths[some].min()) ** (1 / 254) * 1.0001).all()


def test_a_band_is_explained_with_its_sources_and_sentences(written):
    made, target = written
    band, row, col = (int(n) for n in np.unravel_index(made.changed[made.changed.size // 2], made.decoded.shape))
    told = explain(target, row, col, band_nm=float(made.decoded.bands.centre_nm[band]) + 3).to_dict()
    wanted = [point for point in made.contributions_at(row, col) if point.band == band]
    assert (told["band"], told["agreement"]) == (band, "stored")
    assert [c["value"] for c in told["contributions"]] == [point.value for point in wanted]
    assert [c["sentence"] for c in told["contributions"]] == [point.why.sentence for point in wanted]
    assert all(c["release"] == made.release for c in told["contributions"])
    assert told["decoded"] + sum(c["value"] for c in told["contributions"]) == told["restored"]
    half = float(made.half_width_at(row, col)[band])
    assert told["interval"] == [told["restored"] - half, told["restored"] + half]


def test_the_full_file_speaks_for_itself_when_the_input_is_gone(written, tmp_path):
    made, target = written
    for path in tmp_path.glob("made.*"):
        if path != target:
            path.unlink()
    told = explain(target, 3, 11).to_dict()
    assert told["decoded"][0] is None  # band 0 was left alone and nobody has its value any more
    for point in made.contributions_at(3, 11):
        assert told["restored"][point.band] == made.restored.data[point.band, 3, 11]


def test_without_full_the_tile_is_made_again_and_held_against_its_hash(tmp_path):
    made = made_restoration(4)
    write(made.decoded, tmp_path / "made.hdr")
    write_provenance(made, tmp_path / "p", Origin.of_file(tmp_path / "made.hdr"), tile=8)
    with pytest.raises(FormatError, match="not stored"):
        explain(tmp_path / "p", 4, 4)
    told = explain(tmp_path / "p", 4, 4, recompute=lambda cube, row: made).to_dict()
    assert told["agreement"] == "recomputed, bit-identical"
    assert told["restored"] == made.restored.data[:, 4, 4].tolist()
    with pytest.raises(EvidenceBroken, match="made again"):
        explain(tmp_path / "p", 4, 4, recompute=lambda cube, row: made_restoration(5))
    other = made_restoration(6)
    write(other.decoded, tmp_path / "other.hdr")
    with pytest.raises(EvidenceBroken, match="not the values"):
        explain(tmp_path / "p", 4, 4, input_path=tmp_path / "other.hdr", recompute=lambda cube, row: made)


def test_questions_that_cannot_be_answered_are_refused(written, tmp_path):
    _, target = written
    for row, col in ((-1, 0), (20, 0), (0, 23)):
        with pytest.raises(CubeRefused, match="no such pixel"):
            explain(target, row, col)
    with pytest.raises(CubeRefused, match="no band near"):
        explain(target, 0, 0, band_nm=9000)
    bare = made_restoration(has_wavelengths=False)
    write_provenance(bare, tmp_path / "bare", Origin(), full=True)
    with pytest.raises(MissingWavelengths):
        explain(tmp_path / "bare", 0, 0, band_nm=500)
    with pytest.raises(FormatError):
        explain(tmp_path / "made.hdr", 0, 0)


def test_a_restoration_that_does_not_add_up_is_not_written(tmp_path):
    made = made_restoration()
    wrong = made.restored.data.copy()
    wrong.ravel()[made.changed[0]] += 1
    with pytest.raises(PromiseBroken):
        write_provenance(replace(made, restored=made.restored.with_data(wrong, "x")), tmp_path / "p", Origin())
    assert not (tmp_path / "p").exists()


def test_a_restoration_that_changed_nothing_is_written_too(tmp_path):
    made = made_restoration(share=0)
    write(made.decoded, tmp_path / "made.hdr")
    write_provenance(made, tmp_path / "p", Origin.of_file(tmp_path / "made.hdr"))
    told = explain(tmp_path / "p", 0, 0).to_dict()
    assert told["restored"] == told["decoded"] == made.decoded.data[:, 0, 0].tolist()
    assert told["contributions"] == []


def _columns(path):
    with sqlite3.connect(path) as connection:
        names = ("restorations", "sources", "decisions", "provenance_tiles", "decision_tiles", "audit_events",
                 "merkle_heads")
        return [(table, row[1]) for table in names for row in connection.execute(f"PRAGMA table_info({table})")]


def _verify(path):
    database = open_file(path)
    try:
        with database.reading() as session:
            return manifest.verify(session)
    finally:
        database.close()


def test_tampering_with_any_stored_column_is_detected(written):
    _, target = written
    assert _verify(target)["restorations"] == 1
    intact = target.read_bytes()
    for table, column in _columns(target):
        connection = sqlite3.connect(target)
        connection.execute("PRAGMA foreign_keys=OFF")
        (value,) = connection.execute(f'SELECT "{column}" FROM {table} ORDER BY rowid DESC LIMIT 1').fetchone()
        changed = _altered(value)
        connection.execute(
            f'UPDATE {table} SET "{column}" = ? WHERE rowid = (SELECT rowid FROM {table} ORDER BY rowid DESC LIMIT 1)',
            (changed,),
        )
        connection.commit()
        connection.close()
        with pytest.raises(EvidenceBroken):
            pytest.fail(f"{table}.{column}: {_verify(target)}")
        target.write_bytes(intact)


def _altered(value):
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1])
    if isinstance(value, int | float):
        return 1 - value if value in (0, 1) else value + 1
    if value is None:
        return "something"
    if value.startswith("20") and value[4] == "-":
        return "2001" + value[4:]
    if value.startswith(("[", "{")):
        return "[]" if value != "[]" else "[1]"
    return "altered"


@pytest.mark.parametrize("table", ["sources", "decisions", "provenance_tiles", "decision_tiles", "restorations"])
def test_a_row_taken_out_or_put_in_is_detected(written, table):
    _, target = written
    intact = target.read_bytes()
    for statement in (
        f"DELETE FROM {table} WHERE rowid = (SELECT max(rowid) FROM {table})",
        f"INSERT INTO {table} SELECT * FROM {table}_copy",
    ):
        connection = sqlite3.connect(target)
        connection.execute("PRAGMA foreign_keys=OFF")
        if "copy" in statement:
            _copy_last_row(connection, table)
        else:
            connection.execute(statement)
        connection.commit()
        connection.close()
        with pytest.raises(EvidenceBroken):
            _verify(target)
        target.write_bytes(intact)


def _copy_last_row(connection, table):
    """The last row once more, under another key."""
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    row = list(connection.execute(f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT 1").fetchone())
    for place, name in enumerate(names):
        if name in ("id", "tile_id", "number", "row0"):
            row[place] = row[place] + 1000 if isinstance(row[place], int) else "another"
        if name == "name":
            row[place] = "another"
    connection.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)


def _main(*words):
    from palimpsest.commands import main

    return main([str(word) for word in words])


def test_the_command_line_explains_a_pixel(written, capsys):
    made, target = written
    assert _main("explain", target, "--pixel", "3,11", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {"decoded", "restored", "interval", "quantum", "contributions"} <= set(told)
    total = np.array(told["decoded"]) + sum(np.array(one["value"]) for one in told["contributions"])
    assert total.tolist() == told["restored"] == made.restored.data[:, 3, 11].tolist()
    assert _main("explain", target, "--pixel", "3,11", "--band-nm", "1500") == 0
    assert "restored" in capsys.readouterr().out
    assert _main("explain", target, "--pixel", "3,11") == 0
    assert DECISIONS[1].sentence in capsys.readouterr().out
    assert _main("explain", target, "--pixel", "99,0") == 3
    assert _main("explain", target, "--pixel", "x") == 2
    assert _main("explain", target.parent / "nothing", "--pixel", "0,0") == 3


def test_the_command_line_verifies_and_exits_with_four_when_broken(written, tmp_path, capsys):
    _, target = written
    assert _main("audit", "head", target) == 0
    (tmp_path / "head.json").write_text(capsys.readouterr().out)
    assert _main("audit", "verify", target, "--head", tmp_path / "head.json", "--json") == 0
    assert json.loads(capsys.readouterr().out)["anchored"] is True
    assert _main("audit", "bundle", target, tmp_path / "evidence.zip") == 0
    assert _main("audit", "verify", tmp_path / "evidence.zip") == 0
    with sqlite3.connect(target) as connection:
        connection.execute("UPDATE decisions SET sentence = 'another story' WHERE number = 1")
    connection.close()
    assert _main("audit", "verify", target) == 4
    assert _main("audit", "bundle", target, tmp_path / "other.zip") == 4
    assert not (tmp_path / "other.zip").exists()
    assert _main("audit", "verify", tmp_path / "head.json") == 3


def test_an_altered_bundle_is_seen(written, tmp_path):
    _, target = written
    write_bundle(target, tmp_path / "evidence.zip")
    with zipfile.ZipFile(tmp_path / "evidence.zip") as bundle:
        files = {name: bundle.read(name) for name in bundle.namelist()}
    prov = next(name for name in files if name.startswith("prov/"))
    assert any(one["@type"] == "prov:Activity" for one in json.loads(files[prov])["@graph"])
    for name, content in ((prov, b"{}"), ("more.txt", b"?"), ("provenance.sqlite", files["provenance.sqlite"][:-1])):
        with zipfile.ZipFile(tmp_path / "altered.zip", "w") as bundle:
            for other, whole in {**files, name: content}.items():
                bundle.writestr(other, whole)
        with pytest.raises(EvidenceBroken):
            verify_path(tmp_path / "altered.zip")


def test_a_signed_file_names_its_signer(tmp_path, monkeypatch):
    key = signing_key(tmp_path / "key.pem", make=True)
    monkeypatch.setenv("PALIMPSEST_SIGNING_KEY", str(tmp_path / "key.pem"))
    write_provenance(made_restoration(), tmp_path / "p", Origin())
    assert verify_path(tmp_path / "p", public_key=public_hex(key))["signed"] is True
    with pytest.raises(EvidenceBroken):
        verify_path(tmp_path / "p", public_key="00" * 32)


def test_a_file_is_described_and_asked_the_reverse_question(written):
    made, target = written
    found = describe(target, is_verified=True)
    (one,) = found["restorations"]
    assert one["changed_voxels"] == made.changed.size
    sizes = {
        why.source: sum(part.voxels.size for part in made.contributions if part.decision == number)
        for number, why in enumerate(made.decisions)
    }
    assert {entry["source"]: entry["voxels"] for entry in one["sources"]} == sizes
    database = open_file(target)
    with database.reading() as session:
        tiles_of = where_acted(session, material="https://example.org/kaolinite")
        assert sum(tile["voxels"] for tile in tiles_of) == sizes["library"]
        assert where_acted(session, source="nobody") == []
    database.close()
