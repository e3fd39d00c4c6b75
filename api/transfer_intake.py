"""The walk of a POST: from a request to its one outcome, or to a promise of it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from activities.contracts import TransferProgress
from activities.orders import input_of, order_of
from activities.reconciliation import COMPLETED
from api.tracing import note
from domain.audit import Actor
from domain.errors import (
    DatabaseUnavailable,
    IdempotencyKeyReused,
    NotReversible,
    TemporalUnavailable,
    TransferNotFound,
    WorkflowTerminated,
)
from domain.ids import ApiKeyId, TenantId, TransferId, workflow_id
from domain.states import Step, TransferStage
from domain.transfers import (
    CaptureMode,
    Failure,
    ReversalRequest,
    Transfer,
    TransferEvent,
    TransferOrder,
    TransferRequest,
)
from services.outcomes import OutcomeBoard
from services.transactions import TransactionService
from services.transfer_requests import (
    PreparedTransfer,
    TimesNotAhead,
    TransferRequestService,
    reversal_fingerprint,
)
from workflows.gateway import StartedTransfer, TransferGateway, WorkflowClosed

HANDOVER_SECONDS: Final = 1.5
"""How long an outcome is expected from this process alone, before Temporal is asked as well: longer
than a transfer takes under full load, for asking costs both a tenth of a transfer."""

TRANSFERS_AT_ONCE: Final = 40
"""How many workflows a process starts before one of them has ended; more only wait for each other,
and then run into the time-outs of their first task."""

RECORDING_SECONDS: Final = 2.0
"""How long an answer that does not wait for the outcome waits for the transfer's record."""

TEMPORAL_PAUSE_SECONDS: Final = 0.5

REST_PAUSE_SECONDS: Final = 0.25
"""How often the database is asked whether a transfer of another process rests by now."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of a request.

    Parameters
    ----------
    transfer
        Final, at rest, or the promise of an outcome.
    is_replay
        The transfer was made by an earlier request with the same key.
    """

    transfer: Transfer
    is_replay: bool


class TransferIntake:
    """Takes in requests for transfers."""

    def __init__(
        self,
        *,
        requests: TransferRequestService,
        transactions: TransactionService,
        gateway: TransferGateway,
        outcomes: OutcomeBoard,
    ) -> None:
        self._requests = requests
        self._transactions = transactions
        self._gateway = gateway
        self._outcomes = outcomes
        self._at_once = asyncio.Semaphore(TRANSFERS_AT_ONCE)

    async def submit(
        self,
        tenant_id: TenantId,
        request: TransferRequest,
        *,
        requested_by: ApiKeyId | None = None,
        actor: Actor | None = None,
        wait_seconds: float,
    ) -> Submission:
        """Give the one outcome of a key: an earlier one, or that of a workflow.

        Parameters
        ----------
        wait_seconds
            How long to wait for the outcome, 0 to ``WAIT_SECONDS_MAXIMUM``; a transfer that comes
            to rest is not waited for any longer. At 0 the transfer is only accepted: the answer is
            a promise, whatever has become of it meanwhile.

        Raises
        ------
        ValidationFailed, AccountNotFound, SameAccount, CurrencyMismatch
            As ``TransferRequestService.prepare``; the key is not used up.
        IdempotencyKeyReused
            The key was used for another request.
        DatabaseUnavailable, TemporalUnavailable
            Nothing is half-done; the same request later gives the one outcome.
        """
        try:
            prepared = await self._requests.prepare(
                tenant_id, request, requested_by=requested_by, actor=actor
            )
        except TimesNotAhead as error:
            taken_in = await self._taken_in(tenant_id, request, error.fingerprint)
            if taken_in is None:
                raise
            prepared = taken_in
        return await self._carry_out(prepared, wait_seconds)

    async def submit_reversal(
        self,
        tenant_id: TenantId,
        request: ReversalRequest,
        *,
        requested_by: ApiKeyId,
        actor: Actor | None = None,
        wait_seconds: float,
    ) -> Submission:
        """Give the one outcome of a reversal's key, as ``submit`` does.

        Raises
        ------
        TransferNotFound, IdempotencyKeyReused, NotReversible
            As ``TransferRequestService.prepare_reversal``; the key is not used up.
        DatabaseUnavailable, TemporalUnavailable
            Nothing is half-done; the same request later gives the one outcome.
        """
        try:
            prepared = await self._requests.prepare_reversal(
                tenant_id, request, requested_by=requested_by, actor=actor
            )
        except NotReversible:
            taken_in = await self._taken_in(tenant_id, request, reversal_fingerprint(request))
            if taken_in is None:
                raise
            prepared = taken_in
        return await self._carry_out(prepared, wait_seconds)

    async def _taken_in(
        self, tenant_id: TenantId, request: TransferRequest | ReversalRequest, fingerprint: bytes
    ) -> PreparedTransfer | None:
        """Find what was accepted with this key and is not on record yet.

        Notes
        -----
        It will have its outcome, so that a repeat is not refused for what others did meanwhile, or
        for a time that has passed.
        """
        known = await self._gateway.known_order(workflow_id(tenant_id, request.idempotency_key))
        if known is None or known.fingerprint != fingerprint.hex():
            return None
        return PreparedTransfer(order_of(known), None)

    async def _carry_out(self, prepared: PreparedTransfer, wait_seconds: float) -> Submission:
        order, earlier = prepared.order, prepared.earlier
        note(transfer_id=(earlier or order).id, workflow_id=order.workflow_id)
        if earlier is not None and _is_settled(earlier):
            return Submission(await self._as_answered(earlier), is_replay=True)

        def is_awaited(transfer: Transfer) -> bool:
            return _is_settled(transfer) or not wait_seconds

        patience = wait_seconds or RECORDING_SECONDS
        with self._outcomes.expecting(order.workflow_id, is_awaited) as handed_over:
            async with self._at_once:
                try:
                    started = await self._gateway.start(input_of(order))
                except WorkflowClosed:
                    recorded = await self._recorded_after_close(order)
                    if recorded is not None:
                        return _submission(order, await self._as_answered(recorded))
                    order = await self._as_promised(order)
                    started = await self._gateway.start(input_of(order), again=True)
                if started.is_in_process:
                    await asyncio.wait([handed_over], timeout=min(HANDOVER_SECONDS, patience))
                    patience -= HANDOVER_SECONDS
            transfer = await self._outcome(order, started, handed_over, patience)
        if not wait_seconds:
            return _submission(order, _promise(transfer))
        return _submission(order, await self._as_answered(transfer))

    async def find(self, tenant_id: TenantId, transfer_id: TransferId) -> Transfer:
        """Read a transfer, also one that is accepted and not yet recorded.

        Raises
        ------
        TransferNotFound
            The tenant has no such transfer, or another one was recorded with its key first.

        Notes
        -----
        The id is the recorded one, which a batch may have given.
        """
        try:
            return await self._transactions.get(tenant_id, transfer_id)
        except TransferNotFound:
            order = await self._gateway.accepted(tenant_id, transfer_id)
            if order is None:
                raise
            accepted = order_of(order)
            recorded = await self._transactions.find_by_key(tenant_id, accepted.idempotency_key)
            if recorded is None:
                return _accepted(accepted)
            if recorded.fingerprint != accepted.fingerprint:
                raise
            # A batch was faster to record the same transfer, under an id of its own.
            return recorded

    async def _recorded_after_close(self, order: TransferOrder) -> Transfer | None:
        """Read the transfer of a key whose workflow has ended, brought to its right end.

        Notes
        -----
        ``None`` also where the workflow completed and the transfer has not: the database was
        restored to an earlier time, and the transfer is to go on from there.
        """
        recorded = await self._transactions.find_by_key(order.tenant_id, order.idempotency_key)
        if recorded is None or recorded.is_final:
            return recorded
        status = await self._gateway.closed_status(order.workflow_id)
        if status == COMPLETED:
            return None
        return await self._transactions.compensate(
            recorded.tenant_id, recorded.id, Failure.of(WorkflowTerminated(status or "CLOSED"))
        )

    async def _as_promised(self, order: TransferOrder) -> TransferOrder:
        """Give an order the id that was promised with its key before its workflow was ended."""
        known = await self._gateway.known_order(order.workflow_id)
        if known is None or known.fingerprint != order.fingerprint.hex():
            return order
        return replace(order, id=TransferId(known.transfer_id))

    async def _outcome(
        self,
        order: TransferOrder,
        started: StartedTransfer,
        handed_over: asyncio.Future[Transfer],
        patience: float,
    ) -> Transfer:
        """Wait for the outcome from whoever has it first; after the time, say how far it is.

        Raises
        ------
        IdempotencyKeyReused
            An operation or a batch with the same key was faster.
        """
        is_abandoned = False
        if not handed_over.done() and patience > 0:
            closing = asyncio.create_task(self._closing(started))
            resting = asyncio.create_task(self._resting(order))
            first: list[asyncio.Future[Any]] = [handed_over, closing, resting]
            await asyncio.wait(first, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            is_abandoned = closing.done() and closing.result() is None
            closing.cancel()
            resting.cancel()
            await asyncio.gather(closing, resting, return_exceptions=True)
        if handed_over.done():
            return handed_over.result()
        if is_abandoned:
            recorded = await self._recorded_after_close(order)
        else:
            recorded = await self._transactions.find_by_key(order.tenant_id, order.idempotency_key)
        if recorded is not None:
            return recorded
        if is_abandoned and await self._requests.is_key_taken(
            order.tenant_id, order.idempotency_key
        ):
            # By something that is no transfer: nothing is under way that could be promised.
            raise IdempotencyKeyReused(order.idempotency_key)
        # The workflow may be another request's that came first.
        return _accepted(order_of(await self._gateway.order_of(order.workflow_id)))

    async def _resting(self, order: TransferOrder) -> None:
        """Wait until a transfer is on record and rests, which its workflow's end does not tell."""
        while True:
            with suppress(DatabaseUnavailable):
                recorded = await self._transactions.find_by_key(
                    order.tenant_id, order.idempotency_key
                )
                if recorded is not None and _is_settled(recorded):
                    return
            await asyncio.sleep(REST_PAUSE_SECONDS)

    async def _as_answered(self, transfer: Transfer) -> Transfer:
        """Show a transfer as every answer does: not reversed, and a hold as it was reserved.

        Also to whoever waits for the first answer: the hold may have ended before that is seen.
        """
        if transfer.capture is not CaptureMode.MANUAL:
            return replace(transfer, reversed_minor=0)
        if transfer.updated_at == transfer.created_at:
            return transfer
        events = await self._transactions.events(transfer.tenant_id, transfer.id)
        reserved = next((e for e in events if e.stage is TransferStage.RESERVED), None)
        return transfer if reserved is None else _as_reserved(transfer, reserved, events)

    async def _closing(self, started: StartedTransfer) -> TransferProgress | None:
        """Wait for a workflow's end, also through times in which Temporal does not answer."""
        while True:
            try:
                return await self._gateway.outcome(started)
            except TemporalUnavailable:
                await asyncio.sleep(TEMPORAL_PAUSE_SECONDS)


def _submission(order: TransferOrder, transfer: Transfer) -> Submission:
    """Judge whether a transfer answers an order.

    Raises
    ------
    IdempotencyKeyReused
        Another request with the same key was faster.
    """
    if transfer.fingerprint != order.fingerprint:
        raise IdempotencyKeyReused(order.idempotency_key)
    return Submission(transfer, is_replay=transfer.id != order.id)


def _is_settled(transfer: Transfer) -> bool:
    """Tell whether a transfer has come as far as it gets without anybody's doing."""
    return transfer.is_final or transfer.waits_until is not None


def _as_reserved(
    transfer: Transfer, reserved: TransferEvent, events: Sequence[TransferEvent]
) -> Transfer:
    extended = next((event for event in events if event.step is Step.EXTEND), None)
    is_first = reserved.step is Step.RESERVE and transfer.execute_at is None
    expires_at = transfer.expires_at
    if extended is not None and extended.details is not None:
        expires_at = datetime.fromisoformat(extended.details["instead_of"])
    return replace(
        transfer,
        stage=TransferStage.RESERVED,
        failure=None,
        captured_minor=0,
        reversed_minor=0,
        expires_at=expires_at,
        # Both are the transaction's time where the reserve was the transfer's first record.
        updated_at=transfer.created_at if is_first else reserved.occurred_at,
        completed_at=None,
    )


def _promise(transfer: Transfer) -> Transfer:
    """Show a transfer as it was when it was accepted."""
    return replace(transfer, stage=TransferStage.ACCEPTED, failure=None, completed_at=None)


def _accepted(order: TransferOrder) -> Transfer:
    """Show an order that Temporal has accepted and the database does not know yet."""
    now = datetime.now(UTC)
    terms = order.terms
    return Transfer(
        id=order.id,
        tenant_id=order.tenant_id,
        idempotency_key=order.idempotency_key,
        fingerprint=order.fingerprint,
        type=order.type,
        stage=TransferStage.ACCEPTED,
        source_account_id=order.source_account_id,
        destination_account_id=order.destination_account_id,
        money=order.money,
        description=order.description,
        metadata=order.metadata,
        failure=None,
        reversal_of=terms.reversal_of,
        effective_at=order.effective_at or terms.execute_at or now,
        created_at=now,
        updated_at=now,
        completed_at=None,
        captured_minor=0 if terms.capture is CaptureMode.MANUAL else None,
        expires_at=terms.expires_at,
        execute_at=terms.execute_at,
        requested_by=order.requested_by,
        more_legs=terms.legs,
    )
