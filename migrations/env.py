"""Alembic's environment: where the schema lives and how it is reached.

The URL comes from the caller's configuration (``transfers migrate``, tests) or from DATABASE_URL.
"""

import os

from alembic import context
from sqlalchemy import Connection, create_engine, pool

from persistence.database import driver_url
from persistence.tables import metadata


def run(connection: Connection) -> None:
    """Run the migrations in one transaction, so that a failed one leaves nothing behind."""
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()


def run_offline(url: str) -> None:
    """Print the migrations as SQL."""
    context.configure(url=url, target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online(url: str) -> None:
    """Run the migrations in the database."""
    engine = create_engine(url, poolclass=pool.NullPool, hide_parameters=True)
    with engine.connect() as connection:
        run(connection)
    engine.dispose()


database_url = driver_url(
    context.config.attributes.get("database_url") or os.environ["DATABASE_URL"]
)
if context.is_offline_mode():
    run_offline(database_url)
else:
    run_online(database_url)
