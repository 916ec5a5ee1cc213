"""Opening the catalogue: SQLite or PostgreSQL, one way to read and one way to write.

SQLite needs care that its defaults do not give: write-ahead logging, a busy timeout set *before* it, foreign keys on,
and writers that begin with BEGIN IMMEDIATE, because the timeout does not cover a reader that upgrades to a writer.
Readers must not begin immediately, or they would queue behind writers.
"""

from __future__ import annotations

from contextlib import contextmanager
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from palimpsest.catalogue.kinds import GROW_WITH_THE_CUBE, hold_kinds
from palimpsest.errors import FormatError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.engine import Connection, Engine

BUSY_TIMEOUT_MS = 15_000
PORTABLE_TIMEOUT_MS = 600_000  # one transaction writes a whole restoration of a large cube
_WRITER = "palimpsest_writer"


class Database:
    """A catalogue that sessions are opened on.

    Args:
        url: SQLAlchemy URL (``sqlite:////path/file.sqlite``, ``postgresql+psycopg://...``).
        is_portable: a single file to be carried away: no write-ahead log beside it.
        is_read_only: never write; for files brought by others.

    Raises:
        UsageError: a URL of another kind of database.
    """

    def __init__(self, url: str, *, is_portable: bool = False, is_read_only: bool = False) -> None:
        self.url = url
        self._is_brought = is_portable and is_read_only
        self.is_sqlite = _backend(url) == "sqlite"
        self.engine = self._sqlite(is_portable, is_read_only) if self.is_sqlite else create_engine(
            url, pool_pre_ping=True
        )
        self._writer = self.engine.execution_options(**{_WRITER: True})

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that reads; whatever it changed is thrown away.

        Raises:
            FormatError: a file brought by someone turns out to be damaged.
        """
        try:
            with Session(self.engine, expire_on_commit=False) as session:
                yield session
        except (DatabaseError, JSONDecodeError, UnicodeDecodeError) as error:
            if not self._is_brought:
                raise
            why = str(getattr(error, "orig", error))
            raise FormatError("a damaged SQLite file", where=self.engine.url.database, got=why) from error

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session in one write transaction, committed at the end and rolled back on any error."""
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    def _sqlite(self, is_portable: bool, is_read_only: bool) -> Engine:
        # A connection a thread and no pool: SQLite opens in microseconds, and a pooled one may outlive its thread.
        engine = create_engine(self.url, poolclass=NullPool)

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, record: object) -> None:  # noqa: ANN401 - the driver's own type
            connection.isolation_level = None  # we say BEGIN ourselves
            cursor = connection.cursor()
            timeout = PORTABLE_TIMEOUT_MS if is_portable and not is_read_only else BUSY_TIMEOUT_MS
            cursor.execute(f"PRAGMA busy_timeout={timeout}")
            if is_read_only:
                cursor.execute("PRAGMA query_only=ON")
            else:
                cursor.execute("PRAGMA journal_mode=" + ("DELETE" if is_portable else "WAL"))
                cursor.execute("PRAGMA synchronous=NORMAL")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            is_writer = connection.get_execution_options().get(_WRITER, False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")

        return engine


def open_file(path: Path) -> Database:
    """A provenance file or a catalogue brought by someone, read-only.

    Raises:
        FormatError: not an SQLite file, damaged, or not one of ours.
        EvidenceBroken: values of other kinds than are written there.
    """
    if not path.is_file():
        raise FormatError("no such provenance file", where=path, wanted="a file of `palimpsest restore --provenance`")
    with path.open("rb") as stream:
        magic = stream.read(16)
    if magic != b"SQLite format 3\x00":
        raise FormatError("not a provenance file", where=path, got=repr(magic[:8]), wanted="SQLite")
    database = Database(f"sqlite:///{path}", is_portable=True, is_read_only=True)
    with database.reading() as session:
        found = session.connection().exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type='table' AND name IN ('restorations', 'audit_events')"
        ).all()
        if len(found) < 2:
            raise FormatError("an SQLite file of another kind", where=path, wanted="the tables of a provenance file")
        hold_kinds(session, besides=GROW_WITH_THE_CUBE)
    return database


def _backend(url: str) -> str:
    try:
        name = make_url(url).get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise UsageError("not a database URL", got=url, wanted="sqlite:///FILE or postgresql+psycopg://...") from error
    if name not in ("sqlite", "postgresql"):
        raise UsageError("a database that is not supported", got=name, wanted="sqlite or postgresql")
    return name
