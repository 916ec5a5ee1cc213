"""Processes and their jobs: OGC API - Processes in shape, with a timeline that can be followed and replayed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from palimpsest.catalogue import jobs
from palimpsest.catalogue.tables import Job, JobEvent
from palimpsest.errors import UnknownTerm
from palimpsest_api import artifacts
from palimpsest_api.auth import Caller, Reader, Runner, ServiceHere
from palimpsest_api.problems import Conflict
from palimpsest_api.processes import (
    CompressRequest,
    DecompressRequest,
    EvaluateRequest,
    IdentifyRequest,
    OrganiseRequest,
    RestoreGroupRequest,
    RestoreRequest,
)
from palimpsest_api.service import Service

router = APIRouter(prefix="/v1", tags=["jobs"])

PROCESSES: dict[str, tuple[str, type[BaseModel]]] = {
    "compress": ("cube to stream: a rate, an error bound, or lossless", CompressRequest),
    "decompress": ("stream to cube: whole, coarser, a window or some bands", DecompressRequest),
    "restore": ("cube or stream to restored cube, with an explanation for every voxel", RestoreRequest),
    "restore-group": ("cubes restored together, each with its group, in the order given", RestoreGroupRequest),
    "organise": ("a pile of cubes to its groups, by place, sensor and content", OrganiseRequest),
    "identify": ("cube or stream to a raster of its materials, with what is told of them", IdentifyRequest),
    "compare": ("one cube against another", EvaluateRequest),
    "evaluate": ("what 'compare' was called first", EvaluateRequest),
}


@router.get("/processes")
def processes(caller: Reader) -> dict[str, Any]:
    """What can be run, and with which inputs."""
    return {"processes": [
        {"id": name, "title": title, "jobControlOptions": ["async-execute", "dismiss"],
         "inputs": body.model_json_schema()}
        for name, (title, body) in PROCESSES.items()
    ]}


@router.post("/processes/compress/execution", status_code=201)
def compress(service: ServiceHere, caller: Runner, body: CompressRequest, response: Response) -> dict[str, Any]:
    """Compress a cube."""
    return _submit(service, caller, "compress", body, [body.cube], response)


@router.post("/processes/decompress/execution", status_code=201)
def decompress(service: ServiceHere, caller: Runner, body: DecompressRequest, response: Response) -> dict[str, Any]:
    """Decompress a stream."""
    return _submit(service, caller, "decompress", body, [body.stream], response)


@router.post("/processes/restore/execution", status_code=201)
def restore(service: ServiceHere, caller: Runner, body: RestoreRequest, response: Response) -> dict[str, Any]:
    """Restore a cube or stream."""
    return _submit(service, caller, "restore", body, _named(body.input, body.mask), response)


@router.post("/processes/restore-group/execution", status_code=201)
def restore_group(
    service: ServiceHere, caller: Runner, body: RestoreGroupRequest, response: Response
) -> dict[str, Any]:
    """Restore several cubes together."""
    return _submit(service, caller, "restore-group", body, _named(*body.inputs, *body.masks), response)


@router.post("/processes/organise/execution", status_code=201)
def organise(service: ServiceHere, caller: Runner, body: OrganiseRequest, response: Response) -> dict[str, Any]:
    """Put a pile of cubes in order."""
    return _submit(service, caller, "organise", body, body.inputs, response)


@router.post("/processes/identify/execution", status_code=201)
def identify(service: ServiceHere, caller: Runner, body: IdentifyRequest, response: Response) -> dict[str, Any]:
    """Identify the materials of a cube or stream."""
    return _submit(service, caller, "identify", body, [body.input], response)


@router.post("/processes/compare/execution", status_code=201)
def compare(service: ServiceHere, caller: Runner, body: EvaluateRequest, response: Response) -> dict[str, Any]:
    """Measure one cube against another."""
    return _submit(service, caller, "compare", body, [body.reference, body.test], response)


@router.post("/processes/evaluate/execution", status_code=201)
def evaluate(service: ServiceHere, caller: Runner, body: EvaluateRequest, response: Response) -> dict[str, Any]:
    """Measure one cube against another."""
    return _submit(service, caller, "evaluate", body, [body.reference, body.test], response)


@router.get("/jobs")
def catalogue(service: ServiceHere, caller: Reader) -> dict[str, Any]:
    """Every job, newest first."""
    with service.database.reading() as session:
        return {"jobs": [describe(job) for job in session.scalars(select(Job).order_by(Job.created.desc()).limit(500))]}


@router.get("/jobs/{job_id}")
def show(service: ServiceHere, caller: Reader, job_id: str) -> dict[str, Any]:
    """A job's statusInfo, and its timeline."""
    with service.database.reading() as session:
        job = jobs.get(session, job_id)
        return {**describe(job), "timeline": [_line(event) for event in jobs.timeline(session, job_id)]}


@router.delete("/jobs/{job_id}")
def cancel(service: ServiceHere, caller: Runner, job_id: str) -> dict[str, Any]:
    """Ask a job to stop."""
    with service.database.writing() as session:
        job = jobs.cancel(session, job_id)
        service.record(session, "job.dismissed", {"job": job_id}, caller.name)
        return describe(job)


@router.get("/jobs/{job_id}/results")
def results(service: ServiceHere, caller: Reader, job_id: str) -> dict[str, Any]:
    """What a job made."""
    with service.database.reading() as session:
        job = jobs.get(session, job_id)
    if job.status != jobs.SUCCESSFUL:
        raise Conflict("the job has no results", where=job_id, got=job.status, wanted=jobs.SUCCESSFUL)
    return dict(job.result or {})


def _known(service: ServiceHere, job_id: str) -> str:
    """The job's id, held against the table before the stream of its events begins."""
    with service.database.reading() as session:
        return jobs.get(session, job_id).id


@router.get("/jobs/{job_id}/events", response_class=EventSourceResponse)
async def events(
    request: Request, service: ServiceHere, caller: Reader, job_id: Annotated[str, Depends(_known)],
    last_event_id: Annotated[str, Header()] = "0",
) -> AsyncIterator[ServerSentEvent]:
    """The timeline as server-sent events, from after ``Last-Event-ID``; ends with the event ``end``."""
    last = int(last_event_id) if last_event_id.isdecimal() else 0

    def look() -> tuple[list[JobEvent], str, str]:
        with service.database.reading() as session:
            job = session.get(Job, job_id)
            status, message = ("gone", "") if job is None else (job.status, job.message)
            return jobs.timeline(session, job_id, last), status, message

    while not await request.is_disconnected():
        lines, status, message = await run_in_threadpool(look)
        for line in lines:
            last = line.number
            yield ServerSentEvent(data=_line(line), event=_event_name(line.kind), id=str(line.number))
        if status in jobs.ENDED or status == "gone":
            yield ServerSentEvent(data={"status": status, "message": message}, event="end")
            return
        await asyncio.sleep(service.settings.poll_s)


def describe(job: Job) -> dict[str, Any]:
    """OGC statusInfo."""
    here = f"/v1/jobs/{job.id}"
    links = [{"rel": "self", "href": here}, {"rel": "monitor", "href": f"{here}/events"}]
    if job.status == jobs.SUCCESSFUL:
        links.append({"rel": "http://www.opengis.net/def/rel/ogc/1.0/results", "href": f"{here}/results"})
    times = {name: getattr(job, name).isoformat() for name in ("created", "started", "finished", "updated")
             if getattr(job, name) is not None}
    return {
        "jobID": job.id, "processID": job.process, "type": "process", "status": job.status, "message": job.message,
        "progress": job.progress, **times, "attempts": job.attempts, "request": job.request, "error": job.error,
        "links": links,
    }


def _submit(
    service: Service, caller: Caller, process: str, body: BaseModel, inputs: list[str], response: Response
) -> dict[str, Any]:
    with service.database.writing() as session:
        _check_inputs(session, inputs)
        job = jobs.submit(session, process, body.model_dump(), caller.name)
        service.record(session, "job.submitted", {"job": job.id, "process": process, "request": job.request},
                       caller.name)
        told = describe(job)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return told


def _named(*names: str | None) -> list[str]:
    return [name for name in names if name is not None]


def _check_inputs(session: Session, inputs: list[str]) -> None:
    for name in inputs:
        try:
            artifacts.find_artifact(session, name)
        except UnknownTerm as error:
            raise Conflict("the input is not there", where=name) from error


def _line(event: JobEvent) -> dict[str, Any]:
    return {"number": event.number, "at": event.at.isoformat(), "kind": event.kind, "progress": event.progress,
            "message": event.message}


def _event_name(kind: str) -> str:
    return kind.replace(" ", "-")
