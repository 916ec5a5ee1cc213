"""Settings of the service: from the caller, or from the environment with the prefix ``PALIMPSEST_``."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from palimpsest.knowledge.releases.store import home as knowledge_home


class Settings(BaseSettings):
    """What the service stands on. The embedded default is SQLite and a folder; PostgreSQL by its URL alone."""

    model_config = SettingsConfigDict(env_prefix="PALIMPSEST_", extra="ignore")

    home: Path = Field(default_factory=knowledge_home, description="folder of blobs, keys and the default database")
    database_url: str = Field(default="", description="SQLAlchemy URL; SQLite inside the home folder when empty")
    require_keys: bool = Field(default=False, description="refuse requests without an API key")
    lease_s: float = Field(default=15.0, gt=0, description="a worker that is silent for this long loses its job")
    poll_s: float = Field(default=0.5, gt=0, description="how often an idle worker and an event stream look")
    largest_upload: int = Field(default=1 << 38, gt=0, description="bytes")
    largest_unpacked: int = Field(default=1 << 38, gt=0, description="bytes that an archive may unpack to")
    hosts: list[str] = Field(
        default=["127.0.0.1", "localhost", "[::1]"], description="names that the service answers to; '*' is all"
    )

    @property
    def url(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.home / 'catalogue.sqlite'}"
