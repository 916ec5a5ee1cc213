"""Several cubes over REST: put in order, restored together in their order, decompressed in part; masks as cubes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from served import client_of, made_cube, written

from palimpsest.catalogue import jobs
from palimpsest.cubes import BandTable, Cube
from palimpsest.errors import CubeRefused
from palimpsest_api.desk import Desk
from palimpsest_api.main import create_app
from palimpsest_api.processes import DecompressRequest, IdentifyRequest, RestoreGroupRequest
from palimpsest_api.service import open_service
from palimpsest_api.settings import Settings
from palimpsest_api.work import PROCESSES


class Bench:
    """The application and a worker in this process: jobs are claimed and done at once."""

    def __init__(self, client, settings):
        self.client, self.service, self.settings = client, open_service(settings), settings

    def upload(self, folder, cube):
        ids = []
        for path in written(folder, cube):
            answer = self.client.put(f"/v1/uploads/files/{path.name}", content=path.read_bytes())
            ids.append(answer.json()["id"])
        return self.client.post("/v1/cubes", json={"uploads": ids}).json()["id"]

    def run(self, process, **request):
        answer = self.client.post(f"/v1/processes/{process}/execution", json=request)
        assert answer.status_code == 201, answer.text
        with self.service.database.writing() as session:
            lease = jobs.claim(session, "test", 60, tuple(PROCESSES))
        folder = self.service.work / lease.job_id
        folder.mkdir()
        finish = PROCESSES[lease.process](Desk(self.service, lease, folder))
        with self.service.database.writing() as session:
            result = finish(session)
            jobs.succeed(session, lease, result)
        told = self.client.get(f"/v1/jobs/{lease.job_id}/results")
        assert told.json() == result
        return result

    def values(self, artifact):
        from palimpsest_api import artifacts

        with self.service.database.reading() as session:
            found = artifacts.find_artifact(session, artifact)
        return artifacts.open_cube(self.service, found).data


@pytest.fixture
def bench(tmp_path):
    settings = Settings(home=tmp_path / "home")
    with client_of(create_app(settings)) as client:
        yield Bench(client, settings)


def dates(folder):
    """Two looks at one place, each with a dead line of its own, and a cube of another place."""
    first = replace(made_cube(20, 18, 24), name="spring")
    data = np.array(made_cube(20, 18, 24).data)
    data[10:13, :, 7] = data[10:13, :, 6]
    data = np.where(data == -9999, -9999, np.rint(data * 1.1)).astype(np.int16)
    data[4:7, :, 12] = -9999
    second = replace(first, data=data, name="summer")
    other = replace(made_cube(12, 11, 24, seed=9), name="elsewhere")
    return first, other, second


def test_a_pile_is_put_in_order_and_restored_together_in_the_order_given(bench, tmp_path):
    ids = [bench.upload(tmp_path, cube) for cube in dates(tmp_path)]
    told = bench.run("organise", inputs=ids)
    assert told["cubes"] == 3
    place = next(group for group in told["groups"] if group["one_place"])
    assert place == {"name": "place of spring", "one_place": True, "members": [ids[0], ids[2]]}

    done = bench.run("restore-group", inputs=ids, knowledge="none", full=False)
    assert [one["name"] for one in done["cubes"]] == ["spring", "elsewhere", "summer"]
    assert [one["group"] for one in done["cubes"]] == ["place of spring", "elsewhere", "place of spring"]
    assert [one["report"]["companions"] for one in done["cubes"]] == [["summer"], [], ["spring"]]
    assert done["groups"] == told["groups"]
    for one, name in zip(done["cubes"], ids, strict=True):
        before, after = bench.values(name), bench.values(one["artifact"])
        assert after.shape == before.shape
        assert not (after == -9999).any()
        # Nothing is stored in full: the explanation finds the companions and makes the cube again, bit by bit.
        col = int(np.argwhere(before == -9999)[0][2])
        where = f"/v1/restorations/{one['restoration']}/explanation?row=3&col={col}"
        why = bench.client.get(where)
        assert why.status_code == 200, why.text
        assert why.json()["agreement"] == "recomputed, bit-identical"
        assert why.json()["restored"] == after[:, 3, col].tolist()


def test_a_mask_is_a_cube_and_decides_alone_what_is_restored(bench, tmp_path):
    cube = made_cube(12, 11, 24)
    usable = np.ones(cube.data.shape, np.uint8)
    usable[2:4, 5, 3] = 0
    mask = Cube(usable, BandTable(24), name="mask")
    name, mask_name = bench.upload(tmp_path, cube), bench.upload(tmp_path, mask)
    done = bench.run("restore", input=name, mask=mask_name, knowledge="none", infer_opaque=True)
    changed = np.argwhere(bench.values(done["artifact"]) != cube.data)
    assert {tuple(at[1:]) for at in changed.tolist()} <= {(5, 3)} | {(row, 7) for row in range(12)}
    assert (5, 3) in {tuple(at[1:]) for at in changed.tolist()}
    wrong = bench.upload(tmp_path, Cube(np.ones((24, 3, 3), np.uint8), BandTable(24), name="small"))
    with pytest.raises(CubeRefused, match="mask of another shape"):
        bench.run("restore", input=name, mask=wrong, knowledge="none")


def test_a_stream_is_decompressed_in_part_and_compared_by_what_it_means(bench, tmp_path):
    cube = made_cube(16, 16, 24)
    name = bench.upload(tmp_path, cube)
    packed = bench.run("compress", cube=name, mode="lossless")
    part = bench.run("decompress", stream=packed["artifact"], window="2:10,4:16", bands="3:9")
    assert part["report"] == {"bands": 6, "rows": 8, "cols": 12, "dtype": "int16"}
    np.testing.assert_array_equal(bench.values(part["artifact"]), cube.data[3:9, 2:10, 4:16])
    coarse = bench.run("decompress", stream=packed["artifact"], level=1)
    assert coarse["report"]["rows"] == 8
    told = bench.run("compare", reference=name, test=packed["artifact"], knowledge="packaged")["quality"]
    assert told["max_error"] == 0
    assert told["bpppc"] > 0
    assert told["scales_agree"] is True
    assert "label_agreement" in told


def test_requests_that_do_not_hang_together_are_refused():
    one, two = "cube-0123456789abcdef", "cube-1123456789abcdef"
    RestoreGroupRequest(inputs=[one, two], masks=[None, one])
    for wrong in ({"inputs": []}, {"inputs": [one, one]}, {"inputs": [one, two], "masks": [None]},
                  {"inputs": ["/etc/passwd"]}, {"inputs": [one], "leave_out": ["everything"]}):
        with pytest.raises(ValidationError):
            RestoreGroupRequest(**wrong)
    for wrong in ({"window": "3:2,0:4"}, {"bands": "5:5"}, {"bands": "a:b"}, {"level": -1}):
        with pytest.raises(ValidationError):
            DecompressRequest(stream="artifact-0123456789abcdef", **wrong)
    with pytest.raises(ValidationError, match="told of with mixtures"):
        IdentifyRequest(input=one, pixel=(1, 2))


def test_an_alignment_comes_with_its_table_and_accepted_lines_become_turtle(bench):
    concept = {"iri": "https://example.org/k", "labels": ["kaolinite"]}
    found = bench.client.post("/v1/releases/packaged/alignment", json={"concepts": [concept]}).json()
    lines = found["table"].splitlines()
    assert len(lines) == len(found["mappings"]) + 1
    lines[1] += "exact"
    answer = bench.client.post("/v1/releases/acceptance", json={"table": "\n".join(lines), "reviewer": "Bo"}).json()
    assert answer["mappings"] == 1
    assert f"<{found['mappings'][0]['object']}> skos:exactMatch <https://example.org/k>" in answer["turtle"]
    refused = bench.client.post("/v1/releases/acceptance", json={"table": "nonsense", "reviewer": "Bo"})
    assert refused.status_code == 422
    assert bench.client.get("/v1/releases/packaged/changes").json() == {"changes": []}


def test_every_process_that_a_worker_can_do_is_described_and_the_other_way_round(bench):
    described = {one["id"]: one["inputs"] for one in bench.client.get("/v1/processes").json()["processes"]}
    assert set(described) == set(PROCESSES)
    for verb in ("compress", "decompress", "restore", "restore-group", "organise", "identify", "compare"):
        assert described[verb]["additionalProperties"] is False
