"""The schema as SQLAlchemy tables.

Triggers stand in the migrations alone; everything else is declared here too, so that
``alembic check`` can hold the two together. A constraint's name is part of the contract:
``persistence.violations`` turns it into a domain error.
"""

from persistence.tables import (
    accounts,
    batches,
    ledger,
    samples,
    standing_orders,
    tenants,
    transfers,
)
from persistence.tables.columns import metadata

__all__ = [
    "accounts",
    "batches",
    "ledger",
    "metadata",
    "samples",
    "standing_orders",
    "tenants",
    "transfers",
]
