"""API keys: who can do what, for operators and for those who hand keys out."""

from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import Request, Response

from api.console.pages import PREFIX, done, page
from api.console.reasons import reason_of
from api.console.routing import console_router
from api.console.visitors import Form, KeyMaker, KeyRevoker, KeysVisitor
from api.context import Context
from domain.access import NewApiKey, Scope
from domain.errors import FieldProblem, ValidationFailed
from domain.limits import NAME_LENGTH_MAXIMUM

router = console_router()

SCOPE_FIELD: Final = "scope."
"""Begins the names of the boxes, one for each scope."""

LIFETIMES_DAYS: Final = (30, 90, 365)
"""What a form offers; without one a key lasts until it is revoked."""


@router.get("/api-keys")
async def api_key_list(request: Request, context: Context, visitor: KeysVisitor) -> Response:
    """Show the keys of the tenant that is looked at."""
    keys = await context.access.list_keys(visitor.session.viewed.name)
    return page(
        request,
        visitor,
        "api_keys.html",
        keys=keys,
        scopes=sorted(visitor.session.scopes),
        lifetimes=LIFETIMES_DAYS,
        name_maximum=NAME_LENGTH_MAXIMUM,
    )


@router.post("/api-keys")
async def make_key(request: Request, context: Context, visitor: KeyMaker, form: Form) -> Response:
    """Make a key of the visitor's own tenant, which can do no more than the visitor."""
    key, secret = await context.access.create_for(
        visitor.principal, _new_key(form), reason=reason_of(form)
    )
    return page(request, visitor, "api_key_secret.html", key=key, secret=secret, earlier_until=None)


@router.post("/api-keys/{key_id}/rotate")
async def rotate_key(
    request: Request, context: Context, visitor: KeyMaker, key_id: str, form: Form
) -> Response:
    """Give a key another secret; the present one is taken too for a while."""
    key, secret = await context.access.rotate_key(
        key_id, rotated_by=visitor.principal, reason=reason_of(form)
    )
    return page(
        request,
        visitor,
        "api_key_secret.html",
        key=key,
        secret=secret,
        earlier_until=key.previous_expires_at,
    )


@router.post("/api-keys/{key_id}/revoke")
async def revoke_key(
    request: Request, context: Context, visitor: KeyRevoker, key_id: str, form: Form
) -> Response:
    """Revoke a key of the tenant that is looked at, for ever."""
    key = await context.access.revoke_key(
        key_id, revoked_by=visitor.principal, reason=reason_of(form)
    )
    return done(request, f"{PREFIX}/api-keys", f"The key {key.name} is revoked, for ever.")


def _new_key(form: Form) -> NewApiKey:
    """Read the key that a form asks for.

    Raises
    ------
    ValidationFailed
        It has no name, or one that is too long; no scope; or a lifetime that is not offered.
    """
    name = form.get("name", "")
    asked = {field.removeprefix(SCOPE_FIELD) for field in form if field.startswith(SCOPE_FIELD)}
    scopes = frozenset(scope for scope in Scope if scope.value in asked)
    days = form.get("expires_in_days", "")
    offered = {str(each): each for each in LIFETIMES_DAYS}
    problems = [
        problem
        for is_wrong, problem in (
            (
                not 1 <= len(name) <= NAME_LENGTH_MAXIMUM or not name.isprintable(),
                FieldProblem("name", "name", f"must have 1 to {NAME_LENGTH_MAXIMUM} characters"),
            ),
            (not scopes, FieldProblem("scopes", "scopes", "must be one at least")),
            (
                bool(days) and days not in offered,
                FieldProblem("expires_in_days", "choice", f"must be one of {LIFETIMES_DAYS}"),
            ),
        )
        if is_wrong
    ]
    if problems:
        raise ValidationFailed(problems)
    expires_at = datetime.now(UTC) + timedelta(days=offered[days]) if days else None
    return NewApiKey(name, scopes, expires_at, None)
