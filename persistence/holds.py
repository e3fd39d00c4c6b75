"""Holds in SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Uuid, bindparam, case, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.evidence import HoldRecord
from domain.ids import AccountId, HoldId, TransferId
from domain.transfers import HoldStatus, Transfer
from persistence.tables.transfers import holds, transfer_operations

_CLOSE: Final = (
    update(holds)
    .where(
        holds.c.transfer_id == bindparam("transfer", type_=Uuid),
        holds.c.status == HoldStatus.HELD.value,
    )
    .values(status=bindparam("closed_as"), closed_at=func.now())
)


@dataclass(frozen=True, slots=True)
class OpenHold:
    """What a transfer holds of one account.

    Parameters
    ----------
    left_minor
        The hold's amount without what captures have taken from it.
    """

    account_id: AccountId
    left_minor: int
    created_at: datetime


class HoldRepository:
    """Rows of ``holds``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def open(
        self, transfer: Transfer, amounts_minor: Mapping[AccountId, tuple[HoldId, int]]
    ) -> None:
        """Hold amounts of accounts for a transfer, each under an id of its own."""
        currencies = {leg.source_account_id: leg.money.currency for leg in transfer.legs}
        await self._connection.execute(
            insert(holds),
            [
                {
                    "id": hold_id,
                    "tenant_id": transfer.tenant_id,
                    "transfer_id": transfer.id,
                    "account_id": account_id,
                    "currency": currencies[account_id],
                    "amount_minor": amount_minor,
                    "status": HoldStatus.HELD,
                }
                for account_id, (hold_id, amount_minor) in amounts_minor.items()
            ],
        )

    async def open_of(self, transfer_id: TransferId) -> list[OpenHold]:
        """Read the open holds of a locked transfer."""
        result = await self._connection.execute(
            select(holds).where(
                holds.c.transfer_id == transfer_id, holds.c.status == HoldStatus.HELD.value
            )
        )
        return [
            OpenHold(
                AccountId(row["account_id"]),
                row["amount_minor"] - row["captured_minor"],
                row["created_at"],
            )
            for row in result.mappings()
        ]

    async def of_transfer(self, transfer_id: TransferId) -> list[HoldRecord]:
        """Read all holds of a transfer, closed ones too, oldest first."""
        result = await self._connection.execute(
            select(holds).where(holds.c.transfer_id == transfer_id).order_by(holds.c.id)
        )
        return [
            HoldRecord(
                id=HoldId(row["id"]),
                account_id=AccountId(row["account_id"]),
                amount_minor=row["amount_minor"],
                captured_minor=row["captured_minor"],
                currency=row["currency"],
                status=HoldStatus(row["status"]),
                created_at=row["created_at"],
                closed_at=row["closed_at"],
            )
            for row in result.mappings()
        ]

    async def capture(self, transfer_id: TransferId, amount_minor: int) -> None:
        """Take a part from the open hold of a transfer, and leave it open.

        Raises
        ------
        LedgerRuleViolated
            Less is left of it.
        """
        await self._connection.execute(
            update(holds)
            .where(holds.c.transfer_id == transfer_id, holds.c.status == HoldStatus.HELD.value)
            .values(captured_minor=holds.c.captured_minor + amount_minor)
        )

    async def close(self, transfer_id: TransferId, status: HoldStatus) -> None:
        """Capture or release the open holds of a transfer."""
        await self._connection.execute(_CLOSE, {"transfer": transfer_id, "closed_as": status})

    async def held_as_of(self, account_id: AccountId, as_of: datetime) -> int:
        """Sum what holds that were open at a time still held of an account, in minor units."""
        captured = (
            select(func.coalesce(func.sum(transfer_operations.c.amount_minor), 0))
            .where(
                transfer_operations.c.transfer_id == holds.c.transfer_id,
                transfer_operations.c.created_at <= as_of,
            )
            .scalar_subquery()
        )
        left = case(
            (holds.c.captured_minor > 0, holds.c.amount_minor - captured),
            else_=holds.c.amount_minor,
        )
        held = await self._connection.scalar(
            select(func.coalesce(func.sum(left), 0)).where(
                holds.c.account_id == account_id,
                holds.c.created_at <= as_of,
                or_(holds.c.closed_at.is_(None), holds.c.closed_at > as_of),
            )
        )
        return int(held or 0)
