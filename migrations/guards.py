"""Bounds that every migration sets before it touches anything."""

from typing import Final

from alembic import op

LOCK_TIMEOUT_SECONDS: Final = 5
"""A migration that cannot have its locks gives up, so that traffic does not queue behind it."""

STATEMENT_TIMEOUT_SECONDS: Final = 60


def set_timeouts() -> None:
    """Bound the locks and statements of this migration's transaction."""
    op.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
    op.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_SECONDS}s'")
