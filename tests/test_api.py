"""The interface refuses what it must: odd names, broken uploads, bombs, other sites, missing keys."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
import zipfile
from importlib.resources import files

import numpy as np
import pytest
from served import client_of, made_cube, written

from palimpsest.errors import PalimpsestError
from palimpsest.formats import write
from palimpsest.provenance import merkle
from palimpsest_api import problems
from palimpsest_api.archives import plain_name
from palimpsest_api.auth import ADMINISTER, AUDIT, READ, ROLES, RUN, UPLOAD
from palimpsest_api.main import create_app
from palimpsest_api.processes import CompressRequest
from palimpsest_api.settings import Settings

CHUNK = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}


@pytest.fixture
def client(tmp_path):
    with client_of(create_app(Settings(home=tmp_path / "home"))) as client:
        yield client


def put(client, name, content):
    return client.put(f"/v1/uploads/files/{name}", content=content)


def create(client, *answers):
    return client.post("/v1/cubes", json={"uploads": [answer.json()["id"] for answer in answers]})


def test_an_envi_pair_becomes_a_cube_and_is_looked_at(client, tmp_path):
    cube = made_cube(6, 5, 4)
    answers = [put(client, path.name, path.read_bytes()) for path in written(tmp_path, cube)]
    told = create(client, *answers).json()
    assert (told["bands"], told["rows"], told["cols"]) == (4, 6, 5)
    assert told["wavelengths_nm"] == pytest.approx(cube.bands.centre_nm.tolist())
    assert client.get(f"/v1/cubes/{told['id']}").json() == told == client.get("/v1/cubes").json()["cubes"][0]
    here = f"/v1/artifacts/{told['artifact']}"
    values = client.get(f"{here}/spectrum", params={"row": 2, "col": 3}).json()["values"]
    assert values == cube.data[:, 2, 3].tolist()
    band = client.get(f"{here}/bands/1")
    assert len(band.content) == int(band.headers["X-Rows"]) * int(band.headers["X-Cols"]) == 30
    for form, beginning in (("native", b"PK"), ("envi", b"PK"), ("cog", b"II"), ("netcdf", b"\x89HDF")):
        assert client.get(f"{here}/download", params={"format": form}).content.startswith(beginning)
    for path in (f"{here}/bands/9", f"{here}/spectrum?row=9&col=0"):
        assert client.get(path).status_code == 422
    assert client.get(f"{here}/download?format=gif").status_code == 400


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_both_files_in_one_archive_are_a_cube(client, tmp_path, kind):
    paths = written(tmp_path, made_cube(6, 5, 4))
    packed = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for path in paths:
                archive.write(path, f"scene/{path.name}")
    else:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path in paths:
                archive.add(path, f"scene/{path.name}")
    assert create(client, put(client, f"scene.{kind}", packed.getvalue())).status_code == 201


def test_an_archive_that_climbs_links_or_explodes_is_refused(tmp_path):
    settings = Settings(home=tmp_path / "home", largest_unpacked=1 << 20)
    climbing, bomb, linking = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(climbing, "w") as archive:
        archive.writestr("../../../climbed.hdr", "ENVI\n")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.img", bytes(8 << 20))
    with tarfile.open(fileobj=linking, mode="w") as archive:
        link = tarfile.TarInfo("link.hdr")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with client_of(create_app(settings)) as client:
        for name, packed, status in (("a.zip", climbing, 422), ("b.zip", bomb, 413), ("c.tar", linking, 422)):
            assert create(client, put(client, name, packed.getvalue())).status_code == status
    assert not list(tmp_path.rglob("climbed*"))
    assert not list((tmp_path / "home" / "work").iterdir())


def test_a_resumed_upload_goes_on_where_it_was(client):
    content = b"ENVI\n" + bytes(range(250)) * 40
    named = base64.b64encode(b"scene.hdr").decode()
    made = client.post(
        "/v1/uploads", headers={"Upload-Length": str(len(content)), "Upload-Metadata": f"filename {named}"}
    )
    place = made.headers["Location"]
    digest = base64.b64encode(hashlib.sha256(content[:4000]).digest()).decode()
    first = client.patch(place, content=content[:4000], headers={**CHUNK, "Upload-Offset": "0",
                                                                 "Upload-Checksum": f"sha256 {digest}"})
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "4000")
    bad = client.patch(place, content=content[4000:], headers={**CHUNK, "Upload-Offset": "4000",
                                                               "Upload-Checksum": f"sha256 {digest}"})
    assert bad.status_code == 460
    assert client.patch(place, content=b"x", headers={**CHUNK, "Upload-Offset": "9"}).status_code == 409
    assert client.head(place).headers["Upload-Offset"] == "4000"
    too_long = client.patch(place, content=content, headers={**CHUNK, "Upload-Offset": "4000"})
    assert too_long.status_code == 413
    client.patch(place, content=content[4000:], headers={**CHUNK, "Upload-Offset": "4000"})
    told = client.get(place).json()
    assert told["sha256"] == hashlib.sha256(content).hexdigest()
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == 404


def test_a_wrong_file_is_refused_at_its_first_bytes(client):
    wrong = {"a.hdr": b"<VRTDataset>", "a.tif": b"PK\x03\x04", "a.nc": b"GIF89a", "a.plm": b"ENVI"}
    for name, content in wrong.items():
        answer = put(client, name, content)
        assert answer.status_code == 422, name
        assert answer.headers["content-type"] == "application/problem+json"
    assert put(client, "a.vrt", b"<VRTDataset>").status_code == 422
    for name in ("..%2F..%2Fetc", ".hidden.hdr", "a%00.hdr"):
        assert put(client, name, b"ENVI").status_code in (404, 422), name


@pytest.mark.parametrize("name", ["../x", "a/b", ".a", "", "a\x00", "a\n", "x" * 300, "~", "a\\b", "a "])
def test_only_plain_file_names_are_taken(name):
    with pytest.raises(PalimpsestError):
        plain_name(name)


def test_a_header_that_disagrees_with_its_bytes_is_diagnosed_without_the_servers_paths(client, tmp_path):
    header, data = written(tmp_path, made_cube(6, 5, 4))
    short = data.read_bytes()[:-2]
    answer = create(client, put(client, header.name, header.read_bytes()), put(client, data.name, short))
    told = answer.json()
    assert (answer.status_code, told["type"]) == (422, "urn:palimpsest:problem:HeaderMismatch")
    assert "238 bytes" in told["detail"]
    assert str(tmp_path) not in answer.text


def test_an_unfinished_upload_is_no_cube(client):
    made = client.post("/v1/uploads", headers={
        "Upload-Length": "9", "Upload-Metadata": f"filename {base64.b64encode(b'a.hdr').decode()}",
    })
    upload = made.headers["Location"].rsplit("/", 1)[1]
    assert client.post("/v1/cubes", json={"uploads": [upload]}).status_code == 409


def test_what_cannot_be_asked_for_is_refused_before_a_job_is_made(client):
    cube = "cube-" + "0" * 16
    for body in ({"cube": cube, "mode": "bound"}, {"cube": cube, "bpppc": -1}, {"cube": "../../etc/passwd"},
                 {"cube": cube, "knowledge": "/etc"}, {"cube": cube, "colour": "red"},
                 {"cube": cube, "keep": "labels", "knowledge": "none"}, {"cube": cube, "keep": "features=2"},
                 {"cube": cube, "keep": "features=0.1,secrets"}):
        answer = client.post("/v1/processes/compress/execution", json=body)
        assert answer.status_code == 422, body
        assert answer.json()["detail"]
    assert client.post("/v1/processes/compress/execution", json={"cube": cube}).status_code == 409
    assert client.get("/v1/jobs").json() == {"jobs": []}


def test_a_bound_may_be_given_for_each_band():
    asked = {"cube": "cube-0123456789abcdef", "mode": "bound"}
    assert CompressRequest(**asked, max_error=[1, 2.5]).settings().max_error == (1.0, 2.5)
    assert CompressRequest(**asked, max_error=3).settings().max_error == 3.0
    for wrong in ([1, -2], [], -1, [float("nan")], "much"):
        with pytest.raises(ValueError, match="max_error"):
            CompressRequest(**asked, max_error=wrong)


def test_pages_of_other_sites_and_other_names_are_kept_out(client):
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 421
    assert client.post("/v1/uploads", headers={"Origin": "https://evil.example"}).status_code == 403
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]


def test_the_page_needs_no_other_place_and_no_inline_code(client):
    text = client.get("/").text
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=|https?://", text)
    for name in re.findall(r'(?:src|href)="(/[^"]+)"', text):
        assert client.get(name).status_code == 200, name
    wanted = set(re.findall(r'\$\("([a-z-]+)"\)', (files("palimpsest_api") / "page" / "app.js").read_text()))
    assert wanted <= set(re.findall(r'id="([a-z-]+)"', text))


def test_every_role_may_do_what_the_table_says_and_nothing_else(tmp_path):
    app = create_app(Settings(home=tmp_path / "home"))
    with client_of(app) as owner:
        keys = {role: owner.post("/v1/keys", json={"name": role, "role": role}).json() for role in ROLES}
        assert owner.post("/v1/keys", json={"name": "x", "role": "emperor"}).status_code == 400
    app = create_app(Settings(home=tmp_path / "home", require_keys=True))
    asks = {
        READ: ("GET", "/v1/cubes"), UPLOAD: ("POST", "/v1/cubes"), RUN: ("POST", "/v1/processes/evaluate/execution"),
        AUDIT: ("GET", "/v1/audit/head"), ADMINISTER: ("POST", "/v1/keys"),
    }
    with client_of(app) as client:
        for role, permissions in ROLES.items():
            for permission, (method, path) in asks.items():
                status = client.request(method, path, headers={"X-API-Key": keys[role]["key"]}).status_code
                assert (status == 403) == (permission not in permissions), (role, permission, status)
        assert client.get("/v1/cubes").status_code == 401
        for wrong in ("plm_x_y", "nonsense", keys["admin"]["key"] + "x"):
            assert client.get("/v1/cubes", headers={"X-API-Key": wrong}).status_code == 401
        admin = {"X-API-Key": keys["admin"]["key"]}
        assert client.delete(f"/v1/keys/{keys['viewer']['id']}", headers=admin).status_code == 204
        assert client.get("/v1/cubes", headers={"X-API-Key": keys["viewer"]["key"]}).status_code == 401
        assert client.get("/healthz").status_code == 200


def test_the_log_grows_with_what_happens_and_its_proofs_hold(client, tmp_path):
    assert client.get("/v1/audit/head").status_code == 409
    for seed in (1, 2, 3):
        cube = made_cube(3, 3, 3, seed)
        write(cube, tmp_path / f"c{seed}.tif")
        assert create(client, put(client, f"c{seed}.tif", (tmp_path / f"c{seed}.tif").read_bytes())).status_code == 201
    head = client.get("/v1/audit/head").json()
    assert head["size"] == 3
    assert head["signature"]
    proof = client.get("/v1/audit/events/1/proof").json()
    steps = [bytes.fromhex(node) for node in proof["inclusion"]]
    leaf = merkle.leaf_hash(proof["body"].encode())
    assert merkle.holds_inclusion(leaf, 1, 3, steps, bytes.fromhex(head["root"]))
    assert json.loads(proof["body"])["kind"] == "cube.added"
    assert client.get("/v1/audit/verify").json()["events"] == 3
    assert client.get("/v1/audit/consistency?old_size=2").json()["root"] == head["root"]
    assert client.get("/v1/audit/events/9/proof").status_code == 404


def test_releases_and_their_graph_are_shown(client):
    told = client.get("/v1/releases").json()
    one = client.get("/v1/releases/packaged").json()
    assert one["release"] == told["packaged"]["release"]
    assert len(one["materials"]) >= 77
    near = client.get("/v1/releases/packaged/graph", params={"around": one["materials"][0]["iri"]}).json()
    assert near["nodes"]
    assert {"from", "to", "relation", "stated", "reason"} <= set(near["edges"][0])
    assert client.get("/v1/releases/..%2F..%2Fetc").status_code in (404, 422)
    assert client.get("/v1/releases/packaged/graph?around=urn:x").status_code == 404


def test_every_error_of_the_project_has_a_status():
    from palimpsest import errors

    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, PalimpsestError):
            assert 400 <= problems.status_of(kind("x")) < 600


def test_floats_and_holes_are_shown_as_json_can_hold_them(client, tmp_path):
    cube = made_cube(4, 4, 3)
    data = cube.data.astype(np.float32)
    data[1, 2, 2] = np.nan
    write(cube.with_data(data, "a hole"), tmp_path / "f.tif")
    told = create(client, put(client, "f.tif", (tmp_path / "f.tif").read_bytes())).json()
    here = f"/v1/artifacts/{told['artifact']}"
    assert client.get(f"{here}/spectrum?row=2&col=2").json()["values"][1] is None
    assert client.get(f"{here}/bands/1").content[2 * 4 + 2] == 0
