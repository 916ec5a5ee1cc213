"""``palimpsest serve``: the REST service and its page, with a worker beside it."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from palimpsest.commands import note
from palimpsest.commands.worker import add_home, settings_of
from palimpsest.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from palimpsest_api.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    add_home(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address; beyond the loopback, keys are a must")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="worker processes beside the server")
    parser.add_argument("--no-worker", action="store_true", help="none: they run elsewhere, as `palimpsest worker`")
    parser.add_argument("--new-key", metavar="NAME:ROLE", help="make an API key, print it, and end")


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    settings = settings_of(options)
    if options.new_key:
        return _new_key(settings, options.new_key)
    if not _is_loopback(options.host):
        hosts = settings.hosts if "hosts" in settings.model_fields_set else ["*"]
        settings = settings.model_copy(update={"require_keys": True, "hosts": hosts})
        note("palimpsest: reachable from other machines, so a key is required: palimpsest serve --new-key NAME:ROLE")
    import uvicorn

    from palimpsest_api.main import create_app

    app = create_app(settings)
    count = 0 if options.no_worker else max(0, options.workers)
    with _workers(settings, count):
        note(f"palimpsest: http://{options.host}:{options.port}/ on {settings.home}")
        uvicorn.run(app, host=options.host, port=options.port, log_level="warning")
    return 0


@contextlib.contextmanager
def _workers(settings: Settings, count: int) -> Iterator[None]:
    command = [sys.executable, "-m", "palimpsest", "worker", "--home", str(settings.home)]
    # The URL may hold a password: the environment is not listed by ps.
    environment = {**os.environ, "PALIMPSEST_DATABASE_URL": settings.database_url}
    running = [subprocess.Popen(command, env=environment) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _new_key(settings: Settings, text: str) -> int:
    from palimpsest_api.auth import make_key
    from palimpsest_api.service import open_service

    name, _, role = text.partition(":")
    if not name or not role:
        raise UsageError("not a key to be made", got=repr(text), wanted="NAME:ROLE")
    service = open_service(settings)
    with service.database.writing() as session:
        key = make_key(session, name, role)
        service.record(session, "key.made", {"name": name, "role": role}, "command line")
    print(key)
    return 0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
