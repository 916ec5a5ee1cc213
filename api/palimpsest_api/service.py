"""What every request and every worker works with: settings, database, blobs, the key of the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from palimpsest.catalogue import Database, FolderBlobs, upgrade
from palimpsest.provenance import ledger
from palimpsest.provenance.keys import signing_key

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from sqlalchemy.orm import Session

    from palimpsest_api.settings import Settings


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of the service.

    Args:
        settings: as given.
        database: the catalogue, at the present tables.
        blobs: files by content.
        key: signs the log.
    """

    settings: Settings
    database: Database
    blobs: FolderBlobs
    key: Ed25519PrivateKey

    @property
    def uploads(self) -> Path:
        """Where uploads under way lie; on the blobs' disk, so that finishing one moves it."""
        return self.settings.home / "uploads"

    @property
    def views(self) -> Path:
        """Artifacts under the names that readers want; links to blobs, and decoded copies that can be made again."""
        return self.settings.home / "views"

    @property
    def work(self) -> Path:
        """Where jobs write before their results are kept."""
        return self.settings.home / "work"

    def record(self, session: Session, kind: str, facts: dict[str, Any], actor: str = "") -> None:
        """One line of the log, in the transaction of what it tells."""
        ledger.append(session, kind, facts, actor=actor, key=self.key)


def open_service(settings: Settings) -> Service:
    """The service on its home folder; the first call makes the folder, the database and the key."""
    settings.home.mkdir(parents=True, exist_ok=True)
    upgrade(settings.url)
    service = Service(
        settings, Database(settings.url), FolderBlobs(settings.home / "blobs"),
        signing_key(settings.home / "ledger.pem", make=True),
    )
    for folder in (service.uploads, service.views, service.work):
        folder.mkdir(exist_ok=True)
    return service
