"""How Alembic reaches the database: the URL from the caller, from ``-x url=``, or from PALIMPSEST_DATABASE_URL."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from alembic import context

from palimpsest.catalogue.database import Database
from palimpsest.catalogue.tables import Base
from palimpsest.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def database_url() -> str:
    """The database to migrate.

    Raises:
        UsageError: nobody named one.
    """
    arguments = context.get_x_argument(as_dictionary=True)
    url = context.config.attributes.get("url") or arguments.get("url") or os.environ.get("PALIMPSEST_DATABASE_URL")
    if not url:
        raise UsageError("no database named", wanted="alembic -x url=sqlite:///FILE upgrade head")
    return str(url)


def migrate(connection: Connection) -> None:
    """Run the migrations that are asked for; batch mode, because SQLite cannot alter in place."""
    context.configure(
        connection=connection, target_metadata=Base.metadata, render_as_batch=True, compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    """Migrate on a connection of our own."""
    database = Database(database_url(), is_portable=bool(context.config.attributes.get("portable")))
    try:
        with database.engine.connect() as connection:
            migrate(connection)
            connection.commit()
    finally:
        database.close()


main()
