"""The real service in processes of its own, for tests: server and worker started, killed, started again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import warnings
from typing import TYPE_CHECKING

import httpx
import numpy as np

from palimpsest.cubes import BandTable, Cube
from palimpsest.formats import write

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 400  # a loaded machine of two cores starts a worker in half a minute


def client_of(app):
    """A client inside this process."""
    with warnings.catch_warnings():
        # Starlette prefers a fork of httpx for its tests; the client is the same.
        warnings.simplefilter("ignore")
        from fastapi.testclient import TestClient
    return TestClient(app, base_url="http://127.0.0.1")


class Served:
    """A server on a free port of the loopback; ``worker()`` starts a worker."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = (home.parent / "service.log").open("ab")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.environment = {
            **os.environ, "PALIMPSEST_LEASE_S": "2", "PALIMPSEST_POLL_S": "0.1", "OMP_NUM_THREADS": "1",
            "NUMBA_NUM_THREADS": "1", "PALIMPSEST_HOME": str(home),
        }
        self.environment.pop("PALIMPSEST_DATABASE_URL", None)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self.running: list[subprocess.Popen[bytes]] = []
        self.serve()

    def serve(self) -> None:
        self.server = self.start("serve", "--no-worker", "--port", str(self.port))
        self.running.append(self.server)
        wait(self.is_up)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "palimpsest", *words, "--home", str(self.home)], env=self.environment,
            stdout=self.log, stderr=self.log,
        )

    def worker(self) -> subprocess.Popen[bytes]:
        self.running.append(self.start("worker"))
        return self.running[-1]

    def is_up(self) -> bool:
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx.TransportError:
            assert self.server.poll() is None, "the server ended"
            return False

    def job(self, process: str, **request: object) -> str:
        answer = self.client.post(f"/v1/processes/{process}/execution", json=request)
        assert answer.status_code == 201, answer.text
        assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['jobID']}"
        return answer.json()["jobID"]

    def done(self, job: str) -> dict:
        wait(lambda: self.client.get(f"/v1/jobs/{job}").json()["status"] in ("successful", "failed", "dismissed"))
        told = self.client.get(f"/v1/jobs/{job}").json()
        assert told["status"] == "successful", told
        return self.client.get(f"/v1/jobs/{job}/results").json()

    def upload(self, *paths: Path, name: str = "") -> dict:
        ids = []
        for path in paths:
            with path.open("rb") as stream:
                answer = self.client.put(
                    f"/v1/uploads/files/{path.name}", content=stream,
                    headers={"Content-Length": str(path.stat().st_size)},
                )
            assert answer.status_code == 201, answer.text
            ids.append(answer.json()["id"])
        answer = self.client.post("/v1/cubes", json={"uploads": ids, "name": name})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def close(self) -> None:
        self.client.close()
        for process in self.running:
            if process.poll() is None:
                process.terminate()
        for process in self.running:
            process.wait(20)
        self.log.close()


def wait(holds, patience_s: float = PATIENCE_S, pause_s: float = 0.1) -> None:
    """Until something holds; fails when patience runs out."""
    until = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(pause_s)


def made_cube(rows: int = 24, cols: int = 20, bands: int = 30, seed: int = 3) -> Cube:
    """A smooth cube with a dead line in some bands, reflectance x 10000."""
    rng = np.random.default_rng(seed)
    centres = np.linspace(420, 2400, bands)
    ends = np.stack([2000 + 1500 * np.sin(centres / 400), 3000 + 900 * np.cos(centres / 300)])
    share = rng.random((rows, cols))
    share = (share + np.roll(share, 1, 0) + np.roll(share, 1, 1)) / 3
    data = ends[0][:, None, None] * share + ends[1][:, None, None] * (1 - share)
    data += rng.normal(0, 6, data.shape)
    data[10:13, :, 7:8] = -9999
    table = BandTable(bands, centre_nm=centres, fwhm_nm=np.full(bands, 10.0))
    return Cube(data.astype(np.int16), table, nodata=-9999, scale=1e-4, units="reflectance", name="made")


def written(folder: Path, cube: Cube) -> tuple[Path, Path]:
    write(cube, folder / f"{cube.name}.hdr")
    return folder / f"{cube.name}.hdr", folder / f"{cube.name}.img"
