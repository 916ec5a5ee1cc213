"""A provenance file that was altered or damaged is told as one, whatever stands in it, and never as a fault of ours."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial

import pytest
from made_restoration import made_restoration

from palimpsest.catalogue import open_file
from palimpsest.errors import CubeRefused, EvidenceBroken, FormatError
from palimpsest.formats import write
from palimpsest.provenance import manifest
from palimpsest.provenance.bundle import verify_path
from palimpsest.provenance.describe import describe
from palimpsest.provenance.explain import explain
from palimpsest.provenance.record import Origin, write_provenance

TABLES = ("restorations", "sources", "decisions", "provenance_tiles", "decision_tiles", "audit_events", "merkle_heads")


@pytest.fixture
def target(tmp_path):
    made = made_restoration(shape=(3, 5, 6))
    write(made.decoded, tmp_path / "made.hdr")
    found = tmp_path / "made.provenance"
    write_provenance(made, found, Origin.of_file(tmp_path / "made.hdr"), full=True, tile=8)
    return found


@pytest.mark.parametrize("odd", [b"x", -1, "[1"])
def test_a_value_of_any_kind_in_any_column_is_told_as_an_altered_file(target, odd):
    intact = target.read_bytes()
    columns = _columns(target)
    for table, column in columns:
        target.write_bytes(intact)
        with closing(sqlite3.connect(target)) as connection:
            connection.execute("PRAGMA foreign_keys=OFF")
            before = connection.execute(f'SELECT "{column}" FROM {table}').fetchall()
            try:
                connection.execute(f'UPDATE {table} SET "{column}" = ?', (odd,))
            except sqlite3.IntegrityError:  # SQLite itself does not let it stand
                continue
            connection.commit()
            if connection.execute(f'SELECT "{column}" FROM {table}').fetchall() == before:
                continue
        with pytest.raises(EvidenceBroken):
            pytest.fail(f"{table}.{column}: {verify_path(target)}")
        for ask in (describe, partial(explain, row=0, col=0)):
            try:  # what it does not need may be altered unseen; nothing else than a refusal may come of the rest
                ask(target)
            except (EvidenceBroken, FormatError, CubeRefused):
                continue


def test_a_damaged_page_is_told_as_a_damaged_file(target):
    intact, content = bytearray(target.read_bytes()), _content(target)
    refused = []
    for at in range(100, len(intact), len(intact) // 40):
        broken = bytearray(intact)
        broken[at : at + 64] = b"\xff" * 64
        target.write_bytes(broken)
        for ask in (verify_path, describe, partial(explain, row=0, col=0)):
            try:
                ask(target)
            except (EvidenceBroken, FormatError, CubeRefused):
                refused.append(ask)
                continue
            assert ask is not verify_path or _content(target) == content  # nothing stands where the damage is
    assert verify_path in refused
    assert describe in refused


def test_a_surprise_is_no_alteration_where_the_log_agrees_with_the_file(target):
    database = open_file(target)
    with database.reading() as session, pytest.raises(KeyError), manifest.suspecting(session):
        raise KeyError("ours")
    database.close()
    with sqlite3.connect(target) as connection:
        connection.execute("UPDATE decisions SET sentence = 'altered'")
    database = open_file(target)
    with database.reading() as session, pytest.raises(EvidenceBroken, match="altered"), manifest.suspecting(session):
        raise KeyError("of what was altered")
    database.close()


def _columns(path):
    with closing(sqlite3.connect(path)) as connection:
        return [(table, row[1]) for table in TABLES for row in connection.execute(f"PRAGMA table_info({table})")]


def _content(path):
    with closing(sqlite3.connect(path)) as connection:
        return [connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall() for table in TABLES]
