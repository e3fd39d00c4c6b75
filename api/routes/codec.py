"""Temporal's remote codec protocol: payloads in clear for Temporal's UI and command line."""

import re
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import parse_qs

from fastapi import HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import Base64Bytes, BaseModel, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from temporalio.api.common.v1 import Payload

from api.auth import OperationsWriter, TransfersReader, guarded_router, log_in_with
from api.codec_door import CODEC_PATH, SESSION_COOKIE
from api.context import Context
from api.payload_desk import CodecSessions
from api.responses import answer, problems
from domain.errors import Unauthenticated
from domain.limits import CODEC_PAYLOADS_MAXIMUM, CODEC_SESSION_SECONDS

router = guarded_router(CODEC_PATH, "codec")

PAGE_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"
    "; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
LOGIN_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Codec</title>
<style>body{{font:16px sans-serif;max-width:32em;margin:4em auto}}input{{width:100%}}</style>
<h1>Payloads in clear</h1>
<p>{message}</p>
<form method="post" action="login">
<p><label>API key <input name="key" type="password" autocomplete="off" required></label></p>
<p><button>Log in</button> <button formaction="logout" formnovalidate>Log out</button></p>
</form></html>
"""
INVITATION: Final = (
    "Temporal's UI shows what is encrypted once you have logged in here with an API key: of its own"
    " tenant with transfers:read, of all with operations:read besides."
)


BASE64: Final = re.compile("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def _in_base64(value: object) -> object:
    if isinstance(value, str) and BASE64.fullmatch(value) is None:
        raise PydanticCustomError("string_pattern_mismatch", "must be in base64, with its padding")
    return value


Bytes = Annotated[
    Base64Bytes,
    BeforeValidator(_in_base64),
    WithJsonSchema({"type": "string", "pattern": f"^{BASE64.pattern}$"}),
]


class PayloadView(BaseModel):
    """One payload as Temporal has it, with bytes in base64."""

    metadata: dict[str, Bytes] = Field(default_factory=dict)
    data: Bytes = b""

    @staticmethod
    def of(payload: Payload) -> "PayloadView":
        """Show a payload."""
        return PayloadView.model_construct(metadata=dict(payload.metadata), data=payload.data)

    def payload(self) -> Payload:
        """Give the payload itself."""
        return Payload(metadata=self.metadata, data=self.data)


class PayloadsView(BaseModel):
    """Payloads, in the order in which they come."""

    payloads: Annotated[list[PayloadView], Field(max_length=CODEC_PAYLOADS_MAXIMUM)]


@router.post("/decode", response_model=PayloadsView, responses=problems(HTTPStatus.BAD_REQUEST))
async def decode(body: PayloadsView, context: Context, principal: TransfersReader) -> Response:
    """Decrypt payloads; those that are not encrypted come back as they are.

    Those of the key's own tenant; with ``operations:read`` besides, of all.
    """
    return _answer(await context.payloads.decode(principal, _payloads(body)))


@router.post("/encode", response_model=PayloadsView, responses=problems(HTTPStatus.BAD_REQUEST))
async def encode(body: PayloadsView, context: Context, principal: OperationsWriter) -> Response:
    """Encrypt payloads that an operator sends to a workflow by hand."""
    return _answer(await context.payloads.encode(principal, _payloads(body)))


@router.get("/login", include_in_schema=False)
async def login_page(context: Context) -> Response:
    """Show where to log in for Temporal's UI."""
    _sessions(context)
    return _page(INVITATION)


@router.post("/login", include_in_schema=False)
async def log_in(request: Request, context: Context) -> Response:
    """Keep an API key in the browser, sealed, for the calls of Temporal's UI."""
    sessions = _sessions(context)
    fields = parse_qs((await request.body()).decode(errors="replace"))
    api_key = fields.get("key", [""])[0].strip()
    try:
        await log_in_with(request, context, api_key)
    except Unauthenticated as error:
        return _page(error.message, HTTPStatus.UNAUTHORIZED)
    home = context.temporal_ui_url or "login"
    response = RedirectResponse(home, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})
    response.set_cookie(
        SESSION_COOKIE,
        sessions.seal(api_key),
        max_age=CODEC_SESSION_SECONDS,
        path=CODEC_PATH,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


@router.post("/logout", include_in_schema=False)
async def log_out() -> Response:
    """Forget the API key."""
    response = RedirectResponse("login", HTTPStatus.SEE_OTHER)
    response.delete_cookie(SESSION_COOKIE, path=CODEC_PATH, httponly=True, samesite="strict")
    return response


def _payloads(body: PayloadsView) -> list[Payload]:
    return [view.payload() for view in body.payloads]


def _answer(payloads: list[Payload]) -> Response:
    views = [PayloadView.of(payload) for payload in payloads]
    return answer(PayloadsView.model_construct(payloads=views))


def _sessions(context: Context) -> CodecSessions:
    if context.codec_sessions is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return context.codec_sessions


def _page(message: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return HTMLResponse(LOGIN_PAGE.format(message=message), status, headers=PAGE_HEADERS)
