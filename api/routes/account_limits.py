"""Limits of accounts."""

from http import HTTPStatus
from typing import Final

from fastapi import Response

from api.auth import AccountsReader, RulesWriter, guarded_router
from api.context import Context
from api.parameters import AccountInPath, ReasonInQuery
from api.responses import answer, problems
from api.rule_schemas import LimitsChange, LimitsView

router = guarded_router("/v1/accounts/{account}/limits", "limits")

_CHANGED: Final = problems(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)


@router.get("", response_model=LimitsView, responses=problems(HTTPStatus.NOT_FOUND))
async def get_limits(
    account: AccountInPath, context: Context, principal: AccountsReader
) -> Response:
    """Read how much an account may send, and what it has used of that."""
    return answer(LimitsView.of(*await context.limits.get(principal.tenant_id, account)))


@router.put("", response_model=LimitsView, responses=_CHANGED)
async def change_limits(
    account: AccountInPath, body: LimitsChange, context: Context, principal: RulesWriter
) -> Response:
    """Set limits. What is left out stays; null takes a limit away, and 0 lets nothing through.

    With an account's first limit, what it has reserved since the start of the month counts.
    """
    changed = await context.limits.change(
        principal.tenant_id,
        account,
        body.to_changes(),
        changed_by=principal.api_key_id,
        actor=principal.actor,
        reason=body.reason,
    )
    return answer(LimitsView.of(*changed))


@router.delete("", response_model=LimitsView, responses=_CHANGED)
async def clear_limits(
    account: AccountInPath, context: Context, principal: RulesWriter, reason: ReasonInQuery = None
) -> Response:
    """Take all limits of an account away."""
    cleared = await context.limits.clear(
        principal.tenant_id, account, actor=principal.actor, reason=reason
    )
    return answer(LimitsView.of(*cleared))
