"""A client of the HTTP contract, for tests."""

import uuid
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from domain.access import ApiKey
from runtime.trust import trust_for

TIMEOUT_SECONDS = 40.0
Json = dict[str, Any]

NOBODY = "01890000-0000-7000-8000-000000000000"
"""An id that nothing has."""


def new_key() -> str:
    return f"key-{uuid.uuid4()}"


class Client:
    """Calls the API as one tenant.

    Methods named for a thing make it and give its JSON; they fail where the API refuses. ``call``
    and ``post_transfer`` give the response, whatever it says.
    """

    def __init__(self, api_url: str, api_key: str, record: ApiKey) -> None:
        self.api_url = api_url
        self.api_key = api_key
        self.record = record
        self.tenant_id = record.tenant_id
        self.http = httpx.AsyncClient(
            base_url=api_url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            verify=trust_for(api_url),
            limits=httpx.Limits(max_connections=50, max_keepalive_connections=50),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.http.aclose()

    async def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send one request; ``path`` begins behind ``/v1``."""
        return await self.http.request(method, f"/v1{path}", **arguments)

    async def get(self, path: str, **params: Any) -> Json:
        """Read what must be there."""
        return _json(await self.call("GET", path, params=_query(params)), 200)

    async def walk(self, path: str, *, limit: int, **params: Any) -> AsyncIterator[list[Json]]:
        """Go through the pages of a list."""
        cursor: str | None = None
        while True:
            page = await self.get(path, limit=limit, cursor=cursor, **params)
            yield page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def user(self, name: str = "Ada", **fields: Any) -> Json:
        return _json(await self.call("POST", "/users", json={"name": name, **fields}), 201)

    async def account(
        self, currency: str = "EUR", *, user_id: str | None = None, balance: int = 0, **fields: Any
    ) -> Json:
        """Open an account, of a new user unless one is named, with money in it."""
        owner = user_id or (await self.user())["id"]
        body = {"user_id": owner, "currency": currency, **fields}
        account = _json(await self.call("POST", "/accounts", json=body), 201)
        if balance:
            await self.deposit(account["id"], balance, currency)
        return account

    async def deposit(self, destination: str, amount: int, currency: str = "EUR") -> Json:
        return await self.transfer(
            type="DEPOSIT", destination=destination, amount=amount, currency=currency
        )

    async def withdraw(self, source: str, amount: int, currency: str = "EUR") -> Json:
        return await self.transfer(
            type="WITHDRAWAL", source=source, amount=amount, currency=currency
        )

    async def transfer(self, *, key: str | None = None, currency: str = "EUR", **body: Any) -> Json:
        """Make a transfer that succeeds."""
        response = await self.post_transfer(key=key or new_key(), currency=currency, **body)
        return _json(response, 201)

    async def post_transfer(
        self, *, key: str | None, headers: Mapping[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        """Ask for a transfer; a key of ``None`` sends none."""
        sent = {**({} if key is None else {"Idempotency-Key": key}), **(headers or {})}
        return await self.call("POST", "/transfers", json=body, headers=sent)

    async def hold(self, *, key: str | None = None, currency: str = "EUR", **body: Any) -> Json:
        """Make a transfer with manual capture that holds its funds."""
        response = await self.post_transfer(
            key=key or new_key(), currency=currency, capture="manual", **body
        )
        return _json(response, 201)

    async def operate(
        self, transfer: Json, verb: str, *, key: str | None = None, **body: Any
    ) -> httpx.Response:
        """Capture, extend, cancel, approve, reject or reverse a transfer."""
        return await self.call(
            "POST",
            f"/transfers/{transfer['id']}/{verb}",
            json=body,
            headers={"Idempotency-Key": key or new_key()},
        )

    async def balance(self, account: Json) -> tuple[int, int]:
        """Give what an account has posted and held."""
        balance = await self.get(f"/accounts/{account['id']}/balance")
        return balance["posted"], balance["held"]

    async def rule(self, threshold: int, currency: str = "EUR", **fields: Any) -> Json:
        """Put an approval rule in force."""
        body = {"currency": currency, "threshold": threshold, **fields}
        return _json(await self.call("POST", "/approval-rules", json=body), 201)

    async def limit(self, account: Json, **limits: Any) -> Json:
        """Set limits of an account."""
        path = f"/accounts/{account['id']}/limits"
        return _json(await self.call("PUT", path, json=limits), 200)

    async def change_status(self, account: str, verb: str) -> Json:
        """Freeze, unfreeze or close an account."""
        return _json(await self.call("POST", f"/accounts/{account}/{verb}"), 200)

    async def posted(self, account: str) -> int:
        posted: int = (await self.get(f"/accounts/{account}/balance"))["posted"]
        return posted


def problem_of(response: httpx.Response, status: int, code: str) -> Json:
    """Require a problem document of RFC 9457, and give it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: Json = response.json()
    assert (problem["status"], problem["code"]) == (status, code), problem
    assert {"type", "title", "detail"} <= problem.keys()
    return problem


def _json(response: httpx.Response, status: int) -> Json:
    assert response.status_code == status, response.text
    body: Json = response.json()
    return body


def _query(params: Mapping[str, Any]) -> dict[str, Any]:
    """Name parameters as the API does: ``from_`` is Python's way to say ``from``."""
    return {name.rstrip("_"): value for name, value in params.items() if value is not None}
