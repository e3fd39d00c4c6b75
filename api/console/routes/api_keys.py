"""API keys, for operators: who can do what."""

from fastapi import Request, Response

from api.console.pages import PREFIX, done, page
from api.console.reasons import reason_of
from api.console.routing import console_router
from api.console.visitors import Form, OperatingVisitor, Operator
from api.context import Context
from domain.errors import ApiKeyNotFound

router = console_router()


@router.get("/api-keys")
async def api_key_list(request: Request, context: Context, visitor: OperatingVisitor) -> Response:
    """Show the keys of the tenant that is looked at."""
    keys = await context.access.list_keys(visitor.session.viewed.name)
    return page(request, visitor, "api_keys.html", keys=keys)


@router.post("/api-keys/{key_id}/revoke")
async def revoke_key(
    request: Request, context: Context, visitor: Operator, key_id: str, form: Form
) -> Response:
    """Revoke a key of the tenant that is looked at, for ever."""
    reason = reason_of(form)
    keys = await context.access.list_keys(visitor.session.viewed.name)
    if key_id not in {str(key.id) for key in keys}:
        raise ApiKeyNotFound(key_id)
    key = await context.access.revoke_key(key_id, actor=visitor.principal.actor, reason=reason)
    return done(request, f"{PREFIX}/api-keys", f"The key {key.name} is revoked, for ever.")
