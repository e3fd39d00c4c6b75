"""Approval rules."""

from http import HTTPStatus
from typing import Annotated

from fastapi import Query, Response

from api.auth import RulesWriter, TransfersReader, guarded_router
from api.context import Context
from api.parameters import PAGE_SIZE, Cursor, PageSize, RuleInPath
from api.responses import answer, answer_page, problems
from api.rule_schemas import ApprovalRuleCreate, ApprovalRuleView
from api.schemas import ChangeBody, ListView

router = guarded_router("/v1/approval-rules", "approval rules")


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=ApprovalRuleView,
    responses=problems(HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT),
)
async def create_rule(
    body: ApprovalRuleCreate, context: Context, principal: RulesWriter
) -> Response:
    """Let transfers above a threshold wait for approval, from now on."""
    rule = await context.approval_rules.create(
        principal.tenant_id,
        currency=body.currency,
        threshold_minor=body.threshold,
        approvers=body.approvers,
        deadline=body.deadline,
        created_by=principal.api_key_id,
        actor=principal.actor,
        reason=body.reason,
    )
    return answer(
        ApprovalRuleView.of(rule),
        HTTPStatus.CREATED,
        {"Location": f"/v1/approval-rules/{rule.id}"},
    )


@router.get("", response_model=ListView[ApprovalRuleView], responses=problems())
async def list_rules(
    *,
    context: Context,
    principal: TransfersReader,
    cursor: Cursor,
    in_force: Annotated[
        bool | None, Query(description="Only those in force, or only retired ones.")
    ] = None,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read rules, newest first, retired ones among them."""
    page = await context.approval_rules.page(
        principal.tenant_id, is_in_force=in_force, after=cursor, limit=page_size
    )
    return answer_page(page, ApprovalRuleView.of)


@router.get("/{rule}", response_model=ApprovalRuleView, responses=problems(HTTPStatus.NOT_FOUND))
async def get_rule(rule: RuleInPath, context: Context, principal: TransfersReader) -> Response:
    """Read a rule."""
    return answer(ApprovalRuleView.of(await context.approval_rules.get(principal.tenant_id, rule)))


@router.post(
    "/{rule}/retire",
    response_model=ApprovalRuleView,
    responses=problems(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
)
async def retire_rule(
    rule: RuleInPath, context: Context, principal: RulesWriter, body: ChangeBody | None = None
) -> Response:
    """Take a rule out of force. It stays on record, and transfers that wait go on waiting."""
    retired = await context.approval_rules.retire(
        principal.tenant_id,
        rule,
        retired_by=principal.api_key_id,
        actor=principal.actor,
        reason=ChangeBody.reason_of(body),
    )
    return answer(ApprovalRuleView.of(retired))
