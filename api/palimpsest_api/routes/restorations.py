"""Restorations: who changed what, asked by pixel, and asked the other way round."""

from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session

from palimpsest.catalogue.tables import Artifact, RestorationRow
from palimpsest.errors import UnknownTerm
from palimpsest.provenance.describe import describe_restoration, where_acted
from palimpsest.provenance.explain import explain_pixel
from palimpsest.provenance.prov_export import prov_jsonld
from palimpsest.provenance.recompute import restore_again
from palimpsest_api import artifacts
from palimpsest_api.auth import Reader, ServiceHere

router = APIRouter(prefix="/v1/restorations", tags=["restorations"])


@router.get("")
def catalogue(service: ServiceHere, caller: Reader) -> dict[str, Any]:
    """Every restoration, newest first."""
    with service.database.reading() as session:
        rows = session.scalars(select(RestorationRow).order_by(RestorationRow.created.desc())).all()
        return {"restorations": [_describe(session, row) for row in rows]}


@router.get("/acted")
def acted(
    service: ServiceHere, caller: Reader, source: str = "", rule: str = "", material: str = "", release: str = ""
) -> dict[str, Any]:
    """Where a source, rule, material or release acted: tiles of every restoration, with voxels and how far."""
    with service.database.reading() as session:
        return {"tiles": where_acted(session, source=source, rule=rule, material=material, release=release)}


@router.get("/{restoration_id}")
def show(service: ServiceHere, caller: Reader, restoration_id: str) -> dict[str, Any]:
    """One restoration: hashes, sources and what each touched, bits per voxel of its provenance."""
    with service.database.reading() as session:
        return _describe(session, _find(session, restoration_id))


@router.get("/{restoration_id}/explanation")
def explanation(
    service: ServiceHere, caller: Reader, restoration_id: str, row: int, col: int, band_nm: float | None = None
) -> dict[str, Any]:
    """Why a pixel is what it is; contributions sum exactly to restored minus decoded."""
    with service.database.reading() as session:
        record = _find(session, restoration_id)
        source = None if record.input_artifact is None else session.get(Artifact, record.input_artifact)
        path = None if source is None else artifacts.decoded(service, source)

        def path_of(name: str) -> Path:
            return artifacts.decoded(service, artifacts.find_artifact(session, name))

        return explain_pixel(
            session, restoration_id, row, col, band_nm, input_path=path,
            recompute=partial(restore_again, path_of=path_of),
        ).to_dict()


@router.get("/{restoration_id}/prov")
def prov(service: ServiceHere, caller: Reader, restoration_id: str) -> dict[str, Any]:
    """W3C PROV as JSON-LD."""
    with service.database.reading() as session:
        return prov_jsonld(session, restoration_id)


def _find(session: Session, restoration_id: str) -> RestorationRow:
    row = session.get(RestorationRow, restoration_id)
    if row is None:
        raise UnknownTerm("no such restoration", where=restoration_id)
    return row


def _describe(session: Session, row: RestorationRow) -> dict[str, Any]:
    return {**describe_restoration(session, row), "input_artifact": row.input_artifact,
            "output_artifact": row.output_artifact, "job": row.job_id, "report": row.report}
