import asyncio
from typing import Any

import pytest

from tests.support.api import Client, Json, new_key, problem_of
from tests.support.rows import rows_of_tenant
from tests.support.stack import Stack
from tests.support.tenants import TenantMaker

MANY = 20


async def deposit_body(tenant: Client) -> Json:
    account = await tenant.account(external_id="wallet")
    return {"type": "DEPOSIT", "destination": account["id"], "amount": 100, "currency": "EUR"}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "idempotency_key_missing"),
        ({"Idempotency-Key": ""}, "idempotency_key_missing"),
        ({"Idempotency-Key": "x" * 201}, "idempotency_key_invalid"),
        ({"Idempotency-Key": "a b"}, "idempotency_key_invalid"),
        ({"Idempotency-Key": "a\tb"}, "idempotency_key_invalid"),
        ({"Idempotency-Key": "schlüssel".encode()}, "idempotency_key_invalid"),
        ({"Idempotency-Key": "schlüssel".encode("latin-1")}, "idempotency_key_invalid"),
        ({"Idempotency-Key": b"a\x80b"}, "idempotency_key_invalid"),
    ],
)
async def test_a_transfer_without_a_right_key_is_refused(
    tenant: Client, stack: Stack, headers: dict[str, Any], code: str
) -> None:
    body = await deposit_body(tenant)
    before = await rows_of_tenant(stack.database_url, tenant.tenant_id)
    response = await tenant.call("POST", "/transfers", json=body, headers=headers)
    problem_of(response, 400, code)
    assert await rows_of_tenant(stack.database_url, tenant.tenant_id) == before


async def test_a_control_character_in_a_header_is_refused(tenant: Client) -> None:
    reader, writer = await asyncio.open_connection(
        tenant.http.base_url.host, tenant.http.base_url.port
    )
    writer.write(b"POST /v1/transfers HTTP/1.1\r\nHost: x\r\nIdempotency-Key: a\x01b\r\n\r\n")
    await writer.drain()
    assert (await reader.read(12)).decode() == "HTTP/1.1 400"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("key", ["k", "!~-_.:/?#[]@%20", "x" * 200])
async def test_a_success_is_repeated_with_status_and_body_and_a_mark(
    tenant: Client, key: str
) -> None:
    body = await deposit_body(tenant)
    first = await tenant.post_transfer(key=key, **body)
    again = [await tenant.post_transfer(key=key, **body) for _ in range(2)]
    assert first.status_code == 201
    assert "idempotency-replayed" not in first.headers
    for response in again:
        assert (response.status_code, response.text) == (first.status_code, first.text)
        assert response.headers["idempotency-replayed"] == "true"
        assert response.headers["location"] == first.headers["location"]
    assert await tenant.posted("ext:wallet") == 100
    found = await tenant.get("/transfers", idempotency_key=key)
    assert [transfer["id"] for transfer in found["data"]] == [first.json()["id"]]


async def test_a_failure_is_repeated_too_even_when_it_could_succeed_now(tenant: Client) -> None:
    account = await tenant.account()
    body = {"type": "WITHDRAWAL", "source": account["id"], "amount": 100, "currency": "EUR"}
    key = new_key()
    first = await tenant.post_transfer(key=key, **body)
    problem_of(first, 422, "insufficient_funds")
    await tenant.deposit(account["id"], 1_000)
    again = await tenant.post_transfer(key=key, **body)
    assert (again.status_code, again.text) == (first.status_code, first.text)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == "application/problem+json"
    assert await tenant.posted(account["id"]) == 1_000


async def test_another_spelling_of_the_same_request_is_the_same_request(tenant: Client) -> None:
    account = await tenant.account(external_id="wallet")
    key = new_key()
    first = await tenant.post_transfer(
        key=key,
        type="DEPOSIT",
        destination=account["id"],
        amount=100,
        currency="EUR",
        metadata={"a": 1, "b": 2},
        effective_at="2026-01-01T00:00:00Z",
    )
    again = await tenant.post_transfer(
        key=key,
        effective_at="2026-01-01T01:00:00+01:00",
        metadata={"b": 2, "a": 1},
        amount="100",
        destination=account["account_number"],
        type="DEPOSIT",
        description=None,
        currency="EUR",
    )
    assert (again.status_code, again.text) == (201, first.text)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 101},
        {"description": "other"},
        {"metadata": {"a": 1}},
        {"effective_at": "2026-01-01T00:00:00Z"},
        {"destination": "ext:second"},
        {"type": "WITHDRAWAL", "source": "ext:wallet", "destination": None},
        {"type": "INTERNAL", "source": "ext:second"},
    ],
)
async def test_a_key_is_not_taken_for_another_request(
    tenant: Client, stack: Stack, change: Json
) -> None:
    body = await deposit_body(tenant)
    await tenant.account(external_id="second")
    key = new_key()
    await tenant.transfer(key=key, **body)
    before = await rows_of_tenant(stack.database_url, tenant.tenant_id)
    for prefer in ("wait=5", "respond-async"):
        other = await tenant.post_transfer(
            key=key, headers={"Prefer": prefer}, **{**body, **change}
        )
        problem_of(other, 422, "idempotency_key_reused")
    assert await rows_of_tenant(stack.database_url, tenant.tenant_id) == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"destination": "ext:nobody"}, "account_not_found"),
        ({"amount": 0}, "validation_failed"),
        ({"currency": "USD"}, "currency_mismatch"),
        ({"type": "INTERNAL", "source": "ext:wallet"}, "same_account"),
    ],
)
async def test_a_request_refused_before_it_was_recorded_does_not_use_its_key_up(
    tenant: Client, change: Json, code: str
) -> None:
    body = await deposit_body(tenant)
    await tenant.account("USD")
    key = new_key()
    problem_of(await tenant.post_transfer(key=key, **{**body, **change}), 422, code)
    right = await tenant.post_transfer(key=key, **body)
    assert right.status_code == 201
    assert "idempotency-replayed" not in right.headers


async def test_a_key_of_one_tenant_says_nothing_to_another(
    tenant: Client, make_tenant: TenantMaker
) -> None:
    other = await make_tenant()
    key = new_key()
    first = await tenant.transfer(key=key, **await deposit_body(tenant))
    second = await other.post_transfer(key=key, **await deposit_body(other))
    assert second.status_code == 201
    assert "idempotency-replayed" not in second.headers
    assert second.json()["id"] != first["id"]


async def test_many_at_once_with_one_key_get_the_one_outcome(tenant: Client) -> None:
    body = await deposit_body(tenant)
    key = new_key()
    responses = await asyncio.gather(*(tenant.post_transfer(key=key, **body) for _ in range(MANY)))
    assert {(response.status_code, response.text) for response in responses} == {
        (201, responses[0].text)
    }
    marks = [response.headers.get("idempotency-replayed") for response in responses]
    assert sorted(marks, key=str) == [None, *["true"] * (MANY - 1)]
    assert await tenant.posted("ext:wallet") == 100


@pytest.mark.parametrize("position", [0, MANY // 2, MANY - 1])
async def test_of_two_requests_that_race_for_a_key_one_wins(tenant: Client, position: int) -> None:
    body = await deposit_body(tenant)
    key = new_key()
    amounts = [100] * MANY
    amounts[position] = 7
    responses = await asyncio.gather(
        *(tenant.post_transfer(key=key, **{**body, "amount": amount}) for amount in amounts)
    )
    outcomes = list(zip(amounts, responses, strict=True))
    winner = await tenant.posted("ext:wallet")
    assert winner in {7, 100}
    for amount, response in outcomes:
        if amount == winner:
            assert (response.status_code, response.json()["amount"]) == (201, winner)
        else:
            problem_of(response, 422, "idempotency_key_reused")


async def test_asynchronous_and_waiting_requests_with_one_key_agree(tenant: Client) -> None:
    body = await deposit_body(tenant)
    key = new_key()
    responses = await asyncio.gather(
        *(
            tenant.post_transfer(key=key, headers={"Prefer": prefer}, **body)
            for prefer in ["respond-async", "wait=10"] * 5
        )
    )
    assert {response.status_code for response in responses} <= {201, 202}
    assert {response.json()["id"] for response in responses} == {responses[0].json()["id"]}
    assert await tenant.posted("ext:wallet") == 100
