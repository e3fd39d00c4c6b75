import asyncio
from collections import Counter

import httpx
import pytest

from tests.support.api import Client, Json, new_key
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack


async def code_of(response: httpx.Response) -> str:
    """Name an outcome by its problem's code; a success by its state."""
    body: Json = response.json()
    code: str = body.get("code") or body["state"]
    return code


async def outcomes(*requests: asyncio.Future[httpx.Response]) -> Counter[str]:
    responses = await asyncio.gather(*requests)
    return Counter([await code_of(response) for response in responses])


def send(
    tenant: Client, source: Json, destination: Json, amount: int
) -> asyncio.Future[httpx.Response]:
    """Ask for a transfer; the client keeps 50 requests in flight at most."""
    return asyncio.ensure_future(
        tenant.post_transfer(
            key=new_key(),
            source=source["id"],
            destination=destination["id"],
            amount=amount,
            currency="EUR",
        )
    )


async def test_a_hundred_at_once_with_one_key_are_one_transfer_with_one_outcome(
    tenant: Client,
) -> None:
    source, destination = await tenant.account(balance=1_000), await tenant.account()
    body = {"source": source["id"], "destination": destination["id"], "amount": 10}
    key = new_key()
    responses = await asyncio.gather(
        *(tenant.post_transfer(key=key, currency="EUR", **body) for _ in range(100))
    )
    assert {(response.status_code, response.text) for response in responses} == {
        (201, responses[0].text)
    }
    assert sum("idempotency-replayed" not in response.headers for response in responses) == 1
    assert await tenant.posted(destination["id"]) == 10
    assert len((await tenant.get("/transfers", type="INTERNAL"))["data"]) == 1


async def test_a_hundred_at_once_with_one_key_share_a_failure_too(tenant: Client) -> None:
    source = await tenant.account(balance=9)
    body = {"type": "WITHDRAWAL", "source": source["id"], "amount": 10, "currency": "EUR"}
    key = new_key()
    responses = await asyncio.gather(*(tenant.post_transfer(key=key, **body) for _ in range(100)))
    assert {(response.status_code, response.text) for response in responses} == {
        (422, responses[0].text)
    }
    assert responses[0].json()["code"] == "insufficient_funds"


async def test_of_fifty_that_want_a_tenth_each_exactly_ten_succeed(tenant: Client) -> None:
    source, destination = await tenant.account(balance=1_000), await tenant.account()
    counts = await outcomes(*(send(tenant, source, destination, 100) for _ in range(50)))
    assert counts == {"SUCCESS": 10, "insufficient_funds": 40}
    assert (await tenant.get(f"/accounts/{source['id']}"))["balance"] == {
        "posted": 0,
        "held": 0,
        "available": 0,
    }
    assert await tenant.posted(destination["id"]) == 1_000


async def test_an_overdraft_is_never_passed_by_many_at_once(tenant: Client) -> None:
    source = await tenant.account(overdraft_limit=70)
    destination = await tenant.account()
    counts = await outcomes(*(send(tenant, source, destination, 10) for _ in range(30)))
    assert counts == {"SUCCESS": 7, "insufficient_funds": 23}
    assert await tenant.posted(source["id"]) == -70


async def test_opposite_ways_at_once_neither_block_each_other_nor_lose_anything(
    tenant: Client,
) -> None:
    one, two = await tenant.account(balance=100_000), await tenant.account(balance=100_000)
    pairs = [(send(tenant, one, two, 7), send(tenant, two, one, 5)) for _ in range(200)]
    counts = await outcomes(*(request for pair in pairs for request in pair))
    assert counts == {"SUCCESS": 400}
    assert await tenant.posted(one["id"]) == 100_000 - 200 * 7 + 200 * 5
    assert await tenant.posted(two["id"]) == 100_000 + 200 * 7 - 200 * 5
    entries = [
        entry
        async for page in tenant.walk(f"/accounts/{one['id']}/entries", limit=200, order="asc")
        for entry in page
    ]
    assert [entry["sequence"] for entry in entries] == list(range(1, 402))


async def test_money_in_a_ring_of_accounts_stays_what_it_was(tenant: Client) -> None:
    ring = [await tenant.account(balance=30) for _ in range(5)]
    counts = await outcomes(
        *(send(tenant, ring[n % 5], ring[(n + 1 + n % 3) % 5], 10 + n % 4) for n in range(100))
    )
    assert counts.keys() <= {"SUCCESS", "insufficient_funds"}
    balances = [(await tenant.get(f"/accounts/{account['id']}"))["balance"] for account in ring]
    assert sum(balance["posted"] for balance in balances) == 150
    assert all(balance["posted"] >= 0 == balance["held"] for balance in balances)


@pytest.mark.parametrize("side", ["source", "destination"])
async def test_once_a_freeze_is_answered_nothing_moves_any_more(tenant: Client, side: str) -> None:
    accounts = {
        "source": await tenant.account(balance=10_000),
        "destination": await tenant.account(),
    }
    requests = [send(tenant, accounts["source"], accounts["destination"], 1) for _ in range(60)]
    await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
    frozen = await tenant.change_status(accounts[side]["id"], "freeze")
    counts = await outcomes(*requests)
    assert counts.keys() <= {"SUCCESS", "account_frozen"}
    after = (await tenant.get(f"/accounts/{accounts[side]['id']}"))["balance"]
    assert after["posted"] == frozen["balance"]["posted"]
    assert after["held"] == 0
    assert await tenant.posted(accounts["destination"]["id"]) == counts["SUCCESS"]


async def test_one_external_id_asked_for_by_many_at_once_is_given_once(tenant: Client) -> None:
    user = await tenant.user()
    body = {"user_id": user["id"], "currency": "NOK", "external_id": "only"}
    responses = await asyncio.gather(
        *(tenant.call("POST", "/accounts", json=body) for _ in range(20))
    )
    assert sorted(response.status_code for response in responses) == [201, *[409] * 19]
    kinds = [account["kind"] for account in (await tenant.get("/accounts"))["data"]]
    assert sorted(kinds) == ["CUSTOMER", "SYSTEM"]


async def test_the_ledger_is_clean_after_all_that(stack: Stack) -> None:
    await require_clean_ledger(stack)
