"""API keys, for operators: who can do what."""

from fastapi import Request, Response

from api.console.pages import page
from api.console.routing import console_router
from api.console.visitors import OperatingVisitor
from api.context import Context

router = console_router()


@router.get("/api-keys")
async def api_key_list(request: Request, context: Context, visitor: OperatingVisitor) -> Response:
    """Show the keys of the tenant that is looked at."""
    keys = await context.access.list_keys(visitor.session.viewed.name)
    return page(request, visitor, "api_keys.html", keys=keys)
