"""The log: its newest head, proofs for its events, and the keys of machines."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import select

from palimpsest.catalogue.tables import ApiKey, AuditEvent, now
from palimpsest.errors import UnknownTerm
from palimpsest.provenance import ledger, manifest
from palimpsest_api.auth import Administrator, Auditor, ServiceHere, make_key
from palimpsest_api.problems import Conflict

router = APIRouter(prefix="/v1", tags=["audit"])


class NewKey(BaseModel):
    """A machine's key to be."""

    name: str = Field(min_length=1, max_length=100)
    role: str


@router.get("/audit/head")
def head(service: ServiceHere, caller: Auditor) -> dict[str, object]:
    """The newest signed head; keep it elsewhere, and the log cannot be cut or rewritten below it unseen."""
    with service.database.reading() as session:
        found = ledger.latest_head(session)
    if found is None:
        raise Conflict("an empty log has no head yet")
    return found.to_dict()


@router.get("/audit/events")
def events(
    service: ServiceHere, caller: Auditor, after: int = -1, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> dict[str, Any]:
    """Events after a sequence number."""
    query = select(AuditEvent).where(AuditEvent.seq > after).order_by(AuditEvent.seq).limit(limit)
    with service.database.reading() as session:
        return {"events": [{"seq": one.seq, "body": one.body, "leaf": one.leaf} for one in session.scalars(query)]}


@router.get("/audit/events/{seq}/proof")
def proof(service: ServiceHere, caller: Auditor, seq: int, size: int | None = None) -> dict[str, object]:
    """An event with the hashes that lead from it to the root."""
    with service.database.reading() as session:
        return ledger.event_proof(session, seq, size)


@router.get("/audit/consistency")
def consistency(service: ServiceHere, caller: Auditor, old_size: int) -> dict[str, object]:
    """The hashes that show that today's log only added to an older one."""
    with service.database.reading() as session:
        return ledger.growth_proof(session, old_size)


@router.get("/audit/verify")
def verify(service: ServiceHere, caller: Auditor) -> dict[str, object]:
    """Hold the whole catalogue against its log."""
    with service.database.reading() as session:
        return manifest.verify(session)


@router.post("/keys", status_code=201)
def new_key(service: ServiceHere, caller: Administrator, body: NewKey) -> dict[str, str]:
    """A new API key; it is shown this once."""
    with service.database.writing() as session:
        text = make_key(session, body.name, body.role)
        service.record(session, "key.made", {"name": body.name, "role": body.role}, caller.name)
    return {"id": f"key-{text.split('_')[1]}", "key": text, "role": body.role}


@router.delete("/keys/{key_id}", status_code=204)
def revoke(service: ServiceHere, caller: Administrator, key_id: str) -> None:
    """Revoke an API key."""
    with service.database.writing() as session:
        row = session.get(ApiKey, key_id)
        if row is None:
            raise UnknownTerm("no such key", where=key_id)
        row.revoked = now()
        service.record(session, "key.revoked", {"key": key_id}, caller.name)
