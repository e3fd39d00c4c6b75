"""Columns that many tables have, and how they are written."""

from typing import Any, Final

from sqlalchemy import (
    Column,
    DateTime,
    MetaData,
    Numeric,
    Text,
    TypeDecorator,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect

from domain.limits import BALANCE_DIGITS

metadata: Final = MetaData()


class MinorUnits(TypeDecorator[int]):
    """``NUMERIC(38, 0)`` in SQL, ``int`` in Python, exactly."""

    impl = Numeric(BALANCE_DIGITS, 0)
    cache_ok = True

    def process_result_value(self, value: Any | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Turn the driver's ``Decimal`` into an ``int``."""
        return None if value is None else int(value)


def id_column() -> Column[Any]:
    """Declare the id of a row."""
    return Column("id", Uuid, nullable=False)


def tenant_id_column() -> Column[Any]:
    """Declare whose a row is."""
    return Column("tenant_id", Uuid, nullable=False)


def created_at_column() -> Column[Any]:
    """Declare when a row was written, by the database's clock."""
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


def time_column(name: str, *, nullable: bool) -> Column[Any]:
    """Declare a moment."""
    return Column(name, DateTime(timezone=True), nullable=nullable)


def currency_column() -> Column[Any]:
    """Declare a currency, by its ISO 4217 code."""
    return Column("currency", Text, nullable=False)


def metadata_column() -> Column[Any]:
    """Declare what clients attach to a row."""
    return Column("metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb"))


def one_of(column: str, *values: str) -> str:
    """Write the condition that a column has one of some values."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"
