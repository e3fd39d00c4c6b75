"""Transfers: through the steps of the saga to the one outcome."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from domain.errors import ApprovalExpired, DatabaseUnavailable, HoldExpired, TransferNotFound
from domain.ids import HoldId, TenantId, TransferId
from domain.pages import Page
from domain.states import Step, TransferStage
from domain.transfers import (
    Failure,
    Transfer,
    TransferEvent,
    TransferOrder,
    TransferTerms,
)
from persistence.database import Database, UnitOfWork
from persistence.tenancy import EVERY_TENANT
from persistence.transfers import TransferFilter
from services.balances import BalanceService
from services.endings import EndingService
from services.idempotency import CREATE_TRANSFER
from services.identifiers import new_uuid
from services.ledger import LedgerService
from services.reservations import ReservationService

UNFINISHED_PAGE_SIZE: Final = 500

STEP_TRIES_MAXIMUM: Final = 3
"""How often a posting looks again where what kept it back had just gone, such as a freeze."""


class TransactionService:
    """Carries out the steps of transfers, and reads transfers.

    Parameters
    ----------
    publish
        Called with each transfer right after its change is committed.
    """

    def __init__(
        self,
        database: Database,
        *,
        reservations: ReservationService,
        balances: BalanceService,
        ledger: LedgerService,
        endings: EndingService,
        publish: Callable[[Transfer], None],
    ) -> None:
        self._database = database
        self._reservations = reservations
        self._balances = balances
        self._ledger = ledger
        self._endings = endings
        self._publish = publish

    async def reserve(self, order: TransferOrder) -> Transfer:
        """Record an order and hold its funds; a refused one is recorded as FAILED.

        Returns
        -------
        Transfer
            In stage RESERVED, AWAITING_APPROVAL or FAILED; on a repeat, as it has become since.

        Raises
        ------
        IdempotencyKeyReused
            The key was used for another request.
        DatabaseUnavailable
            No connection, or the outcome is unknown; repeat the step.

        Notes
        -----
        One transaction. Locks the source's balance. The claim of the key makes it repeatable.
        """
        if is_plain(order.terms):
            async with self._database.direct() as statements:
                transfer = await statements.reserve(
                    order, operation=CREATE_TRANSFER, hold_id=HoldId(new_uuid())
                )
            if transfer is not None:
                self._publish(transfer)
                return transfer
        async with self._database.transaction(order.tenant_id) as unit_of_work:
            transfer = await self._reservations.reserve(unit_of_work, order)
        self._publish(transfer)
        return transfer

    async def schedule(self, order: TransferOrder) -> Transfer:
        """Record an order that is to be carried out later; nothing is held or checked until then.

        Returns
        -------
        Transfer
            In stage SCHEDULED; on a repeat, as it has become since.

        Raises
        ------
        IdempotencyKeyReused
            The key was used for another request.
        DatabaseUnavailable
            No connection, or the outcome is unknown; repeat the step.
        """
        async with self._database.transaction(order.tenant_id) as unit_of_work:
            transfer = await self._reservations.schedule(unit_of_work, order)
        self._publish(transfer)
        return transfer

    async def post(self, tenant_id: TenantId, transfer_id: TransferId) -> Transfer:
        """Post the entries of a reserved transfer.

        Returns
        -------
        Transfer
            In stage POSTED; on a repeat, or where it was released, as it has become since; a hold
            that waits for its captures as it is.

        Raises
        ------
        TransferNotFound
            Nothing was reserved.
        AccountClosed
            One of the accounts was closed since the funds were reserved.
        AccountFrozen
            One of the accounts was frozen since.
        BalanceOutOfRange
            A balance would have too many digits.
        DatabaseUnavailable
            No connection, or the outcome is unknown; repeat the step.

        Notes
        -----
        One transaction. Locks the transfer, then both balances in the order of their ids.
        """
        for _ in range(STEP_TRIES_MAXIMUM):
            async with self._database.direct() as statements:
                transfer = await self._ledger.post(statements, tenant_id, transfer_id)
            transfer = transfer or await self._unposted(tenant_id, transfer_id)
            if transfer is not None:
                return transfer
        raise DatabaseUnavailable

    async def finalise(self, tenant_id: TenantId, transfer_id: TransferId) -> Transfer:
        """Complete a posted transfer.

        Returns
        -------
        Transfer
            In stage COMPLETED, or FAILED where it was released before.

        Raises
        ------
        TransferNotFound
            Nothing was reserved.
        IllegalTransition
            The transfer is not posted.
        DatabaseUnavailable
            No connection, or the outcome is unknown; repeat the step.

        Notes
        -----
        One transaction. Locks the transfer.
        """
        async with self._database.direct() as statements:
            transfer = await statements.finalise(tenant_id, transfer_id)
        if transfer is None:
            async with self._database.transaction(tenant_id) as unit_of_work:
                transfer = await self._lock(unit_of_work, tenant_id, transfer_id)
                if not transfer.is_final:
                    transfer = await self._endings.complete(unit_of_work, transfer)
        self._publish(transfer)
        return transfer

    async def compensate(
        self, tenant_id: TenantId, transfer_id: TransferId, failure: Failure
    ) -> Transfer:
        """Bring an unfinished transfer to its one right end.

        What is posted stays posted, and the transfer becomes SUCCESS. What is only reserved is
        released, and the transfer becomes FAILED. What is final stays as it is.

        Raises
        ------
        TransferNotFound
            Nothing was reserved.
        DatabaseUnavailable
            No connection, or the outcome is unknown; repeat the step.

        Notes
        -----
        One transaction. Decides under the transfer's lock from what the database says, so that it
        may run beside any other step.
        """
        async with self._database.transaction(tenant_id) as unit_of_work:
            transfer = await self._lock(unit_of_work, tenant_id, transfer_id)
            if not transfer.is_final:
                transfer = await self._endings.end(unit_of_work, transfer, Step.RELEASE, failure)
        self._publish(transfer)
        return transfer

    async def expire(
        self, tenant_id: TenantId, transfer_id: TransferId, due_at: datetime
    ) -> Transfer:
        """End a transfer that has rested until its time came and nobody moved it on.

        Parameters
        ----------
        due_at
            The time that came. Where the transfer rests for longer by now, nothing is done.

        Returns
        -------
        Transfer
            FAILED with ``expired`` or ``approval_expired``, or COMPLETED with what was captured;
            else as it is.

        Raises
        ------
        TransferNotFound
            Nothing was reserved.
        DatabaseUnavailable
            No connection, or the outcome is unknown; repeat the step.

        Notes
        -----
        One transaction. Locks the transfer: a capture at the same moment comes before or after.
        """
        async with self._database.transaction(tenant_id) as unit_of_work:
            transfer = await self._lock(unit_of_work, tenant_id, transfer_id)
            if transfer.waits_until is not None and transfer.waits_until <= due_at:
                failure = Failure.of(
                    ApprovalExpired()
                    if transfer.stage is TransferStage.AWAITING_APPROVAL
                    else HoldExpired()
                )
                transfer = await self._endings.end(unit_of_work, transfer, Step.EXPIRE, failure)
        self._publish(transfer)
        return transfer

    async def get(self, tenant_id: TenantId, transfer_id: TransferId) -> Transfer:
        """Read a transfer.

        Raises
        ------
        TransferNotFound
            The tenant has no such transfer, or it is accepted and not yet recorded.
        """
        async with self._database.reading(tenant_id) as unit_of_work:
            transfer = await unit_of_work.transfers.get(tenant_id, transfer_id)
        if transfer is None:
            raise TransferNotFound(str(transfer_id))
        return transfer

    async def find_by_key(self, tenant_id: TenantId, key: str) -> Transfer | None:
        """Read the transfer of an idempotency key; ``None`` where none is recorded."""
        async with self._database.reading(tenant_id) as unit_of_work:
            return await unit_of_work.transfers.get_by_key(tenant_id, key)

    async def page(
        self, tenant_id: TenantId, wanted: TransferFilter, *, after: UUID | None, limit: int
    ) -> Page[Transfer]:
        """Read a page of transfers, newest first."""
        async with self._database.reading(tenant_id) as unit_of_work:
            found = await unit_of_work.transfers.page(
                tenant_id, wanted, after=after, limit=limit + 1
            )
        return Page.of(found, limit, lambda transfer: str(transfer.id))

    async def reversals(
        self, tenant_id: TenantId, transfer_id: TransferId, *, after: UUID | None, limit: int
    ) -> Page[Transfer]:
        """Read a page of a transfer's reversals, failed ones included, oldest first."""
        async with self._database.reading(tenant_id) as unit_of_work:
            found = await unit_of_work.transfers.reversals(
                tenant_id, transfer_id, after=after, limit=limit + 1
            )
        return Page.of(found, limit, lambda reversal: str(reversal.id))

    async def events(self, tenant_id: TenantId, transfer_id: TransferId) -> list[TransferEvent]:
        """Read the whole log of a transfer's stages, oldest first.

        Raises
        ------
        TransferNotFound
            The tenant has no such transfer.
        """
        async with self._database.reading(tenant_id) as unit_of_work:
            if await unit_of_work.transfers.get(tenant_id, transfer_id) is None:
                raise TransferNotFound(str(transfer_id))
            return await unit_of_work.transfers.events(transfer_id)

    async def events_page(
        self, tenant_id: TenantId, transfer_id: TransferId, *, after: int, limit: int
    ) -> Page[TransferEvent]:
        """Read a page of the log of a transfer's stages, oldest first; none of an unknown one.

        Parameters
        ----------
        after
            Sequence of the last event of the page before, or 0.
        limit
            Events at most, 1 to ``PAGE_SIZE_MAXIMUM``.
        """
        async with self._database.reading(tenant_id) as unit_of_work:
            found = await unit_of_work.transfers.events(transfer_id, after=after, limit=limit + 1)
        return Page.of(found, limit, lambda event: str(event.sequence))

    async def unfinished(self, *, idle_seconds: float) -> AsyncIterator[Transfer]:
        """Go through the PROCESSING transfers of all tenants that have not moved for a while.

        Parameters
        ----------
        idle_seconds
            Only those whose last change is longer ago.
        """
        last: Transfer | None = None
        while True:
            async with self._database.reading(EVERY_TENANT) as unit_of_work:
                found = await unit_of_work.transfers.unfinished(
                    idle_seconds=idle_seconds, after=last, limit=UNFINISHED_PAGE_SIZE
                )
            for transfer in found:
                yield transfer
            if len(found) < UNFINISHED_PAGE_SIZE:
                return
            last = found[-1]

    async def _unposted(self, tenant_id: TenantId, transfer_id: TransferId) -> Transfer | None:
        """Post several legs, give a transfer that is not to be posted, or raise what is in the way.

        Returns
        -------
        Transfer | None
            ``None`` where the transfer can be posted by now.
        """
        async with self._database.transaction(tenant_id) as unit_of_work:
            transfer = await self._lock(unit_of_work, tenant_id, transfer_id)
            if transfer.stage is not TransferStage.RESERVED or transfer.waits_until is not None:
                return transfer
            if transfer.more_legs:
                return await self._ledger.post_legs(unit_of_work, transfer)
            await self._balances.require_active_sides(unit_of_work, transfer)
        return None

    @staticmethod
    async def _lock(
        unit_of_work: UnitOfWork, tenant_id: TenantId, transfer_id: TransferId
    ) -> Transfer:
        transfer = await unit_of_work.transfers.lock(tenant_id, transfer_id)
        if transfer is None:
            raise TransferNotFound(str(transfer_id))
        return transfer


def is_plain(terms: TransferTerms) -> bool:
    """Tell whether an order may be reserved by the one statement that most transfers need."""
    return not (terms.legs or terms.execute_at or terms.reversal_of)
