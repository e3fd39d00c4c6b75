"""Alembic's environment: where the schema lives and how it is reached.

The URL comes from the caller's configuration (``transfers migrate``, tests) or from DATABASE_URL.
"""

import os

from alembic import context
from sqlalchemy import Connection, create_engine, pool, text

from migrations.compatibility import MARK, serves_from
from persistence.database import driver_url
from persistence.tables.schema import metadata


def run(connection: Connection) -> None:
    """Run the migrations in one transaction, so that a failed one leaves nothing behind."""
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
        tell_which_code_is_served(connection)


def tell_which_code_is_served(connection: Connection) -> None:
    """Leave word for older code, which knows nothing of the migrations after it."""
    revision = context.get_context().get_current_revision()
    if revision is not None:
        said = f"{MARK}{serves_from(context.script, revision)}"
        connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{said}'"))


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
