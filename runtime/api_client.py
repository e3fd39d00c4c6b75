"""The HTTP API as a client sees it: one place that sends requests, retries and reads problems."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import IO, Any, Final, TypeAlias
from urllib.parse import quote, urlsplit

import httpx

from domain.limits import (
    IDEMPOTENCY_KEY_LENGTH_MAXIMUM,
    PAGE_SIZE_MAXIMUM,
    STATEMENT_PREPARING_SECONDS_MAXIMUM,
    WAIT_SECONDS_MAXIMUM,
)
from runtime.trust import trust_for

Document: TypeAlias = dict[str, Any]
"""A decoded JSON object."""

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = WAIT_SECONDS_MAXIMUM + 15.0
"""A little more than the longest wait that a request can ask for."""

DOWNLOAD_SECONDS: Final = STATEMENT_PREPARING_SECONDS_MAXIMUM + 15.0
"""A little more than what the longest document takes to be made."""
BATCH_READ_SECONDS: Final = 300.0
"""A batch's rows are read, checked and recorded before the answer."""

PASSING_STATUSES: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_IDEMPOTENCY_KEY: Final = re.compile(rf"[!-~]{{1,{IDEMPOTENCY_KEY_LENGTH_MAXIMUM}}}")


@dataclass(frozen=True, slots=True)
class ApiPlace:
    """Where an API is, and the key to call it with.

    Parameters
    ----------
    origin
        What named it, for messages.
    """

    url: str
    key: str = field(repr=False)
    origin: str = "the caller"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long, and how often, a request is repeated that nobody could answer for the moment.

    Parameters
    ----------
    max_seconds
        After so long, the failure stands; 0 does not retry.
    first_delay_seconds
        Pause before the first repetition; doubled with each further one.
    max_delay_seconds
        The longest pause.
    """

    max_seconds: float = 60.0
    first_delay_seconds: float = 0.1
    max_delay_seconds: float = 2.0

    def delay_seconds(self, failures: int, *, asked_seconds: float) -> float:
        """Tell how long to pause after so many failures, no less than the API asked for."""
        doubled = self.first_delay_seconds * 2.0 ** min(failures - 1, 30)
        return min(max(doubled, asked_seconds), self.max_delay_seconds)


NO_RETRIES: Final = RetryPolicy(max_seconds=0.0)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered where it did what it was asked.

    Parameters
    ----------
    text
        The body as it came.
    is_replay
        An earlier request with the same key had this outcome.
    """

    status: int
    document: Document
    text: str
    is_replay: bool


class ApiUnavailable(Exception):
    """Nothing answered; whether the request was carried out is not known."""


class ApiProblem(Exception):
    """The API refused, with a problem document.

    Parameters
    ----------
    code
        Stable code of the problem.
    detail
        What is wrong, for people.
    document
        The whole problem document.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, document: Document, is_replay: bool = False
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.document = document
        self.is_replay = is_replay
        super().__init__(f"{code}: {detail}")

    @property
    def field_messages(self) -> list[tuple[str, str]]:
        """Name and message of each field that is not as it should be."""
        return [(each["field"], each["message"]) for each in self.document.get("errors") or ()]


def _say_nothing(_failure: Exception) -> None:
    pass


class ApiClient:
    """Calls the API.

    Parameters
    ----------
    http
        Carries base URL and key.
    retries
        How requests are repeated that nobody could answer. Only for requests that may be sent
        twice: reads, and those with an idempotency key or an external id.
    on_retry
        Told of each failure that a repetition follows.

    Notes
    -----
    Every call raises `ApiProblem` where the API refuses, and `ApiUnavailable` where none answers.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        retries: RetryPolicy = NO_RETRIES,
        on_retry: Callable[[Exception], None] = _say_nothing,
    ) -> None:
        self._http = http
        self._retries = retries
        self._on_retry = on_retry

    async def get(self, path: str, **parameters: str | int | Sequence[str] | None) -> Answer:
        """Read something; parameters that are ``None`` are left out."""
        given = {name: value for name, value in parameters.items() if value is not None}
        return await self._send("GET", path, params=given)

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Make or change something other than a transfer."""
        return await self._send("POST", path, json=body)

    async def put(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Set something."""
        return await self._send("PUT", path, json=body)

    async def delete(self, path: str, **parameters: str | None) -> Answer:
        """Take something away; parameters that are ``None`` are left out."""
        given = {name: value for name, value in parameters.items() if value is not None}
        return await self._send("DELETE", path, params=given)

    async def transfer(
        self, body: Mapping[str, Any], *, key: str, prefer: str | None = None
    ) -> Answer:
        """Ask for a transfer; 202 where it is still PROCESSING. See ``post_once``."""
        return await self.post_once("/v1/transfers", body, key=key, prefer=prefer)

    async def post_once(
        self, path: str, body: Mapping[str, Any], *, key: str, prefer: str | None = None
    ) -> Answer:
        """Ask for something that happens once for its key.

        Parameters
        ----------
        key
            Idempotency key, 1 to 200 visible ASCII characters.
        prefer
            ``wait=<seconds>`` or ``respond-async``.
        """
        headers = _key_header(key) | ({"Prefer": prefer} if prefer else {})
        return await self._send("POST", path, json=body, headers=headers)

    async def download(self, path: str, target: IO[bytes], **parameters: str | int | None) -> None:
        """Read a document of any type into a file as it comes; nothing is sent twice."""
        given = {name: value for name, value in parameters.items() if value is not None}
        timeout = httpx.Timeout(DOWNLOAD_SECONDS, connect=CONNECT_SECONDS)
        try:
            async with self._http.stream("GET", path, params=given, timeout=timeout) as response:
                if not response.is_success:
                    await response.aread()
                    raise _problem(response)
                async for chunk in response.aiter_bytes():
                    target.write(chunk)
        except httpx.TransportError as error:
            raise self._unavailable(error) from error

    async def standing_order(self, body: Mapping[str, Any], *, key: str) -> Answer:
        """Ask for a standing order.

        Parameters
        ----------
        key
            Idempotency key, 1 to 200 visible ASCII characters.
        """
        headers = _key_header(key)
        return await self._send("POST", "/v1/standing-orders", json=body, headers=headers)

    async def batch(
        self,
        content: bytes,
        *,
        media_type: str,
        key: str,
        prefer: str | None = None,
        **parameters: str | None,
    ) -> Answer:
        """Ask for a batch of transfers; 202 where not every row has its outcome."""
        headers = {**_key_header(key), "Content-Type": media_type}
        headers |= {"Prefer": prefer} if prefer else {}
        given = {name: value for name, value in parameters.items() if value is not None}
        return await self._send(
            "POST",
            "/v1/transfer-batches",
            content=content,
            headers=headers,
            params=given,
            timeout=httpx.Timeout(BATCH_READ_SECONDS, connect=CONNECT_SECONDS),
        )

    async def account(self, reference: str) -> Document:
        """Read an account by its UUID, its account number or ``ext:<external_id>``."""
        return (await self.get(f"/v1/accounts/{quote(reference, safe=':')}")).document

    async def first(self, path: str, **parameters: str | int | None) -> Document | None:
        """Read the first object of a list; ``None`` where the list is empty."""
        data: list[Document] = (await self.get(path, limit=1, **parameters)).document["data"]
        return data[0] if data else None

    async def read_all(
        self, path: str, **parameters: str | int | Sequence[str] | None
    ) -> list[Document]:
        """Read a list to its end, in the largest pages that there are."""
        found: list[Document] = []
        cursor: str | None = None
        while True:
            page = await self.get(path, limit=PAGE_SIZE_MAXIMUM, cursor=cursor, **parameters)
            found += page.document["data"]
            cursor = page.document["next_cursor"]
            if cursor is None:
                return found

    async def _send(self, method: str, path: str, **options: Any) -> Answer:
        began, failures = time.monotonic(), 0
        while True:
            try:
                response = await self._http.request(method, path, **options)
            except httpx.TransportError as error:
                failure: Exception = self._unavailable(error)
                asked_seconds = 0.0
            else:
                if response.is_success:
                    return _answer(response)
                failure = _problem(response)
                asked_seconds = _asked_seconds(response)
                if response.status_code not in PASSING_STATUSES:
                    raise failure
            failures += 1
            delay_seconds = self._retries.delay_seconds(failures, asked_seconds=asked_seconds)
            if time.monotonic() - began + delay_seconds > self._retries.max_seconds:
                raise failure
            self._on_retry(failure)
            await asyncio.sleep(delay_seconds)

    def _unavailable(self, error: httpx.TransportError) -> ApiUnavailable:
        reason = str(error) or type(error).__name__
        return ApiUnavailable(f"{self._http.base_url} does not answer: {reason}")


@asynccontextmanager
async def open_api_client(
    place: ApiPlace,
    *,
    connections: int = 10,
    retries: RetryPolicy = NO_RETRIES,
    on_retry: Callable[[Exception], None] = _say_nothing,
) -> AsyncIterator[ApiClient]:
    """Give a client, and close its connections afterwards.

    Parameters
    ----------
    connections
        Requests in flight at most.
    """
    async with httpx.AsyncClient(
        base_url=place.url,
        headers={"Authorization": f"Bearer {place.key}"},
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        # What runs on this machine is not behind a proxy that the surroundings may name.
        trust_env=urlsplit(place.url).hostname not in _LOOPBACK,
        verify=trust_for(place.url),
    ) as http:
        yield ApiClient(http, retries=retries, on_retry=on_retry)


def local_problem(code: str, detail: str) -> ApiProblem:
    """Make the problem of a request that is not worth sending, as the API would put it."""
    status = HTTPStatus.BAD_REQUEST
    document = {"status": int(status), "code": code, "detail": detail}
    return ApiProblem(status, code, detail, document=document)


def _key_header(key: str) -> dict[str, str]:
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        # A header cannot carry it, so that the API could not refuse it by itself.
        raise local_problem(
            "idempotency_key_invalid",
            f"The idempotency key must be 1 to {IDEMPOTENCY_KEY_LENGTH_MAXIMUM} visible ASCII "
            f"characters, and {key!r} is not.",
        )
    return {"Idempotency-Key": key}


def _answer(response: httpx.Response) -> Answer:
    try:
        document = response.json()
    except ValueError:
        raise _no_document(response) from None
    return Answer(response.status_code, document, response.text, _is_replay(response))


def _problem(response: httpx.Response) -> ApiProblem:
    try:
        document = response.json()
        code, detail = str(document["code"]), str(document["detail"])
    except (ValueError, KeyError, TypeError):
        return _no_document(response)
    return ApiProblem(
        response.status_code, code, detail, document=document, is_replay=_is_replay(response)
    )


def _no_document(response: httpx.Response) -> ApiProblem:
    detail = (
        f"{response.url} answered {response.status_code} without a document of this service. "
        "Is this the API's address?"
    )
    code = f"http_{response.status_code}"
    document = {"status": response.status_code, "code": code, "detail": detail}
    return ApiProblem(response.status_code, code, detail, document=document)


def _is_replay(response: httpx.Response) -> bool:
    return bool(response.headers.get("Idempotency-Replayed") == "true")


def _asked_seconds(response: httpx.Response) -> float:
    asked = response.headers.get("Retry-After", "")
    return float(asked) if asked.isascii() and asked.isdigit() else 0.0
