"""What a batch may be sent as, and what is refused before anything is recorded."""

import asyncio
import csv
import io
import json
from urllib.parse import urlsplit

import pytest

from domain.access import Scope
from domain.limits import (
    BATCH_BODY_BYTES_MAXIMUM,
    BATCH_ERRORS_SHOWN_MAXIMUM,
    BATCH_ROW_CHARACTERS_MAXIMUM,
    BATCH_ROWS_MAXIMUM,
)
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.batches import (
    CSV,
    NDJSON,
    ndjson,
    post_batch,
    post_text,
    row,
    rows_of,
    run_batch,
)
from tests.support.rows import counts_of_tenant
from tests.support.stack import Stack
from tests.support.tenants import TenantMaker
from tests.support.waiting import until

HALF_A_ROW = "x" * (BATCH_ROW_CHARACTERS_MAXIMUM // 2)


async def recorded(client: Client, stack: Stack) -> int:
    counts = await counts_of_tenant(stack.database_url, client.tenant_id)
    return sum(
        counts[table]
        for table in ("idempotency_keys", "transfers", "transfer_batches", "transfer_batch_rows")
    )


@pytest.mark.parametrize("form", ["json", "ndjson", "csv"])
async def test_a_batch_is_the_same_in_every_form(tenant: Client, form: str) -> None:
    source, destination = (await tenant.account(balance=100))["id"], (await tenant.account())["id"]
    rows = [
        row(60, source=source, destination=destination, description='a "b", c'),
        row(5, type="DEPOSIT", destination=destination, metadata={"n": 10**20, "f": 0.5}),
        row(7, type="WITHDRAWAL", source=source, effective_at="2026-01-31T12:00:00Z"),
    ]
    if form == "json":
        response = await post_batch(tenant, rows)
    elif form == "ndjson":
        response = await post_text(tenant, ndjson(rows), f"{NDJSON}; charset=utf-8")
    else:
        text = io.StringIO()
        names = [
            *("idempotency_key", "amount", "currency", "type", "source", "destination"),
            *("description", "metadata", "effective_at"),
        ]
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(
            each | ({"metadata": json.dumps(each["metadata"])} if "metadata" in each else {})
            for each in rows
        )
        response = await post_text(tenant, "\ufeff" + text.getvalue(), CSV)
    assert response.status_code == 201, response.text
    found = await rows_of(tenant, response.json()["id"])
    assert [each["status"] for each in found] == ["SUCCEEDED"] * 3
    assert found[0]["description"] == 'a "b", c'
    assert found[1]["metadata"] == {"n": 10**20, "f": 0.5}
    assert found[2]["effective_at"] == "2026-01-31T12:00:00Z"
    assert [await tenant.posted(account) for account in (source, destination)] == [33, 65]


async def test_a_row_is_the_same_transfer_however_it_is_spelled(tenant: Client) -> None:
    account = await tenant.account()
    key = new_key()
    first = await tenant.transfer(key=key, type="DEPOSIT", destination=account["id"], amount=10**30)
    spelled = row(key=key, type="DEPOSIT", destination=account["account_number"])
    batch = await run_batch(tenant, [spelled | {"amount": str(10**30)}])
    assert batch["counts"]["replayed"] == 1
    [found] = await rows_of(tenant, batch["id"])
    assert (found["transfer_id"], found["amount"]) == (first["id"], 10**30)


WRONG_ROWS: dict[str, tuple[Json, str]] = {
    "no amount": ({"amount": None}, "amount"),
    "a float": ({"amount": 1.0}, "amount"),
    "zero": ({"amount": 0}, "amount"),
    "no currency of ISO 4217": ({"currency": "XXZ"}, "currency"),
    "a key with a space": ({"idempotency_key": "a b"}, "idempotency_key"),
    "a key that is too long": ({"idempotency_key": "k" * 201}, "idempotency_key"),
    "a key of another type": ({"idempotency_key": 5}, "idempotency_key"),
    "an account of no form": ({"destination": "nobody"}, "destination"),
    "a side too many": ({"source": "ext:a"}, "source"),
    "an unknown field": ({"surprise": 1}, "surprise"),
    "a control character": ({"description": "a\tb"}, "description"),
    # What a row cannot wait for must not be done at once instead.
    "a manual capture": ({"capture": "manual"}, "capture"),
    "a time to come": ({"execute_at": "2100-01-01T00:00:00Z"}, "execute_at"),
    "the end of a hold": ({"expires_in_seconds": 60}, "expires_in_seconds"),
    "legs": ({"legs": []}, "legs"),
}


@pytest.mark.parametrize("what", WRONG_ROWS)
async def test_a_row_of_a_bad_form_refuses_the_batch_and_is_named(
    tenant: Client, stack: Stack, what: str
) -> None:
    changes, field = WRONG_ROWS[what]
    good = row(type="DEPOSIT", destination="ext:a")
    problem = problem_of(
        await post_batch(tenant, [good, row(type="DEPOSIT", destination="ext:a") | changes]),
        422,
        "validation_failed",
    )
    assert [error["field"] for error in problem["errors"]] == [f"transfers.2.{field}"]
    assert await recorded(tenant, stack) == 0


async def test_a_key_may_stand_in_one_row_only(tenant: Client, stack: Stack) -> None:
    twice = row(type="DEPOSIT", destination="ext:a")
    problem = problem_of(await post_batch(tenant, [twice, twice]), 422, "validation_failed")
    assert [(e["field"], e["code"]) for e in problem["errors"]] == [
        ("transfers.2.idempotency_key", "repeated")
    ]
    assert await recorded(tenant, stack) == 0


async def test_no_more_mistakes_are_named_than_anyone_reads(tenant: Client) -> None:
    problem = problem_of(await post_batch(tenant, [{}] * 5_000), 422, "validation_failed")
    assert len(problem["errors"]) == BATCH_ERRORS_SHOWN_MAXIMUM


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"transfers": [{}',
        '{"transfers": [{}]} x',
        '{"transfers": [{},]}',
        '{"transfers": [], "transfers": []}',
        '{"transfers": [{"a": "' + "x" * 400_000,
        '{"transfers": [{"a": "' + "x" * BATCH_ROW_CHARACTERS_MAXIMUM + '"}]}',
        '{"transfers": ' + "[" * 100_000,
        '{"transfers": [{"amount": ' + "9" * 5_000 + "}]}",
        b'{"transfers": [{"description": "\xff"}]}',
    ],
    ids=lambda text: repr(text)[:30],
)
async def test_what_is_no_json_is_malformed(tenant: Client, text: str | bytes) -> None:
    problem_of(await post_text(tenant, text, "application/json"), 400, "malformed_body")


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        ("{}\n{", NDJSON),
        (json.dumps({"a": HALF_A_ROW, "b": HALF_A_ROW}), NDJSON),
        ('idempotency_key,amount,currency\n"a', CSV),
        (f"idempotency_key,amount,currency\n{HALF_A_ROW},{HALF_A_ROW},EUR", CSV),
    ],
    ids=["ndjson", "a long row of ndjson", "csv", "a long row of csv"],
)
async def test_other_forms_can_be_malformed_too(tenant: Client, text: str, media_type: str) -> None:
    problem_of(await post_text(tenant, text, media_type), 400, "malformed_body")


async def test_csv_needs_its_columns_and_has_no_others(tenant: Client) -> None:
    problem = problem_of(
        await post_text(tenant, "idempotency_key,amount,amount,colour\n", CSV),
        422,
        "validation_failed",
    )
    assert {(error["field"], error["code"]) for error in problem["errors"]} == {
        ("header.currency", "column_missing"),
        ("header.colour", "column_unknown"),
        ("header.amount", "column_repeated"),
    }


async def test_a_batch_has_rows_but_not_too_many(tenant: Client) -> None:
    problem = problem_of(await post_batch(tenant, []), 422, "validation_failed")
    assert [error["code"] for error in problem["errors"]] == ["no_rows"]
    line = json.dumps(row(key="k%d", type="DEPOSIT", destination="ext:a")) + "\n"
    text = "".join(line % number for number in range(BATCH_ROWS_MAXIMUM + 1))
    problem = problem_of(await post_text(tenant, text, NDJSON), 422, "validation_failed")
    assert [error["code"] for error in problem["errors"]] == ["too_many_rows"]


async def test_a_body_of_another_kind_or_size_is_refused(tenant: Client) -> None:
    problem_of(await post_text(tenant, "x", "text/plain"), 415, "media_type_unsupported")
    too_large = b" " * (BATCH_BODY_BYTES_MAXIMUM + 1)
    problem_of(await post_text(tenant, too_large, NDJSON), 413, "body_too_large")
    missing = await tenant.call("POST", "/transfer-batches", json={"transfers": []})
    problem_of(missing, 400, "idempotency_key_missing")


@pytest.mark.parametrize(
    "body",
    [{}, {"atomic": True}, {"description": "pay", "atomic": True}, None],
    ids=["json", "json that says a part", "json that says all", "ndjson"],
)
async def test_the_query_asks_for_all_or_nothing_in_every_form(
    tenant: Client, body: Json | None
) -> None:
    account = (await tenant.account())["id"]
    rows = [row(type="DEPOSIT", destination=account), row(type="WITHDRAWAL", source="ext:nobody")]
    query = "?atomic=true&description=pay"
    if body is None:
        response = await post_text(tenant, ndjson(rows), NDJSON, query=query)
    else:
        text = json.dumps(body | {"transfers": rows})
        response = await post_text(tenant, text, "application/json", query=query)
    batch = response.json()
    assert (batch["atomic"], batch["description"], batch["stage"]) == (True, "pay", "REJECTED")
    assert await tenant.posted(account) == 0


@pytest.mark.parametrize(
    ("query", "body", "named"),
    [
        ("?atomic=true", {"atomic": False}, ["atomic"]),
        ("?atomic=false", {"atomic": True}, ["atomic"]),
        ("?description=pay", {"description": "rent"}, ["description"]),
        ("?description=pay", {"description": None}, ["description"]),
        (
            "?atomic=true&description=a",
            {"atomic": False, "description": "b"},
            ["atomic", "description"],
        ),
    ],
)
async def test_a_body_that_asks_for_something_else_than_the_query_is_refused(
    tenant: Client, stack: Stack, query: str, body: Json, named: list[str]
) -> None:
    text = json.dumps({"transfers": [row(type="DEPOSIT", destination="ext:a")], **body})
    response = await post_text(tenant, text, "application/json", query=query)
    problem = problem_of(response, 422, "validation_failed")
    assert [error["field"] for error in problem["errors"]] == named
    assert await recorded(tenant, stack) == 0


async def test_what_the_query_and_the_body_say_is_one_request(tenant: Client) -> None:
    account = (await tenant.account())["id"]
    rows = [row(type="DEPOSIT", destination=account)]
    first = await post_batch(tenant, rows, key="one", atomic=True)
    text = json.dumps({"transfers": rows})
    again = await post_text(tenant, text, "application/json", key="one", query="?atomic=true")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()


async def test_the_same_key_with_other_rows_is_another_request(tenant: Client) -> None:
    account = (await tenant.account())["id"]
    rows = [row(type="DEPOSIT", destination=account)]
    key = new_key()
    first = await post_text(tenant, ndjson(rows), NDJSON, key=key)
    as_json = await post_batch(tenant, rows, key=key)
    assert as_json.headers["Idempotency-Replayed"] == "true"
    assert as_json.json()["id"] == first.json()["id"]
    for other in ({"atomic": True}, {"description": "x"}):
        problem_of(await post_batch(tenant, rows, key=key, **other), 422, "idempotency_key_reused")
    changed = [rows[0] | {"amount": 2}]
    problem_of(await post_batch(tenant, changed, key=key), 422, "idempotency_key_reused")


async def test_a_result_is_downloaded_as_csv_or_ndjson(tenant: Client) -> None:
    account = (await tenant.account())["id"]
    rows = [row(type="DEPOSIT", destination=account) for _ in range(2_500)]
    batch = await run_batch(tenant, [*rows, row(type="WITHDRAWAL", source="ext:nobody")])
    path = f"/transfer-batches/{batch['id']}/result"
    as_csv = await tenant.call("GET", path)
    assert as_csv.headers["content-type"].startswith("text/csv")
    read = list(csv.DictReader(io.StringIO(as_csv.text)))
    assert [each["idempotency_key"] for each in read[:-1]] == [r["idempotency_key"] for r in rows]
    assert (read[-1]["status"], read[-1]["code"]) == ("REJECTED", "account_not_found")
    as_ndjson = (await tenant.call("GET", path, params={"format": "ndjson"})).text
    assert [json.loads(line)["position"] for line in as_ndjson.splitlines()] == list(
        range(1, len(rows) + 2)
    )


async def test_another_tenants_batch_is_not_there(tenant: Client, make_tenant: TenantMaker) -> None:
    account = (await tenant.account())["id"]
    batch = await run_batch(tenant, [row(type="DEPOSIT", destination=account)])
    other = await make_tenant()
    path = f"/transfer-batches/{batch['id']}"
    for method, part in (("GET", ""), ("GET", "/rows"), ("GET", "/result"), ("POST", "/cancel")):
        problem_of(await other.call(method, path + part), 404, "batch_not_found")
    assert (await other.get("/transfer-batches"))["data"] == []
    assert [each["id"] for each in (await tenant.get("/transfer-batches"))["data"]] == [batch["id"]]
    reader = await make_tenant(scopes=[Scope.TRANSFERS_READ])
    problem_of(await post_batch(reader, [row()]), 403, "scope_missing")


async def test_a_client_that_leaves_while_it_sends_a_batch_is_no_error_of_ours(
    tenant: Client, stack: Stack
) -> None:
    counted = await incomplete_bodies(tenant)
    head = (
        "POST /v1/transfer-batches HTTP/1.1",
        "Host: api",
        f"Authorization: Bearer {tenant.api_key}",
        f"Idempotency-Key: {new_key()}",
        "Content-Length: 1000",
    )
    place = urlsplit(tenant.api_url)
    _, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write("\r\n".join([*head, "", '{"transfers": [']).encode())
    await writer.drain()
    writer.close()

    async def is_counted() -> bool:
        return await incomplete_bodies(tenant) == counted + 1

    await until(is_counted)
    assert stack.unexpected_errors() == []
    assert await recorded(tenant, stack) == 0


async def incomplete_bodies(client: Client) -> float:
    """Count the requests for batches that were refused as incomplete or not well formed."""
    labels = '{method="POST",route="/v1/transfer-batches",status="400"}'
    lines = (await client.http.get("/metrics")).text.splitlines()
    counts = [line for line in lines if line.startswith(f"transfers_http_requests_total{labels}")]
    return sum(float(line.split()[-1]) for line in counts)
