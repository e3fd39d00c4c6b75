"""What operators see of the service from outside: traces, metrics and logs of running parts."""

import json
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

import httpx
import pytest

from domain.access import Scope
from runtime.composition import Services, open_services
from runtime.local_errors import PartFailedError
from runtime.ports import LOOPBACK, free_port
from runtime.temporal import connect
from tests.support.api import Client, Json, new_key
from tests.support.batches import row, run_batch
from tests.support.collector import Collector, Span, trace_collector
from tests.support.postgres import PostgresServer
from tests.support.scraping import scraped
from tests.support.served import locked_balance, served_api
from tests.support.stack import Stack, running_stack
from tests.support.temporal import temporal_server
from tests.support.waiting import until

STEPS = ("reserve_funds", "post_entries", "finalise")


def traceparent(trace_id: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}


SECRETS = (b"a secret purpose", b"ada@example.org", b"Ada Lovelace", b"a note of hers")


@pytest.fixture(scope="module")
async def collector() -> AsyncIterator[Collector]:
    async with trace_collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def worker_port() -> int:
    """Where the worker of `traced` serves its metrics."""
    return free_port()


@pytest.fixture(scope="module")
async def traced(
    postgres: PostgresServer, collector: Collector, worker_port: int
) -> AsyncIterator[Stack]:
    """An API and a worker on servers of their own: no other worker takes their steps."""
    async with (
        postgres.database() as url,
        temporal_server() as temporal,
        running_stack(
            url,
            temporal,
            service_url=postgres.as_service(url),
            OTLP_ENDPOINT=collector.url,
            WORKER_METRICS_PORT=str(worker_port),
        ) as stack,
    ):
        yield stack


@pytest.fixture(scope="module")
async def client(traced: Stack) -> AsyncIterator[Client]:
    async with open_services(traced.database_url) as services:
        key, secret = await services.access.create_key(
            tenant_name="traced", name="test", scopes=frozenset(Scope)
        )
    async with Client(traced.api_url, secret, key) as client:
        yield client


async def test_a_transfer_is_one_trace_from_its_request_to_its_statements(
    stack: Stack, services: Services, collector: Collector
) -> None:
    trace_id = secrets.token_hex(16)
    async with (
        served_api(
            stack, services.access, OTLP_ENDPOINT=collector.url, LOG_LEVEL="DEBUG"
        ) as served,
        served.client() as client,
    ):
        account = await client.account()
        sent = await client.post_transfer(
            key=new_key(),
            headers=traceparent(trace_id),
            type="DEPOSIT",
            destination=account["id"],
            amount=500,
            currency="EUR",
        )
        assert sent.status_code == 201
        transfer = sent.json()

        async def is_logged() -> bool:
            return bool(lines())

        def lines() -> list[Json]:
            return [line for line in served.events("request") if line.get("trace_id") == trace_id]

        # The line is written once the answer is on its way.
        await until(is_logged)
        [line] = lines()
    await collector.has(trace_id, ["POST /v1/transfers", *(f"RunActivity:{s}" for s in STEPS)])
    spans = {span.span_id: span for span in collector.of_trace(trace_id)}
    reserve = next(s for s in spans.values() if s.name == "RunActivity:reserve_funds")
    below = [span for span in spans.values() if span.parent_id == reserve.span_id]
    assert any("db.statement" in span.attributes for span in below)
    [request] = [s for s in spans.values() if s.name == "POST /v1/transfers"]
    assert request.attributes["transfers.transfer_id"].string_value == transfer["id"]
    assert root_of(reserve, spans) is request
    named = {name: line[name] for name in ("transfer_id", "workflow_id", "tenant_id")}
    assert named == {
        "transfer_id": transfer["id"],
        "workflow_id": transfer["workflow_id"],
        "tenant_id": str(client.tenant_id),
    }


async def test_a_trace_goes_on_in_the_worker_that_takes_a_step(
    traced: Stack, client: Client, collector: Collector
) -> None:
    account, other = await client.account(balance=500), await client.account()
    trace_id = secrets.token_hex(16)
    async with locked_balance(traced.database_url, account["id"]):
        sent = await client.post_transfer(
            key=new_key(),
            headers={**traceparent(trace_id), "Prefer": "respond-async"},
            source=account["id"],
            destination=other["id"],
            amount=100,
            currency="EUR",
        )

        def failed() -> list[Span]:
            return [span for span in collector.of_trace(trace_id) if span.is_error]

        async def has_changed_over() -> bool:
            services = {span.service for span in collector.of_trace(trace_id)}
            return services == {"transfers-api", "transfers-worker"} and bool(failed())

        # Each attempt of the step that is held up goes to whoever asks first. A span is sent once
        # it has ended, and each of the two processes sends at times of its own.
        await until(has_changed_over, timeout_seconds=60)
    assert {span.message for span in failed()} == {""}
    assert sent.status_code == 202


async def test_captures_and_batches_are_in_the_traces_of_their_requests(
    client: Client, collector: Collector
) -> None:
    account, other = await client.account(balance=500), await client.account()
    sides = {"source": account["id"], "destination": other["id"], "amount": 100}
    held = await client.hold(**sides)
    capture, batch = secrets.token_hex(16), secrets.token_hex(16)
    headers = {"Idempotency-Key": new_key(), **traceparent(capture)}
    path = f"/transfers/{held['id']}/capture"
    captured = await client.call("POST", path, json={"amount": 50}, headers=headers)
    assert captured.status_code == 200
    await collector.has(
        capture, ["POST /v1/transfers/{transfer}/capture", "StartWorkflowUpdate:capture"]
    )
    asked = row(**sides)
    headers = {"Idempotency-Key": new_key(), **traceparent(batch)}
    made = await client.call(
        "POST", "/transfer-batches", json={"transfers": [asked]}, headers=headers
    )
    assert made.status_code in {201, 202}, made.text
    await collector.has(batch, ["POST /v1/transfer-batches", "RunWorkflow:TransferBatchWorkflow"])

    async def is_at_work() -> bool:
        return any(name.startswith("RunActivity:") for name in collector.names(batch))

    await until(is_at_work)


@pytest.mark.usefixtures("traced")
async def test_each_step_of_a_schedules_run_is_a_trace_of_its_own(collector: Collector) -> None:
    step = "RunActivity:resolve_abandoned_transfers"

    async def is_traced() -> bool:
        traces = {span.trace_id for span in list(collector.spans) if span.name == step}
        return any({step, "SELECT"} <= collector.names(trace_id) for trace_id in traces)

    await until(is_traced, timeout_seconds=40)


async def test_what_the_reconciliation_ends_is_in_the_logs_with_its_ids(
    traced: Stack, client: Client
) -> None:
    account, other = await client.account(balance=500), await client.account()
    held = await client.hold(source=account["id"], destination=other["id"], amount=100)
    temporal = await connect(traced.temporal_address, traced.temporal_namespace)
    await temporal.get_workflow_handle(held["workflow_id"]).terminate("to be found")

    def told(event: str) -> list[Json]:
        paths = (traced.logs / "api.log", traced.logs / "worker.log")
        lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    async def is_told() -> bool:
        return bool(told("transfer_failed") and told("reconciled"))

    await until(is_told, timeout_seconds=40)
    [line] = told("transfer_failed")
    named = {name: line[name] for name in ("transfer_id", "workflow_id", "tenant_id", "code")}
    assert named == {
        "transfer_id": held["id"],
        "workflow_id": held["workflow_id"],
        "tenant_id": str(client.tenant_id),
        "code": "workflow_terminated",
    }
    assert (line["level"], told("reconciled")[0]["resolved"]) == ("warning", 1)
    assert line["trace_id"]


async def test_what_clients_write_is_in_no_trace(client: Client, collector: Collector) -> None:
    trace_id = secrets.token_hex(16)
    user = await client.user("Ada Lovelace", external_id="ada@example.org")
    account = await client.account(user_id=user["id"], external_id="ada@example.org-eur")
    again = {"name": "Ada Lovelace", "external_id": "ada@example.org"}
    taken = await client.call("POST", "/users", json=again)
    assert taken.status_code == 409
    await client.get("/accounts", external_id="ada@example.org-eur")
    await client.get("/accounts/ext:ada@example.org-eur")
    await client.deposit(account["id"], 500)
    sent = await client.post_transfer(
        key=new_key(),
        headers=traceparent(trace_id),
        source="ext:ada@example.org-eur",
        destination=(await client.account())["id"],
        amount=100,
        currency="EUR",
        description="a secret purpose",
        metadata={"note": "a note of hers"},
    )
    assert sent.status_code == 201
    await collector.has(trace_id, ["POST /v1/transfers", "RunActivity:finalise"])
    assert [secret for secret in SECRETS if secret in collector.raw] == []
    assert client.api_key.encode() not in collector.raw


def root_of(span: Span, spans: Mapping[str, Span]) -> Span:
    while span.parent_id in spans:
        span = spans[span.parent_id]
    return span


async def test_without_a_collector_nothing_waits(stack: Stack, services: Services) -> None:
    nobody = f"http://{LOOPBACK}:{free_port()}"
    async with (
        served_api(stack, services.access, OTLP_ENDPOINT=nobody) as served,
        served.client() as client,
    ):
        account = await client.account()
        assert (await client.deposit(account["id"], 500))["state"] == "SUCCESS"


async def test_metrics_tell_what_is_under_way_and_what_has_become_of_it(
    stack: Stack, services: Services
) -> None:
    sdk = f"{LOOPBACK}:{free_port()}"
    async with (
        served_api(stack, services.access, TEMPORAL_METRICS_ADDRESS=sdk) as served,
        served.client() as client,
    ):
        account = await client.account()
        other = await client.account()
        sides = {"source": account["id"], "destination": other["id"], "currency": "EUR"}
        await client.deposit(account["id"], 500)
        held = await client.hold(amount=200, **sides)
        refused = await client.post_transfer(key=new_key(), amount=10_000, **sides)
        assert refused.status_code == 422

        async def has_settled() -> bool:
            found = await scraped(served.url)
            return found.get(("transfers_held_minor_units", "EUR"), 0) >= 200

        await until(has_settled)
        found = await scraped(served.url)
        assert found["transfers_outcomes_total", ",SUCCESS,DEPOSIT"] == 1
        assert found["transfers_outcomes_total", "insufficient_funds,FAILED,INTERNAL"] == 1
        assert found["transfers_processing", "RESERVED"] >= 1
        assert found["transfers_open_holds", "EUR"] >= 1
        assert found["transfers_duration_seconds_count", "DEPOSIT"] == 1
        assert any(name.startswith("temporal_") for name, _ in await scraped(f"http://{sdk}"))
        await client.operate(held, "cancel")


async def test_transfers_of_a_batch_are_counted_by_the_process_that_posted_them(
    traced: Stack, client: Client, worker_port: int
) -> None:
    account = await client.account(balance=500)
    amounts = {"ext:nobody": [1], account["id"]: [200, 300, 1]}
    rows = [
        row(amount, type="WITHDRAWAL", source=source)
        for source, each in amounts.items()
        for amount in each
    ]
    batch = await run_batch(client, rows)
    assert [batch["counts"][name] for name in ("succeeded", "failed", "rejected")] == [2, 1, 1]

    processes = [await scraped(url) for url in (traced.api_url, f"http://{LOOPBACK}:{worker_port}")]

    def counted(labels: str) -> float:
        name = "transfers_outcomes_total"
        return sum(found.get((name, labels), 0) for found in processes)

    assert counted(",SUCCESS,WITHDRAWAL") == 2
    assert counted("insufficient_funds,FAILED,WITHDRAWAL") == 1


async def test_processes_of_one_api_serve_the_sdks_metrics_each_and_their_own_as_one(
    stack: Stack, services: Services
) -> None:
    first = free_port()
    place = f"{LOOPBACK}:{first}"
    async with (
        served_api(
            stack,
            services.access,
            "--workers",
            "2",
            TEMPORAL_METRICS_ADDRESS=place,
            API_WORKERS="2",
        ) as served,
        httpx.AsyncClient(trust_env=False) as prometheus,
    ):
        answered = []
        for port in range(first, first + 4):
            with suppress(httpx.TransportError):
                answered.append(await prometheus.get(f"http://{LOOPBACK}:{port}/metrics"))
        assert sum("temporal_" in answer.text for answer in answered) == 2
        for _ in range(8):
            text = (await prometheus.get(f"{served.url}/metrics")).text
            [up] = [line for line in text.splitlines() if line.startswith("transfers_database_up")]
            assert up == "transfers_database_up 1.0"


async def test_a_place_that_is_taken_is_said_clearly(stack: Stack, services: Services) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        place = f"{LOOPBACK}:{taken.getsockname()[1]}"
        with pytest.raises(PartFailedError, match=f"TEMPORAL_METRICS_ADDRESS: {place}"):
            async with served_api(stack, services.access, TEMPORAL_METRICS_ADDRESS=place):
                pass


async def test_what_a_failing_step_logs_names_its_transfer(
    stack: Stack, services: Services
) -> None:
    async with served_api(stack, services.access) as served, served.client() as client:
        account = await client.account(balance=500)
        other = await client.account()
        async with locked_balance(stack.database_url, account["id"]):
            sent = await client.post_transfer(
                key=new_key(),
                headers={"Prefer": "respond-async"},
                source=account["id"],
                destination=other["id"],
                amount=100,
                currency="EUR",
            )

            async def has_failed() -> bool:
                return any(line.get("step") == "reserve_funds" for line in served.log())

            await until(has_failed)
        transfer = sent.json()
        [line, *_] = [line for line in served.log() if line.get("step") == "reserve_funds"]
        named = {name: line[name] for name in ("transfer_id", "workflow_id", "tenant_id")}
        assert named == {
            "transfer_id": transfer["id"],
            "workflow_id": transfer["workflow_id"],
            "tenant_id": str(client.tenant_id),
        }
