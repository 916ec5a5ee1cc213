"""What a provenance file holds, in one look: for ``palimpsest info``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from palimpsest.catalogue.database import open_file
from palimpsest.catalogue.tables import DecisionRow, DecisionTile, ProvenanceTile, RestorationRow, SourceRow
from palimpsest.provenance import ledger, manifest

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session


def describe(path: Path, *, is_verified: bool = False) -> dict[str, Any]:
    """What a provenance file says: input, release, model, sources and how far each moved the cube, price.

    Args:
        path: a file of ``palimpsest restore --provenance``.
        is_verified: hold everything against the log too (``info --verify``).

    Raises:
        FormatError: not such a file.
        EvidenceBroken: altered, when asked to verify.
    """
    database = open_file(path)
    try:
        with database.reading() as session, manifest.suspecting(session):
            rows = session.scalars(select(RestorationRow).order_by(RestorationRow.created)).all()
            head = ledger.latest_head(session)
            found: dict[str, Any] = {
                "kind": "provenance",
                "restorations": [describe_restoration(session, row) for row in rows],
                "head": None if head is None else head.to_dict(),
            }
            if is_verified:
                found["verified"] = manifest.verify(session)
            return found
    finally:
        database.close()


def describe_restoration(session: Session, row: RestorationRow) -> dict[str, Any]:
    """One restoration: shape, hashes, sources with the voxels they touched, bits per voxel of its provenance."""
    voxels = row.bands * row.rows * row.cols
    acted = session.execute(
        select(SourceRow.name, func.sum(DecisionTile.voxels), func.sum(DecisionTile.moved))
        .join(DecisionRow, DecisionRow.source_id == SourceRow.id)
        .join(DecisionTile, DecisionTile.decision_id == DecisionRow.id)
        .where(DecisionRow.restoration_id == row.id).group_by(SourceRow.name).order_by(SourceRow.name)
    ).all()
    return {
        "id": row.id, "name": row.name, "created": row.created.isoformat(), "bands": row.bands, "rows": row.rows,
        "cols": row.cols, "dtype": row.dtype, "input": row.input_path, "input_sha256": row.input_sha256,
        "decoded_sha256": row.decoded_sha256, "restored_sha256": row.restored_sha256, "quantum": row.quantum,
        "release": row.release or None, "model": row.model or None, "full": row.is_full,
        "changed_voxels": row.changed_voxels, "changed_share": row.changed_voxels / voxels,
        "bits_per_voxel": 8 * row.packed_bytes / voxels,
        "sources": [{"source": name, "voxels": int(count), "moved": float(moved)} for name, count, moved in acted],
    }


def where_acted(
    session: Session, *, source: str = "", rule: str = "", material: str = "", release: str = ""
) -> list[dict[str, Any]]:
    """The reverse question: the tiles in which a source, rule, material or release acted, and how far it moved them."""
    query = (
        select(
            DecisionRow.restoration_id, ProvenanceTile.row0, ProvenanceTile.row1, ProvenanceTile.col0,
            ProvenanceTile.col1, func.sum(DecisionTile.voxels), func.sum(DecisionTile.moved),
        )
        .join(DecisionTile, DecisionTile.tile_id == ProvenanceTile.id)
        .join(DecisionRow, DecisionRow.id == DecisionTile.decision_id)
        .join(SourceRow, SourceRow.id == DecisionRow.source_id)
        .group_by(DecisionRow.restoration_id, ProvenanceTile.row0, ProvenanceTile.row1, ProvenanceTile.col0,
                  ProvenanceTile.col1)
        .order_by(DecisionRow.restoration_id, ProvenanceTile.row0, ProvenanceTile.col0)
    )
    wanted = {SourceRow.name: source, DecisionRow.rule: rule, DecisionRow.material: material,
              DecisionRow.release: release}
    for column, value in wanted.items():
        if value:
            query = query.where(column == value)
    return [
        {"restoration": one, "rows": [row0, row1], "cols": [col0, col1], "voxels": int(count), "moved": float(moved)}
        for one, row0, row1, col0, col1, count, moved in session.execute(query)
    ]
