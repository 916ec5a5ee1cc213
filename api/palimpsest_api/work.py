"""What a job does: the same library calls as the command line, on artifacts instead of files.

A job runs in a process of its own, so that it can be stopped and cannot take the worker with it. What it makes is
kept by content before its last transaction, and that transaction is fenced: a second run of the same job ends in the
same artifacts, and only one run ends the job.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from palimpsest.catalogue import jobs
from palimpsest.catalogue.jobs import Lease, LeaseLost
from palimpsest.errors import MissingWavelengths, PalimpsestError, UsageError
from palimpsest_api import artifacts
from palimpsest_api.desk import Desk, cite, finite, load_release
from palimpsest_api.piles import organise, restore_group
from palimpsest_api.problems import body_of
from palimpsest_api.processes import (
    CompressRequest,
    DecompressRequest,
    EvaluateRequest,
    IdentifyRequest,
    RestoreRequest,
)
from palimpsest_api.service import open_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from sqlalchemy.orm import Session

    from palimpsest_api.settings import Settings


log = logging.getLogger(__name__)


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
    if request.denoise:
        from palimpsest.restoration.repair import quieted

        desk.say(2, "taking the noise off")
        cube = quieted(cube, load_release(request.knowledge)).restored
    desk.say(5, "weighing what matters")
    settings = request.settings()
    weighs = settings.strength > 0 and settings.mode == "rate" and cube.bands.has_wavelengths
    knowledge = load_release(request.knowledge) if weighs or settings.keeps else None
    importance, judge = None, None
    if knowledge is not None and weighs:
        from palimpsest.knowledge.identification.importance import importance_map

        importance = importance_map(cube, knowledge, settings.strength)
    if settings.keeps:
        if knowledge is None or not cube.bands.has_wavelengths:
            raise MissingWavelengths("nothing can be kept without wavelengths and knowledge", where=cube.name)
        from palimpsest.knowledge.identification.judge import ReleaseJudge

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


def decompress(desk: Desk) -> Any:  # noqa: ANN401 - a callable that ends the job
    """Stream to cube: whole, coarser, a window or some bands."""
    from palimpsest.codec.decoder import decode

    request = DecompressRequest.model_validate(desk.lease.request)
    source = desk.artifact(request.stream)
    if source.kind != artifacts.STREAM:
        raise UsageError("only a stream can be decompressed", where=source.id, got=source.kind, wanted="a .plm stream")
    desk.say(5, "decoding")
    window, bands = request.slices()
    cube = decode(artifacts.place(desk.service, source), level=request.level, window=window, bands=bands)
    desk.say(80, "keeping the cube")
    name = f"{source.name}-decoded"
    files = desk.keep_cube(cube, name)
    # Another shape than the stream's is compared with nothing.
    is_whole = request.level == 0 and window is None and bands is None
    facts = {**artifacts.facts_of(cube), **({"from": source.id} if is_whole else {"part_of": source.id})}

    def finish(session: Session) -> dict[str, Any]:
        artifact = artifacts.add_artifact(session, artifacts.CUBE, name, files, facts, job_id=desk.lease.job_id)
        return {"artifact": artifact.id, "report": {key: facts[key] for key in ("bands", "rows", "cols", "dtype")}}

    return finish


def restore(desk: Desk) -> Any:  # noqa: ANN401 - a callable that ends the job
    """Cube or stream to restored cube, with its provenance in the catalogue."""
    from palimpsest.restoration.repair import repair

    request = RestoreRequest.model_validate(desk.lease.request)
    source = desk.artifact(request.input)
    cube = artifacts.open_cube(desk.service, source)
    desk.say(10, "reading the knowledge")
    knowledge = load_release(request.knowledge)
    mask, is_decoded = desk.mask(request.mask, cube), desk.is_lossy(source)
    desk.say(20, "restoring")
    # What a coder smoothed must not pass for a defect: a stream carries the mask that was made before coding.
    is_searched = mask is None and source.kind != artifacts.STREAM
    found = repair(
        cube, knowledge=knowledge, is_searched=is_searched, is_denoised=request.denoise, mask=mask,
        parts_left_out=tuple(request.leave_out), edges=request.edges, is_decoded=is_decoded,
        infer_opaque=request.infer_opaque,
    )
    desk.say(80, "keeping the restored cube")
    files = desk.keep_cube(found.restored, f"{source.name}-restored")
    desk.say(90, "keeping who changed what")
    settings = {
        **request.settings(), "is_decoded": is_decoded, "searched": is_searched, "mask": mask is not None,
    }

    def finish(session: Session) -> dict[str, Any]:
        cite(session, knowledge, found.model)
        return desk.keep_restored(session, source, found, files, settings, full=request.full)

    return finish


def evaluate(desk: Desk) -> Any:  # noqa: ANN401 - a callable that ends the job
    """One cube against another: distortion, and with wavelengths what became of labels and features."""
    from palimpsest.measure import bpppc
    from palimpsest.measure.quality import quality

    request = EvaluateRequest.model_validate(desk.lease.request)
    reference, test = desk.open(request.reference), desk.open(request.test)
    desk.say(30, "comparing")
    told: dict[str, Any] = dict(asdict(quality(reference, test)))
    source = desk.artifact(request.test)
    if source.kind == artifacts.STREAM:
        told["bpppc"] = bpppc(sum(entry["size"] for entry in source.files), reference.shape)
    told["scales_agree"] = (reference.scale, reference.offset) == (test.scale, test.offset)
    knowledge = load_release(request.knowledge) if reference.bands.has_wavelengths else None
    if knowledge is not None:
        from palimpsest.knowledge.identification.comparison import meanings_compared

        desk.say(60, "identifying both")
        told |= meanings_compared(reference, test, knowledge)
    cleaned = finite(told)
    return lambda session: {"quality": cleaned}


def identify(desk: Desk) -> Any:  # noqa: ANN401 - a callable that ends the job
    """Cube or stream to a raster of its materials."""
    from palimpsest.knowledge.identification.answers import identified

    request = IdentifyRequest.model_validate(desk.lease.request)
    source = desk.artifact(request.input)
    cube = artifacts.open_cube(desk.service, source)
    desk.say(20, "identifying")
    knowledge = load_release(request.knowledge)
    assert knowledge is not None
    raster, told = identified(cube, knowledge, is_mixed=request.mixtures, is_probable=request.probability,
                              pixel=request.pixel)
    desk.say(80, "keeping the raster")
    name = f"{source.name}-materials"
    files = desk.keep_cube(raster, name)
    facts = {**artifacts.facts_of(raster), "from": source.id, "report": finite(told)}

    def finish(session: Session) -> dict[str, Any]:
        artifact = artifacts.add_artifact(session, artifacts.CUBE, name, files, facts, job_id=desk.lease.job_id)
        cite(session, knowledge)
        return {"artifact": artifact.id, "report": facts["report"]}

    return finish


PROCESSES: dict[str, Callable[[Desk], Any]] = {
    "compress": compress, "decompress": decompress, "restore": restore, "restore-group": restore_group,
    "organise": organise, "identify": identify, "evaluate": evaluate, "compare": evaluate,
}
