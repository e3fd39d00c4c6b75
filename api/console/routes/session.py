"""Login and logout, the tenant that is looked at, and the theme."""

import secrets
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import HTTPException, Query, Request, Response

from api.auth import log_in_with
from api.console.cookies import (
    ISSUER_LOGIN,
    LOGIN,
    SESSION,
    THEME,
    THEME_SECONDS,
    THEMES,
    drop_cookie,
    form_token,
    is_form_token,
    read_cookie,
    read_theme,
    set_cookie,
    set_session,
)
from api.console.issuer_login import IssuerLogin, LoginAttempt
from api.console.pages import PREFIX, go, own_path, page, sections_of
from api.console.routing import console_router
from api.console.visitors import (
    TOKEN_FIELD,
    Anybody,
    Form,
    FormForged,
    read_form,
)
from api.context import ApiContext, Context
from api.problems import status_of
from domain.errors import TooManyRequests, Unauthenticated

router = console_router()

LOGIN_SECONDS: Final = 3600
"""How long a login's form can be filled in."""
LOGIN_TOKEN_BYTES: Final = 32
ISSUER_LOGIN_SECONDS: Final = 600
"""How long somebody may take at the issuer."""
ISSUER_RETURN: Final = "/login/issuer/return"
WRONG_KEY: Final = "This API key is not valid: it is mistyped, or it was revoked."


@router.get("")
@router.get("/")
async def first_page(request: Request, visitor: Anybody) -> Response:
    """Send the visitor to the first page that they may see."""
    sections = sections_of(visitor)
    if not sections:
        return page(request, visitor, "nothing.html")
    return go(sections[0].path)


@router.get("/login")
async def login_form(
    request: Request,
    context: Context,
    next_: Annotated[str | None, Query(alias="next")] = None,
    ended: Annotated[str | None, Query()] = None,
) -> Response:
    """Ask for an API key."""
    notice = "Your session has ended. Log in again to go on." if ended else None
    return _login_page(request, context, wanted=own_path(next_), notice=notice)


@router.post("/login")
async def log_in(request: Request, context: Context) -> Response:
    """Begin a session."""
    fields = await read_form(request)
    wanted = own_path(fields.get("next"))
    secret = read_cookie(request, LOGIN)
    if secret is None or not is_form_token(secret, fields.get(TOKEN_FIELD, "")):
        return _login_page(
            request,
            context,
            wanted=wanted,
            error="This form was too old. Try again.",
            status=HTTPStatus.FORBIDDEN,
        )
    try:
        token = await _begin(request, context, fields.get("api_key", ""))
    except (TooManyRequests, Unauthenticated) as error:
        is_wrong = isinstance(error, Unauthenticated)
        return _login_page(
            request,
            context,
            wanted=wanted,
            error=WRONG_KEY if is_wrong else error.message,
            status=status_of(error),
        )
    response = go(wanted)
    set_session(request, response, token)
    drop_cookie(request, response, LOGIN)
    return response


@router.get("/login/issuer")
async def go_to_issuer(
    request: Request,
    context: Context,
    next_: Annotated[str | None, Query(alias="next")] = None,
) -> Response:
    """Send the browser to the issuer, to log in there."""
    address, attempt = await _issuer_login(context).begin(_callback(request), own_path(next_))
    response = go(address)
    set_cookie(
        request,
        response,
        ISSUER_LOGIN,
        attempt.text(),
        seconds=ISSUER_LOGIN_SECONDS,
        is_for_return=True,
    )
    return response


@router.get(ISSUER_RETURN)
async def return_from_issuer(request: Request, context: Context) -> Response:
    """Begin a session of somebody whom the issuer has let in.

    Notes
    -----
    Answers with a page, not with a redirect: browsers hold the session's cookie back for as long as
    they follow where another site has sent them.
    """
    login = _issuer_login(context)
    attempt = LoginAttempt.read(read_cookie(request, ISSUER_LOGIN) or "")
    if attempt is None:
        return _login_page(request, context, wanted=PREFIX, error="This login was too old. Again.")
    try:
        given = await login.finish(_callback(request), attempt, dict(request.query_params))
        token = await _begin(request, context, given)
    except (TooManyRequests, Unauthenticated) as error:
        response = _login_page(
            request,
            context,
            wanted=attempt.wanted,
            error=error.message,
            status=status_of(error),
        )
    else:
        response = page(request, None, "logged_in.html", wanted=attempt.wanted)
        set_session(request, response, token)
    drop_cookie(request, response, ISSUER_LOGIN)
    return response


@router.post("/logout")
async def log_out(request: Request, context: Context, visitor: Anybody, _form: Form) -> Response:
    """End the session."""
    await context.console.sessions.end(visitor.token, visitor.at_home)
    response = go(f"{PREFIX}/login")
    drop_cookie(request, response, SESSION)
    return response


@router.post("/tenant")
async def choose_tenant(
    context: Context,
    visitor: Anybody,
    form: Form,
    return_to: Annotated[str | None, Query()] = None,
) -> Response:
    """Let an operator look at another tenant, at its first page or at one that was asked for."""
    await context.console.sessions.view(
        visitor.token, visitor.session, visitor.principal, form.get("tenant", "")
    )
    return go(own_path(return_to))


@router.get("/tenants")
async def tenants(request: Request, context: Context, visitor: Anybody) -> Response:
    """Show the tenants to choose from."""
    found = await context.console.sessions.tenants(visitor.session)
    return page(request, visitor, "tenants.html", tenants=found)


@router.post("/theme")
async def choose_theme(request: Request) -> Response:
    """Keep the theme that was chosen. It needs no session: the login has a theme, too."""
    fields = await read_form(request)
    secret = read_cookie(request, SESSION) or read_cookie(request, LOGIN) or ""
    if not is_form_token(secret, fields.get(TOKEN_FIELD, "")):
        raise FormForged
    response = go(own_path(fields.get("return_to")))
    theme = fields.get("theme")
    if theme in THEMES:
        set_cookie(request, response, THEME, theme, seconds=THEME_SECONDS)
    elif read_theme(request) is not None:
        drop_cookie(request, response, THEME)
    return response


async def _begin(request: Request, context: ApiContext, secret: str) -> str:
    """Begin a session with a key or a token, in place of the browser's earlier one."""
    principal = await log_in_with(request, context, secret)
    token = await context.console.sessions.begin(principal)
    earlier = read_cookie(request, SESSION)
    if earlier is not None:
        await context.console.sessions.end(earlier)
    return token


def _issuer_login(context: ApiContext) -> IssuerLogin:
    login = context.console.issuer_login
    if login is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "Nobody logs in at an issuer here.")
    return login


def _callback(request: Request) -> str:
    """Give the address that the issuer sends people back to; the issuer knows it, too."""
    return str(request.url.replace(path=f"{PREFIX}{ISSUER_RETURN}", query=""))


def _login_page(
    request: Request,
    context: ApiContext,
    *,
    wanted: str,
    notice: str | None = None,
    error: str | None = None,
    status: int = HTTPStatus.OK,
) -> Response:
    secret = read_cookie(request, LOGIN) or secrets.token_urlsafe(LOGIN_TOKEN_BYTES)
    response = page(
        request,
        None,
        "login.html",
        http_status=status,
        form_token=form_token(secret),
        wanted=wanted,
        notice=notice,
        error=error,
        has_issuer=context.console.issuer_login is not None,
    )
    set_cookie(request, response, LOGIN, secret, seconds=LOGIN_SECONDS)
    return response
