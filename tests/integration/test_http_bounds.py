"""What a client may send over HTTP, how long it may take, and what is told to browsers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from domain.limits import (
    REQUEST_HEAD_BYTES_MAXIMUM,
    REQUEST_HEAD_SECONDS_MAXIMUM,
    REQUEST_HEADERS_MAXIMUM,
    REQUEST_ID_LENGTH_MAXIMUM,
)
from runtime.composition import Services
from tests.support.api import Client, Json, problem_of
from tests.support.served import served_api
from tests.support.stack import Stack

SPARE_SECONDS = 10.0
REQUEST = "GET /healthz HTTP/1.1\r\nHost: api\r\n"


class Wire:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, text: str) -> None:
        self.writer.write(text.encode())

    async def answer(self) -> tuple[int, dict[str, str], Json]:
        """Read one answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {
            name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:])
        }
        body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, json.loads(body)


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


async def test_headers_may_be_large_and_not_larger(stack: Stack) -> None:
    for size, status in (
        (REQUEST_HEAD_BYTES_MAXIMUM - 200, 200),
        (REQUEST_HEAD_BYTES_MAXIMUM, 431),
    ):
        async with wire(stack.api_url) as one:
            one.send(f"{REQUEST}X-Long: {'x' * size}\r\n\r\n")
            answered, headers, body = await one.answer()
            assert answered == status
    assert (body["code"], headers["connection"]) == ("headers_too_large", "close")


@pytest.mark.parametrize("piece_bytes", [1_024, 2 * REQUEST_HEAD_BYTES_MAXIMUM])
async def test_a_header_without_end_is_refused_before_it_is_whole(
    stack: Stack, piece_bytes: int
) -> None:
    async with wire(stack.api_url) as one:
        # No more than needed: an answer is lost where its connection is reset for what came after.
        left = f"{REQUEST}X-Endless: ".ljust(REQUEST_HEAD_BYTES_MAXIMUM + 1, "x")
        while left:
            one.send(left[:piece_bytes])
            await one.writer.drain()
            left = left[piece_bytes:]
        assert (await one.answer())[0] == 431


async def test_a_path_without_end_is_refused(stack: Stack) -> None:
    async with wire(stack.api_url) as one:
        one.send(f"GET /{'x' * (REQUEST_HEAD_BYTES_MAXIMUM + 1)} HTTP/1.1\r\nHost: api\r\n\r\n")
        assert (await one.answer())[0] == 431


async def test_headers_are_counted(stack: Stack) -> None:
    for count, status in ((REQUEST_HEADERS_MAXIMUM - 1, 200), (REQUEST_HEADERS_MAXIMUM, 431)):
        async with wire(stack.api_url) as one:
            one.send(REQUEST + "".join(f"X-{number}: x\r\n" for number in range(count)) + "\r\n")
            assert (await one.answer())[0] == status


async def test_what_is_no_request_is_refused_as_a_problem(stack: Stack) -> None:
    async with wire(stack.api_url) as one:
        one.send("HELLO\r\n\r\n")
        status, _, body = await one.answer()
        assert (status, body["code"]) == (400, "malformed_request")


async def test_slow_clients_are_let_go_and_quick_ones_served_meanwhile(tenant: Client) -> None:
    """As many tests as can share the wait of one."""
    async with (
        wire(tenant.api_url) as silent,
        wire(tenant.api_url) as slow,
        wire(tenant.api_url) as stalled,
    ):
        slow.send(REQUEST)
        stalled.send(
            "POST /v1/users HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {tenant.api_key}\r\nContent-Length: 1000\r\n\r\n{{"
        )
        ends = asyncio.gather(
            silent.reader.read(), slow.answer(), stalled.reader.read(), return_exceptions=False
        )
        dripping = asyncio.create_task(drip(slow))
        async with asyncio.timeout(REQUEST_HEAD_SECONDS_MAXIMUM + SPARE_SECONDS):
            while not ends.done():
                assert (await tenant.call("GET", "/users")).status_code == 200
                await asyncio.sleep(1)
        dripping.cancel()
        nothing, timed_out, cut_off = await ends
    assert nothing == b""
    assert (timed_out[0], timed_out[2]["code"]) == (408, "request_timeout")
    assert b"201" not in cut_off


async def drip(one: Wire) -> None:
    """Send a header a second: never nothing, and never the end."""
    for number in range(1_000):
        one.send(f"X-{number}: x\r\n")
        await asyncio.sleep(1)


async def test_answers_are_not_kept_guessed_or_framed(tenant: Client) -> None:
    for path in ("/v1/users", "/v1/nothing", "/healthz", "/metrics", "/openapi.json"):
        headers = (await tenant.http.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "server" not in headers
        assert "strict-transport-security" not in headers


async def test_the_documentation_loads_from_here_alone(tenant: Client) -> None:
    page = await tenant.http.get("/docs")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'")
    assert "frame-ancestors 'none'" in policy
    assert "https://" not in page.text


async def test_browsers_of_other_origins_are_told_nothing(tenant: Client) -> None:
    ask = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    preflight = await tenant.http.options("/v1/transfers", headers=ask)
    answer = await tenant.http.get("/v1/users", headers=ask)
    for response in (preflight, answer):
        assert [name for name in response.headers if name.startswith("access-control")] == []


async def test_named_origins_may_call(stack: Stack, services: Services) -> None:
    origin = "https://shop.example"
    async with (
        served_api(
            stack, services.access, API_CORS_ORIGINS=f"{origin}, https://b.example"
        ) as served,
        served.client() as client,
    ):
        ask = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, idempotency-key, content-type",
        }
        preflight = await client.http.options("/v1/transfers", headers=ask)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        answer = await client.http.get("/v1/users", headers={"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
        other = await client.http.get("/v1/users", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("given", ["till-7.2026_01", "x" * REQUEST_ID_LENGTH_MAXIMUM])
async def test_a_request_keeps_the_id_that_its_client_gave(tenant: Client, given: str) -> None:
    made = await tenant.call(
        "POST", "/users", json={"name": "Ada"}, headers={"X-Request-ID": given}
    )
    assert made.headers["x-request-id"] == given
    (record,) = (await tenant.get("/audit-log", subject_id=made.json()["id"]))["data"]
    assert record["request_id"] == given
    missing = await tenant.call("GET", "/users/nobody", headers={"X-Request-ID": given})
    assert problem_of(missing, 404, "user_not_found")["request_id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é", "a\tb", '"'])
async def test_an_id_that_is_none_is_replaced(tenant: Client, given: str) -> None:
    headers = {"X-Request-ID": given.encode()}
    response = await tenant.call("GET", "/users/nobody", headers=headers)
    made = response.headers["x-request-id"]
    assert len(made) == 32
    assert problem_of(response, 404, "user_not_found")["request_id"] == made


async def test_an_address_behind_a_proxy_is_believed_where_the_proxy_is_named(
    tenant: Client, stack: Stack, services: Services
) -> None:
    forged = {"X-Forwarded-For": "192.0.2.7"}
    made = await tenant.call("POST", "/users", json={"name": "Ada"}, headers=forged)
    assert await source_address(tenant, made.json()["id"]) == "127.0.0.1"
    async with (
        served_api(stack, services.access, API_TRUSTED_PROXIES="127.0.0.1") as served,
        served.client() as client,
    ):
        made = await client.call("POST", "/users", json={"name": "Ada"}, headers=forged)
        assert await source_address(client, made.json()["id"]) == "192.0.2.7"


async def source_address(client: Client, subject: str) -> str:
    (record,) = (await client.get("/audit-log", subject_id=subject))["data"]
    address: str = record["actor"]["source_address"]
    return address


async def test_failed_logins_are_limited_and_good_keys_go_on(
    stack: Stack, services: Services
) -> None:
    limited = {"API_FAILED_LOGINS_PER_MINUTE": "5"}
    async with (
        served_api(stack, services.access, "--workers", "2", **limited) as served,
        served.client() as client,
    ):
        assert (await client.call("GET", "/users")).status_code == 200
        answers = []
        for number in range(20):
            wrong = {"Authorization": f"Bearer trf_wrong-{number}"}
            answers.append(await client.call("GET", "/users", headers=wrong))
        codes = [answer.status_code for answer in answers]
        assert codes.count(401) in {5, 6}
        assert codes[-1] == 429
        problem_of(answers[-1], 429, "too_many_failed_logins")
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 12
        assert (await client.call("GET", "/users")).status_code == 200
