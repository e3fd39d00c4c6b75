"""Transfers: from a client's request, through the steps of the saga, to the one outcome."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from domain.errors import DatabaseUnavailable, IdempotencyKeyReused, TransferNotFound
from domain.ids import HoldId, TenantId, TransferId
from domain.pages import Page
from domain.states import Step, TransferStage, require_transition
from domain.transfers import (
    Failure,
    Transfer,
    TransferEvent,
    TransferOrder,
    TransferRequest,
)
from persistence.database import Database, UnitOfWork
from persistence.transfers import TransferFilter
from services.balances import BalanceService
from services.idempotency import CREATE_TRANSFER, IdempotencyService, fingerprint_of
from services.identifiers import new_uuid
from services.ledger import LedgerService
from services.transfer_sides import find_sides, identify_sides, require_sides

UNFINISHED_PAGE_SIZE: Final = 500

STEP_TRIES_MAXIMUM: Final = 3
"""How often a step looks again where what kept it back has just gone, such as a freeze."""


@dataclass(frozen=True, slots=True)
class PreparedTransfer:
    """A checked order, and the transfer that its key was used for before, if any."""

    order: TransferOrder
    earlier: Transfer | None


class TransactionService:
    """Checks requests, carries out the steps of transfers, and reads transfers.

    Parameters
    ----------
    publish
        Called with each transfer right after its change is committed.
    """

    def __init__(
        self,
        database: Database,
        *,
        idempotency: IdempotencyService,
        balances: BalanceService,
        ledger: LedgerService,
        publish: Callable[[Transfer], None],
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._balances = balances
        self._ledger = ledger
        self._publish = publish

    async def prepare(self, tenant_id: TenantId, request: TransferRequest) -> PreparedTransfer:
        """Check a request and find an earlier outcome of its key. Records nothing.

        Raises
        ------
        ValidationFailed
            The type and the named sides do not fit, or a side is a settlement account.
        AccountNotFound
            The tenant has no such account.
        SameAccount
            Source and destination are one.
        CurrencyMismatch
            An account's currency is not the transfer's.
        IdempotencyKeyReused
            The key was used for another request.
        DatabaseUnavailable
            No connection.
        """
        require_sides(request)
        async with self._database.direct() as statements:
            found = await find_sides(statements, tenant_id, request)
        source, destination = identify_sides(request, found.accounts)
        fingerprint = fingerprint_of(request, source=source.id, destination=destination.id)
        earlier = None
        if found.transfer_id is not None:
            async with self._database.reading() as unit_of_work:
                earlier = await self._idempotency.find(
                    unit_of_work, tenant_id, request.idempotency_key, fingerprint
                )
        elif found.is_key_taken:
            # By something other than a transfer: a claim and its transfer are one transaction.
            raise IdempotencyKeyReused(request.idempotency_key)
        order = TransferOrder(
            id=TransferId(new_uuid()),
            tenant_id=tenant_id,
            idempotency_key=request.idempotency_key,
            fingerprint=fingerprint,
            type=request.type,
            source_account_id=source.id,
            destination_account_id=destination.id,
            money=request.money,
            description=request.description,
            metadata=request.metadata,
            effective_at=request.effective_at,
        )
        return PreparedTransfer(order, earlier)

    async def reserve(self, order: TransferOrder) -> Transfer:
        """Record an order and hold its funds; a refused one is recorded as FAILED.

        Returns
        -------
        Transfer
            In stage RESERVED or FAILED; on a repeat, as it has become since.

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
        for _ in range(STEP_TRIES_MAXIMUM):
            async with self._database.direct() as statements:
                transfer = await statements.reserve(
                    order, operation=CREATE_TRANSFER, hold_id=HoldId(new_uuid())
                )
            transfer = transfer or await self._refuse(order)
            if transfer is not None:
                self._publish(transfer)
                return transfer
        raise DatabaseUnavailable

    async def post(self, tenant_id: TenantId, transfer_id: TransferId) -> Transfer:
        """Post the entries of a reserved transfer.

        Returns
        -------
        Transfer
            In stage POSTED; on a repeat, or where it was released, as it has become since.

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
            transfer = await self.get(tenant_id, transfer_id)
            if not transfer.is_final:
                require_transition(transfer.stage, TransferStage.COMPLETED)
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
        async with self._database.transaction() as unit_of_work:
            transfer = await self._lock(unit_of_work, tenant_id, transfer_id)
            if transfer.stage is TransferStage.POSTED:
                transfer = await unit_of_work.transfers.advance(
                    transfer, Step.FINALISE, TransferStage.COMPLETED
                )
            elif transfer.stage is TransferStage.RESERVED:
                await self._balances.release(unit_of_work, transfer)
                transfer = await unit_of_work.transfers.advance(
                    transfer, Step.RELEASE, TransferStage.FAILED, failure=failure
                )
        self._publish(transfer)
        return transfer

    async def get(self, tenant_id: TenantId, transfer_id: TransferId) -> Transfer:
        """Read a transfer.

        Raises
        ------
        TransferNotFound
            The tenant has no such transfer, or it is accepted and not yet recorded.
        """
        async with self._database.reading() as unit_of_work:
            transfer = await unit_of_work.transfers.get(tenant_id, transfer_id)
        if transfer is None:
            raise TransferNotFound(str(transfer_id))
        return transfer

    async def find_by_key(self, tenant_id: TenantId, key: str) -> Transfer | None:
        """Read the transfer of an idempotency key; ``None`` where none is recorded."""
        async with self._database.reading() as unit_of_work:
            return await unit_of_work.transfers.get_by_key(tenant_id, key)

    async def page(
        self, tenant_id: TenantId, wanted: TransferFilter, *, after: UUID | None, limit: int
    ) -> Page[Transfer]:
        """Read a page of transfers, newest first."""
        async with self._database.reading() as unit_of_work:
            found = await unit_of_work.transfers.page(
                tenant_id, wanted, after=after, limit=limit + 1
            )
        return Page.of(found, limit, lambda transfer: str(transfer.id))

    async def events(self, tenant_id: TenantId, transfer_id: TransferId) -> list[TransferEvent]:
        """Read the log of a transfer's stages, oldest first.

        Raises
        ------
        TransferNotFound
            The tenant has no such transfer.
        """
        async with self._database.reading() as unit_of_work:
            if await unit_of_work.transfers.get(tenant_id, transfer_id) is None:
                raise TransferNotFound(str(transfer_id))
            return await unit_of_work.transfers.events(transfer_id)

    async def unfinished(self, *, idle_seconds: float) -> AsyncIterator[Transfer]:
        """Go through the PROCESSING transfers of all tenants that have not moved for a while.

        Parameters
        ----------
        idle_seconds
            Only those whose last change is longer ago.
        """
        last: Transfer | None = None
        while True:
            async with self._database.reading() as unit_of_work:
                found = await unit_of_work.transfers.unfinished(
                    idle_seconds=idle_seconds, after=last, limit=UNFINISHED_PAGE_SIZE
                )
            for transfer in found:
                yield transfer
            if len(found) < UNFINISHED_PAGE_SIZE:
                return
            last = found[-1]

    async def _refuse(self, order: TransferOrder) -> Transfer | None:
        """Record an order that cannot be reserved as FAILED, or give what its key stands for.

        Returns
        -------
        Transfer | None
            ``None`` where the order can be reserved by now.
        """
        async with self._database.transaction() as unit_of_work:
            refusal = await self._balances.refusal_of(unit_of_work, order)
            if refusal is None:
                return await self._idempotency.find(
                    unit_of_work, order.tenant_id, order.idempotency_key, order.fingerprint
                )
            earlier = await self._idempotency.claim(unit_of_work, order)
            return earlier or await unit_of_work.transfers.insert_failed(order, Failure.of(refusal))

    async def _unposted(self, tenant_id: TenantId, transfer_id: TransferId) -> Transfer | None:
        """Give a transfer that is not reserved (any more), or raise what keeps it from posting.

        Returns
        -------
        Transfer | None
            ``None`` where the transfer can be posted by now.
        """
        async with self._database.transaction() as unit_of_work:
            transfer = await self._lock(unit_of_work, tenant_id, transfer_id)
            if transfer.stage is not TransferStage.RESERVED:
                return transfer
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
