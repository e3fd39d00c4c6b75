"""How the console's handlers fail: every error is a page, or sends the browser to the login."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import structlog
from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.console.cookies import SESSION, drop_cookie
from api.console.pages import HEADERS, PREFIX, done, go, own_path, page
from api.console.visitors import LIVE_HEADER, FormForged, NotLoggedIn, Visitor, find_visitor
from api.context import api_context
from api.problems import retry_after, status_of
from domain.errors import (
    DomainError,
    NotFound,
    ServiceUnavailable,
    SessionEnded,
    Unauthenticated,
    ValidationFailed,
)
from workflows.gateway import OperationRefused

RETURN_FIELD: Final = "return_to"
_TITLES: Final = {
    HTTPStatus.FORBIDDEN: "You may not do this",
    HTTPStatus.NOT_FOUND: "Nothing here",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not available just now",
}


class ConsoleRoute(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give the handler, with its errors turned into pages."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except SessionEnded as error:
                return _to_login(request, error)
            except DomainError as error:
                return await _refused(request, error)
            except OperationRefused as error:
                return done(request, _return_path(request), error.failure.message, is_error=True)
            except (RequestValidationError, HTTPException) as error:
                return await _bad_request(request, error)

        return handled


def console_router() -> APIRouter:
    """Make a router for pages."""
    return APIRouter(prefix=PREFIX, route_class=ConsoleRoute, include_in_schema=False)


def _to_login(request: Request, error: SessionEnded) -> Response:
    wanted = request.url.path if request.method == "GET" else _return_path(request)
    if request.method == "GET" and request.url.query:
        wanted += f"?{request.url.query}"
    login = f"{PREFIX}/login?next={quote(wanted, safe='')}"
    if not isinstance(error, NotLoggedIn):
        login += "&ended=1"
    if LIVE_HEADER in request.headers:
        # A part of a page cannot be sent elsewhere; the whole page can.
        headers = {**HEADERS, "HX-Redirect": login}
        response = Response(status_code=HTTPStatus.UNAUTHORIZED, headers=headers)
    else:
        response = go(login)
    if not isinstance(error, NotLoggedIn):
        drop_cookie(request, response, SESSION)
    return response


async def _refused(request: Request, error: DomainError) -> Response:
    """Show what was refused: on the form's own page where that can be tried again."""
    status = HTTPStatus.FORBIDDEN if isinstance(error, FormForged) else status_of(error)
    stays = isinstance(error, NotFound | ServiceUnavailable) or status is HTTPStatus.FORBIDDEN
    if request.method == "POST" and not stays:
        return done(request, _return_path(request), error.message, is_error=True)
    response = await error_page(request, status, error.message, code=error.code)
    if isinstance(error, ServiceUnavailable):
        response.headers.update(retry_after(error))
    return response


async def _bad_request(request: Request, error: RequestValidationError | HTTPException) -> Response:
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        return await error_page(request, status, str(error.detail), code="http_error")
    detail = "The address or the form has a value that cannot be."
    return await error_page(request, HTTPStatus.BAD_REQUEST, detail, code=ValidationFailed.code)


async def error_page(request: Request, status: int, detail: str, *, code: str) -> Response:
    """Answer with a page that says what went wrong."""
    return page(
        request,
        await _visitor(request),
        "error.html",
        http_status=status,
        title=_TITLES.get(HTTPStatus(status), HTTPStatus(status).phrase),
        detail=detail,
        code=code,
    )


async def _visitor(request: Request) -> Visitor | None:
    """Tell who asks, so that an error's page has the navigation, too."""
    try:
        return await find_visitor(request, await api_context(request))
    except (Unauthenticated, ServiceUnavailable) as error:
        structlog.get_logger("console").debug("error_without_visitor", code=error.code)
        return None


def _return_path(request: Request) -> str:
    """Tell where a form was sent from: the page that its address is part of."""
    return own_path(request.query_params.get(RETURN_FIELD) or request.url.path.rpartition("/")[0])
