"""What every request gets around its route, also one that fails in a way nobody foresaw."""

import json

import httpx
import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware import Observation


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=Observation(app))
    return httpx.AsyncClient(transport=transport, base_url="http://api")


async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RuntimeError("secret of the database")


async def broken_halfway(_scope: Scope, _receive: Receive, send: Send) -> None:
    start: Message = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    raise RuntimeError("too late to say so")


async def test_what_nobody_foresaw_is_a_problem_that_tells_nothing_but_its_id() -> None:
    async with client_of(broken) as client:
        answer = await client.get("/v1/users", headers={"X-Request-ID": "till-7"})
    assert answer.status_code == 500
    problem = json.loads(answer.text)
    assert (problem["code"], problem["request_id"]) == ("internal_error", "till-7")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == "till-7"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_an_answer_that_has_begun_ends_with_its_connection() -> None:
    async with client_of(broken_halfway) as client:
        with pytest.raises(RuntimeError):
            await client.get("/v1/users")


async def test_what_a_route_says_itself_stands() -> None:
    said = {"Cache-Control": "private", "Content-Security-Policy": "default-src 'self'"}
    async with client_of(Response("", headers=said)) as client:
        headers = (await client.get("/console")).headers
    assert headers["cache-control"] == "private"
    assert headers["content-security-policy"] == "default-src 'self'"
    assert headers["x-content-type-options"] == "nosniff"


async def test_browsers_keep_to_https_where_a_request_came_by_it() -> None:
    transport = httpx.ASGITransport(app=Observation(Response("")))
    async with httpx.AsyncClient(transport=transport, base_url="https://api") as client:
        headers = (await client.get("/v1/users")).headers
    assert headers["strict-transport-security"] == "max-age=31536000"
