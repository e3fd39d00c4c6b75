"""Limits of accounts, and what is used of them, in SQL.

What is used is kept for accounts with limits alone, by the day of the reserve, and changed only
while the account's balance is locked.
"""

from collections.abc import Collection
from datetime import date
from typing import Final

from sqlalchemy import Date, RowMapping, and_, case, cast, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import AccountId, ApiKeyId, TenantId
from domain.rules import AccountLimits, LimitUsage
from persistence.tables import account_limits, account_usage, holds

# Connections are in UTC, and so is the day.
_TODAY: Final = cast(func.statement_timestamp(), Date)
_MONTH: Final = cast(func.date_trunc("month", func.statement_timestamp()), Date)


class LimitRepository:
    """Rows of ``account_limits`` and ``account_usage``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, tenant_id: TenantId, account_id: AccountId) -> LimitUsage | None:
        """Read the limits of an account, if it has any, and what is used of them."""
        found = await self._usages(account_limits.c.tenant_id == tenant_id, [account_id])
        return found.get(account_id)

    async def usages(self, account_ids: Collection[AccountId]) -> dict[AccountId, LimitUsage]:
        """Read the limits of those among locked accounts that have any."""
        return await self._usages(literal(value=True), account_ids)

    async def set(
        self, tenant_id: TenantId, limits: AccountLimits, *, updated_by: ApiKeyId | None
    ) -> None:
        """Set the limits of a locked account; what was sent this month counts from the first one.

        Notes
        -----
        Usage is summed from the holds of the month where the account had no limits before.
        """
        values = {
            "per_transfer_minor": limits.per_transfer_minor,
            "per_day_minor": limits.per_day_minor,
            "per_month_minor": limits.per_month_minor,
            "updated_by": updated_by,
        }
        is_new = await self._connection.scalar(
            insert(account_limits)
            .values(account_id=limits.account_id, tenant_id=tenant_id, **values)
            .on_conflict_do_nothing()
            .returning(account_limits.c.account_id)
        )
        if is_new is None:
            await self._connection.execute(
                account_limits.update()
                .where(account_limits.c.account_id == limits.account_id)
                .values(updated_at=func.now(), **values)
            )
        else:
            await self._sum_up(limits.account_id)

    async def use(self, tenant_id: TenantId, account_id: AccountId, amount_minor: int) -> None:
        """Count what is reserved today of a locked account with limits."""
        new = insert(account_usage).values(
            account_id=account_id, tenant_id=tenant_id, day=_TODAY, used_minor=amount_minor
        )
        await self._connection.execute(
            new.on_conflict_do_update(
                index_elements=["account_id", "day"],
                set_={"used_minor": account_usage.c.used_minor + new.excluded.used_minor},
            )
        )

    async def give_back(self, account_id: AccountId, day: date, amount_minor: int) -> None:
        """Count out what is released of a locked account; nothing where it has no limits."""
        await self._connection.execute(
            account_usage.update()
            .where(account_usage.c.account_id == account_id, account_usage.c.day == day)
            .values(used_minor=account_usage.c.used_minor - amount_minor)
        )

    async def _usages(
        self, condition: object, account_ids: Collection[AccountId]
    ) -> dict[AccountId, LimitUsage]:
        result = await self._connection.execute(
            select(
                account_limits,
                func.coalesce(
                    func.sum(account_usage.c.used_minor).filter(account_usage.c.day == _TODAY), 0
                ).label("today_minor"),
                func.coalesce(func.sum(account_usage.c.used_minor), 0).label("month_minor"),
            )
            .outerjoin(
                account_usage,
                and_(
                    account_usage.c.account_id == account_limits.c.account_id,
                    account_usage.c.day >= _MONTH,
                ),
            )
            .where(account_limits.c.account_id.in_(account_ids), condition)  # type: ignore[arg-type]
            .group_by(account_limits.c.account_id)
        )
        return {AccountId(row["account_id"]): _usage(row) for row in result.mappings()}

    async def _sum_up(self, account_id: AccountId) -> None:
        """Count what was reserved this month before the account had limits."""
        day = cast(holds.c.created_at, Date)
        was_released = (holds.c.status == "RELEASED") | (
            (holds.c.status == "CAPTURED") & (holds.c.captured_minor > 0)
        )
        sent = case((was_released, holds.c.captured_minor), else_=holds.c.amount_minor)
        await self._connection.execute(
            insert(account_usage).from_select(
                ["account_id", "tenant_id", "day", "used_minor"],
                select(holds.c.account_id, holds.c.tenant_id, day, func.sum(sent))
                .where(holds.c.account_id == account_id, holds.c.created_at >= _MONTH)
                .group_by(holds.c.account_id, holds.c.tenant_id, day),
            )
        )


def _usage(row: RowMapping) -> LimitUsage:
    return LimitUsage(
        limits=AccountLimits(
            account_id=AccountId(row["account_id"]),
            per_transfer_minor=row["per_transfer_minor"],
            per_day_minor=row["per_day_minor"],
            per_month_minor=row["per_month_minor"],
        ),
        used_today_minor=int(row["today_minor"]),
        used_this_month_minor=int(row["month_minor"]),
    )
