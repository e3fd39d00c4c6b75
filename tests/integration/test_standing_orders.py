"""Standing orders on real servers: runs at their times, once each, as the order says."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from temporalio.client import Client as TemporalClient

from tests.support.api import Client, Json, problem_of
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack
from tests.support.standing_orders import (
    LONG_AGO,
    at_least,
    backfill,
    change,
    make_order,
    moment,
    now,
    runs_of,
    schedule_of,
    text_of,
    wait_for_runs,
)
from tests.support.waiting import until


@pytest.fixture
async def source(tenant: Client) -> str:
    account = await tenant.account(balance=1_000)
    return str(account["id"])


@pytest.fixture
async def destination(tenant: Client) -> str:
    account = await tenant.account()
    return str(account["id"])


def times_of(runs: list[Json]) -> list[datetime]:
    return [moment(run["scheduled_at"]) for run in runs]


async def test_runs_are_made_at_their_times_each_with_its_own_key(
    tenant: Client, source: str, destination: str, stack: Stack
) -> None:
    order = await make_order(tenant, source=source, destination=destination, description="rent")

    runs = (await wait_for_runs(tenant, order, at_least(3)))[:3]
    await change(tenant, order, "cancel")

    assert {run["state"] for run in runs} == {"SUCCESS"}
    first, second, third = times_of(runs)
    assert (second - first, third - second) == (timedelta(seconds=1), timedelta(seconds=1))
    for run in runs:
        transfer = await tenant.get(f"/transfers/{run['transfer_id']}")
        assert transfer["idempotency_key"] == f"{order['id']}:{run['scheduled_at']}"
        assert (transfer["state"], transfer["amount"]) == ("SUCCESS", 10)
        assert transfer["description"] == "rent"
    await require_clean_ledger(stack)


async def test_a_time_that_is_started_again_moves_nothing_more(
    tenant: Client, source: str, destination: str, temporal_client: TemporalClient
) -> None:
    start = now() - LONG_AGO
    order = await make_order(
        tenant, source=source, destination=destination, seconds=3_600, start_at=text_of(start)
    )
    assert await runs_of(tenant, order) == []
    await backfill(temporal_client, order, start, start)
    (run,) = await wait_for_runs(tenant, order, at_least(1))

    for _ in range(2):
        before = (await schedule_of(temporal_client, order).describe()).info.num_actions
        await backfill(temporal_client, order, start, start)
        await until(partial(has_acted, temporal_client, order, before))

    assert await runs_of(tenant, order) == [run]
    assert await tenant.posted(destination) == 10
    assert len((await tenant.get("/transfers", account=destination))["data"]) == 1


async def has_acted(client: TemporalClient, order: Json, before: int) -> bool:
    """Tell whether a schedule has made a further run, to its end."""
    info = (await schedule_of(client, order).describe()).info
    return info.num_actions > before and not info.running_actions


async def test_an_order_that_comes_late_for_its_first_run_makes_it_all_the_same(
    tenant: Client, source: str, destination: str
) -> None:
    start = now() - timedelta(seconds=5)
    order = await make_order(
        tenant, source=source, destination=destination, seconds=3_600, start_at=text_of(start)
    )

    (run,) = await wait_for_runs(tenant, order, at_least(1))

    assert (run["scheduled_at"], run["state"]) == (text_of(start), "SUCCESS")
    assert await tenant.posted(destination) == 10
    assert order["next_runs"][0] == text_of(start + timedelta(hours=1))


async def test_a_trigger_outside_of_the_schedule_moves_nothing(
    tenant: Client, source: str, destination: str, temporal_client: TemporalClient
) -> None:
    started = text_of(now() - LONG_AGO)
    order = await make_order(
        tenant, source=source, destination=destination, seconds=86_400, start_at=started
    )

    await schedule_of(temporal_client, order).trigger()
    await until(lambda: has_acted(temporal_client, order, 0))

    assert await runs_of(tenant, order) == []
    assert await tenant.posted(destination) == 0


async def test_a_run_without_enough_money_is_recorded_and_the_next_one_goes(
    tenant: Client, destination: str
) -> None:
    account = await tenant.account(balance=9)
    order = await make_order(tenant, source=account["id"], destination=destination)
    (failed, *_) = await wait_for_runs(tenant, order, at_least(1))
    await tenant.deposit(account["id"], 100)

    runs = await wait_for_runs(tenant, order, lambda found: found[-1]["state"] == "SUCCESS")
    await change(tenant, order, "cancel")

    assert (failed["state"], failed["failure"]["code"]) == ("FAILED", "insufficient_funds")
    transfer = await tenant.get(f"/transfers/{failed['transfer_id']}")
    assert (transfer["state"], transfer["failure"]) == ("FAILED", failed["failure"])
    assert runs[-1]["failure"] is None


async def test_a_pause_stops_runs_and_what_it_misses_is_never_made_up_for(
    tenant: Client, source: str, destination: str
) -> None:
    order = await make_order(tenant, source=source, destination=destination)
    await wait_for_runs(tenant, order, at_least(1))

    paused = await change(tenant, order, "pause", reason="holiday")
    paused_at = moment(paused["updated_at"])
    await until(lambda: has_passed(paused_at + timedelta(seconds=3)))
    resumed_at = moment((await change(tenant, order, "resume"))["updated_at"])
    runs = await wait_for_runs(
        tenant, order, lambda found: times_of(found)[-1] > resumed_at + timedelta(seconds=1)
    )
    await change(tenant, order, "cancel")

    assert (paused["status"], paused["status_reason"]) == ("PAUSED", "holiday")
    assert paused["next_runs"] == []
    made = [run for run in runs if run["state"] == "SUCCESS"]
    assert [time for time in times_of(made) if paused_at < time < resumed_at] == []
    assert any(time > resumed_at for time in times_of(made))


async def has_passed(time: datetime) -> bool:
    return datetime.now(UTC) > time


async def test_a_cancelled_order_makes_no_run_any_more(
    tenant: Client, source: str, destination: str
) -> None:
    order = await make_order(tenant, source=source, destination=destination)
    await wait_for_runs(tenant, order, at_least(1))

    cancelled = await change(tenant, order, "cancel", reason="moved out")
    until_then = moment(cancelled["ended_at"])
    await until(lambda: has_passed(until_then + timedelta(seconds=2)))

    assert (cancelled["status"], cancelled["status_reason"]) == ("CANCELLED", "moved out")
    assert cancelled["next_runs"] == []
    made = [run for run in await runs_of(tenant, order) if run["state"] != "SKIPPED"]
    assert all(time <= until_then for time in times_of(made))
    assert (await change(tenant, order, "cancel"))["status"] == "CANCELLED"
    for verb in ("pause", "resume"):
        response = await tenant.call("POST", f"/standing-orders/{order['id']}/{verb}")
        problem_of(response, 409, "standing_order_over")


POLICIES: list[tuple[str, list[tuple[str, str | None]]]] = [
    ("RUN_ALL", [("SUCCESS", None)] * 3),
    ("RUN_LATEST", [("SKIPPED", "superseded")] * 2 + [("SUCCESS", None)]),
    ("SKIP", [("SKIPPED", "missed")] * 3),
]


@pytest.mark.parametrize(("policy", "expected"), POLICIES)
async def test_missed_runs_are_made_up_for_as_the_order_says(
    tenant: Client,
    source: str,
    destination: str,
    temporal_client: TemporalClient,
    policy: str,
    expected: list[tuple[str, str | None]],
) -> None:
    # Times of the past, the last of which is the latest that is due.
    start = now() - LONG_AGO
    order = await make_order(
        tenant,
        source=source,
        destination=destination,
        seconds=250,
        start_at=text_of(start),
        missed_runs=policy,
    )
    last = start + timedelta(seconds=500)
    await backfill(temporal_client, order, start, last)

    runs = await wait_for_runs(tenant, order, at_least(3))

    assert times_of(runs) == [start, start + timedelta(seconds=250), last]
    assert [(run["state"], (run["failure"] or {}).get("code")) for run in runs] == expected
    moved = 10 * [state for state, _code in expected].count("SUCCESS")
    assert await tenant.posted(destination) == moved


async def test_runs_of_one_time_are_made_once_by_several_workers(
    tenant: Client, source: str, destination: str, temporal_client: TemporalClient
) -> None:
    # The stack has two workers. Each of these times is started three times over.
    start = now() - timedelta(seconds=60)
    order = await make_order(
        tenant, source=source, destination=destination, seconds=4, start_at=text_of(start)
    )
    last = start + timedelta(seconds=20)
    await asyncio.gather(*(backfill(temporal_client, order, start, last) for _ in range(3)))

    wanted = [start + timedelta(seconds=seconds) for seconds in range(0, 21, 4)]
    await wait_for_runs(tenant, order, lambda found: set(times_of(found)) >= set(wanted))
    await change(tenant, order, "cancel")

    runs = await wait_for_runs(tenant, order, lambda _found: True)
    assert {run["state"] for run in runs} <= {"SUCCESS", "SKIPPED"}
    made = [run for run in runs if run["state"] == "SUCCESS"]
    assert await tenant.posted(destination) == 10 * len(made)
    assert len({run["scheduled_at"] for run in made}) == len(made)


async def test_a_time_that_is_started_too_early_waits_until_it_is_due(
    tenant: Client, source: str, destination: str, temporal_client: TemporalClient
) -> None:
    start = now() + timedelta(seconds=3)
    order = await make_order(
        tenant, source=source, destination=destination, seconds=3_600, start_at=text_of(start)
    )
    await backfill(temporal_client, order, start, start)

    (run,) = await wait_for_runs(tenant, order, at_least(1))

    assert run["state"] == "SUCCESS"
    assert moment(run["created_at"]) >= start
    assert await tenant.posted(destination) == 10
