"""schemathesis against the running API: no 500, and no answer that OpenAPI does not announce."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.property.examples import TIMES
from tests.support.api import Client
from tests.support.batches import row, run_batch
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack
from tests.support.standing_orders import make_order
from tests.support.waiting import until

HERE = Path(__file__).parent
EXAMPLES = 8
NEVER_REACHED = 10**29


@pytest.fixture
async def seeds(tenant: Client) -> AsyncIterator[dict[str, list[str]]]:
    """Make one of everything that a path can name."""
    accounts = [await tenant.account(balance=10_000, overdraft_limit=100) for _ in range(4)]
    source, destination = accounts[0]["id"], accounts[1]["id"]
    sides = {"source": source, "destination": destination}
    transfers = [
        await tenant.transfer(**sides, amount=10),
        await tenant.transfer(**sides, amount=10),
        *[await tenant.hold(**sides, amount=10) for _ in range(4)],
    ]
    order = await make_order(tenant, **sides, start_at="2100-01-01T00:00:00Z")
    batch = await run_batch(tenant, [row(1, type="DEPOSIT", destination=source)])
    rule = await tenant.rule(NEVER_REACHED)
    yield {
        "account": [account["id"] for account in accounts],
        "user": [account["user_id"] for account in accounts],
        "transfer": [transfer["id"] for transfer in transfers],
        "order": [order["id"]],
        "batch": [batch["id"]],
        "rule": [rule["id"]],
    }
    async for page in tenant.walk("/standing-orders", limit=200):
        for made in page:
            await tenant.call("POST", f"/standing-orders/{made['id']}/cancel")


async def test_every_answer_is_one_that_openapi_announces(
    stack: Stack, tenant: Client, seeds: dict[str, list[str]], pytestconfig: pytest.Config
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(HERE / "schemathesis.toml")),
        *("run", f"{stack.api_url}/openapi.json"),
        f"--max-examples={EXAMPLES * TIMES}",
        f"--seed={pytestconfig.option.hypothesis_seed}",
        "--no-shrink",
        "--generation-database=none",
        env={
            **os.environ,
            "API_KEY": tenant.api_key,
            "FUZZING_SEEDS": json.dumps(seeds),
            "SCHEMATHESIS_HOOKS": "tests.fuzzing.hooks",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    for stage in ("ACCEPTED", "RESERVED", "POSTED"):
        await until(partial(is_none_stuck, tenant, stage))
    await require_clean_ledger(stack)


async def is_none_stuck(tenant: Client, stage: str) -> bool:
    """Tell whether every transfer in a stage waits for somebody's capture."""
    pages = [page async for page in tenant.walk("/transfers", limit=200, stage=stage)]
    return all(transfer["capture"] == "manual" for page in pages for transfer in page)
