"""Who calls, and what they may do."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.context import Context
from domain.access import Principal, Scope
from domain.errors import Unauthenticated

_BEARER: Final = HTTPBearer(
    auto_error=False, scheme_name="API key", description="An API key: `transfers keys create`."
)


async def _principal(
    context: Context,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> Principal:
    if credentials is None:
        raise Unauthenticated("Send an API key: Authorization: Bearer <api key>.")
    return await context.access.authenticate(credentials.credentials)


def _with_scope(scope: Scope) -> Callable[[Principal], Awaitable[Principal]]:
    async def authorised(principal: Annotated[Principal, Depends(_principal)]) -> Principal:
        principal.require(scope)
        return principal

    return authorised


UsersReader = Annotated[Principal, Depends(_with_scope(Scope.USERS_READ))]
UsersWriter = Annotated[Principal, Depends(_with_scope(Scope.USERS_WRITE))]
AccountsReader = Annotated[Principal, Depends(_with_scope(Scope.ACCOUNTS_READ))]
AccountsWriter = Annotated[Principal, Depends(_with_scope(Scope.ACCOUNTS_WRITE))]
TransfersReader = Annotated[Principal, Depends(_with_scope(Scope.TRANSFERS_READ))]
TransfersApprover = Annotated[Principal, Depends(_with_scope(Scope.TRANSFERS_APPROVE))]
RulesWriter = Annotated[Principal, Depends(_with_scope(Scope.RULES_WRITE))]
TransfersWriter = Annotated[Principal, Depends(_with_scope(Scope.TRANSFERS_WRITE))]
OperationsReader = Annotated[Principal, Depends(_with_scope(Scope.OPERATIONS_READ))]
