"""What stands before the codec endpoint: who may call it from a browser, and how one logs in."""

from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.context import ApiContext

CODEC_PATH: Final = "/codec"
SESSION_COOKIE: Final = "transfers_codec"


class CodecDoor:
    """Lets the pages of Temporal's UI call the codec endpoint, and nothing else.

    Parameters
    ----------
    context
        Says where Temporal's UI is, the one origin whose pages may call it, and opens the cookie of
        somebody who has logged in: its API key then counts as if it had been sent. A key that was
        sent counts more.
    """

    def __init__(self, app: ASGIApp, *, context: ApiContext) -> None:
        self._app = app
        self._sessions = context.codec_sessions
        ui_origin = _origin(context.temporal_ui_url)
        self._with_cors = CORSMiddleware(
            app,
            allow_origins=[ui_origin] if ui_origin else [],
            allow_methods=["POST"],
            allow_headers=["Authorization", "Content-Type", "X-Namespace"],
            allow_credentials=True,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not scope["path"].startswith(f"{CODEC_PATH}/"):
            await self._app(scope, receive, send)
            return
        headers = MutableHeaders(scope=scope)
        if "Authorization" not in headers:
            api_key = self._logged_in(headers)
            if api_key is not None:
                headers["Authorization"] = f"Bearer {api_key}"
        await self._with_cors(scope, receive, send)

    def _logged_in(self, headers: Headers) -> str | None:
        if self._sessions is None:
            return None
        try:
            found = SimpleCookie(headers.get("Cookie", "")).get(SESSION_COOKIE)
        except CookieError:
            return None
        return None if found is None else self._sessions.open(found.value)


def _origin(url: str | None) -> str | None:
    """Give the origin of a URL, as browsers name it."""
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
