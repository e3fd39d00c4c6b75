"""Rules and limits that the rows of a batch meet, in SQL."""

from collections.abc import Collection, Mapping
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from domain.ids import AccountId, TenantId
from domain.rules import ApprovalRule, LimitUsage
from persistence import array_text
from persistence.approval_rules import rule_from
from persistence.limits import usage_from

_RULES: Final = """
SELECT * FROM approval_rules WHERE tenant_id = %(tenant_id)s AND retired_at IS NULL
"""
# Connections are in UTC, and the day is that of the transaction's start, as for single transfers.
_USAGES: Final = """
SELECT limits.*,
    coalesce(sum(usage.used_minor) FILTER (WHERE usage.day = now()::date), 0) AS today_minor,
    coalesce(sum(usage.used_minor), 0) AS month_minor
FROM account_limits AS limits
LEFT JOIN account_usage AS usage ON usage.account_id = limits.account_id
    AND usage.day >= date_trunc('month', now())::date
    AND usage.day < (date_trunc('month', now()) + interval '1 month')::date
WHERE limits.account_id = ANY(%(ids)s::uuid[])
GROUP BY limits.account_id
"""
_USE: Final = """
INSERT INTO account_usage (account_id, tenant_id, day, used_minor)
SELECT account_id, %(tenant_id)s, now()::date, used_minor
FROM unnest(%(ids)s::uuid[], %(amounts)s::numeric[]) AS counted (account_id, used_minor)
ON CONFLICT (account_id, day)
    DO UPDATE SET used_minor = account_usage.used_minor + excluded.used_minor
"""


class BatchBoundStatements:
    """Statements of a batch's transaction; they never commit."""

    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def rules(self, tenant_id: TenantId) -> list[ApprovalRule]:
        """Read the tenant's approval rules in force."""
        cursor = await self._connection.execute(_RULES, {"tenant_id": tenant_id})
        return [rule_from(row) for row in await cursor.fetchall()]

    async def usages(self, account_ids: Collection[AccountId]) -> dict[AccountId, LimitUsage]:
        """Read the limits of locked accounts that have some, and what of them is used."""
        if not account_ids:
            return {}
        cursor = await self._connection.execute(_USAGES, {"ids": array_text.uuids(account_ids)})
        found = [usage_from(row) for row in await cursor.fetchall()]
        return {usage.limits.account_id: usage for usage in found}

    async def use(self, tenant_id: TenantId, counted_minor: Mapping[AccountId, int]) -> None:
        """Count what is sent today of locked accounts with limits."""
        if not counted_minor:
            return
        await self._connection.execute(
            _USE,
            {
                "tenant_id": tenant_id,
                "ids": array_text.uuids(counted_minor),
                "amounts": array_text.numbers(counted_minor.values()),
            },
        )
