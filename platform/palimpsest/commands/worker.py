"""``palimpsest worker``: the process that runs jobs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import note

if TYPE_CHECKING:
    import argparse

    from palimpsest_api.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    add_home(parser)


def run(options: argparse.Namespace) -> int:
    """Work until told to stop."""
    from palimpsest_api.worker import run_worker

    settings = settings_of(options)
    note(f"palimpsest: a worker on {settings.home}")
    return run_worker(settings)


def add_home(parser: argparse.ArgumentParser) -> None:
    """Where the service lives; both verbs of it say so alike."""
    parser.add_argument("--home", type=Path, help="folder of blobs, keys and database (PALIMPSEST_HOME)")
    parser.add_argument("--database-url", help="SQLite or PostgreSQL (PALIMPSEST_DATABASE_URL)")


def settings_of(options: argparse.Namespace) -> Settings:
    """Settings of the environment, with what the options say instead."""
    from palimpsest_api.settings import Settings

    said = {"home": options.home, "database_url": options.database_url}
    settings = Settings(**{name: value for name, value in said.items() if value is not None})
    # Published releases live in the same home; processes that are started from here inherit it.
    os.environ["PALIMPSEST_HOME"] = str(settings.home)
    return settings
