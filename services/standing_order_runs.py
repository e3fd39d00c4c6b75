"""Runs of standing orders: decided once each, and settled with what became of their transfer."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.errors import IdempotencyKeyReused, StandingOrderNotFound, WorkflowTerminated
from domain.ids import StandingOrderId, TenantId, TransferId
from domain.pages import Page
from domain.standing_orders import RunState, StandingOrder, StandingOrderRun, time_name
from domain.states import ProcessState
from domain.transfers import Failure, Transfer, TransferOrder, TransferRequest
from persistence.database import Database, UnitOfWork
from persistence.tenancy import EVERY_TENANT
from services.idempotency import fingerprint_of
from services.identifiers import new_uuid
from services.standing_orders import SCAN_PAGE_SIZE


@dataclass(frozen=True, slots=True)
class DecidedRun:
    """A run on record, and the transfer that it makes; none where it is skipped."""

    run: StandingOrderRun
    transfer: TransferOrder | None


class StandingOrderRunService:
    """Decides on runs, records their outcome, and reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        tenant_id: TenantId,
        order_id: StandingOrderId,
        *,
        before: datetime | None,
        limit: int,
    ) -> Page[StandingOrderRun]:
        """Read a page of an order's runs, the latest time first.

        Raises
        ------
        StandingOrderNotFound
            The tenant has no such order.
        """
        async with self._database.reading(tenant_id) as unit_of_work:
            if await unit_of_work.standing_orders.get(tenant_id, order_id) is None:
                raise StandingOrderNotFound(str(order_id))
            found = await unit_of_work.standing_orders.runs_page(
                order_id, before=before, limit=limit + 1
            )
        return Page.of(found, limit, lambda run: time_name(run.scheduled_at))

    async def last(self, order: StandingOrder) -> StandingOrderRun | None:
        """Read an order's run of the latest time."""
        async with self._database.reading(order.tenant_id) as unit_of_work:
            found = await unit_of_work.standing_orders.runs_page(order.id, before=None, limit=1)
        return found[0] if found else None

    async def decide(
        self,
        order_id: StandingOrderId,
        scheduled_at: datetime,
        *,
        due: Sequence[datetime],
        now: datetime,
    ) -> DecidedRun:
        """Decide on the run of a time and record it; what is recorded stands.

        Parameters
        ----------
        due
            The schedule's times from ``scheduled_at`` until ``now``, oldest first.

        Raises
        ------
        StandingOrderNotFound
            There is no such order.
        NotScheduled
            The order has no run at that time.
        DatabaseUnavailable
            No connection, or the outcome is unknown; repeat the step.

        Notes
        -----
        One transaction. Keeps the order's status from changing meanwhile: once a pause has
        returned, no further run is begun. The run's primary key makes it repeatable.
        """
        async with self._database.transaction(EVERY_TENANT) as unit_of_work:
            order = await unit_of_work.standing_orders.keep(order_id)
            if order is None:
                raise StandingOrderNotFound(str(order_id))
            run = await unit_of_work.standing_orders.run(order_id, scheduled_at)
            if run is None:
                skipped = order.reason_to_skip(scheduled_at, due=due, now=now)
                if skipped and await _transfer_of(unit_of_work, order, scheduled_at):
                    # It was made, and its run was lost with a restore: the transfer tells of it.
                    skipped = None
                run = await unit_of_work.standing_orders.record_run(
                    order,
                    scheduled_at,
                    transfer_id=None if skipped else _new_id(),
                    failure=skipped,
                )
        return DecidedRun(run, _transfer_order(order, run))

    async def with_transfer(
        self, order_id: StandingOrderId, scheduled_at: datetime
    ) -> tuple[DecidedRun, Transfer | None]:
        """Read a run, what it is to move, and the transfer under its key, if one is recorded.

        Raises
        ------
        StandingOrderNotFound
            There is no such order or run.
        """
        async with self._database.reading(EVERY_TENANT) as unit_of_work:
            order = await unit_of_work.standing_orders.find(order_id)
            run = await unit_of_work.standing_orders.run(order_id, scheduled_at)
            if order is None or run is None:
                raise StandingOrderNotFound(f"{order_id} at {time_name(scheduled_at)}")
            transfer = await _transfer_of(unit_of_work, order, scheduled_at)
        return DecidedRun(run, _transfer_order(order, run)), transfer

    async def find(
        self, order_id: StandingOrderId, scheduled_at: datetime
    ) -> tuple[StandingOrder | None, StandingOrderRun | None, Transfer | None]:
        """Read an order, the run of a time, and the transfer under its key, as far as on record."""
        async with self._database.reading(EVERY_TENANT) as unit_of_work:
            order = await unit_of_work.standing_orders.find(order_id)
            if order is None:
                return None, None, None
            run = await unit_of_work.standing_orders.run(order_id, scheduled_at)
            return order, run, await _transfer_of(unit_of_work, order, scheduled_at)

    async def record_again(
        self,
        order_id: StandingOrderId,
        scheduled_at: datetime,
        *,
        told: RunState | None,
        failure: Failure | None,
    ) -> StandingOrderRun | None:
        """Record a run that was lost with a restore; ``None`` where its transfer is still lost.

        Parameters
        ----------
        told
            What the run had come to, by its workflow.
        failure
            Why it had failed or was skipped.

        Raises
        ------
        StandingOrderNotFound
            There is no such order.
        DatabaseUnavailable
            No connection, or the outcome is unknown; call again.

        Notes
        -----
        Moves nothing. Where the run's key stands for a transfer, that decides; a run that is on
        record stays as it is.
        """
        async with self._database.transaction(EVERY_TENANT) as unit_of_work:
            order = await unit_of_work.standing_orders.keep(order_id)
            if order is None:
                raise StandingOrderNotFound(str(order_id))
            run = await unit_of_work.standing_orders.run(order_id, scheduled_at)
            if run is not None:
                return run
            transfer = await _transfer_of(unit_of_work, order, scheduled_at)
            if transfer is None and told not in {RunState.FAILED, RunState.SKIPPED}:
                return None
            is_skipped = transfer is None and told is RunState.SKIPPED
            run = await unit_of_work.standing_orders.record_run(
                order,
                scheduled_at,
                transfer_id=None if is_skipped else transfer.id if transfer else _new_id(),
                failure=failure if is_skipped else None,
            )
        if is_skipped or (transfer is not None and not transfer.is_final):
            return run
        lost = failure or Failure.of(WorkflowTerminated("LOST"))
        return await self.settle(
            DecidedRun(run, _transfer_order(order, run)), transfer, otherwise=lost
        )

    async def settle(
        self, decided: DecidedRun, transfer: Transfer | None, *, otherwise: Failure
    ) -> StandingOrderRun:
        """Record the outcome of a run; one that has its outcome keeps it.

        Parameters
        ----------
        transfer
            Final, or ``None`` where none was recorded and none will be.
        otherwise
            Why there is no transfer.
        """
        failure, transfer_id, state = otherwise, None, RunState.FAILED
        if transfer is not None and decided.transfer is not None:
            if transfer.fingerprint != decided.transfer.fingerprint:
                failure = Failure.of(IdempotencyKeyReused(transfer.idempotency_key))
            else:
                transfer_id = transfer.id
                is_done = transfer.state is ProcessState.SUCCESS
                state = RunState.SUCCESS if is_done else RunState.FAILED
                failure = transfer.failure or otherwise
        async with self._database.transaction(decided.run.tenant_id) as unit_of_work:
            return await unit_of_work.standing_orders.settle_run(
                decided.run,
                state,
                transfer_id=transfer_id,
                failure=None if state is RunState.SUCCESS else failure,
            )

    async def unsettled(self, *, idle_seconds: float) -> AsyncIterator[StandingOrderRun]:
        """Go through the runs of all tenants that have had no outcome for a while."""
        last: StandingOrderRun | None = None
        while True:
            async with self._database.reading(EVERY_TENANT) as unit_of_work:
                found = await unit_of_work.standing_orders.processing_runs(
                    idle_seconds=idle_seconds, after=last, limit=SCAN_PAGE_SIZE
                )
            for run in found:
                yield run
            if len(found) < SCAN_PAGE_SIZE:
                return
            last = found[-1]


def _new_id() -> TransferId:
    return TransferId(new_uuid())


async def _transfer_of(
    unit_of_work: UnitOfWork, order: StandingOrder, scheduled_at: datetime
) -> Transfer | None:
    return await unit_of_work.transfers.get_by_key(order.tenant_id, order.run_key(scheduled_at))


def _transfer_order(order: StandingOrder, run: StandingOrderRun) -> TransferOrder | None:
    """Say what a run moves, always in the same words: a repeat is the same request."""
    if run.transfer_id is None:
        return None
    request = TransferRequest(
        idempotency_key=order.run_key(run.scheduled_at),
        type=order.type,
        source=None,
        destination=None,
        money=order.money,
        description=order.description,
        metadata=order.metadata,
        effective_at=None,
    )
    return TransferOrder(
        id=run.transfer_id,
        tenant_id=order.tenant_id,
        idempotency_key=request.idempotency_key,
        fingerprint=fingerprint_of(
            request, source=order.source_account_id, destination=order.destination_account_id
        ),
        type=order.type,
        source_account_id=order.source_account_id,
        destination_account_id=order.destination_account_id,
        money=order.money,
        description=order.description,
        metadata=order.metadata,
        effective_at=None,
        requested_by=order.created_by,
    )
