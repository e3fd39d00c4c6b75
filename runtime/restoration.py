"""Transfers that Temporal remembers and a restored database does not, and how they come back.

A transfer that was acknowledged after the restore point is in no table any more, but its order and
its outcome stand in Temporal's history, for as long as Temporal keeps that.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from activities.contracts import TransferInput, TransferProgress
from domain.ids import TenantId
from domain.states import ProcessState
from domain.transfers import CaptureMode, Transfer
from runtime.composition import Services
from workflows.gateway import ClosedTransfer, TransferGateway

REPEATING_SECONDS: Final = 30.0
"""How long one transfer that is carried out anew is waited for. It goes on all the same."""
REPEATING_PAUSE_SECONDS: Final = 0.05

FORGOTTEN: Final = "The database was restored to a time before this transfer."


class Loss(StrEnum):
    """What the database lacks of a transfer that Temporal knows."""

    MISSING = "MISSING"
    """It knows nothing of the key."""
    DIFFERENT = "DIFFERENT"
    """It knows the key with another state, or with one that is not final yet."""
    UNFINISHED = "UNFINISHED"
    """It knows nothing of the key, and the workflow rests or runs, and believes it does."""


@dataclass(frozen=True, slots=True)
class LostOutcome:
    """An outcome that was told and is not in the database.

    Parameters
    ----------
    told
        What the workflow ended with; ``None`` where it ended without an outcome or has not ended.
    recorded
        What the database says; ``None`` where it says nothing.
    at
        When the workflow ended; where it has not, when it started.
    """

    loss: Loss
    order: TransferInput
    told: TransferProgress | None
    recorded: Transfer | None
    at: datetime

    @property
    def can_be_repeated(self) -> bool:
        """Whether the order alone brings back what was told: no later calls belonged to it."""
        if self.loss is Loss.UNFINISHED:
            return True
        terms = self.order.terms
        is_held = terms is not None and terms.capture is CaptureMode.MANUAL
        was_told = self.told is not None and self.told.state is ProcessState.SUCCESS
        return self.loss is Loss.MISSING and was_told and not is_held


@dataclass(frozen=True, slots=True)
class Repetition:
    """What became of an order that was carried out anew."""

    lost: LostOutcome
    state: ProcessState | None
    code: str | None

    @property
    def is_as_told(self) -> bool:
        """Whether it came to what the client was told."""
        if self.lost.told is None:
            return self.state is not None and self.state is not ProcessState.FAILED
        return self.state is self.lost.told.state


async def lost_outcomes(
    services: Services, gateway: TransferGateway, *, since: datetime
) -> AsyncIterator[LostOutcome]:
    """Compare the workflows that ended since a time with the database.

    Raises
    ------
    DatabaseUnavailable, TemporalUnavailable
        A server does not answer; what was given until then holds.
    """
    async for closed in gateway.closed_since(since):
        recorded = await services.transactions.find_by_key(
            TenantId(closed.order.tenant_id), closed.order.idempotency_key
        )
        loss = _loss(closed, recorded)
        if loss is not None:
            yield LostOutcome(loss, closed.order, closed.outcome, recorded, closed.closed_at)


async def unrecorded(
    services: Services, gateway: TransferGateway, *, before: datetime
) -> AsyncIterator[LostOutcome]:
    """Find workflows that started before a time, still run, and have no transfer on record.

    Raises
    ------
    DatabaseUnavailable, TemporalUnavailable
        A server does not answer; what was given until then holds.
    """
    async for running in gateway.open_transfers():
        order = running.order
        recorded = await services.transactions.find_by_key(
            TenantId(order.tenant_id), order.idempotency_key
        )
        if recorded is None and running.started_at < before:
            yield LostOutcome(Loss.UNFINISHED, order, None, None, running.started_at)


async def repeat(services: Services, gateway: TransferGateway, lost: LostOutcome) -> Repetition:
    """Carry a lost order out anew, under the key and the id that it had.

    Raises
    ------
    DatabaseUnavailable, TemporalUnavailable
        The outcome is not known yet; repeat it.

    Notes
    -----
    Safe beside clients that repeat their requests: one workflow serves a key, and what is recorded
    by then is not done again.
    """
    order = lost.order
    tenant_id, key = TenantId(order.tenant_id), order.idempotency_key
    if await services.transactions.find_by_key(tenant_id, key) is None:
        if lost.loss is Loss.UNFINISHED:
            await gateway.give_up(order, reason=FORGOTTEN)
        await gateway.start(order, again=True)
    recorded = await _settled(services, tenant_id, key)
    failure = None if recorded is None or recorded.failure is None else recorded.failure.code
    return Repetition(lost, None if recorded is None else recorded.state, failure)


async def _settled(services: Services, tenant_id: TenantId, key: str) -> Transfer | None:
    """Wait for the transfer of a key until it is final or rests; as it is after a while."""
    deadline = asyncio.get_running_loop().time() + REPEATING_SECONDS
    while True:
        recorded = await services.transactions.find_by_key(tenant_id, key)
        if recorded is not None and (recorded.is_final or recorded.waits_until is not None):
            return recorded
        if asyncio.get_running_loop().time() > deadline:
            return recorded
        await asyncio.sleep(REPEATING_PAUSE_SECONDS)


def _loss(closed: ClosedTransfer, recorded: Transfer | None) -> Loss | None:
    if recorded is None:
        # A workflow that ended without an outcome and without a record moved nothing.
        return Loss.MISSING if closed.outcome is not None else None
    if closed.outcome is None or closed.outcome.state is recorded.state:
        return None
    return Loss.DIFFERENT
