"""Rules of a tenant, put in force past the API."""

from datetime import timedelta
from uuid import uuid4

from domain.ids import ApprovalRuleId, TenantId
from runtime.composition import Services


async def require_approval(
    services: Services, tenant_id: TenantId, *, approvers: int = 1, deadline: timedelta
) -> None:
    """Let each transfer of more than one cent wait for approvals."""
    keys = await services.access.list_keys(None)
    async with services.database.transaction(tenant_id) as unit_of_work:
        await unit_of_work.approval_rules.insert(
            rule_id=ApprovalRuleId(uuid4()),
            tenant_id=tenant_id,
            currency="EUR",
            threshold_minor=1,
            approvers=approvers,
            deadline=deadline,
            created_by=next(key.id for key in keys if key.tenant_id == tenant_id),
        )
