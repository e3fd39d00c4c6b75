"""Data that fills every page of the console: a small wallet business, made through the API."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.api import Client, Json, new_key
from tests.support.batches import post_batch, row, run_batch
from tests.support.standing_orders import change, make_order
from tests.support.tenants import TenantMaker
from tests.support.waiting import in_seconds

THRESHOLD_MINOR = 100_000_00
PURPOSES = ("Rent for July", "Invoice 4711", "Refund of order 8812", "Salary", "Card top-up")


@dataclass(frozen=True, slots=True)
class Business:
    """A tenant with something on every page.

    Parameters
    ----------
    operator
        Has all scopes; made none of the transfers.
    reversed
        A transfer with legs, captures or reversals to look at.
    """

    maker: Client
    operator: Client
    accounts: Sequence[Json]
    simple: Json
    reversed: Json
    waiting: Sequence[Json]
    failed: Json
    held: Json
    order: Json
    batch: Json


async def make_business(make_tenant: TenantMaker, name: str) -> Business:
    """Make users, accounts and transfers of all kinds."""
    operator = await make_tenant(name)
    maker = await make_tenant(name)
    accounts = await _accounts(maker)
    ada, bob, shop = accounts[0]["id"], accounts[1]["id"], accounts[2]["id"]
    await maker.rule(THRESHOLD_MINOR)
    # First, so that lists of the newest show more than its rows.
    batch = await _batches(maker, ada, bob)
    simple = await _everyday(maker, accounts)
    reversed_ = await maker.transfer(
        source=ada, destination=shop, amount=8_990, description="Order 8812, two chairs"
    )
    for amount in (2_000, 1_500):
        body: Json = {"amount": amount, "reason": "One chair came broken"}
        assert (await maker.operate(reversed_, "reversals", **body)).is_success
    failed = (
        await maker.post_transfer(
            key=new_key(), source=bob, destination=shop, amount=50_000_00, currency="EUR"
        )
    ).json()["transfer"]
    held = await maker.hold(source=ada, destination=shop, amount=25_000, description="Hotel")
    assert (await maker.operate(held, "capture", amount=9_000)).is_success
    return Business(
        maker=maker,
        operator=operator,
        accounts=accounts,
        simple=simple,
        reversed=reversed_,
        waiting=[await _waiting(maker, ada, shop, amount) for amount in (120_000_00, 250_000_00)],
        failed=failed,
        held=held,
        order=await _orders(maker, ada, bob),
        batch=batch,
    )


async def _accounts(maker: Client) -> list[Json]:
    people = [await maker.user(name) for name in ("Ada Lovelace", "Bob Marsh", "Chairs & Co")]
    accounts = [
        await maker.account("EUR", user_id=person["id"], balance=balance, external_id=external_id)
        for person, balance, external_id in zip(
            people, (900_000_00, 1_250_00, 40_000_00), ("ada-1", "bob-1", "shop-1"), strict=True
        )
    ]
    for currency, balance in (("USD", 5_300_00), ("JPY", 1_250_000), ("BHD", 120_500)):
        accounts.append(await maker.account(currency, user_id=people[0]["id"], balance=balance))
    frozen = await maker.account("EUR", user_id=people[1]["id"], overdraft_limit=500_00)
    await maker.change_status(frozen["id"], "freeze")
    return [*accounts, frozen]


async def _everyday(maker: Client, accounts: Sequence[Json]) -> Json:
    """Move money to and fro, and give one of the transfers."""
    ada, bob, shop = accounts[0]["id"], accounts[1]["id"], accounts[2]["id"]
    made: list[Json] = []
    for number in range(24):
        source, destination = ((ada, bob), (ada, shop), (shop, ada), (bob, shop))[number % 4]
        made.append(
            await maker.transfer(
                source=source,
                destination=destination,
                amount=1_250 + 37 * number * number,
                description=PURPOSES[number % len(PURPOSES)],
                metadata={"invoice": 4700 + number, "channel": "app"},
            )
        )
    await maker.withdraw(shop, 12_000)
    split = await maker.post_transfer(
        key=new_key(),
        legs=[
            {"source": ada, "destination": shop, "amount": 9_500, "currency": "EUR"},
            {"source": ada, "destination": bob, "amount": 500, "currency": "EUR"},
        ],
        description="Purchase and fee",
    )
    assert split.is_success, split.text
    return made[0]


async def _waiting(maker: Client, source: str, destination: str, amount: int) -> Json:
    response = await maker.post_transfer(
        key=new_key(),
        source=source,
        destination=destination,
        amount=amount,
        currency="EUR",
        description="New warehouse, first instalment",
    )
    transfer: Json = response.json()
    assert transfer["stage"] == "AWAITING_APPROVAL", transfer
    return transfer


async def _orders(maker: Client, source: str, destination: str) -> Json:
    schedule: dict[str, Any] = {"cron": "0 8 1 * *", "time_zone": "Europe/Berlin"}
    monthly = await make_order(
        maker,
        source=source,
        destination=destination,
        amount=85_000,
        description="Rent",
        schedule=schedule,
    )
    order = await make_order(
        maker, source=source, destination=destination, seconds=3600, description="Savings"
    )
    await change(maker, order, "pause", reason="The customer asked for a break")
    start_at = in_seconds(-120)
    await make_order(
        maker,
        source=source,
        destination=destination,
        seconds=24 * 3600,
        description="Pocket money",
        start_at=start_at,
    )
    return monthly


async def _batches(maker: Client, source: str, destination: str) -> Json:
    rows = [row(100 + n, source=source, destination=destination) for n in range(40)]
    rows[7] = row(10**12, source=destination, destination=source)
    finished = await run_batch(maker, rows, description="Payroll, June")
    response = await post_batch(maker, [*rows[:3], rows[7]], atomic=True, description="Bonus")
    assert response.status_code in {201, 202, 422}, response.text
    return finished
