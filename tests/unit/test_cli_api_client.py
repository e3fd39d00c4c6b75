import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from runtime.api_client import (
    NO_RETRIES,
    ApiClient,
    ApiPlace,
    ApiProblem,
    ApiUnavailable,
    RetryPolicy,
)
from runtime.importing import RETRIES

FAST = RetryPolicy(max_seconds=5.0, first_delay_seconds=0.001, max_delay_seconds=0.01)
Handler = Callable[[httpx.Request], httpx.Response]


def problem(status: int, code: str, **fields: object) -> httpx.Response:
    return httpx.Response(status, json={"status": status, "code": code, "detail": "…", **fields})


@asynccontextmanager
async def client(handler: Handler, retries: RetryPolicy = NO_RETRIES) -> AsyncIterator[ApiClient]:
    transport = httpx.MockTransport(handler)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        yield ApiClient(http, retries=retries)


class Failing:
    """Fails as it is told, then answers; remembers the requests."""

    def __init__(self, *failures: httpx.Response | httpx.TransportError) -> None:
        self.failures = list(failures)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if not self.failures:
            return httpx.Response(201, json={"id": 1}, headers={"Idempotency-Replayed": "true"})
        failure = self.failures.pop(0)
        if isinstance(failure, httpx.TransportError):
            raise failure
        return failure


async def test_a_transfer_carries_key_preference_and_body() -> None:
    api = Failing()
    async with client(api) as calls:
        answer = await calls.transfer({"amount": 10**30}, key="k 1".replace(" ", "-"), prefer="w")
    [request] = api.requests
    assert (request.method, request.url.path) == ("POST", "/v1/transfers")
    assert (request.headers["Idempotency-Key"], request.headers["Prefer"]) == ("k-1", "w")
    assert json.loads(request.content) == {"amount": 10**30}
    assert (answer.status, answer.document, answer.is_replay) == (201, {"id": 1}, True)


async def test_what_passes_is_tried_again_with_the_same_request() -> None:
    api = Failing(
        problem(503, "database_unavailable"),
        problem(429, "too_many"),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("server gone"),
    )
    async with client(api, FAST) as calls:
        answer = await calls.transfer({"amount": 1}, key="k")
    assert answer.status == 201
    assert len(api.requests) == 5
    assert {(request.content, request.headers["Idempotency-Key"]) for request in api.requests}


async def test_an_overloaded_api_is_given_the_time_that_it_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    refused = problem(503, "overloaded")
    refused.headers["Retry-After"] = "1"
    async with client(Failing(refused, refused, refused), RETRIES) as calls:
        assert (await calls.transfer({"amount": 1}, key="k")).status == 201
    assert pauses == [1.0, 1.0, 1.0]


async def test_without_retries_the_first_failure_stands() -> None:
    async with client(Failing(httpx.ConnectError("refused"))) as calls:
        with pytest.raises(ApiUnavailable, match="http://api does not answer: refused"):
            await calls.get("/v1/users")
    async with client(Failing(problem(503, "temporal_unavailable"))) as calls:
        with pytest.raises(ApiProblem, match="temporal_unavailable"):
            await calls.get("/v1/users")


async def test_retries_end_after_their_time() -> None:
    def never(_request: httpx.Request) -> httpx.Response:
        return problem(503, "database_unavailable")

    policy = RetryPolicy(max_seconds=0.05, first_delay_seconds=0.001, max_delay_seconds=0.01)
    async with client(never, policy) as calls:
        with pytest.raises(ApiProblem, match="database_unavailable"):
            await calls.get("/v1/users")


async def test_a_refusal_is_not_tried_again_and_tells_its_fields() -> None:
    fields = [{"field": "amount", "code": "c", "message": "must be 1 to 10^30"}]
    api = Failing(problem(422, "validation_failed", errors=fields))
    async with client(api, FAST) as calls:
        with pytest.raises(ApiProblem) as refused:
            await calls.transfer({}, key="k")
    assert len(api.requests) == 1
    assert (refused.value.status, refused.value.code) == (422, "validation_failed")
    assert refused.value.field_messages == [("amount", "must be 1 to 10^30")]


@pytest.mark.parametrize("key", ["", "a b", "ä", "a\n", "x" * 201])
async def test_a_key_that_no_header_can_carry_is_refused_without_a_request(key: str) -> None:
    api = Failing()
    async with client(api) as calls:
        with pytest.raises(ApiProblem, match="idempotency_key_invalid"):
            await calls.transfer({}, key=key)
    assert api.requests == []


@pytest.mark.parametrize("status", [200, 404])
async def test_another_servers_page_is_no_answer(status: int) -> None:
    async with client(lambda _request: httpx.Response(status, text="<html>")) as calls:
        with pytest.raises(ApiProblem, match=rf"http_{status}: .*Is this the API's address"):
            await calls.get("/v1/users")


async def test_parameters_that_are_none_are_left_out_and_names_are_quoted() -> None:
    api = Failing()
    async with client(api) as calls:
        await calls.get("/v1/users", limit=5, cursor=None)
        await calls.account("ext:a?b")
    assert [str(request.url) for request in api.requests] == [
        "http://api/v1/users?limit=5",
        "http://api/v1/accounts/ext:a%3Fb",
    ]


def test_pauses_double_up_to_a_limit_and_heed_the_api() -> None:
    policy = RetryPolicy(first_delay_seconds=0.1, max_delay_seconds=2.0)
    delays = [policy.delay_seconds(failures, asked_seconds=0.0) for failures in (1, 2, 3, 10, 9999)]
    assert delays == [0.1, 0.2, 0.4, 2.0, 2.0]
    assert policy.delay_seconds(1, asked_seconds=1.0) == 1.0
    assert policy.delay_seconds(1, asked_seconds=3600.0) == 2.0


def test_a_key_is_not_shown_by_accident() -> None:
    assert "secret" not in repr(ApiPlace("http://api", "secret"))
