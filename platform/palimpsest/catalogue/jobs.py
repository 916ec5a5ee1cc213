"""The table of jobs: durable, leased, fenced.

A job is written in the caller's own transaction. A worker takes the oldest one that is free, or whose holder let its
lease run out, and gets a fencing number; everything it writes later names that number, so a worker that was thought
dead and wakes up again cannot overwrite the work of its successor. Running a job twice is harmless because results
are named by their content.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select, update

from palimpsest.catalogue.tables import Job, JobEvent, new_id, now
from palimpsest.errors import PromiseBroken, UnknownTerm

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

ACCEPTED, RUNNING, SUCCESSFUL, FAILED, DISMISSED = "accepted", "running", "successful", "failed", "dismissed"
ENDED = (SUCCESSFUL, FAILED, DISMISSED)
MOST_ATTEMPTS = 5


class LeaseLost(PromiseBroken):
    """The job belongs to another worker by now, or was dismissed: stop, and write nothing."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job.

    Args:
        job_id: the job.
        fence: the fencing number; larger than any before.
        process: what to do.
        request: with which inputs.
        attempt: 1 for the first.
    """

    job_id: str
    fence: int
    process: str
    request: dict[str, Any]
    attempt: int


def submit(session: Session, process: str, request: dict[str, Any], owner: str = "") -> Job:
    """A new job, in the caller's transaction."""
    at = now()
    job = Job(
        id=new_id("job"), process=process, request=request, status=ACCEPTED, created=at, updated=at, owner=owner,
        progress=0, message="waiting for a worker", attempts=0, worker="", fence=0, cancel_asked=False,
    )
    session.add(job)
    session.flush()
    _tell(session, job.id, "accepted", 0, "waiting for a worker")
    return job


def get(session: Session, job_id: str) -> Job:
    """A job.

    Raises:
        UnknownTerm: no such job.
    """
    job = session.get(Job, job_id)
    if job is None:
        raise UnknownTerm("no such job", where=job_id)
    return job


def claim(session: Session, worker: str, lease_s: float, processes: tuple[str, ...] | None = None) -> Lease | None:
    """The oldest job that is free or was abandoned, now leased to ``worker``; None when there is nothing to do."""
    at = now()
    free = or_(Job.status == ACCEPTED, and_(Job.status == RUNNING, Job.lease_until < at))
    query = select(Job).where(free).order_by(Job.created, Job.id).limit(1)
    if processes is not None:
        query = query.where(Job.process.in_(processes))
    job = session.scalars(query.with_for_update(skip_locked=True)).first()
    if job is None:
        return None
    if job.cancel_asked:
        _end(session, job, DISMISSED, "dismissed before it ran on")
        return None
    if job.attempts >= MOST_ATTEMPTS:
        job.error = {"error": "PromiseBroken", "message": f"its worker died {job.attempts} times"}
        _end(session, job, FAILED, f"given up: its worker died {job.attempts} times")
        return None
    job.attempts += 1
    job.fence += 1
    job.status, job.worker, job.updated, job.lease_until = RUNNING, worker, at, at + timedelta(seconds=lease_s)
    job.started = job.started or at
    job.message = "running" if job.attempts == 1 else f"taken up again, attempt {job.attempts}"
    _tell(session, job.id, "running", job.progress, job.message)
    return Lease(job.id, job.fence, job.process, dict(job.request), job.attempts)


def heartbeat(session: Session, lease: Lease, lease_s: float) -> None:
    """Hold on to a job.

    Raises:
        LeaseLost: it belongs to another worker, or was asked to stop.
    """
    job = _held(session, lease)
    if job.cancel_asked:
        raise LeaseLost("the job was asked to stop", where=lease.job_id)
    job.lease_until = now() + timedelta(seconds=lease_s)


def progress(session: Session, lease: Lease, percent: int, message: str) -> None:
    """Say how far the work is, 0 to 100; one line of the timeline."""
    job = _held(session, lease)
    if job.cancel_asked:
        raise LeaseLost("the job was asked to stop", where=lease.job_id)
    job.progress, job.message, job.updated = max(0, min(100, percent)), message, now()
    _tell(session, job.id, "progress", job.progress, message)


def succeed(session: Session, lease: Lease, result: dict[str, Any]) -> None:
    """The work is done; its result, in the same transaction as what it points to."""
    job = _held(session, lease)
    job.result, job.progress = result, 100
    _end(session, job, SUCCESSFUL, "done")


def fail(session: Session, lease: Lease, error: dict[str, Any]) -> None:
    """The work cannot be done: bad input, or a promise that could not be kept."""
    job = _held(session, lease)
    job.error = error
    _end(session, job, FAILED, str(error.get("message", "failed")))


def stop(session: Session, lease: Lease) -> None:
    """The worker stopped because it was asked to."""
    job = session.get(Job, lease.job_id)
    if job is not None and job.fence == lease.fence and job.status == RUNNING:
        _end(session, job, DISMISSED, "dismissed while it ran")


def give_back(session: Session, lease: Lease, why: str) -> None:
    """Let go of a job that was not finished; another attempt may begin at once."""
    job = session.get(Job, lease.job_id)
    if job is not None and job.fence == lease.fence and job.status == RUNNING:
        job.lease_until = job.updated = now()
        job.message = why
        _tell(session, job.id, "given back", job.progress, why)


def cancel(session: Session, job_id: str) -> Job:
    """Ask a job to stop; one that no worker holds ends at once. A job that has ended stays as it is."""
    job = get(session, job_id)
    if job.status == ACCEPTED:
        _end(session, job, DISMISSED, "dismissed before it ran")
    elif job.status == RUNNING:
        job.cancel_asked = True
        _tell(session, job.id, "cancel", job.progress, "asked to stop")
    return job


def timeline(session: Session, job_id: str, after: int = 0) -> list[JobEvent]:
    """Lines of a job's timeline with a number above ``after``."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.number > after).order_by(JobEvent.number)
    return list(session.scalars(query))


def _held(session: Session, lease: Lease) -> Job:
    # The UPDATE takes the row's lock first, so that what is read after it cannot change under us (PostgreSQL).
    held = session.execute(
        update(Job)
        .where(Job.id == lease.job_id, Job.fence == lease.fence, Job.status == RUNNING)
        .values(updated=now())
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).first()
    if held is None:
        raise LeaseLost("the job is no longer this worker's", where=lease.job_id, got=f"fence {lease.fence}")
    job = session.get(Job, lease.job_id, populate_existing=True)
    if job is None:
        raise LeaseLost("the job is gone", where=lease.job_id)
    return job


def _end(session: Session, job: Job, status: str, message: str) -> None:
    job.status, job.message, job.lease_until = status, message, None
    job.finished = job.updated = now()
    _tell(session, job.id, status, job.progress, message)


def _tell(session: Session, job_id: str, kind: str, percent: int, message: str) -> None:
    last = session.scalar(select(func.max(JobEvent.number)).where(JobEvent.job_id == job_id)) or 0
    session.add(JobEvent(job_id=job_id, number=last + 1, at=now(), kind=kind, progress=percent, message=message))
    session.flush()
