"""Who calls, and what they may do.

A route's one declaration of its scope is both what is enforced and what OpenAPI shows.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Request, Response, Security
from fastapi.openapi.models import OpenIdConnect
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.base import SecurityBase

from api.context import ApiContext, api_context
from api.rates import rate_headers, refuse_over_limit
from api.tracing import note
from domain.access import Principal, Scope
from domain.errors import Unauthenticated

KEY_SCHEME: Final = "API key"
ISSUER_SCHEME: Final = "OpenID Connect"

_BEARER: Final = HTTPBearer(
    auto_error=False,
    scheme_name=KEY_SCHEME,
    description="An API key (`transfers keys create`), with the scopes that are listed.",
)


class _Token(SecurityBase):
    """Says in OpenAPI that a token of the issuer will do in place of a key.

    The bearer scheme reads both: which one it is, authentication tells.
    """

    def __init__(self) -> None:
        self.scheme_name = ISSUER_SCHEME
        # Where the issuer is stands in the settings; the application fills it in.
        self.model = OpenIdConnect(
            openIdConnectUrl="", description="A token of the issuer, with these scopes."
        )

    async def __call__(self) -> None:
        """Read nothing."""


async def _principal(
    request: Request,
    _credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    _token: Annotated[None, Security(_Token())],
) -> Principal:
    return cast("Principal", request.state.principal)


class _GuardedRoute(APIRoute):
    """A route that lets callers in before it looks at anything that they send.

    FastAPI reads and parses the body before the first dependency: who has no key would be told what
    is wrong with a body, and have it read.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give the handler, behind its scope."""
        handle = super().get_route_handler()
        declared = (each for each in self.dependant.dependencies if each.call is _principal)
        scopes = [scope for each in declared for scope in each.own_oauth_scopes or ()]
        if not scopes:
            return handle

        async def guarded(request: Request) -> Response:
            request.state.principal = await _admit(request, scopes)
            return await handle(request)

        return guarded


def guarded_router(prefix: str, tag: str) -> APIRouter:
    """Make a router of routes that say which scope they take."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=_GuardedRoute)


async def _admit(request: Request, scopes: Sequence[str]) -> Principal:
    context = await api_context(request)
    credentials = await _BEARER(request)
    if credentials is None:
        raise Unauthenticated("Send an API key: Authorization: Bearer <api key>.")
    principal = await log_in_with(request, context, credentials.credentials)
    note(tenant_id=principal.tenant_id)
    rate, taken = context.rates.admit_request(principal)
    request.state.rate_headers = rate_headers(rate, taken)
    refuse_over_limit(rate, taken)
    principal.require(scopes)
    return principal


async def log_in_with(request: Request, context: ApiContext, secret: str) -> Principal:
    """Tell whom a key or token belongs to; who fails too often is kept waiting.

    Raises
    ------
    Unauthenticated
        It is not valid.
    TooManyFailedLogins
        Too many that were not valid have come from the caller's address.
    """
    address = request.client.host if request.client else None
    context.rates.admit_login(address, secret)
    try:
        principal = await context.authentication.authenticate(
            secret, source_address=address, request_id=request.state.request_id
        )
    except Unauthenticated:
        context.rates.login_failed(address, secret)
        raise
    context.rates.login_passed(secret)
    return principal


UsersReader = Annotated[Principal, Security(_principal, scopes=[Scope.USERS_READ])]
UsersWriter = Annotated[Principal, Security(_principal, scopes=[Scope.USERS_WRITE])]
AccountsReader = Annotated[Principal, Security(_principal, scopes=[Scope.ACCOUNTS_READ])]
AccountsWriter = Annotated[Principal, Security(_principal, scopes=[Scope.ACCOUNTS_WRITE])]
TransfersReader = Annotated[Principal, Security(_principal, scopes=[Scope.TRANSFERS_READ])]
TransfersWriter = Annotated[Principal, Security(_principal, scopes=[Scope.TRANSFERS_WRITE])]
TransfersApprover = Annotated[Principal, Security(_principal, scopes=[Scope.TRANSFERS_APPROVE])]
RulesWriter = Annotated[Principal, Security(_principal, scopes=[Scope.RULES_WRITE])]
AuditReader = Annotated[Principal, Security(_principal, scopes=[Scope.AUDIT_READ])]
KeysWriter = Annotated[Principal, Security(_principal, scopes=[Scope.KEYS_WRITE])]
OperationsReader = Annotated[Principal, Security(_principal, scopes=[Scope.OPERATIONS_READ])]
OperationsWriter = Annotated[Principal, Security(_principal, scopes=[Scope.OPERATIONS_WRITE])]
