"""What operators see of the service from outside: traces, metrics and logs of running parts."""

import json
import secrets

import httpx
from prometheus_client.parser import text_string_to_metric_families

from runtime.composition import Services
from runtime.ports import LOOPBACK, free_port
from tests.support.api import new_key
from tests.support.collector import trace_collector
from tests.support.served import locked_balance, served_api
from tests.support.stack import Stack
from tests.support.waiting import until

STEPS = ("reserve_funds", "post_entries", "finalise")


def traceparent(trace_id: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}


async def test_a_transfer_is_one_trace_from_its_request_to_its_statements(
    stack: Stack, services: Services
) -> None:
    trace_id = secrets.token_hex(16)
    async with trace_collector() as collector:
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
                description="a secret purpose",
            )
            assert sent.status_code == 201
            transfer = sent.json()
            log = served.log()
        await collector.has(trace_id, ["POST /v1/transfers", *(f"RunActivity:{s}" for s in STEPS)])
        spans = {span.span_id: span for span in collector.of_trace(trace_id)}
        reserve = next(s for s in spans.values() if s.name == "RunActivity:reserve_funds")
        statements = [
            span
            for span in spans.values()
            if span.parent_id == reserve.span_id and "db.statement" in span.attributes
        ]
        assert statements
        request = next(s for s in spans.values() if s.name == "POST /v1/transfers")
        assert request.attributes["transfers.transfer_id"].string_value == transfer["id"]
        above = reserve
        while above.parent_id in spans:
            above = spans[above.parent_id]
        assert above is request
        assert {span.service for span in spans.values()} == {"transfers-api"}
        assert b"a secret purpose" not in collector.raw
    [line] = [
        line for line in log if line["event"] == "request" and line.get("trace_id") == trace_id
    ]
    assert line["transfer_id"] == transfer["id"]
    assert line["workflow_id"] == transfer["workflow_id"]
    assert line["tenant_id"]
    assert "a secret purpose" not in json.dumps(log)


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

        async with httpx.AsyncClient(trust_env=False) as prometheus:

            async def read(url: str) -> dict[tuple[str, str], float]:
                text = (await prometheus.get(url)).text
                return {
                    (
                        sample.name,
                        ",".join(value for _, value in sorted(sample.labels.items())),
                    ): sample.value
                    for family in text_string_to_metric_families(text)
                    for sample in family.samples
                }

            async def has_settled() -> bool:
                found = await read(f"{served.url}/metrics")
                return found.get(("transfers_held_minor_units", "EUR"), 0) >= 200

            await until(has_settled)
            found = await read(f"{served.url}/metrics")
            assert found["transfers_outcomes_total", ",SUCCESS,DEPOSIT"] == 1
            assert found["transfers_outcomes_total", "insufficient_funds,FAILED,INTERNAL"] == 1
            assert found["transfers_processing", "RESERVED"] >= 1
            assert found["transfers_open_holds", "EUR"] >= 1
            assert found["transfers_duration_seconds_count", "DEPOSIT"] == 1
            ofsdk = await read(f"http://{sdk}/metrics")
            assert any(name.startswith("temporal_") for name, _ in ofsdk)
        await client.operate(held, "cancel")


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
