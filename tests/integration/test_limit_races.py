"""Limits that are set while a transfer waits for the account's lock."""

import asyncio

from tests.support.api import Client
from tests.support.approvals import Desk
from tests.support.locks import until_waiting
from tests.support.proof import require_clean_ledger
from tests.support.served import locked_balance
from tests.support.stack import Stack
from tests.support.tenants import TenantMaker


async def test_a_transfer_that_waited_for_the_lock_meets_the_limits_that_came_before_it(
    tenant: Client, make_tenant: TenantMaker, stack: Stack
) -> None:
    desk = await Desk.open(tenant, make_tenant, approvers=0)
    async with locked_balance(stack.database_url, desk.source["id"]):
        # Whoever asks for the lock first gets it first.
        limiting = asyncio.create_task(tenant.limit(desk.source, per_transfer=5))
        await until_waiting(stack.database_url, 1)
        asking = asyncio.create_task(desk.ask(10))
        await until_waiting(stack.database_url, 2)
    await limiting
    assert (await asking).json()["code"] == "limit_exceeded"
    await require_clean_ledger(stack)


async def test_a_transfer_that_came_before_the_first_limit_is_counted(
    tenant: Client, make_tenant: TenantMaker, stack: Stack
) -> None:
    desk = await Desk.open(tenant, make_tenant, approvers=0)
    async with locked_balance(stack.database_url, desk.source["id"]):
        asking = asyncio.create_task(desk.ask(10))
        await until_waiting(stack.database_url, 1)
        limiting = asyncio.create_task(tenant.limit(desk.source, per_day=15))
        await until_waiting(stack.database_url, 2)
    assert (await asking).status_code == 201
    assert (await limiting)["left_today"] == 5
    await require_clean_ledger(stack)
