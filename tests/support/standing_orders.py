"""Standing orders through the API, and their schedules behind its back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from temporalio.client import Client as TemporalClient
from temporalio.client import ScheduleBackfill, ScheduleHandle, ScheduleOverlapPolicy

from domain.standing_orders import schedule_id
from tests.support.api import Client, Json, new_key
from tests.support.waiting import until

LONG_AGO = timedelta(minutes=10)
"""Older than what counts as late."""


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def text_of(time: datetime) -> str:
    """Write a time as the API and the keys do."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


async def post_order(tenant: Client, *, key: str | None = None, **body: Any) -> httpx.Response:
    return await tenant.call(
        "POST", "/standing-orders", json=body, headers={"Idempotency-Key": key or new_key()}
    )


async def make_order(
    tenant: Client, *, source: str, destination: str, seconds: int = 1, **body: Any
) -> Json:
    """Order 10 cents from one account to another, every second unless another schedule is given."""
    asked = {
        "source": source,
        "destination": destination,
        "amount": 10,
        "currency": "EUR",
        "schedule": {"interval_seconds": seconds},
        **body,
    }
    response = await post_order(tenant, **asked)
    assert response.status_code == 201, response.text
    order: Json = response.json()
    return order


async def change(tenant: Client, order: Json, verb: str, **body: Any) -> Json:
    """Pause, resume or cancel an order."""
    response = await tenant.call("POST", f"/standing-orders/{order['id']}/{verb}", json=body)
    assert response.status_code == 200, response.text
    changed: Json = response.json()
    return changed


async def runs_of(tenant: Client, order: Json) -> list[Json]:
    """Read all runs of an order, the oldest time first."""
    path = f"/standing-orders/{order['id']}/runs"
    pages = [page async for page in tenant.walk(path, limit=200)]
    return [run for page in pages for run in page][::-1]


async def wait_for_runs(
    tenant: Client, order: Json, is_enough: Callable[[list[Json]], bool]
) -> list[Json]:
    """Wait until the runs of an order that have their outcome are as a condition wants them."""
    found: list[Json] = []

    async def are_there() -> bool:
        nonlocal found
        found = [run for run in await runs_of(tenant, order) if run["state"] != "PROCESSING"]
        return is_enough(found)

    await until(are_there)
    return found


def at_least(count: int) -> Callable[[list[Json]], bool]:
    return lambda runs: len(runs) >= count


def schedule_of(client: TemporalClient, order: Json) -> ScheduleHandle:
    return client.get_schedule_handle(schedule_id(order["id"]))


async def backfill(client: TemporalClient, order: Json, first: datetime, last: datetime) -> None:
    """Start the runs of past times, as an operator can in Temporal."""
    await schedule_of(client, order).backfill(
        ScheduleBackfill(
            first - timedelta(seconds=1), last, overlap=ScheduleOverlapPolicy.BUFFER_ALL
        )
    )
