"""Evidence documents while Temporal is away, or busy for a moment."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from api.evidence.desk import UNAVAILABLE, EvidenceDesk
from domain.ids import TransferId
from domain.limits import EVIDENCE_TEMPORAL_SECONDS_MAXIMUM
from runtime.composition import Services
from runtime.temporal import connect
from services.evidence import EvidenceService
from tests.support.api import Client, Json
from tests.support.relay import Relay, relay_to
from tests.support.temporal import TemporalServer
from workflows.history import HistoryReader

MOMENT_SECONDS = 0.5


@pytest.fixture
async def relay(temporal: TemporalServer) -> AsyncIterator[Relay]:
    async with relay_to(temporal.address) as relay:
        yield relay


@pytest.fixture
async def desk(relay: Relay, temporal: TemporalServer, services: Services) -> EvidenceDesk:
    client = await connect(relay.address, temporal.namespace)
    return EvidenceDesk(EvidenceService(services.database), HistoryReader(client))


@pytest.fixture
async def transfer(tenant: Client) -> Json:
    source, destination = await tenant.account(balance=10), await tenant.account()
    return await tenant.transfer(source=source["id"], destination=destination["id"], amount=10)


async def test_a_document_is_whole_though_temporal_was_away_for_a_moment(
    desk: EvidenceDesk, relay: Relay, transfer: Json
) -> None:
    relay.go()
    gathering = asyncio.create_task(desk.gather(TransferId(UUID(transfer["id"])), tenant_id=None))
    await asyncio.sleep(MOMENT_SECONDS)
    assert not gathering.done()
    await relay.come()

    workflow = (await gathering).workflow

    assert workflow.status == "COMPLETED"
    assert workflow.is_complete
    steps = {record.step for record in workflow.history}
    assert {"reserve_funds", "post_entries", "finalise"} <= steps


async def test_while_temporal_is_away_the_rest_is_given_and_the_document_says_so(
    desk: EvidenceDesk, relay: Relay, transfer: Json
) -> None:
    relay.go()
    async with asyncio.timeout(2 * EVIDENCE_TEMPORAL_SECONDS_MAXIMUM):
        view = await desk.gather(TransferId(UUID(transfer["id"])), tenant_id=None)

    assert [entry.amount for entry in view.entries] == [10, 10]
    workflow = view.workflow
    assert (workflow.status, workflow.history, workflow.is_complete) == (UNAVAILABLE, [], False)
