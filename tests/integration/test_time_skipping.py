"""Days, months and a year of rest on Temporal's time-skipping test server, and the real database.

The test server has updates, timers and search attributes, but neither a visibility list nor
schedules: what needs those is tested on the real server. Its clock runs ahead of the database's.
"""

import sysconfig
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.testing import WorkflowEnvironment

from domain.limits import (
    APPROVAL_SECONDS_MAXIMUM,
    EXECUTE_AT_SECONDS_MAXIMUM,
    HOLD_SECONDS_DEFAULT,
    HOLD_SECONDS_MAXIMUM,
)
from domain.operations import Operation
from domain.states import ProcessState, TransferStage
from domain.transfers import CaptureMode, Transfer
from runtime.composition import Services
from runtime.temporal import connect
from tests.support.rules import require_approval
from tests.support.waiting import until
from tests.support.wallets import Wallets, make_wallets
from tests.support.workers import RunningWorker, WorkerFactory
from workflows.search_attributes import SEARCH_ATTRIBUTE_NAMES

PROGRAM = Path(sysconfig.get_path("scripts")) / "temporal-test-server"
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Skipping:
    """A worker on the test server. Its time goes on as ours but for what ``finish_at`` skips."""

    environment: WorkflowEnvironment
    running: RunningWorker
    wallets: Wallets

    async def start(self, **terms: Any) -> Transfer:
        submission = await self.running.intake.submit(
            self.wallets.tenant_id,
            self.wallets.changed(**terms),
            requested_by=self.wallets.api_key_id,
            wait_seconds=30,
        )
        return submission.transfer

    async def operate(self, operation: Operation, transfer: Transfer, **fields: Any) -> None:
        order = self.wallets.operation(operation, transfer, **fields)
        assert (await self.running.operations.submit(order, wait_seconds=30)).is_done

    async def transfer(self) -> Transfer:
        transfer = await self.wallets.transfer()
        assert transfer is not None
        return transfer

    async def finish_at(self, moment: datetime) -> Transfer:
        """Require that the transfer rests until a moment, and give what becomes of it then."""
        await self._skip_to(moment - MINUTE)
        assert not (await self.transfer()).is_final
        await self._skip_to(moment + MINUTE)

        async def is_final() -> bool:
            return (await self.transfer()).is_final

        await until(is_final)
        return await self.transfer()

    async def _skip_to(self, moment: datetime) -> None:
        await self.environment.sleep(moment - await self.environment.get_current_time())


@pytest.fixture
async def skipping(own_services: Services) -> AsyncIterator[Skipping]:
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(PROGRAM)
    )
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    await environment.client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=environment.client.namespace,
            search_attributes=dict.fromkeys(SEARCH_ATTRIBUTE_NAMES, keyword),
        )
    )
    # The environment's own client skips time while it waits for a result, as the intake does.
    address = environment.client.service_client.config.target_host
    workers = WorkerFactory(await connect(address, environment.client.namespace), own_services)
    yield Skipping(environment, await workers(), await make_wallets(own_services))
    await workers.stop()
    await environment.shutdown()


async def test_a_hold_of_31_days_stands_so_long_and_then_expires(skipping: Skipping) -> None:
    held = await skipping.start(
        capture=CaptureMode.MANUAL, hold_for=timedelta(seconds=HOLD_SECONDS_MAXIMUM)
    )
    assert held.stage is TransferStage.RESERVED
    assert await skipping.wallets.amounts() == (0, 100, 0)

    assert held.expires_at is not None
    expired = await skipping.finish_at(held.expires_at)

    assert expired.failure is not None
    assert expired.failure.code == "expired"
    assert await skipping.wallets.amounts() == (0, 0, 0)


async def test_a_hold_without_a_time_expires_after_7_days_with_what_was_captured(
    skipping: Skipping,
) -> None:
    held = await skipping.start(capture=CaptureMode.MANUAL)
    await skipping.operate(Operation.CAPTURE, held, amount_minor=30)

    ended = await skipping.finish_at(held.created_at + timedelta(seconds=HOLD_SECONDS_DEFAULT))

    assert (ended.state, ended.captured_minor) == (ProcessState.SUCCESS, 30)
    assert await skipping.wallets.amounts() == (-30, 0, 30)


async def test_an_extended_hold_expires_at_its_new_end(skipping: Skipping) -> None:
    held = await skipping.start(capture=CaptureMode.MANUAL, hold_for=timedelta(days=1))
    later = datetime.now(UTC) + timedelta(days=30)
    await skipping.operate(Operation.EXTEND, held, expires_at=later)

    expired = await skipping.finish_at(later)

    assert expired.failure is not None
    assert expired.failure.code == "expired"


async def test_a_transfer_scheduled_for_366_days_later_moves_then(skipping: Skipping) -> None:
    execute_at = datetime.now(UTC) + timedelta(seconds=EXECUTE_AT_SECONDS_MAXIMUM) - MINUTE
    waiting = await skipping.start(execute_at=execute_at)
    assert waiting.stage is TransferStage.SCHEDULED
    assert await skipping.wallets.amounts() == (0, 0, 0)

    moved = await skipping.finish_at(execute_at)

    assert (moved.state, moved.effective_at) == (ProcessState.SUCCESS, execute_at)
    assert await skipping.wallets.amounts() == (-100, 0, 100)


async def test_a_transfer_that_nobody_approves_in_31_days_fails(
    skipping: Skipping, own_services: Services
) -> None:
    deadline = timedelta(seconds=APPROVAL_SECONDS_MAXIMUM)
    await require_approval(own_services, skipping.wallets.tenant_id, deadline=deadline)
    waiting = await skipping.start()
    assert waiting.stage is TransferStage.AWAITING_APPROVAL
    assert await skipping.wallets.amounts() == (0, 100, 0)

    assert waiting.approval_deadline_at is not None
    expired = await skipping.finish_at(waiting.approval_deadline_at)

    assert expired.failure is not None
    assert expired.failure.code == "approval_expired"
    assert await skipping.wallets.amounts() == (0, 0, 0)
