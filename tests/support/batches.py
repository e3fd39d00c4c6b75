"""Batches over HTTP, for tests."""

import json
from collections.abc import Sequence

import httpx

from tests.support.api import Client, Json, new_key
from tests.support.waiting import until

DONE_SECONDS = 60.0
NDJSON = "application/x-ndjson"
CSV = "text/csv"


def row(amount: int = 1, *, key: str | None = None, **fields: object) -> Json:
    """Give a row of a batch, INTERNAL in EUR unless it says otherwise."""
    return {
        "idempotency_key": key or new_key(),
        "amount": amount,
        "currency": "EUR",
        **fields,
    }


async def post_batch(
    client: Client,
    rows: Sequence[Json],
    *,
    key: str | None = None,
    prefer: str | None = "wait=30",
    **fields: object,
) -> httpx.Response:
    """Send a batch as JSON."""
    headers = {"Idempotency-Key": key or new_key()} | ({"Prefer": prefer} if prefer else {})
    body = {"transfers": list(rows), **fields}
    return await client.call("POST", "/transfer-batches", json=body, headers=headers)


async def post_text(
    client: Client, text: str | bytes, media_type: str, *, key: str | None = None, query: str = ""
) -> httpx.Response:
    """Send a batch in a content type."""
    headers = {
        "Idempotency-Key": key or new_key(),
        "Content-Type": media_type,
        "Prefer": "wait=30",
    }
    return await client.call("POST", f"/transfer-batches{query}", content=text, headers=headers)


def ndjson(rows: Sequence[Json]) -> str:
    return "".join(f"{json.dumps(each)}\n" for each in rows)


async def run_batch(client: Client, rows: Sequence[Json], **options: object) -> Json:
    """Send a batch and wait until every row has its outcome."""
    response = await post_batch(client, rows, **options)  # type: ignore[arg-type]
    assert response.status_code in {201, 202}, response.text
    return await finished(client, response.json()["id"])


async def finished(client: Client, batch_id: str) -> Json:
    """Wait until a batch is final, and give it."""
    found: Json = {}

    async def is_final() -> bool:
        nonlocal found
        found = await client.get(f"/transfer-batches/{batch_id}")
        return bool(found["state"] != "PROCESSING")

    await until(is_final, timeout_seconds=DONE_SECONDS)
    return found


async def rows_of(client: Client, batch_id: str, **params: object) -> list[Json]:
    """Give all rows of a batch."""
    pages = client.walk(f"/transfer-batches/{batch_id}/rows", limit=200, **params)
    return [each async for page in pages for each in page]
