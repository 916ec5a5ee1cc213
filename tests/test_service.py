"""The REST walk against a real server process: upload, compress, restore, download, explain; a worker killed."""

from __future__ import annotations

import io
import json
import os
import signal
import zipfile

import numpy as np
import pytest
from served import Served, made_cube, wait, written
from shared_data import SCENES, needs_shared

from palimpsest.catalogue import Database
from palimpsest.catalogue.tables import Job
from palimpsest.formats import read

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    service = Served(tmp_path_factory.mktemp("service") / "home")
    service.worker()
    yield service
    service.close()


def unzipped(content, folder):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
    return read(next(folder.glob("*.hdr")))


def walk(served, paths, tmp_path, pixel):
    cube = served.upload(*paths)
    original = read(paths[0])
    shape = (cube["bands"], cube["rows"], cube["cols"])
    assert shape == tuple(original.shape)

    packed = served.done(served.job("compress", cube=cube["id"], bpppc=1.0, knowledge="none"))
    stream = served.client.get(f"/v1/artifacts/{packed['artifact']}/download")
    assert stream.content[:4] == b"\x89PLM"
    assert len(stream.content) == packed["report"]["size"]
    decoded = unzipped(served.client.get(f"/v1/artifacts/{packed['artifact']}/download?format=envi").content, tmp_path)
    assert tuple(decoded.shape) == shape

    told = served.done(served.job("evaluate", reference=cube["id"], test=packed["artifact"]))
    assert told["quality"]["psnr_db"] == pytest.approx(packed["report"]["psnr_db"], abs=0.01)

    restored = served.done(served.job("restore", input=packed["artifact"], knowledge="packaged"))
    if cube["wavelengths_nm"]:
        named = served.done(served.job("identify", input=cube["id"], knowledge="packaged", mixtures=True))
        layers = served.client.get(f"/v1/artifacts/{named['artifact']}").json()["facts"]
        assert (layers["bands"], named["report"]["pixels"]) == (10, shape[1] * shape[2])

    there = served.client.get(f"/v1/artifacts/{restored['artifact']}/download?format=envi").content
    (tmp_path / "restored").mkdir()
    values = unzipped(there, tmp_path / "restored").data
    cog = served.client.get(f"/v1/artifacts/{restored['artifact']}/download?format=cog")
    assert cog.content[:4] in (b"II*\0", b"II+\0")

    row, col = pixel
    here = f"/v1/restorations/{restored['restoration']}"
    why = served.client.get(f"{here}/explanation", params={"row": row, "col": col}).json()
    assert why["restored"] == values[:, row, col].tolist()
    assert why["decoded"] == decoded.data[:, row, col].tolist()
    total = np.array(why["decoded"], dtype=float)
    for one in why["contributions"]:
        total += np.array(one["value"], dtype=float)
    assert total.tolist() == [float(value) for value in why["restored"]]
    assert served.client.get(here).json()["output_artifact"] == restored["artifact"]
    assert served.client.get("/v1/audit/verify").json()["restorations"] >= 1
    return why


def test_a_made_cube_goes_the_whole_way(served, tmp_path):
    why = walk(served, written(tmp_path, made_cube()), tmp_path, (5, 7))
    struck = [one for one in why["contributions"] if any(one["value"])]
    assert struck, "the dead line was not explained"
    assert all(one["sentence"] and one["source"] for one in struck)
    served.client.get("/v1/releases/packaged/graph").raise_for_status()


@needs_shared
def test_indian_pines_goes_the_whole_way(served, tmp_path):
    walk(served, (SCENES / "indian_pines.hdr", SCENES / "indian_pines.img"), tmp_path, (60, 70))


def test_server_and_worker_are_killed_and_the_job_finishes(tmp_path):
    service = Served(tmp_path / "home")
    try:
        cube = service.upload(*written(tmp_path, made_cube(64, 64, 40)))
        job = service.job("compress", cube=cube["id"], mode="lossless")
        first = service.worker()
        wait(lambda: service.client.get(f"/v1/jobs/{job}").json()["progress"] >= 5)
        for process in (first, service.server):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        service.serve()
        assert service.client.get(f"/v1/jobs/{job}").json()["status"] == "running"  # nobody has taken it up yet
        service.worker()
        result = service.done(job)
        told = service.client.get(f"/v1/jobs/{job}").json()
        assert told["attempts"] == 2
        assert "taken up again, attempt 2" in [line["message"] for line in told["timeline"]]
        assert service.client.get(f"/v1/artifacts/{result['artifact']}/download").content[:4] == b"\x89PLM"

        again = service.done(service.job("compress", cube=cube["id"], mode="lossless"))
        assert again["artifact"] == result["artifact"]  # named by content: nothing is kept twice
    finally:
        service.close()


def test_the_timeline_is_streamed_and_replayed_from_where_the_client_was(served, tmp_path):
    cube = served.upload(*written(tmp_path, made_cube(8, 8, 6)))
    job = served.job("evaluate", reference=cube["id"], test=cube["id"])
    first = events(served.client.get(f"/v1/jobs/{job}/events").text)
    assert [name for name, _, _ in first][-2:] == ["successful", "end"]
    assert [int(number) for _, number, _ in first[:-1]] == list(range(1, len(first)))
    later = events(served.client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": "2"}).text)
    assert later == first[2:]
    assert served.client.get("/v1/jobs/job-none/events").status_code == 404


def events(text):
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in lines:
            found.append((lines["event"], lines.get("id"), json.loads(lines["data"])))
    return found


def test_a_job_that_cannot_be_done_says_why(served, tmp_path):
    cube = served.upload(*written(tmp_path, made_cube(8, 8, 6)))
    other = served.upload(*written(tmp_path, made_cube(8, 9, 6)))
    job = served.job("evaluate", reference=cube["id"], test=other["id"])
    wait(lambda: served.client.get(f"/v1/jobs/{job}").json()["status"] == "failed")
    told = served.client.get(f"/v1/jobs/{job}").json()
    assert told["error"]["error"] == "CubeRefused"
    assert served.client.get(f"/v1/jobs/{job}/results").status_code == 409


def test_a_waiting_job_is_dismissed(tmp_path):
    service = Served(tmp_path / "home")
    try:
        cube = service.upload(*written(tmp_path, made_cube(8, 8, 6)))
        job = service.job("compress", cube=cube["id"])
        assert service.client.delete(f"/v1/jobs/{job}").json()["status"] == "dismissed"
        database = Database(f"sqlite:///{service.home / 'catalogue.sqlite'}")
        with database.reading() as session:
            assert session.get(Job, job).finished is not None
        database.close()
    finally:
        service.close()
