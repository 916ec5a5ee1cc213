"""A provenance file has many writers and only one kind: none of them is lost, and nothing else is written over."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from made_restoration import made_restoration

from palimpsest.errors import FormatError
from palimpsest.provenance.bundle import verify_path
from palimpsest.provenance.explain import explain
from palimpsest.provenance.record import Origin, write_provenance

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from made_restoration import made_restoration
from palimpsest.provenance.record import Origin, write_provenance
made = made_restoration(seed=int(sys.argv[3]))
write_provenance(made, Path(sys.argv[2]), Origin(settings={"seed": sys.argv[3]}), full=True)
"""


def test_writers_of_one_file_wait_for_each_other_and_none_is_lost(tmp_path):
    target, here = tmp_path / "p.sqlite", str(Path(__file__).parent)
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, here, str(target), str(seed)]) for seed in range(4)
    ]
    assert [process.wait(120) for process in running] == [0, 0, 0, 0]
    assert verify_path(target)["restorations"] == 4
    with sqlite3.connect(target) as connection:
        rows = connection.execute("SELECT id, settings FROM restorations").fetchall()
    seeds = {name: json.loads(said)["seed"] for name, said in rows}
    assert sorted(seeds.values()) == ["0", "1", "2", "3"]
    for name, seed in seeds.items():
        told = explain(target, 4, 4, which=name).to_dict()["restored"]
        kept = made_restoration(seed=int(seed)).restored.data[:, 4, 4].tolist()
        known = [value is not None for value in told]  # without the input, what was left alone is not in the file
        assert any(known)
        assert [a for a, is_known in zip(told, known, strict=True) if is_known] == [
            a for a, is_known in zip(kept, known, strict=True) if is_known
        ]
    assert [path.name for path in tmp_path.iterdir()] == ["p.sqlite"]


def test_a_file_of_another_kind_is_not_written_over(tmp_path):
    letter = tmp_path / "letter.txt"
    letter.write_text("keep me")
    with pytest.raises(FormatError, match="not a provenance file"):
        write_provenance(made_restoration(), letter, Origin())
    assert letter.read_text() == "keep me"


def test_a_restoration_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    write_provenance(made_restoration(), tmp_path / "p", Origin())
    with pytest.raises(FormatError, match="restoration-"):
        explain(tmp_path / "p", 0, 0, which="restoration-of-somebody-else")
