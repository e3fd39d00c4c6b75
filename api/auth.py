"""Who calls, and what they may do."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.context import Context
from domain.access import Principal, Scope
from domain.errors import Unauthenticated

_BEARER: Final = HTTPBearer(
    auto_error=False, scheme_name="API key", description="An API key: `transfers keys create`."
)


async def _principal(
    request: Request,
    context: Context,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> Principal:
    if credentials is None:
        raise Unauthenticated("Send an API key: Authorization: Bearer <api key>.")
    return await context.access.authenticate(
        credentials.credentials,
        source_address=request.client.host if request.client else None,
        request_id=request.state.request_id,
    )


def _with_scope(*scopes: Scope) -> Callable[[Principal], Awaitable[Principal]]:
    """Let a caller through who has one of some scopes."""

    async def authorised(principal: Annotated[Principal, Depends(_principal)]) -> Principal:
        principal.require(*scopes)
        return principal

    return authorised


UsersReader = Annotated[Principal, Depends(_with_scope(Scope.USERS_READ))]
UsersWriter = Annotated[Principal, Depends(_with_scope(Scope.USERS_WRITE))]
AccountsReader = Annotated[Principal, Depends(_with_scope(Scope.ACCOUNTS_READ))]
AccountsWriter = Annotated[Principal, Depends(_with_scope(Scope.ACCOUNTS_WRITE))]
TransfersReader = Annotated[Principal, Depends(_with_scope(Scope.TRANSFERS_READ))]
TransfersApprover = Annotated[Principal, Depends(_with_scope(Scope.TRANSFERS_APPROVE))]
RulesWriter = Annotated[Principal, Depends(_with_scope(Scope.RULES_WRITE))]
AuditReader = Annotated[Principal, Depends(_with_scope(Scope.AUDIT_READ, Scope.OPERATIONS_READ))]
TransfersWriter = Annotated[Principal, Depends(_with_scope(Scope.TRANSFERS_WRITE))]
EvidenceReader = Annotated[
    Principal, Depends(_with_scope(Scope.TRANSFERS_READ, Scope.OPERATIONS_READ))
]
OperationsReader = Annotated[Principal, Depends(_with_scope(Scope.OPERATIONS_READ))]
OperationsWriter = Annotated[Principal, Depends(_with_scope(Scope.OPERATIONS_WRITE))]
