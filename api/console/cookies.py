"""The console's cookies, and the tokens that forms carry against forgery."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from domain.limits import CONSOLE_SESSION_SECONDS_MAXIMUM

PATH: Final = "/"
SECURE_PREFIX: Final = "__Host-"
"""Browsers take a cookie so named only over HTTPS, for this host alone."""

SESSION: Final = "console_session"
LOGIN: Final = "console_login"
ISSUER_LOGIN: Final = "console_issuer_login"
FLASH: Final = "console_flash"
THEME: Final = "console_theme"

THEMES: Final = ("light", "dark")
THEME_SECONDS: Final = 366 * 24 * 3600
FLASH_SECONDS: Final = 60
FLASH_CHARACTERS_MAXIMUM: Final = 600
"""A cookie holds some 4,000 bytes."""

_PURPOSE: Final = b"console form"


@dataclass(frozen=True, slots=True)
class Flash:
    """What the next page says of the action before it.

    Parameters
    ----------
    is_error
        The action was refused.
    """

    text: str
    is_error: bool = False


def read_cookie(request: Request, name: str) -> str | None:
    """Read a cookie of the console."""
    return request.cookies.get(_name(request, name)) or None


def set_cookie(
    request: Request,
    response: Response,
    name: str,
    value: str,
    *,
    seconds: int | None,
    is_for_return: bool = False,
) -> None:
    """Set a cookie that scripts cannot read and other sites cannot make the browser send.

    Parameters
    ----------
    seconds
        How long it is kept; until the browser is closed where it is ``None``.
    is_for_return
        Other sites can make the browser send it along where they send somebody here.
    """
    response.set_cookie(
        _name(request, name),
        value,
        max_age=seconds,
        path=PATH,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax" if is_for_return else "strict",
    )


def drop_cookie(request: Request, response: Response, name: str) -> None:
    """Take a cookie away."""
    set_cookie(request, response, name, "", seconds=0)


def set_session(request: Request, response: Response, token: str) -> None:
    """Keep a session's token for as long as the session can last."""
    set_cookie(request, response, SESSION, token, seconds=CONSOLE_SESSION_SECONDS_MAXIMUM)


def set_flash(request: Request, response: Response, flash: Flash) -> None:
    """Let the next page say something."""
    value = packed([flash.text[:FLASH_CHARACTERS_MAXIMUM], flash.is_error])
    set_cookie(request, response, FLASH, value, seconds=FLASH_SECONDS)


def read_flash(request: Request) -> Flash | None:
    """Read what the action before has to say."""
    match unpacked(read_cookie(request, FLASH) or ""):
        case [text, is_error]:
            return Flash(str(text), is_error=bool(is_error))
        case _:
            return None


def packed(values: Sequence[object]) -> str:
    """Write values as a cookie can hold them."""
    return urlsafe_b64encode(json.dumps(values).encode()).decode()


def unpacked(text: str) -> Any:
    """Read what ``packed`` wrote; ``None`` where it is something else."""
    try:
        return json.loads(urlsafe_b64decode(text))
    except ValueError:
        return None


def read_theme(request: Request) -> str | None:
    """Tell the theme that was chosen; ``None`` leaves it to the system."""
    theme = read_cookie(request, THEME)
    return theme if theme in THEMES else None


def form_token(secret: str) -> str:
    """Make the token that forms carry from a cookie's secret, which no other site can read."""
    return hmac.new(secret.encode(), _PURPOSE, hashlib.sha256).hexdigest()


def is_form_token(secret: str, given: str) -> bool:
    """Tell whether a form comes from a page of the cookie's owner."""
    return hmac.compare_digest(form_token(secret).encode(), given.encode())


def _name(request: Request, name: str) -> str:
    return f"{SECURE_PREFIX}{name}" if request.url.scheme == "https" else name
