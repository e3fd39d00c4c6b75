"""Bounds of connections, apart from what connects: settings need them without a driver."""

from dataclasses import dataclass

from domain.limits import (
    DATABASE_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS,
    DATABASE_LOCK_TIMEOUT_SECONDS,
    DATABASE_STATEMENT_TIMEOUT_SECONDS,
    DATABASE_TRANSACTION_TIMEOUT_SECONDS,
)


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """Bounds of a process's use of the database.

    Parameters
    ----------
    pool_size
        Connections kept open at most for units of work.
    direct_pool_size
        Connections kept open at most for single statements, beside those.
    pool_timeout_seconds
        How long a unit of work waits for a connection.
    direct_pool_timeout_seconds
        How long a single statement waits for a connection. Where PostgreSQL is away, this is how
        soon it is known.
    statement_timeout_seconds, lock_timeout_seconds
        How long one statement may take, and wait for a lock.
    idle_in_transaction_timeout_seconds
        How long a transaction may be open between two statements.
    transaction_timeout_seconds
        How long a transaction may take; a snapshot for a proof or a statement has its own bound.
    """

    pool_size: int = 8
    direct_pool_size: int = 12
    pool_timeout_seconds: float = 5.0
    direct_pool_timeout_seconds: float = 2.0
    connect_timeout_seconds: int = 5
    statement_timeout_seconds: float = DATABASE_STATEMENT_TIMEOUT_SECONDS
    lock_timeout_seconds: float = DATABASE_LOCK_TIMEOUT_SECONDS
    idle_in_transaction_timeout_seconds: float = DATABASE_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS
    transaction_timeout_seconds: float = DATABASE_TRANSACTION_TIMEOUT_SECONDS

    @property
    def connections(self) -> int:
        """Connections that a process holds at most."""
        return self.pool_size + self.direct_pool_size
