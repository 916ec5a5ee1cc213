"""The first tables.

Revision: 0001_first_tables, after .
"""

import sqlalchemy as sa
from alembic import op

revision = "0001_first_tables"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("sha256", name=op.f("uq_api_keys_sha256")),
    )
    op.create_table(
        "audit_events",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("leaf", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_events")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("process", sa.String(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_asked", sa.Boolean(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("owner", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_jobs_status"), ["status"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_status_lease_until"), ["status", "lease_until"], unique=False)

    op.create_table(
        "merkle_heads",
        sa.Column("size", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("root", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("frontier", sa.JSON(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("signature", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_merkle_heads")),
    )
    op.create_table(
        "models",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("card", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_models")),
    )
    op.create_table(
        "releases",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("publisher", sa.String(), nullable=False),
        sa.Column("reviewer", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_releases")),
    )
    op.create_table(
        "sources",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sources")),
        sa.UniqueConstraint("name", name=op.f("uq_sources_name")),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("owner", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("owner", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_artifacts_job_id_jobs"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifacts")),
    )
    with op.batch_alter_table("artifacts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_artifacts_job_id"), ["job_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_artifacts_kind"), ["kind"], unique=False)

    op.create_table(
        "job_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_events_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_events")),
        sa.UniqueConstraint("job_id", "number", name=op.f("uq_job_events_job_id_number")),
    )
    with op.batch_alter_table("job_events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_job_events_job_id"), ["job_id"], unique=False)

    op.create_table(
        "cubes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("artifact_id", sa.String(), nullable=False),
        sa.Column("bands", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("cols", sa.Integer(), nullable=False),
        sa.Column("dtype", sa.String(), nullable=False),
        sa.Column("wavelengths_nm", sa.JSON(), nullable=True),
        sa.Column("history", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifacts.id"], name=op.f("fk_cubes_artifact_id_artifacts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cubes")),
    )
    with op.batch_alter_table("cubes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_cubes_artifact_id"), ["artifact_id"], unique=False)

    op.create_table(
        "restorations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("input_path", sa.String(), nullable=False),
        sa.Column("input_sha256", sa.String(), nullable=False),
        sa.Column("input_artifact", sa.String(), nullable=True),
        sa.Column("output_artifact", sa.String(), nullable=True),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("bands", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("cols", sa.Integer(), nullable=False),
        sa.Column("dtype", sa.String(), nullable=False),
        sa.Column("centre_nm", sa.JSON(), nullable=True),
        sa.Column("quantum", sa.Double(), nullable=False),
        sa.Column("tile_size", sa.Integer(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("history", sa.JSON(), nullable=False),
        sa.Column("decoded_sha256", sa.String(), nullable=False),
        sa.Column("restored_sha256", sa.String(), nullable=False),
        sa.Column("is_full", sa.Boolean(), nullable=False),
        sa.Column("changed_voxels", sa.BigInteger(), nullable=False),
        sa.Column("packed_bytes", sa.BigInteger(), nullable=False),
        sa.Column("machine", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["input_artifact"], ["artifacts.id"], name=op.f("fk_restorations_input_artifact_artifacts")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_restorations_job_id_jobs"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["output_artifact"], ["artifacts.id"], name=op.f("fk_restorations_output_artifact_artifacts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_restorations")),
    )
    with op.batch_alter_table("restorations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_restorations_job_id"), ["job_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_restorations_release"), ["release"], unique=False)

    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("restoration_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("material", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("sentence", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["restoration_id"],
            ["restorations.id"],
            name=op.f("fk_decisions_restoration_id_restorations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name=op.f("fk_decisions_source_id_sources")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("restoration_id", "number", name=op.f("uq_decisions_restoration_id_number")),
    )
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_decisions_material"), ["material"], unique=False)
        batch_op.create_index(batch_op.f("ix_decisions_restoration_id"), ["restoration_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_decisions_rule"), ["rule"], unique=False)
        batch_op.create_index(batch_op.f("ix_decisions_source_id"), ["source_id"], unique=False)

    op.create_table(
        "provenance_tiles",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("restoration_id", sa.String(), nullable=False),
        sa.Column("row0", sa.Integer(), nullable=False),
        sa.Column("row1", sa.Integer(), nullable=False),
        sa.Column("col0", sa.Integer(), nullable=False),
        sa.Column("col1", sa.Integer(), nullable=False),
        sa.Column("classes", sa.LargeBinary(), nullable=False),
        sa.Column("sets", sa.LargeBinary(), nullable=False),
        sa.Column("set_members", sa.JSON(), nullable=False),
        sa.Column("confidence", sa.LargeBinary(), nullable=False),
        sa.Column("half_width", sa.LargeBinary(), nullable=False),
        sa.Column("reasons", sa.LargeBinary(), nullable=False),
        sa.Column("contributions", sa.LargeBinary(), nullable=True),
        sa.Column("contributions_sha256", sa.String(), nullable=False),
        sa.Column("decoded_sha256", sa.String(), nullable=False),
        sa.Column("restored_sha256", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["restoration_id"],
            ["restorations.id"],
            name=op.f("fk_provenance_tiles_restoration_id_restorations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provenance_tiles")),
        sa.UniqueConstraint(
            "restoration_id", "row0", "col0", name=op.f("uq_provenance_tiles_restoration_id_row0_col0")
        ),
    )
    with op.batch_alter_table("provenance_tiles", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_provenance_tiles_restoration_id"), ["restoration_id"], unique=False)

    op.create_table(
        "decision_tiles",
        sa.Column("decision_id", sa.Integer(), nullable=False),
        sa.Column("tile_id", sa.Integer(), nullable=False),
        sa.Column("voxels", sa.Integer(), nullable=False),
        sa.Column("moved", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name=op.f("fk_decision_tiles_decision_id_decisions"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tile_id"],
            ["provenance_tiles.id"],
            name=op.f("fk_decision_tiles_tile_id_provenance_tiles"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("decision_id", "tile_id", name=op.f("pk_decision_tiles")),
    )
    with op.batch_alter_table("decision_tiles", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_decision_tiles_tile_id"), ["tile_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("decision_tiles", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_decision_tiles_tile_id"))

    op.drop_table("decision_tiles")
    with op.batch_alter_table("provenance_tiles", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_provenance_tiles_restoration_id"))

    op.drop_table("provenance_tiles")
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_decisions_source_id"))
        batch_op.drop_index(batch_op.f("ix_decisions_rule"))
        batch_op.drop_index(batch_op.f("ix_decisions_restoration_id"))
        batch_op.drop_index(batch_op.f("ix_decisions_material"))

    op.drop_table("decisions")
    with op.batch_alter_table("restorations", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_restorations_release"))
        batch_op.drop_index(batch_op.f("ix_restorations_job_id"))

    op.drop_table("restorations")
    with op.batch_alter_table("cubes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_cubes_artifact_id"))

    op.drop_table("cubes")
    with op.batch_alter_table("job_events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_job_events_job_id"))

    op.drop_table("job_events")
    with op.batch_alter_table("artifacts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_artifacts_kind"))
        batch_op.drop_index(batch_op.f("ix_artifacts_job_id"))

    op.drop_table("artifacts")
    op.drop_table("uploads")
    op.drop_table("sources")
    op.drop_table("releases")
    op.drop_table("models")
    op.drop_table("merkle_heads")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_jobs_status_lease_until"))
        batch_op.drop_index(batch_op.f("ix_jobs_status"))

    op.drop_table("jobs")
    op.drop_table("audit_events")
    op.drop_table("api_keys")
