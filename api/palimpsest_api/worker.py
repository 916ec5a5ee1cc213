"""The worker: takes jobs, runs each in a process of its own, and holds their leases.

Killed outright, it leaves a job whose lease runs out; the job's process notices that its parent is gone and ends, and
whichever worker comes next takes the job up again.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import secrets
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

from palimpsest.catalogue import jobs
from palimpsest.catalogue.jobs import Lease, LeaseLost
from palimpsest_api.service import Service, open_service
from palimpsest_api.work import PROCESSES, run_job

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from palimpsest_api.settings import Settings

log = logging.getLogger(__name__)

GRACE_S = 5.0


class Worker:
    """One worker; ``run`` returns when ``stop`` was asked for.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # Unique for each start: a pid alone comes back.
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End after giving the present job back."""
        self._stopping.set()

    def run(self, *, most_jobs: int | None = None) -> int:
        """Work until stopped, or until ``most_jobs`` are done and none is waiting; how many were run."""
        service = open_service(self.settings)
        done = 0
        while not self._stopping.is_set() and (most_jobs is None or done < most_jobs):
            with service.database.writing() as session:
                lease = jobs.claim(session, self.name, self.settings.lease_s, tuple(PROCESSES))
            if lease is None:
                if most_jobs is not None:
                    break
                self._stopping.wait(self.settings.poll_s)
                continue
            self._do(service, lease)
            done += 1
        service.database.close()
        return done

    def _do(self, service: Service, lease: Lease) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=run_job, args=(self.settings, lease, theirs), name=lease.job_id)
        process.start()
        theirs.close()
        log.info("%s runs %s (attempt %d)", self.name, lease.job_id, lease.attempt)
        try:
            self._hold(service, lease, process)
        finally:
            _end(process)
            ours.close()

    def _hold(self, service: Service, lease: Lease, process: BaseProcess) -> None:
        beat = self.settings.lease_s / 3
        while process.is_alive():
            until = time.monotonic() + beat
            while process.is_alive() and time.monotonic() < until and not self._stopping.is_set():
                process.join(0.1)
            if self._stopping.is_set():
                _end(process)
                with service.database.writing() as session:
                    jobs.give_back(session, lease, "its worker was asked to stop")
                return
            if not process.is_alive():
                break
            try:
                with service.database.writing() as session:
                    jobs.heartbeat(session, lease, self.settings.lease_s)
            except LeaseLost:
                _end(process)
                with service.database.writing() as session:
                    jobs.stop(session, lease)
                return
        if process.exitcode:
            with service.database.writing() as session:
                jobs.give_back(session, lease, f"its process ended with code {process.exitcode}")


def run_worker(settings: Settings) -> int:
    """A worker as a process: ends on SIGTERM and SIGINT, giving its job back."""
    worker = Worker(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    worker.run()
    return 0


def _end(process: BaseProcess) -> None:
    if process.is_alive():
        process.terminate()
        process.join(GRACE_S)
    if process.is_alive():
        process.kill()
    process.join()
