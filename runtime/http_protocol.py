"""One HTTP connection, with bounds on what a client may send and on how long it may take."""

import asyncio
import json
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.problems import PROBLEM_MEDIA_TYPE, PROBLEM_TYPE_PREFIX
from domain.limits import (
    REQUEST_BODY_BYTES_PER_SECOND_MINIMUM,
    REQUEST_BODY_PAUSE_SECONDS,
    REQUEST_HEAD_BYTES_MAXIMUM,
    REQUEST_HEAD_SECONDS_MAXIMUM,
    REQUEST_HEADERS_MAXIMUM,
)

_CODES: Final = {
    HTTPStatus.BAD_REQUEST: ("malformed_request", "This is not a request of HTTP/1.1."),
    HTTPStatus.REQUEST_TIMEOUT: ("request_timeout", "The request did not come in time."),
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: (
        "headers_too_large",
        f"Path and {REQUEST_HEADERS_MAXIMUM} headers may have {REQUEST_HEAD_BYTES_MAXIMUM} bytes.",
    ),
}


class _HeadTooLarge(Exception):
    """Ends the reading of a request whose head is too large."""


class BoundedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, which by itself waits for ever and takes a head of any size.

    Notes
    -----
    A request that comes whole in one piece costs a few comparisons: a timer is set only where a
    part is still to come.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._is_receiving = False
        self._is_head_whole = True
        self._head_bytes = 0
        self._piece_bytes = 0
        self._refusal = HTTPStatus.BAD_REQUEST

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request soon: a connection is opened for one."""
        super().connection_made(transport)
        self._set_timer(REQUEST_HEAD_SECONDS_MAXIMUM)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a piece, and bound the time until the next where the request is not whole."""
        was_in_head = self._is_receiving and not self._is_head_whole
        self._piece_bytes += len(data)
        if was_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        begins_head = not was_in_head and self._is_receiving and not self._is_head_whole
        if begins_head:
            self._head_bytes += len(data)
        if not self._is_receiving or self.transport.is_closing():
            self._cancel_timer()
        elif not self._is_head_whole and self._head_bytes > REQUEST_HEAD_BYTES_MAXIMUM:
            # One endless header: the parser keeps its parts and tells of none.
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif not self._is_head_whole:
            if begins_head:
                self._set_timer(REQUEST_HEAD_SECONDS_MAXIMUM)
        elif was_in_head or self._timer is None:
            self._expect_body()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._is_receiving = True
        self._is_head_whole = False
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the path."""
        super().on_url(url)
        if len(self.url) > REQUEST_HEAD_BYTES_MAXIMUM:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _HeadTooLarge

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, unless it is one too many."""
        super().on_header(name, value)
        if len(self.headers) > REQUEST_HEADERS_MAXIMUM:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _HeadTooLarge

    def on_headers_complete(self) -> None:
        """Let the request be answered, unless its head is too large as a whole."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > REQUEST_HEAD_BYTES_MAXIMUM:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _HeadTooLarge
        self._is_head_whole = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Have the whole request."""
        self._is_receiving = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """Refuse what is no request, or too large a one."""
        self._refuse(self._refusal)

    def _expect_body(self) -> None:
        self._piece_bytes = 0
        self._set_timer(REQUEST_BODY_PAUSE_SECONDS)

    def _set_timer(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(seconds, self._on_time)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time(self) -> None:
        """End a connection whose client takes too long; one that is held up here is spared."""
        self._timer = None
        least = REQUEST_BODY_BYTES_PER_SECOND_MINIMUM * REQUEST_BODY_PAUSE_SECONDS
        is_in_body = self._is_receiving and self._is_head_whole
        if is_in_body and (self.flow.read_paused or self._piece_bytes >= least):
            self._expect_body()
        elif self._is_receiving and not is_in_body:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer without the application, which has not heard of the request, and end."""
        code, detail = _CODES[status]
        body = json.dumps(
            {
                "type": PROBLEM_TYPE_PREFIX + code,
                "title": status.phrase,
                "status": int(status),
                "detail": detail,
                "code": code,
            }
        ).encode()
        lines = {
            "content-type": PROBLEM_MEDIA_TYPE,
            "content-length": str(len(body)),
            "cache-control": "no-store",
            "connection": "close",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode()
        if not self.transport.is_closing():
            self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
            self.transport.close()
