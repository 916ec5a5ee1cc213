"""What a job does: the same library calls as the command line, on artifacts instead of files.

A job runs in a process of its own, so that it can be stopped and cannot take the worker with it. What it makes is
kept by content before its last transaction, and that transaction is fenced: a second run of the same job ends in the
same artifacts, and only one run ends the job.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from palimpsest.catalogue import jobs
from palimpsest.catalogue.jobs import Lease, LeaseLost
from palimpsest.catalogue.tables import Model, Release, now
from palimpsest.errors import MissingWavelengths, PalimpsestError
from palimpsest.formats import write
from palimpsest_api import artifacts
from palimpsest_api.problems import body_of
from palimpsest_api.processes import CompressRequest, EvaluateRequest, IdentifyRequest, RestoreRequest
from palimpsest_api.service import Service, open_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from sqlalchemy.orm import Session

    from palimpsest.catalogue.tables import Artifact
    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest_api.settings import Settings


log = logging.getLogger(__name__)


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


def run_job(settings: Settings, lease: Lease, parent: Connection) -> None:
    """Do a job to its end; the entry of the job's own process."""
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    service = open_service(settings)
    folder = service.work / f"{lease.job_id}-{lease.fence}"
    folder.mkdir(exist_ok=True)
    try:
        _run(Desk(service, lease, folder))
    except LeaseLost:
        with service.database.writing() as session:
            jobs.stop(session, lease)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(desk: Desk) -> None:
    try:
        finish = PROCESSES[desk.lease.process](desk)
    except LeaseLost:
        raise
    except PalimpsestError as error:
        _fail(desk, body_of(error))
        return
    except MemoryError:
        _fail(desk, {"error": "MemoryError", "message": "the work needs more memory than there is"})
        return
    except Exception:
        # A fault of ours would fail again at every attempt: say so once, with the whole story in the log.
        log.exception("job %s", desk.lease.job_id)
        _fail(desk, {"error": "Unexpected", "message": "an error of the service; its log has more"})
        return
    with desk.service.database.writing() as session:
        result = finish(session)
        jobs.succeed(session, desk.lease, result)
        facts = {"job": desk.lease.job_id, "process": desk.lease.process, "result": result}
        desk.service.record(session, "job.succeeded", facts, "worker")


def _fail(desk: Desk, error: dict[str, Any]) -> None:
    with desk.service.database.writing() as session:
        jobs.fail(session, desk.lease, error)
        facts = {"job": desk.lease.job_id, "process": desk.lease.process, "error": error}
        desk.service.record(session, "job.failed", facts, "worker")


def _die_with(parent: Connection) -> None:
    """End this process when the worker is gone: nobody would renew the lease."""
    with contextlib.suppress(EOFError, OSError):
        parent.recv()
    os._exit(75)


def compress(desk: Desk) -> Any:  # noqa: ANN401 - a callable that ends the job
    """Cube to stream."""
    from palimpsest.codec.encoder import encode

    request = CompressRequest.model_validate(desk.lease.request)
    source = desk.artifact(request.cube)
    cube = artifacts.open_cube(desk.service, source)
    desk.say(5, "weighing what matters")
    settings = request.settings()
    weighs = settings.strength > 0 and settings.mode == "rate" and cube.bands.has_wavelengths
    knowledge = load_release(request.knowledge) if weighs or settings.keeps else None
    importance, judge = None, None
    if knowledge is not None and weighs:
        from palimpsest.knowledge.importance import importance_map

        importance = importance_map(cube, knowledge, settings.strength)
    if settings.keeps:
        if knowledge is None or not cube.bands.has_wavelengths:
            raise MissingWavelengths("nothing can be kept without wavelengths and knowledge", where=cube.name)
        from palimpsest.knowledge.judge import ReleaseJudge

        judge = ReleaseJudge(knowledge)
    desk.say(20, "encoding")
    out = desk.folder / f"{source.name}.plm"
    report = encode(cube, settings, importance=importance, judge=judge, out=out)
    desk.say(90, "keeping the stream")
    files = artifacts.keep_files(desk.service.blobs, [out], is_moved=True)
    told = finite(asdict(report))
    facts = {**artifacts.facts_of(cube), "report": told, "from": source.id}

    def finish(session: Session) -> dict[str, Any]:
        artifact = artifacts.add_artifact(
            session, artifacts.STREAM, source.name, files, facts, job_id=desk.lease.job_id
        )
        cite(session, knowledge)
        return {"artifact": artifact.id, "report": told}

    return finish


def restore(desk: Desk) -> Any:  # noqa: ANN401 - a callable that ends the job
    """Cube or stream to restored cube, with its provenance in the catalogue."""
    from palimpsest.provenance.record import Origin, write_provenance
    from palimpsest.restoration.repair import repair

    request = RestoreRequest.model_validate(desk.lease.request)
    source = desk.artifact(request.input)
    cube = artifacts.open_cube(desk.service, source)
    desk.say(10, "reading the knowledge")
    knowledge = load_release(request.knowledge)
    is_decoded = source.kind == artifacts.STREAM and _is_lossy(desk.service, source)
    desk.say(20, "restoring")
    # What a coder smoothed must not pass for a defect: a stream carries the mask that was made before coding.
    is_searched = source.kind != artifacts.STREAM
    found = repair(
        cube, knowledge=knowledge, is_searched=is_searched, is_denoised=request.denoise, is_decoded=is_decoded
    )
    desk.say(80, "keeping the restored cube")
    out = desk.folder / f"{source.name}-restored.hdr"
    write(found.restored, out)
    files = artifacts.keep_files(desk.service.blobs, list(desk.folder.iterdir()), is_moved=True)
    desk.say(90, "keeping who changed what")
    main = next((one for one in source.files if len(source.files) == 1), {"sha256": ""})
    settings = {
        "knowledge": request.knowledge, "is_decoded": is_decoded, "searched": is_searched, "denoised": request.denoise,
    }
    origin = Origin("", main["sha256"], source.id, settings)
    facts = {**artifacts.facts_of(found.restored), "from": source.id, "report": finite(dict(found.report))}

    def finish(session: Session) -> dict[str, Any]:
        artifact = artifacts.add_artifact(
            session, artifacts.RESTORED, f"{source.name}-restored", files, facts, job_id=desk.lease.job_id
        )
        cite(session, knowledge, found.model)
        restoration = write_provenance(
            found, session, origin, full=request.full, job_id=desk.lease.job_id, output_artifact=artifact.id,
            actor="worker", key=desk.service.key,
        )
        return {"artifact": artifact.id, "input": source.id, "restoration": restoration, "release": found.release,
                "model": found.model, "report": facts["report"]}

    return finish


def _is_lossy(service: Service, source: Artifact) -> bool:
    from palimpsest.codec.decoder import error_model

    return error_model(artifacts.place(service, source)).bound != 0


def evaluate(desk: Desk) -> Any:  # noqa: ANN401 - a callable that ends the job
    """One cube against another."""
    from palimpsest.measure.quality import quality

    request = EvaluateRequest.model_validate(desk.lease.request)
    reference, test = desk.open(request.reference), desk.open(request.test)
    desk.say(30, "comparing")
    told = finite(asdict(quality(reference, test)))
    return lambda session: {"quality": told}


def identify(desk: Desk) -> Any:  # noqa: ANN401 - a callable that ends the job
    """Cube or stream to a raster of its materials."""
    from palimpsest.knowledge.answers import identified

    request = IdentifyRequest.model_validate(desk.lease.request)
    source = desk.artifact(request.input)
    cube = artifacts.open_cube(desk.service, source)
    desk.say(20, "identifying")
    knowledge = load_release(request.knowledge)
    assert knowledge is not None
    raster, told = identified(cube, knowledge, is_mixed=request.mixtures, is_probable=request.probability)
    desk.say(80, "keeping the raster")
    name = f"{source.name}-materials"
    write(raster, desk.folder / f"{name}.hdr")
    files = artifacts.keep_files(desk.service.blobs, list(desk.folder.iterdir()), is_moved=True)
    facts = {**artifacts.facts_of(raster), "from": source.id, "report": finite(told)}

    def finish(session: Session) -> dict[str, Any]:
        artifact = artifacts.add_artifact(session, artifacts.CUBE, name, files, facts, job_id=desk.lease.job_id)
        cite(session, knowledge)
        return {"artifact": artifact.id, "report": facts["report"]}

    return finish


PROCESSES: dict[str, Callable[[Desk], Any]] = {
    "compress": compress, "restore": restore, "identify": identify, "evaluate": evaluate,
}


def load_release(name: str) -> KnowledgeBase | None:
    """The release that a request names; None for 'none'."""
    if name == "none":
        return None
    from palimpsest.knowledge.release import load

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
