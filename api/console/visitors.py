"""Who looks at the console, what they may do, and the forms that they send."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Final

from fastapi import Depends, Request

from api.console.cookies import SESSION, form_token, is_form_token, read_cookie
from api.context import Context
from domain.access import Principal, Scope
from domain.console_sessions import ConsoleSession
from domain.errors import DomainError, ScopeMissing, SessionEnded
from domain.ids import TenantId

TOKEN_FIELD: Final = "csrf_token"  # noqa: S105 - a field's name
LIVE_HEADER: Final = "X-Console-Live"
"""Sent by pages that update themselves."""


class FormForged(DomainError):
    """A form does not come from a page of this session."""

    code = "form_forged"

    def __init__(self) -> None:
        super().__init__(
            "This form does not belong to your session. Open the page again and repeat it there."
        )


class NotLoggedIn(SessionEnded):
    """There is no session at all."""

    code = "not_logged_in"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody with a session.

    Parameters
    ----------
    token
        The session's secret.
    principal
        Who the visitor is to the services.
    """

    session: ConsoleSession
    token: str = field(repr=False)
    principal: Principal

    @property
    def tenant_id(self) -> TenantId:
        """The tenant whose pages are shown."""
        return self.session.viewed.id

    @property
    def at_home(self) -> Principal:
        """The visitor in the tenant of the key, wherever it looks."""
        return replace(self.principal, tenant_id=self.session.key.tenant_id)

    @property
    def form_token(self) -> str:
        """What each form of the visitor carries."""
        return form_token(self.token)

    def may(self, *any_of: Scope) -> bool:
        """Tell whether the visitor has one of some scopes here."""
        return not self.session.scopes.isdisjoint(any_of)


async def find_visitor(request: Request, context: Context) -> Visitor:
    """Tell who asks.

    Raises
    ------
    NotLoggedIn
        The browser has no session.
    SessionEnded
        It has one that is over.
    """
    token = read_cookie(request, SESSION)
    if token is None:
        raise NotLoggedIn
    session = await context.console.sessions.find(token, is_use=LIVE_HEADER not in request.headers)
    address, request_id = origin_of(request)
    return Visitor(session, token, session.principal(source_address=address, request_id=request_id))


def origin_of(request: Request) -> tuple[str | None, str | None]:
    """Tell where a request comes from, and its id, for the audit log."""
    address = request.client.host if request.client else None
    return address, getattr(request.state, "request_id", None)


Anybody = Annotated[Visitor, Depends(find_visitor)]


async def _fields(request: Request) -> Mapping[str, str]:
    return await read_form(request)


async def read_form(request: Request) -> Mapping[str, str]:
    """Read a form's fields, without spaces around them; files and doubles are left out."""
    form = await request.form()
    return {name: value.strip() for name, value in form.items() if isinstance(value, str)}


async def _signed_fields(
    visitor: Anybody, fields: Annotated[Mapping[str, str], Depends(_fields)]
) -> Mapping[str, str]:
    if not is_form_token(visitor.token, fields.get(TOKEN_FIELD, "")):
        raise FormForged
    return fields


Form = Annotated[Mapping[str, str], Depends(_signed_fields)]
"""A form's fields, sent from a page of the visitor's own session."""


def _with_scope(*any_of: Scope) -> Callable[[Visitor], Awaitable[Visitor]]:
    async def authorised(visitor: Anybody) -> Visitor:
        if not visitor.may(*any_of):
            raise ScopeMissing(" or ".join(any_of))
        return visitor

    return authorised


TransfersVisitor = Annotated[Visitor, Depends(_with_scope(Scope.TRANSFERS_READ))]
TransfersEditor = Annotated[Visitor, Depends(_with_scope(Scope.TRANSFERS_WRITE))]
Approver = Annotated[Visitor, Depends(_with_scope(Scope.TRANSFERS_APPROVE))]
AccountsVisitor = Annotated[Visitor, Depends(_with_scope(Scope.ACCOUNTS_READ))]
AccountsEditor = Annotated[Visitor, Depends(_with_scope(Scope.ACCOUNTS_WRITE))]
AuditVisitor = Annotated[Visitor, Depends(_with_scope(Scope.AUDIT_READ, Scope.OPERATIONS_READ))]
OperatingVisitor = Annotated[Visitor, Depends(_with_scope(Scope.OPERATIONS_READ))]
Operator = Annotated[Visitor, Depends(_with_scope(Scope.OPERATIONS_WRITE))]
KeysVisitor = Annotated[Visitor, Depends(_with_scope(Scope.OPERATIONS_READ, Scope.KEYS_WRITE))]
KeyRevoker = Annotated[Visitor, Depends(_with_scope(Scope.OPERATIONS_WRITE, Scope.KEYS_WRITE))]
KeyMaker = Annotated[Visitor, Depends(_with_scope(Scope.KEYS_WRITE))]
