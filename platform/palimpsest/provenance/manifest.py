"""One hash over every row of a restoration: what the log pins, and what ``audit verify`` makes again."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import select

from palimpsest.catalogue.kinds import hold_kinds
from palimpsest.catalogue.tables import (
    AuditEvent,
    DecisionRow,
    DecisionTile,
    ProvenanceTile,
    RestorationRow,
    SourceRow,
)
from palimpsest.errors import EvidenceBroken, PalimpsestError, UnknownTerm, UsageError
from palimpsest.provenance import ledger
from palimpsest.provenance.canonical import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy.orm import Session

    from palimpsest.catalogue.tables import Base
    from palimpsest.provenance.ledger import Head


def rows_sha256(session: Session, restoration_id: str) -> str:
    """SHA-256 over the canonical JSON of every row that belongs to a restoration, in the order of their keys.

    Raises:
        UnknownTerm: no such restoration.
    """
    row = session.get(RestorationRow, restoration_id, populate_existing=True)
    if row is None:
        raise UnknownTerm("no such restoration", where=restoration_id)
    decisions = session.scalars(
        select(DecisionRow).where(DecisionRow.restoration_id == restoration_id).order_by(DecisionRow.number)
    ).all()
    sources = session.scalars(
        select(SourceRow).where(SourceRow.id.in_({one.source_id for one in decisions})).order_by(SourceRow.id)
    )
    owned = select(ProvenanceTile.id).where(ProvenanceTile.restoration_id == restoration_id)
    tiles = session.scalars(
        select(ProvenanceTile).where(ProvenanceTile.restoration_id == restoration_id).order_by(ProvenanceTile.id)
        .execution_options(yield_per=64)
    )
    reverse = session.scalars(
        select(DecisionTile)
        .where(DecisionTile.tile_id.in_(owned) | DecisionTile.decision_id.in_([one.id for one in decisions]))
        .order_by(DecisionTile.decision_id, DecisionTile.tile_id)
    )
    digest = hashlib.sha256()
    for group in ([row], sources, decisions, tiles, reverse):
        for line in _lines(group):
            digest.update(line + b"\n")
        digest.update(b"\n")
    return digest.hexdigest()


def verify(session: Session, *, head: Head | None = None, public_key: str = "") -> dict[str, object]:
    """Hold the log, and every restoration against what the log says of it.

    Returns:
        What ``ledger.verify_log`` says, and the number of restorations checked.

    Raises:
        EvidenceBroken: something stored is not what was recorded.
    """
    if session.get_bind().dialect.name == "sqlite":  # which lets anything stand anywhere
        hold_kinds(session)
    found = ledger.verify_log(session, head=head, public_key=public_key)
    recorded = {}
    for body in session.scalars(select(AuditEvent.body).order_by(AuditEvent.seq)):
        event = json.loads(body)
        if event["kind"] == "restoration.recorded":
            recorded[event["facts"]["restoration"]] = event["facts"]["rows_sha256"]
    present = set(session.scalars(select(RestorationRow.id)))
    if strange := sorted(present ^ set(recorded)):
        word = "a restoration that no event records" if strange[0] in present else "a recorded restoration is gone"
        raise EvidenceBroken(word, where=strange[0])
    for restoration_id, wanted in recorded.items():
        got = rows_sha256(session, restoration_id)
        if got != wanted:
            raise EvidenceBroken("stored rows were altered", where=restoration_id, got=got, wanted=wanted)
    _check_no_strays(session, recorded)
    return {**found, "restorations": len(recorded)}


@contextmanager
def suspecting(session: Session) -> Iterator[None]:
    """Hold a file against its log as soon as reading it meets something that cannot be.

    An altered row is then told as one. Where the log agrees with the file, the surprise is a fault of ours and stays
    what it is.

    Raises:
        EvidenceBroken: the file was altered.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, PalimpsestError) and not isinstance(error, UsageError):
            raise
        verify(session)
        raise


def _check_no_strays(session: Session, recorded: dict[str, str]) -> None:
    """No row of provenance stands outside of every restoration."""
    for table in (DecisionRow, ProvenanceTile):
        stray = session.scalars(select(table.id).where(table.restoration_id.not_in(recorded)).limit(1)).first()
        if stray is not None:
            raise EvidenceBroken("a row that belongs to no restoration", where=f"{table.__tablename__} {stray}")
    used = select(DecisionRow.source_id)
    stray = session.scalars(select(SourceRow.id).where(SourceRow.id.not_in(used)).limit(1)).first()
    if stray is not None:
        raise EvidenceBroken("a source that no decision names", where=f"sources {stray}")


def _lines(rows: Iterable[Base]) -> Iterable[bytes]:
    for row in rows:
        columns = row.__table__.columns
        yield canonical({column.name: _pinned(getattr(row, column.key)) for column in columns})


def _pinned(value: object) -> object:
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value
