"""Holds in SQL."""

from datetime import datetime
from typing import Final

from sqlalchemy import Uuid, bindparam, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import LedgerRuleViolated
from domain.ids import AccountId, TransferId
from domain.transfers import HoldStatus
from persistence.tables import holds

_INSERT: Final = insert(holds)
_CLOSE: Final = (
    update(holds)
    .where(
        holds.c.transfer_id == bindparam("transfer", type_=Uuid),
        holds.c.status == HoldStatus.HELD.value,
    )
    .values(status=bindparam("closed_as"), closed_at=func.now())
)


class HoldRepository:
    """Rows of ``holds``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def close(self, transfer_id: TransferId, status: HoldStatus) -> None:
        """Capture or release the open hold of a transfer.

        Raises
        ------
        LedgerRuleViolated
            The transfer has no open hold.
        """
        result = await self._connection.execute(
            _CLOSE, {"transfer": transfer_id, "closed_as": status}
        )
        if result.rowcount != 1:
            raise LedgerRuleViolated("holds_transfer")

    async def held_as_of(self, account_id: AccountId, as_of: datetime) -> int:
        """Sum the holds of an account that were open at a time, in minor units."""
        held = await self._connection.scalar(
            select(func.coalesce(func.sum(holds.c.amount_minor), 0)).where(
                holds.c.account_id == account_id,
                holds.c.created_at <= as_of,
                or_(holds.c.closed_at.is_(None), holds.c.closed_at > as_of),
            )
        )
        return int(held or 0)
