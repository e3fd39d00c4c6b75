"""What is done to transfers that rest: once for each key, decided under the lock."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias
from uuid import UUID

from domain.audit import SYSTEM_ACTOR
from domain.errors import (
    AlreadyApproved,
    AlreadyFailed,
    AlreadyPosted,
    ApprovalRejected,
    CaptureExceedsHold,
    ExpiryNotLater,
    FingerprintMismatch,
    HoldAlreadyExpired,
    MakerCannotApprove,
    NotAwaitingApproval,
    NotHeld,
    TooManyCaptures,
    TransferCancelled,
    TransferNotFound,
)
from domain.ids import TenantId, TransferId
from domain.limits import CAPTURES_MAXIMUM
from domain.money import Money
from domain.operations import Operation, OperationOrder, OperationRecord
from domain.pages import Page
from domain.states import ProcessState, Step, TransferStage
from domain.transfers import CaptureMode, Failure, Leg, Transfer
from persistence.database import Database, UnitOfWork
from services.balances import BalanceService
from services.endings import EndingService
from services.idempotency import IdempotencyService
from services.ledger import LedgerService

Effect: TypeAlias = Callable[[UnitOfWork, Transfer, OperationOrder], Awaitable[Transfer]]


class OperationService:
    """Captures, extends, cancels, approves and rejects.

    Parameters
    ----------
    publish
        Called with each transfer right after its change is committed.

    Notes
    -----
    Each operation is one transaction: the transfer is locked, the effect done, the key claimed, and
    both recorded. A refused operation records nothing and does not use its key up.
    """

    def __init__(
        self,
        database: Database,
        *,
        idempotency: IdempotencyService,
        balances: BalanceService,
        ledger: LedgerService,
        endings: EndingService,
        publish: Callable[[Transfer], None],
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._balances = balances
        self._ledger = ledger
        self._endings = endings
        self._publish = publish
        self._effects: Final[Mapping[Operation, Effect]] = {
            Operation.CAPTURE: self._capture,
            Operation.EXTEND: self._extend,
            Operation.CANCEL: self._cancel,
            Operation.APPROVE: self._approve,
            Operation.REJECT: self._reject,
        }

    async def carry_out(self, order: OperationOrder) -> Transfer:
        """Do an operation, once for its key.

        Returns
        -------
        Transfer
            As the operation left it; on a repeat, the same again.

        Raises
        ------
        TransferNotFound
            The tenant has no such transfer, or it is not recorded yet.
        IdempotencyKeyReused
            The key was used for another request.
        OperationConflict
            The transfer cannot be operated on as it stands.
        CaptureExceedsHold, ExpiryNotLater, MakerCannotApprove
            The operation asks for what cannot be.
        AccountClosed, AccountFrozen, BalanceOutOfRange
            An account of a capture takes no part.
        DatabaseUnavailable
            No connection, or the outcome is unknown; repeat it.

        Notes
        -----
        One transaction. Locks the transfer, then what the effect needs, and claims the key last, as
        a reserve does. Repeats of one operation meet at the transfer's lock; a key that another
        request takes meanwhile undoes the effect.
        """
        async with self._database.transaction(order.tenant_id) as unit_of_work:
            transfer = await unit_of_work.transfers.lock(order.tenant_id, order.transfer_id)
            if transfer is None:
                raise TransferNotFound(str(order.transfer_id))
            earlier = await self._idempotency.find_operation(unit_of_work, order, transfer)
            if earlier is not None:
                return earlier.transfer
            before_minor = transfer.captured_minor or 0
            transfer = await self._effects[order.operation](unit_of_work, transfer, order)
            is_capture = order.operation is Operation.CAPTURE
            captured_minor = (transfer.captured_minor or 0) - before_minor
            await self._idempotency.claim_operation(unit_of_work, order)
            await unit_of_work.operations.insert(
                order, amount_minor=captured_minor if is_capture else None
            )
            await unit_of_work.audit.record(
                order.actor or SYSTEM_ACTOR,
                f"transfer.{order.operation}",
                tenant_id=order.tenant_id,
                subject_type="transfer",
                subject_id=order.transfer_id,
                reason=order.note,
                details=_details(order, captured_minor, transfer),
            )
        self._publish(transfer)
        return transfer

    async def find(self, order: OperationOrder, transfer: Transfer) -> OperationRecord | None:
        """Find what an operation's key did before; ``None`` where it did none.

        Raises
        ------
        IdempotencyKeyReused
            The key was used for another request.
        """
        async with self._database.reading(order.tenant_id) as unit_of_work:
            return await self._idempotency.find_operation(unit_of_work, order, transfer)

    async def decisions(
        self, tenant_id: TenantId, transfer_id: TransferId, *, after: UUID | None, limit: int
    ) -> Page[OperationRecord]:
        """Read a page of who approved or rejected a transfer, oldest first.

        Parameters
        ----------
        after
            API key of the last decision of the page before.
        """
        async with self._database.reading(tenant_id) as unit_of_work:
            found = await unit_of_work.operations.decisions(
                transfer_id, after=after, limit=limit + 1
            )
        return Page.of(found, limit, lambda decision: str(decision.requested_by))

    async def _capture(
        self, unit_of_work: UnitOfWork, transfer: Transfer, order: OperationOrder
    ) -> Transfer:
        """Move a part of what is held, or all of it; the last capture releases what is left."""
        now = await unit_of_work.now()
        _require_held(transfer)
        if transfer.expires_at is not None and transfer.expires_at <= now:
            raise HoldAlreadyExpired
        captured_minor = transfer.captured_minor or 0
        left_minor = transfer.money.amount_minor - captured_minor
        amount_minor = left_minor if order.amount_minor is None else order.amount_minor
        if amount_minor > left_minor:
            raise CaptureExceedsHold(left_minor=left_minor, amount_minor=amount_minor)
        is_final = order.is_final
        if is_final is None:
            is_final = order.amount_minor is None
        is_final = is_final or amount_minor == left_minor
        if not is_final:
            await _require_capture_left(unit_of_work, transfer)
        if captured_minor + amount_minor == 0 or not (amount_minor or is_final):
            raise CaptureExceedsHold(left_minor=left_minor, amount_minor=0)
        if amount_minor:
            await unit_of_work.holds.capture(transfer.id, amount_minor)
            leg = Leg(
                transfer.source_account_id,
                transfer.destination_account_id,
                Money(amount_minor, transfer.money.currency),
            )
            await self._ledger.move(
                unit_of_work,
                transfer,
                [leg],
                effective_at=now,
                released_minor={transfer.source_account_id: amount_minor},
            )
        transfer = await unit_of_work.transfers.advance(
            transfer,
            Step.CAPTURE,
            TransferStage.RESERVED,
            details={"amount": amount_minor, "final": is_final},
            changes={"captured_minor": captured_minor + amount_minor},
        )
        if not is_final:
            return transfer
        await self._balances.release(unit_of_work, transfer)
        transfer = await unit_of_work.transfers.advance(transfer, Step.POST, TransferStage.POSTED)
        return await self._endings.complete(unit_of_work, transfer)

    async def _extend(
        self, unit_of_work: UnitOfWork, transfer: Transfer, order: OperationOrder
    ) -> Transfer:
        """Let a hold stand until a later time."""
        _require_held(transfer)
        present = transfer.expires_at
        if present is None or present <= await unit_of_work.now():
            raise HoldAlreadyExpired
        if order.expires_at is None or order.expires_at <= present:
            raise ExpiryNotLater(present.isoformat())
        return await unit_of_work.transfers.advance(
            transfer,
            Step.EXTEND,
            TransferStage.RESERVED,
            details={"expires_at": order.expires_at.isoformat(), "instead_of": present.isoformat()},
            changes={"expires_at": order.expires_at},
        )

    async def _cancel(
        self, unit_of_work: UnitOfWork, transfer: Transfer, order: OperationOrder
    ) -> Transfer:
        """Give up a transfer of which nothing has moved."""
        if transfer.failure is not None:
            raise AlreadyFailed(transfer.failure.code)
        if transfer.moved_minor or transfer.stage is TransferStage.POSTED:
            raise AlreadyPosted
        return await self._endings.end(
            unit_of_work,
            transfer,
            Step.CANCEL,
            Failure.of(TransferCancelled(order.note)),
            details={"reason": order.note, "by": str(order.requested_by)},
        )

    async def _approve(
        self, unit_of_work: UnitOfWork, transfer: Transfer, order: OperationOrder
    ) -> Transfer:
        """Count an approval; the last one that is needed lets the transfer go on."""
        given = await self._require_decidable(unit_of_work, transfer, order)
        is_last = given + 1 >= (transfer.approvals_required or 1)
        return await unit_of_work.transfers.advance(
            transfer,
            Step.APPROVE,
            TransferStage.RESERVED if is_last else TransferStage.AWAITING_APPROVAL,
            details={"note": order.note, "by": str(order.requested_by)},
        )

    async def _reject(
        self, unit_of_work: UnitOfWork, transfer: Transfer, order: OperationOrder
    ) -> Transfer:
        """Fail a transfer that waits for its approval."""
        await self._require_decidable(unit_of_work, transfer, order)
        return await self._endings.end(
            unit_of_work,
            transfer,
            Step.REJECT,
            Failure.of(ApprovalRejected(order.note)),
            details={"note": order.note, "by": str(order.requested_by)},
        )

    async def _require_decidable(
        self, unit_of_work: UnitOfWork, transfer: Transfer, order: OperationOrder
    ) -> int:
        """Hold a decision against the rules, and tell how many approvals came before it."""
        deadline_at = transfer.approval_deadline_at
        if transfer.stage is not TransferStage.AWAITING_APPROVAL or deadline_at is None:
            raise NotAwaitingApproval(transfer.stage)
        if deadline_at <= await unit_of_work.now():
            raise NotAwaitingApproval("AWAITING_APPROVAL, past its deadline,")
        if order.requested_by == transfer.requested_by:
            raise MakerCannotApprove
        if order.seen_fingerprint not in {None, transfer.fingerprint}:
            raise FingerprintMismatch
        approvals = await unit_of_work.operations.of_transfer(transfer.id, Operation.APPROVE)
        if any(record.requested_by == order.requested_by for record in approvals):
            raise AlreadyApproved
        return len(approvals)


def _details(order: OperationOrder, captured_minor: int, transfer: Transfer) -> dict[str, Any]:
    """Say what an operation changed, for the audit log."""
    details: dict[str, Any] = {"stage": transfer.stage}
    if order.operation is Operation.CAPTURE:
        details["amount"] = captured_minor
        details["currency"] = transfer.money.currency
    if order.expires_at is not None:
        details["expires_at"] = order.expires_at.isoformat()
    return details


def _require_held(transfer: Transfer) -> None:
    """Refuse what only a hold that waits for its capture can take."""
    if transfer.stage is TransferStage.RESERVED and transfer.capture is CaptureMode.MANUAL:
        return
    if transfer.failure is not None and transfer.failure.code == HoldAlreadyExpired.code:
        raise HoldAlreadyExpired
    if transfer.failure is not None:
        raise AlreadyFailed(transfer.failure.code)
    if transfer.state is ProcessState.SUCCESS:
        raise AlreadyPosted
    raise NotHeld(transfer.stage)


async def _require_capture_left(unit_of_work: UnitOfWork, transfer: Transfer) -> None:
    """Keep the last of the captures that a hold can have for the one that closes it."""
    captures = await unit_of_work.operations.of_transfer(transfer.id, Operation.CAPTURE)
    if len(captures) + 1 >= CAPTURES_MAXIMUM:
        raise TooManyCaptures(CAPTURES_MAXIMUM)
