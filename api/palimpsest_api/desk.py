"""Where a job works: its lease, its scratch space, and what every process needs of knowledge and catalogue."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.catalogue import jobs
from palimpsest.catalogue.tables import Model, Release, now
from palimpsest_api import artifacts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from palimpsest.catalogue.jobs import Lease
    from palimpsest.catalogue.tables import Artifact
    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.result import Restoration
    from palimpsest_api.service import Service


@dataclass(frozen=True, slots=True)
class Desk:
    """Where one job works.

    Args:
        service: of the worker.
        lease: the right to work.
        folder: scratch space, removed afterwards.
    """

    service: Service
    lease: Lease
    folder: Path

    def say(self, percent: int, message: str) -> None:
        """Progress."""
        with self.service.database.writing() as session:
            jobs.progress(session, self.lease, percent, message)

    def artifact(self, name: str) -> Artifact:
        """An artifact or cube by id."""
        with self.service.database.reading() as session:
            return artifacts.find_artifact(session, name)

    def open(self, name: str) -> Cube:
        """The cube behind an id; streams are decoded."""
        return artifacts.open_cube(self.service, self.artifact(name))

    def mask(self, name: str | None, cube: Cube) -> NDArray[np.bool_] | None:
        """The mask behind an id, True = usable; None without an id."""
        if name is None:
            return None
        from palimpsest.restoration.defects.given_mask import given_mask

        return given_mask(np.asarray(self.open(name).data), cube, name)

    def is_lossy(self, source: Artifact) -> bool:
        """Whether an artifact is a stream that is not exact."""
        if source.kind != artifacts.STREAM:
            return False
        from palimpsest.codec.decoder import error_model

        return error_model(artifacts.place(self.service, source)).bound != 0

    def keep_cube(self, cube: Cube, name: str) -> list[dict[str, Any]]:
        """A cube as files kept by content, under this name."""
        from palimpsest.formats import write

        folder = self.folder / f"out-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        write(cube, folder / f"{name}.hdr")
        return artifacts.keep_files(self.service.blobs, list(folder.iterdir()), is_moved=True)

    def keep_restored(
        self, session: Session, source: Artifact, done: Restoration, files: list[dict[str, Any]],
        settings: dict[str, Any], *, full: bool,
    ) -> dict[str, Any]:
        """A restored cube as an artifact with its provenance in the catalogue; what is told of both."""
        from palimpsest.provenance.record import Origin, write_provenance

        report = finite(dict(done.report))
        facts = {**artifacts.facts_of(done.restored), "from": source.id, "report": report}
        artifact = artifacts.add_artifact(
            session, artifacts.RESTORED, f"{source.name}-restored", files, facts, job_id=self.lease.job_id
        )
        main = next((one for one in source.files if len(source.files) == 1), {"sha256": ""})
        restoration = write_provenance(
            done, session, Origin("", main["sha256"], source.id, settings), full=full, job_id=self.lease.job_id,
            output_artifact=artifact.id, actor="worker", key=self.service.key,
        )
        return {"artifact": artifact.id, "input": source.id, "restoration": restoration, "release": done.release,
                "model": done.model, "report": report}


def load_release(name: str) -> KnowledgeBase | None:
    """The release that a request names; None for 'none'."""
    if name == "none":
        return None
    from palimpsest.knowledge.releases.release import load

    return load(None if name == "active" else name)


def cite(session: Session, knowledge: KnowledgeBase | None, model: str = "") -> None:
    """Rows for the release and the weights that a result stands on, where there are none yet."""
    if knowledge is not None and session.get(Release, knowledge.release) is None:
        facts = {"materials": len(knowledge.materials), "rules": len(knowledge.rules)}
        session.add(Release(hash=knowledge.release, version=knowledge.version, created=now(), status="cited",
                            publisher="", reviewer="", reason="", facts=facts))
    if model and session.get(Model, model) is None:
        session.add(Model(hash=model, name="integrator", created=now(), card={}))


def finite(report: dict[str, Any]) -> dict[str, Any]:
    """A report as JSON can hold it: what is not a finite number is null."""
    from palimpsest.provenance.canonical import plain

    cleaned = plain({key: None if isinstance(value, float) and not math.isfinite(value) else value
                     for key, value in report.items()})
    assert isinstance(cleaned, dict)
    return cleaned
