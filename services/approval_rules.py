"""The rules by which transfers wait for others' approval."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from domain.audit import SYSTEM_ACTOR, Actor, Change
from domain.errors import ApprovalRuleNotFound
from domain.ids import ApiKeyId, ApprovalRuleId, TenantId
from domain.pages import Page
from domain.rules import ApprovalRule
from persistence.database import Database, UnitOfWork
from services.identifiers import new_uuid


class ApprovalRuleService:
    """Puts approval rules in force, takes them out of it, and reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        tenant_id: TenantId,
        *,
        currency: str,
        threshold_minor: int,
        approvers: int,
        deadline: timedelta,
        created_by: ApiKeyId,
        actor: Actor = SYSTEM_ACTOR,
        reason: str | None = None,
    ) -> ApprovalRule:
        """Put a rule in force for the transfers that are reserved from now on.

        Parameters
        ----------
        threshold_minor
            Minor units, from 0 to ``AMOUNT_MAXIMUM_MINOR``; the rule applies above it.
        approvers
            1 to ``APPROVERS_MAXIMUM``.
        deadline
            Whole seconds, from 1 to ``APPROVAL_SECONDS_MAXIMUM``.

        Raises
        ------
        ApprovalRuleTaken
            Another one is in force for the currency and threshold.
        """
        async with self._database.transaction() as unit_of_work:
            rule = await unit_of_work.approval_rules.insert(
                rule_id=ApprovalRuleId(new_uuid()),
                tenant_id=tenant_id,
                currency=currency,
                threshold_minor=threshold_minor,
                approvers=approvers,
                deadline=deadline,
                created_by=created_by,
            )
            details = {
                "currency": currency,
                "threshold": threshold_minor,
                "approvers": approvers,
                "deadline_seconds": int(deadline.total_seconds()),
            }
            await _record(
                unit_of_work, rule, Change("approval_rule.create", actor, reason), details
            )
        return rule

    async def retire(
        self,
        tenant_id: TenantId,
        rule_id: ApprovalRuleId,
        *,
        retired_by: ApiKeyId,
        actor: Actor = SYSTEM_ACTOR,
        reason: str | None = None,
    ) -> ApprovalRule:
        """Take a rule out of force; one that is out of it stays as it is.

        Raises
        ------
        ApprovalRuleNotFound
            The tenant has no such rule.

        Notes
        -----
        Transfers that wait already go on waiting: what they need stands on themselves.
        """
        async with self._database.transaction() as unit_of_work:
            present = await unit_of_work.approval_rules.lock(tenant_id, rule_id)
            rule = _require(present, rule_id)
            if rule.retired_at is not None:
                return rule
            await _record(unit_of_work, rule, Change("approval_rule.retire", actor, reason), {})
            retired = await unit_of_work.approval_rules.retire(
                tenant_id, rule_id, retired_by=retired_by
            )
        return _require(retired, rule_id)

    async def get(self, tenant_id: TenantId, rule_id: ApprovalRuleId) -> ApprovalRule:
        """Read a rule.

        Raises
        ------
        ApprovalRuleNotFound
            The tenant has no such rule.
        """
        async with self._database.reading() as unit_of_work:
            rule = await unit_of_work.approval_rules.get(tenant_id, rule_id)
        return _require(rule, rule_id)

    async def page(
        self, tenant_id: TenantId, *, is_in_force: bool | None, after: UUID | None, limit: int
    ) -> Page[ApprovalRule]:
        """Read a page of rules, newest first; those in force, retired ones, or both."""
        async with self._database.reading() as unit_of_work:
            found = await unit_of_work.approval_rules.page(
                tenant_id, is_in_force=is_in_force, after=after, limit=limit + 1
            )
        return Page.of(found, limit, lambda rule: str(rule.id))


def _require(rule: ApprovalRule | None, rule_id: ApprovalRuleId) -> ApprovalRule:
    if rule is None:
        raise ApprovalRuleNotFound(str(rule_id))
    return rule


async def _record(
    unit_of_work: UnitOfWork,
    rule: ApprovalRule,
    change: Change,
    details: Mapping[str, Any],
) -> None:
    await unit_of_work.audit.record(
        change.actor,
        change.action,
        tenant_id=rule.tenant_id,
        subject_type="approval_rule",
        subject_id=rule.id,
        reason=change.reason,
        details=details,
    )
