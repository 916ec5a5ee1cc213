"""Artifacts: downloads, one band as a picture, one pixel as a spectrum."""

from typing import Any

import numpy as np
from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse
from sqlalchemy import select

from palimpsest.catalogue.tables import Artifact
from palimpsest.cubes import Cube
from palimpsest.errors import CubeRefused
from palimpsest_api import artifacts
from palimpsest_api.auth import Reader, ServiceHere
from palimpsest_api.service import Service

router = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])

WIDEST = 1024
MEDIA = {".plm": "application/octet-stream", ".zip": "application/zip", ".tif": "image/tiff; application=geotiff",
         ".nc": "application/netcdf"}


@router.get("")
def catalogue(service: ServiceHere, caller: Reader, kind: str = "") -> dict[str, Any]:
    """Every artifact, newest first."""
    query = select(Artifact).order_by(Artifact.created.desc())
    with service.database.reading() as session:
        rows = session.scalars(query.where(Artifact.kind == kind) if kind else query)
        return {"artifacts": [describe(row) for row in rows]}


@router.get("/{artifact_id}")
def show(service: ServiceHere, caller: Reader, artifact_id: str) -> dict[str, Any]:
    """One artifact."""
    return describe(_find(service, artifact_id))


@router.get("/{artifact_id}/download")
def download(
    service: ServiceHere, caller: Reader, artifact_id: str, form: str = Query("native", alias="format")
) -> FileResponse:
    """The artifact as kept ('native'), or as 'envi' (a zip of both files), 'cog' or 'netcdf'; ranges are answered."""
    artifact = _find(service, artifact_id)
    path = artifacts.export(service, artifact, form)
    headers = {"X-Content-Sha256": artifact.files[0]["sha256"]} if len(artifact.files) == 1 and form == "native" else {}
    return FileResponse(
        path, filename=path.name, media_type=MEDIA.get(path.suffix, "application/octet-stream"), headers=headers
    )


@router.get("/{artifact_id}/spectrum")
def spectrum(service: ServiceHere, caller: Reader, artifact_id: str, row: int, col: int) -> dict[str, Any]:
    """The values of one pixel, stored units; null where a value is not a number."""
    cube = artifacts.open_cube(service, _find(service, artifact_id))
    _inside(cube, row, col)
    values = np.asarray(cube.data[:, row, col])
    listed = [value if np.isfinite(value) else None for value in values.tolist()]
    centres = cube.bands.centre_nm
    return {
        "row": row, "col": col, "values": listed, "wavelengths_nm": None if centres is None else centres.tolist(),
        "good": cube.bands.good.tolist(), "units": cube.units,
    }


@router.get("/{artifact_id}/bands/{band}")
def picture(service: ServiceHere, caller: Reader, artifact_id: str, band: int) -> Response:
    """One band as bytes ``(row, col)``, 0 to 255 between its 2nd and 98th percentile; sizes and ends in headers."""
    cube = artifacts.open_cube(service, _find(service, artifact_id))
    if not 0 <= band < cube.shape.bands:
        raise CubeRefused("no such band", where=cube.name, got=band, wanted=f"0:{cube.shape.bands}")
    step = -(-max(cube.shape.rows, cube.shape.cols) // WIDEST)
    plane = np.asarray(cube.data[band, ::step, ::step]).astype(np.float64)
    good = np.isfinite(plane)
    if cube.nodata is not None:
        good &= plane != cube.nodata
    low, high = np.percentile(plane[good], (2, 98)) if good.any() else (0.0, 1.0)
    grey = np.where(good, np.clip((plane - low) / max(high - low, 1e-12), 0, 1) * 254 + 1, 0).astype(np.uint8)
    return Response(grey.tobytes(), media_type="application/octet-stream", headers={
        "X-Rows": str(grey.shape[0]), "X-Cols": str(grey.shape[1]), "X-Step": str(step), "X-Low": f"{low:g}",
        "X-High": f"{high:g}", "Cache-Control": "private, max-age=3600",
    })


def describe(row: Artifact) -> dict[str, Any]:
    """An artifact for JSON."""
    here = f"/v1/artifacts/{row.id}"
    return {
        "id": row.id, "kind": row.kind, "name": row.name, "files": row.files, "facts": row.facts,
        "created": row.created.isoformat(), "job": row.job_id,
        "links": [{"rel": "self", "href": here},
                  *({"rel": "download", "href": f"{here}/download?format={form}"} for form in artifacts.EXPORTS)],
    }


def _find(service: Service, artifact_id: str) -> Artifact:
    with service.database.reading() as session:
        return artifacts.find_artifact(session, artifact_id)


def _inside(cube: Cube, row: int, col: int) -> None:
    if not (0 <= row < cube.shape.rows and 0 <= col < cube.shape.cols):
        raise CubeRefused(
            "no such pixel", where=cube.name, got=f"{row},{col}", wanted=f"0:{cube.shape.rows},0:{cube.shape.cols}"
        )
