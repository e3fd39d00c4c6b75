"""Limits of accounts, and what is used of them, in SQL.

What is used is kept for accounts with limits alone, by the day of the reserve, and changed only
while the account's balance is locked. A reserve's day is that of its transaction's start, which is
also the time of its holds: what is used on a day is what that day's holds sum to.
"""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Date,
    Interval,
    RowMapping,
    and_,
    bindparam,
    cast,
    delete,
    func,
    literal,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import AccountId, ApiKeyId, TenantId
from domain.rules import AccountLimits, LimitUsage
from persistence.tables.accounts import account_limits, account_usage, balances

_UTC_NOW: Final = func.timezone("UTC", func.now())
_TODAY: Final = cast(_UTC_NOW, Date)
_MONTH: Final = cast(func.date_trunc("month", _UTC_NOW), Date)
_NEXT_MONTH: Final = cast(
    func.date_trunc("month", _UTC_NOW) + literal("1 month").cast(Interval), Date
)

# Of a hold that is open, all; of a closed one, what it was captured for. Reversals do not count.
# A batch's transfers have no holds: they are reserved and posted at once.
USED_THIS_MONTH: Final = """
SELECT account_id, tenant_id, day, sum(used_minor) AS used_minor
FROM (
    SELECT hold.account_id, hold.tenant_id, (hold.created_at AT TIME ZONE 'UTC')::date AS day,
        CASE WHEN hold.status = 'RELEASED' OR hold.status = 'CAPTURED' AND hold.captured_minor > 0
            THEN hold.captured_minor ELSE hold.amount_minor END AS used_minor
    FROM account_limits AS limits
    JOIN holds AS hold ON hold.account_id = limits.account_id
        AND hold.created_at >= date_trunc('month', now(), 'UTC')
    JOIN transfers AS transfer ON transfer.id = hold.transfer_id AND transfer.reversal_of IS NULL
    UNION ALL
    SELECT transfer.source_account_id, transfer.tenant_id,
        (transfer.created_at AT TIME ZONE 'UTC')::date, transfer.amount_minor
    FROM account_limits AS limits
    JOIN transfers AS transfer ON transfer.source_account_id = limits.account_id
        AND transfer.batch_id IS NOT NULL AND transfer.state = 'SUCCESS'
        AND transfer.created_at >= date_trunc('month', now(), 'UTC')
) AS sent
GROUP BY account_id, tenant_id, day
"""
"""What accounts with limits have used, as their holds and their rows of batches tell it."""

_SUM_UP: Final = text(
    f"INSERT INTO account_usage (account_id, tenant_id, day, used_minor) {USED_THIS_MONTH}"
    " HAVING account_id = :account"
).bindparams(bindparam("account", type_=account_usage.c.account_id.type))


class LimitRepository:
    """Rows of ``account_limits`` and ``account_usage``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, tenant_id: TenantId, account_id: AccountId) -> LimitUsage | None:
        """Read the limits of an account, if it has any, and what is used of them."""
        found = await self._usages([account_id], account_limits.c.tenant_id == tenant_id)
        return found.get(account_id)

    async def usages(self, account_ids: Collection[AccountId]) -> dict[AccountId, LimitUsage]:
        """Read the limits of those among locked accounts that have any."""
        return await self._usages(account_ids, true())

    async def set(
        self, tenant_id: TenantId, limits: AccountLimits, *, updated_by: ApiKeyId | None
    ) -> None:
        """Set the limits of a locked account; what was sent this month counts from the first one.

        Notes
        -----
        Usage is summed from what was sent this month where the account had no limits before.
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
                update(account_limits)
                .where(account_limits.c.account_id == limits.account_id)
                .values(updated_at=func.now(), **values)
            )
            return
        await self._mark(limits.account_id, has_limits=True)
        await self._connection.execute(_SUM_UP, {"account": limits.account_id})

    async def clear(self, account_id: AccountId) -> None:
        """Take all limits from a locked account, and forget what was used of them."""
        for table in (account_usage, account_limits):
            await self._connection.execute(delete(table).where(table.c.account_id == account_id))
        await self._mark(account_id, has_limits=False)

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
        self, account_ids: Collection[AccountId], condition: ColumnElement[bool]
    ) -> dict[AccountId, LimitUsage]:
        used_minor = func.sum(account_usage.c.used_minor)
        result = await self._connection.execute(
            select(
                account_limits,
                func.coalesce(used_minor.filter(account_usage.c.day == _TODAY), 0).label(
                    "today_minor"
                ),
                func.coalesce(used_minor, 0).label("month_minor"),
            )
            .outerjoin(
                account_usage,
                and_(
                    account_usage.c.account_id == account_limits.c.account_id,
                    account_usage.c.day >= _MONTH,
                    account_usage.c.day < _NEXT_MONTH,
                ),
            )
            .where(account_limits.c.account_id.in_(list(account_ids)), condition)
            .group_by(account_limits.c.account_id)
        )
        return {AccountId(row["account_id"]): usage_from(row) for row in result.mappings()}

    async def _mark(self, account_id: AccountId, *, has_limits: bool) -> None:
        """Say it on the balance, which a reserve looks at again after a wait for its lock."""
        await self._connection.execute(
            update(balances)
            .where(balances.c.account_id == account_id)
            .values(has_limits=has_limits)
        )


def usage_from(row: RowMapping | Mapping[str, Any]) -> LimitUsage:
    """Read what is used of limits from a row of both."""
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
