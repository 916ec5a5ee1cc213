"""The SQL tables: what exists, who made it from what, and which source changed which voxel.

The same tables serve the service's database (SQLite or PostgreSQL) and the portable provenance file that
``palimpsest restore --provenance`` writes, so the command line and REST share every query. Names of constraints follow
a convention, because SQLite can only alter what has a name. Nothing here holds a path of the server except where a
provenance file names its input.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, Index, MetaData, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite stores no zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ANN401 - SQLAlchemy's signature
        """UTC on the way in."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ANN401
        """UTC on the way out."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """This moment, UTC."""
    return datetime.now(UTC)


def new_id(prefix: str) -> str:
    """An identifier that says what it names: ``cube-3f9c...``; 64 random bits."""
    return f"{prefix}-{secrets.token_hex(8)}"


class Base(DeclarativeBase):
    """Root of the tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcTime, dict[str, Any]: JSON(none_as_null=True), list[Any]: JSON(none_as_null=True),
    }


class Artifact(Base):
    """Files that belong together, by content: a cube (a header and its bytes), a stream, a report.

    ``files`` is a list of ``{name, sha256, size}``; ``facts`` holds what the header said (bands, rows, cols, ...).
    """

    __tablename__ = "artifacts"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    files: Mapped[list[Any]]
    facts: Mapped[dict[str, Any]]
    created: Mapped[datetime]
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    owner: Mapped[str] = mapped_column(default="")


class CubeRow(Base):
    """A cube that a user brought, or that a job made."""

    __tablename__ = "cubes"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    artifact_id: Mapped[str] = mapped_column(ForeignKey("artifacts.id"), index=True)
    bands: Mapped[int]
    rows: Mapped[int]
    cols: Mapped[int]
    dtype: Mapped[str]
    wavelengths_nm: Mapped[list[Any] | None]
    history: Mapped[list[Any]]
    created: Mapped[datetime]
    owner: Mapped[str] = mapped_column(default="")


class Upload(Base):
    """An upload under way (tus 1.0): how long it will be and how much of it lies on disk."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(primary_key=True)
    file_name: Mapped[str]
    length: Mapped[int] = mapped_column(BigInteger)
    offset: Mapped[int] = mapped_column(BigInteger, default=0)
    created: Mapped[datetime]
    updated: Mapped[datetime]
    finished: Mapped[datetime | None]
    sha256: Mapped[str | None]
    owner: Mapped[str] = mapped_column(default="")


class Job(Base):
    """Work to do, and who holds it. ``fence`` grows with every lease: a worker that lost its lease writes nothing."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "status", "lease_until"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    process: Mapped[str]
    request: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(index=True)
    progress: Mapped[int] = mapped_column(default=0)
    message: Mapped[str] = mapped_column(default="")
    created: Mapped[datetime]
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]
    updated: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str] = mapped_column(default="")
    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    cancel_asked: Mapped[bool] = mapped_column(default=False)
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    owner: Mapped[str] = mapped_column(default="")


class JobEvent(Base):
    """One line of a job's timeline; ``number`` counts from 1 within the job and is the event id of the stream."""

    __tablename__ = "job_events"
    __table_args__ = (UniqueConstraint("job_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    number: Mapped[int]
    at: Mapped[datetime]
    kind: Mapped[str]
    progress: Mapped[int]
    message: Mapped[str]


class Release(Base):
    """A release of the ontologies that results cite; never altered."""

    __tablename__ = "releases"

    hash: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str]
    created: Mapped[datetime]
    status: Mapped[str]
    publisher: Mapped[str] = mapped_column(default="")
    reviewer: Mapped[str] = mapped_column(default="")
    reason: Mapped[str] = mapped_column(default="")
    facts: Mapped[dict[str, Any]]


class Model(Base):
    """Weights that results cite."""

    __tablename__ = "models"

    hash: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created: Mapped[datetime]
    card: Mapped[dict[str, Any]]


class RestorationRow(Base):
    """One restored cube: from what, by which release and weights, and the hashes that pin it.

    ``bands`` is a list of ``{centre_nm, fwhm_nm}`` or nulls; ``input_*`` name the stream or cube that was given.
    """

    __tablename__ = "restorations"

    id: Mapped[str] = mapped_column(primary_key=True)
    created: Mapped[datetime]
    name: Mapped[str]
    input_path: Mapped[str]
    input_sha256: Mapped[str]
    input_artifact: Mapped[str | None] = mapped_column(ForeignKey("artifacts.id"))
    output_artifact: Mapped[str | None] = mapped_column(ForeignKey("artifacts.id"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    bands: Mapped[int]
    rows: Mapped[int]
    cols: Mapped[int]
    dtype: Mapped[str]
    centre_nm: Mapped[list[Any] | None]
    quantum: Mapped[float]
    tile_size: Mapped[int]
    release: Mapped[str] = mapped_column(index=True)
    model: Mapped[str]
    settings: Mapped[dict[str, Any]]
    report: Mapped[dict[str, Any]]
    history: Mapped[list[Any]]
    decoded_sha256: Mapped[str]
    restored_sha256: Mapped[str]
    is_full: Mapped[bool]
    changed_voxels: Mapped[int] = mapped_column(BigInteger)
    packed_bytes: Mapped[int] = mapped_column(BigInteger)
    machine: Mapped[str] = mapped_column(default="")


class SourceRow(Base):
    """Who may act on a voxel: 'damage', 'correlation.low_rank', 'library', 'rule', 'rounding', ..."""

    __tablename__ = "sources"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    label: Mapped[str]


class DecisionRow(Base):
    """One distinct reason; pixels point to it by ``number`` within the restoration."""

    __tablename__ = "decisions"
    __table_args__ = (UniqueConstraint("restoration_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    restoration_id: Mapped[str] = mapped_column(ForeignKey("restorations.id", ondelete="CASCADE"), index=True)
    number: Mapped[int]
    source_id: Mapped[int] = mapped_column(ForeignKey("sources.id"), index=True)
    rule: Mapped[str] = mapped_column(index=True)
    material: Mapped[str] = mapped_column(index=True)
    release: Mapped[str]
    model: Mapped[str]
    sentence: Mapped[str]


class ProvenanceTile(Base):
    """Packed layers of one tile and the hashes of its exact arrays (docs/provenance.md gives the layout)."""

    __tablename__ = "provenance_tiles"
    __table_args__ = (UniqueConstraint("restoration_id", "row0", "col0"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    restoration_id: Mapped[str] = mapped_column(ForeignKey("restorations.id", ondelete="CASCADE"), index=True)
    row0: Mapped[int]
    row1: Mapped[int]
    col0: Mapped[int]
    col1: Mapped[int]
    classes: Mapped[bytes]
    sets: Mapped[bytes]
    set_members: Mapped[list[Any]]
    confidence: Mapped[bytes]
    half_width: Mapped[bytes]
    reasons: Mapped[bytes]
    contributions: Mapped[bytes | None]
    contributions_sha256: Mapped[str]
    decoded_sha256: Mapped[str]
    restored_sha256: Mapped[str]


class DecisionTile(Base):
    """The reverse index: in which tiles a decision acted, on how many voxels, and how far it moved them in all."""

    __tablename__ = "decision_tiles"

    decision_id: Mapped[int] = mapped_column(ForeignKey("decisions.id", ondelete="CASCADE"), primary_key=True)
    tile_id: Mapped[int] = mapped_column(
        ForeignKey("provenance_tiles.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    voxels: Mapped[int]
    moved: Mapped[float]


class AuditEvent(Base):
    """One line of the append-only log: canonical JSON (RFC 8785) and the hash of its leaf."""

    __tablename__ = "audit_events"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    body: Mapped[str]
    leaf: Mapped[str]


class MerkleHead(Base):
    """A tree head over the first ``size`` events, signed with Ed25519 where a key was at hand."""

    __tablename__ = "merkle_heads"

    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    root: Mapped[str]
    at: Mapped[str]
    frontier: Mapped[list[Any]]
    public_key: Mapped[str]
    signature: Mapped[str]


class ApiKey(Base):
    """A machine's key: only its SHA-256 is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    role: Mapped[str]
    sha256: Mapped[str] = mapped_column(unique=True)
    created: Mapped[datetime]
    expires: Mapped[datetime | None]
    revoked: Mapped[datetime | None]
