"""Cubes: made from finished uploads, listed, shown."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from sqlalchemy import select

from palimpsest.catalogue.tables import Artifact, CubeRow, Upload
from palimpsest.errors import UnknownTerm
from palimpsest_api import artifacts, uploads
from palimpsest_api.archives import is_archive, unpack
from palimpsest_api.auth import Reader, ServiceHere, Uploader
from palimpsest_api.problems import Conflict
from palimpsest_api.service import Service

router = APIRouter(prefix="/v1/cubes", tags=["cubes"])


class NewCube(BaseModel):
    """Which uploads are a cube: one file, the two of an ENVI pair, or one archive of either."""

    uploads: list[str] = Field(min_length=1, max_length=16)
    name: str = Field("", max_length=200)


@router.post("", status_code=201)
def create(service: ServiceHere, caller: Uploader, body: NewCube, response: Response) -> dict[str, Any]:
    """A cube from finished uploads; they are used up."""
    with service.database.reading() as session:
        given = [uploads.get(session, one) for one in body.uploads]
    for upload in given:
        if upload.finished is None:
            raise Conflict("an upload that is not complete", where=upload.id, got=upload.offset, wanted=upload.length)
    with tempfile.TemporaryDirectory(dir=service.work) as folder:
        files = _gathered(service, given, Path(folder))
        main = Path(folder) / artifacts.main_file([path.name for path in files])
        cube = artifacts.readable(main)
        name = body.name or cube.name or main.stem
        kind = artifacts.STREAM if main.suffix.lower() == ".plm" else artifacts.CUBE
        kept = artifacts.keep_files(service.blobs, files)
    with service.database.writing() as session:
        artifact = artifacts.add_artifact(session, kind, name, kept, artifacts.facts_of(cube), owner=caller.name)
        row = artifacts.add_cube(session, artifact, cube, name, caller.name)
        for upload in given:
            uploads.remove(session, service, upload.id)
        service.record(session, "cube.added", {"cube": row.id, "artifact": artifact.id, "files": kept}, caller.name)
        told = describe(row, artifact)
    response.headers["Location"] = f"/v1/cubes/{row.id}"
    return told


@router.get("")
def catalogue(service: ServiceHere, caller: Reader) -> dict[str, Any]:
    """Every cube, newest first."""
    with service.database.reading() as session:
        rows = session.execute(
            select(CubeRow, Artifact).join(Artifact, Artifact.id == CubeRow.artifact_id)
            .order_by(CubeRow.created.desc())
        )
        return {"cubes": [describe(row, artifact) for row, artifact in rows]}


@router.get("/{cube_id}")
def show(service: ServiceHere, caller: Reader, cube_id: str) -> dict[str, Any]:
    """One cube."""
    with service.database.reading() as session:
        row = session.get(CubeRow, cube_id)
        if row is None:
            raise UnknownTerm("no such cube", where=cube_id)
        return describe(row, artifacts.find_artifact(session, row.artifact_id))


def describe(row: CubeRow, artifact: Artifact) -> dict[str, Any]:
    """A cube for JSON."""
    return {
        "id": row.id, "name": row.name, "artifact": row.artifact_id, "kind": artifact.kind, "bands": row.bands,
        "rows": row.rows, "cols": row.cols, "dtype": row.dtype, "wavelengths_nm": row.wavelengths_nm,
        "created": row.created.isoformat(), "history": row.history, "files": artifact.files,
        "links": [{"rel": "self", "href": f"/v1/cubes/{row.id}"},
                  {"rel": "artifact", "href": f"/v1/artifacts/{row.artifact_id}"}],
    }


def _gathered(service: Service, given: list[Upload], folder: Path) -> list[Path]:
    """The uploads' files under their own names in a folder; one archive unpacked."""
    if len(given) == 1 and is_archive(uploads.path_of(service, given[0].id)):
        return unpack(uploads.path_of(service, given[0].id), folder, service.settings.largest_unpacked)
    files = []
    for upload in given:
        path = folder / upload.file_name
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(uploads.path_of(service, upload.id))
            files.append(path)
    return files
