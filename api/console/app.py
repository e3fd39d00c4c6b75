"""The console as a part of the API's application."""

from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request, Response
from starlette.staticfiles import StaticFiles

from api.console.pages import PREFIX, STATIC
from api.console.routes import (
    accounts,
    api_keys,
    approvals,
    audit_log,
    batches,
    overview,
    session,
    standing_orders,
    stuck,
    transfers,
)
from api.console.routing import console_router, error_page

_PAGES: Final = (
    session,
    overview,
    transfers,
    stuck,
    approvals,
    batches,
    standing_orders,
    accounts,
    audit_log,
    api_keys,
)

_elsewhere = console_router()


@_elsewhere.get("/{_path:path}")
async def nothing_here(request: Request) -> Response:
    """Say that there is no such page."""
    return await error_page(
        request, HTTPStatus.NOT_FOUND, f"There is no page at {request.url.path}.", code="not_found"
    )


def add_console(app: FastAPI) -> None:
    """Add the console's pages and what they are drawn with."""
    app.mount(f"{PREFIX}/static", StaticFiles(directory=STATIC), name="console-static")
    for module in _PAGES:
        app.include_router(module.router)
    app.include_router(_elsewhere)
