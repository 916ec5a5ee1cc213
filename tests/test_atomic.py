"""Results appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from palimpsest.atomic import replacing, write_bytes
from palimpsest.commands import main
from palimpsest.cubes import BandTable, Cube
from palimpsest.errors import NotWritten
from palimpsest.formats import write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cube_file(tmp_path) -> Path:
    rng = np.random.default_rng(1)
    cube = Cube(rng.integers(0, 4000, (6, 24, 24)).astype(np.int16), BandTable(6), name="small")
    write(cube, tmp_path / "small.hdr")
    return tmp_path / "small.hdr"


def test_a_block_that_fails_leaves_the_older_file_and_nothing_else(tmp_path):
    path = tmp_path / "kept.bin"
    write_bytes(path, b"older")

    def interrupted() -> None:
        with replacing(path) as fresh:
            fresh.write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_as_readable_as_any_other_of_this_user(tmp_path):
    path, plain = tmp_path / "made.bin", tmp_path / "plain.bin"
    write_bytes(path, b"x")
    plain.write_bytes(b"x")
    assert path.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("where", ["missing/x.plm", "folder", "file/x.plm"])
def test_places_that_cannot_hold_a_stream_are_refused_in_words(cube_file, tmp_path, capsys, where):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").write_text("kept")
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    assert main(["compress", str(cube_file), str(tmp_path / where), "--lossless"]) == 3
    assert where.split("/")[0] in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_refused(cube_file, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert main(["compress", str(cube_file), str(locked / "x.plm"), "--lossless"]) == 3


def test_a_full_disk_is_refused_and_leaves_nothing(cube_file, tmp_path):
    # A file size limit fails a write as a full disk does: with an error in the middle. Kernels are compiled before.
    assert main(["compress", str(cube_file), str(tmp_path / "warm.plm"), "--lossless"]) == 0
    out = tmp_path / "out"
    out.mkdir()
    words = [sys.executable, "-m", "palimpsest", "compress", str(cube_file), str(out / "x.plm"), "--lossless"]

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run(words, preexec_fn=limited, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "x.plm" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.iterdir())


def test_two_writers_of_one_path_leave_one_of_them_whole(tmp_path):
    path = tmp_path / "shared.bin"
    contents = [bytes([n]) * 200_000 for n in range(4)]

    def often(content: bytes) -> None:
        for _ in range(20):
            write_bytes(path, content)
            assert path.read_bytes() in contents

    failed: list[BaseException] = []

    def run(content: bytes) -> None:
        try:
            often(content)
        except BaseException as error:  # a thread's failure must reach the test
            failed.append(error)

    threads = [threading.Thread(target=run, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_no_part_under_the_final_name(tmp_path):
    path = tmp_path / "killed.bin"
    code = (
        "import os, signal, sys; from pathlib import Path; from palimpsest.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as fresh:\n"
        "    fresh.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not path.exists()
    write_bytes(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_the_error_is_an_oserror_too(tmp_path):
    with pytest.raises(OSError, match="cannot write there") as caught:
        write_bytes(tmp_path / "no" / "x", b"")
    assert isinstance(caught.value, NotWritten)
