"""Approval rules in SQL. A rule never changes: it is retired, and another one made."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ApiKeyId, ApprovalRuleId, TenantId
from domain.rules import ApprovalRule
from persistence.tables.accounts import approval_rules

_IN_FORCE: Final = approval_rules.c.retired_at.is_(None)


class ApprovalRuleRepository:
    """Rows of ``approval_rules``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def insert(
        self,
        *,
        rule_id: ApprovalRuleId,
        tenant_id: TenantId,
        currency: str,
        threshold_minor: int,
        approvers: int,
        deadline: timedelta,
        created_by: ApiKeyId,
    ) -> ApprovalRule:
        """Put a rule in force.

        Raises
        ------
        ApprovalRuleTaken
            Another one is in force for the threshold.
        """
        result = await self._connection.execute(
            insert(approval_rules)
            .values(
                id=rule_id,
                tenant_id=tenant_id,
                currency=currency,
                threshold_minor=threshold_minor,
                approvers=approvers,
                deadline_seconds=int(deadline.total_seconds()),
                created_by=created_by,
            )
            .returning(approval_rules)
        )
        return rule_from(result.mappings().one())

    async def retire(
        self, tenant_id: TenantId, rule_id: ApprovalRuleId, *, retired_by: ApiKeyId
    ) -> ApprovalRule | None:
        """Take a rule out of force; one that is out of it already stays as it is."""
        of_tenant = (approval_rules.c.tenant_id == tenant_id, approval_rules.c.id == rule_id)
        await self._connection.execute(
            update(approval_rules)
            .where(*of_tenant, _IN_FORCE)
            .values(retired_at=func.now(), retired_by=retired_by)
        )
        return await self.get(tenant_id, rule_id)

    async def get(self, tenant_id: TenantId, rule_id: ApprovalRuleId) -> ApprovalRule | None:
        """Read one rule."""
        result = await self._connection.execute(
            select(approval_rules).where(
                approval_rules.c.tenant_id == tenant_id, approval_rules.c.id == rule_id
            )
        )
        row = result.mappings().one_or_none()
        return None if row is None else rule_from(row)

    async def lock(self, tenant_id: TenantId, rule_id: ApprovalRuleId) -> ApprovalRule | None:
        """Read one rule and lock it until the transaction ends."""
        result = await self._connection.execute(
            select(approval_rules)
            .where(approval_rules.c.tenant_id == tenant_id, approval_rules.c.id == rule_id)
            .with_for_update(key_share=True)
        )
        row = result.mappings().one_or_none()
        return None if row is None else rule_from(row)

    async def highest(
        self, tenant_id: TenantId, amounts_minor: Mapping[str, int]
    ) -> list[ApprovalRule]:
        """Find the rule in force with the highest threshold below the amount of each currency."""
        found: list[ApprovalRule] = []
        for currency, amount_minor in amounts_minor.items():
            result = await self._connection.execute(
                select(approval_rules)
                .where(
                    approval_rules.c.tenant_id == tenant_id,
                    approval_rules.c.currency == currency,
                    approval_rules.c.threshold_minor < amount_minor,
                    _IN_FORCE,
                )
                .order_by(approval_rules.c.threshold_minor.desc())
                .limit(1)
            )
            found += [rule_from(row) for row in result.mappings()]
        return found

    async def in_force(self, tenant_id: TenantId) -> list[ApprovalRule]:
        """Read all rules in force, for judging many transfers at once."""
        result = await self._connection.execute(
            select(approval_rules).where(approval_rules.c.tenant_id == tenant_id, _IN_FORCE)
        )
        return [rule_from(row) for row in result.mappings()]

    async def page(
        self, tenant_id: TenantId, *, is_in_force: bool | None, after: UUID | None, limit: int
    ) -> list[ApprovalRule]:
        """Read rules, newest first, from just behind ``after``."""
        statement = select(approval_rules).where(approval_rules.c.tenant_id == tenant_id)
        if is_in_force is not None:
            statement = statement.where(_IN_FORCE if is_in_force else ~_IN_FORCE)
        if after is not None:
            statement = statement.where(approval_rules.c.id < after)
        result = await self._connection.execute(
            statement.order_by(approval_rules.c.id.desc()).limit(limit)
        )
        return [rule_from(row) for row in result.mappings()]


def rule_from(row: RowMapping | Mapping[str, Any]) -> ApprovalRule:
    """Read a rule from a row of its table."""
    return ApprovalRule(
        id=ApprovalRuleId(row["id"]),
        tenant_id=TenantId(row["tenant_id"]),
        currency=row["currency"],
        threshold_minor=row["threshold_minor"],
        approvers=row["approvers"],
        deadline=timedelta(seconds=row["deadline_seconds"]),
        created_at=row["created_at"],
        created_by=_key(row["created_by"]),
        retired_at=row["retired_at"],
        retired_by=_key(row["retired_by"]),
    )


def _key(key_id: UUID | None) -> ApiKeyId | None:
    return None if key_id is None else ApiKeyId(key_id)
