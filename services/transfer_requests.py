"""Requests for transfers, checked before anything is recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from domain.audit import Actor
from domain.errors import (
    FieldProblem,
    IdempotencyKeyReused,
    NotReversible,
    TransferNotFound,
    ValidationFailed,
)
from domain.ids import ApiKeyId, TenantId, TransferId
from domain.limits import (
    EXECUTE_AT_SECONDS_MAXIMUM,
    HOLD_SECONDS_DEFAULT,
    HOLD_SECONDS_MAXIMUM,
)
from domain.money import Money
from domain.states import ProcessState
from domain.transfers import (
    CaptureMode,
    Leg,
    ReversalRequest,
    Transfer,
    TransferOrder,
    TransferRequest,
    TransferTerms,
    TransferType,
)
from persistence.database import Database
from services.idempotency import IdempotencyService, digest, fingerprint_of
from services.identifiers import new_uuid
from services.transfer_sides import find_sides, identify_legs, identify_sides, require_sides


@dataclass(frozen=True, slots=True)
class PreparedTransfer:
    """A checked order, and the transfer that its key was used for before, if any."""

    order: TransferOrder
    earlier: Transfer | None


class TimesNotAhead(ValidationFailed):
    """A new request has a time that has passed or is too far off.

    Parameters
    ----------
    fingerprint
        The request's, for it may have been accepted before, when its times were ahead.
    """

    def __init__(self, problems: Sequence[FieldProblem], fingerprint: bytes) -> None:
        super().__init__(problems)
        self.fingerprint = fingerprint


class TransferRequestService:
    """Turns what clients ask for into orders. Records nothing."""

    def __init__(self, database: Database, idempotency: IdempotencyService) -> None:
        self._database = database
        self._idempotency = idempotency

    async def prepare(
        self,
        tenant_id: TenantId,
        request: TransferRequest,
        *,
        requested_by: ApiKeyId | None = None,
        actor: Actor | None = None,
    ) -> PreparedTransfer:
        """Check a request and find an earlier outcome of its key.

        Raises
        ------
        ValidationFailed
            The type and the named sides do not fit, or a side is a settlement account.
        TimesNotAhead
            A time is out of its bounds for a new request.
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
        legs: tuple[Leg, ...] = ()
        if request.legs:
            legs = identify_legs(request, found.accounts)
            source_id, destination_id = legs[0].source_account_id, legs[0].destination_account_id
        else:
            source, destination = identify_sides(request, found.accounts)
            source_id, destination_id = source.id, destination.id
        fingerprint = fingerprint_of(
            request, source=source_id, destination=destination_id, legs=legs
        )
        earlier = None
        if found.is_key_taken:
            earlier = await self._earlier(tenant_id, request.idempotency_key, fingerprint)
        else:
            _require_times_ahead(request, fingerprint)
        order = TransferOrder(
            id=TransferId(new_uuid()),
            tenant_id=tenant_id,
            idempotency_key=request.idempotency_key,
            fingerprint=fingerprint,
            type=request.type,
            source_account_id=source_id,
            destination_account_id=destination_id,
            money=request.money,
            description=request.description,
            metadata=request.metadata,
            effective_at=request.effective_at,
            requested_by=requested_by,
            terms=_terms(request, legs),
            actor=actor,
        )
        return PreparedTransfer(order, earlier)

    async def prepare_reversal(
        self,
        tenant_id: TenantId,
        request: ReversalRequest,
        *,
        requested_by: ApiKeyId | None = None,
        actor: Actor | None = None,
    ) -> PreparedTransfer:
        """Check a request to take money back along a transfer, and find an earlier outcome.

        Raises
        ------
        TransferNotFound
            The tenant has no such transfer.
        IdempotencyKeyReused
            The key was used for another request.
        NotReversible
            The transfer has not succeeded, is a reversal itself, is reversed as a whole, or has
            several legs and only a part is asked for.
        DatabaseUnavailable
            No connection.
        """
        async with self._database.reading(tenant_id) as unit_of_work:
            original = await unit_of_work.transfers.get(tenant_id, request.transfer_id)
            is_key_taken = await unit_of_work.idempotency_keys.is_taken(
                tenant_id, request.idempotency_key
            )
        if original is None:
            raise TransferNotFound(str(request.transfer_id))
        fingerprint = reversal_fingerprint(request)
        earlier = None
        if is_key_taken:
            earlier = await self._earlier(tenant_id, request.idempotency_key, fingerprint)
        amount_minor = request.amount_minor
        if earlier is not None:
            amount_minor = earlier.money.amount_minor
        elif amount_minor is None:
            amount_minor = original.moved_minor - original.reversed_minor
        if earlier is None:
            _require_reversible(original, amount_minor)
        return PreparedTransfer(
            TransferOrder(
                id=TransferId(new_uuid()),
                tenant_id=tenant_id,
                idempotency_key=request.idempotency_key,
                fingerprint=fingerprint,
                type=TransferType.REVERSAL,
                source_account_id=original.destination_account_id,
                destination_account_id=original.source_account_id,
                money=Money(amount_minor, original.money.currency),
                description=request.reason,
                metadata=request.metadata,
                effective_at=None,
                requested_by=requested_by,
                terms=TransferTerms(
                    reversal_of=original.id,
                    legs=tuple(
                        Leg(leg.destination_account_id, leg.source_account_id, leg.money)
                        for leg in original.more_legs
                    ),
                ),
                actor=actor,
            ),
            earlier,
        )

    async def is_key_taken(self, tenant_id: TenantId, key: str) -> bool:
        """Tell whether a key stands for anything, be it a transfer or not."""
        async with self._database.reading(tenant_id) as unit_of_work:
            return await unit_of_work.idempotency_keys.is_taken(tenant_id, key)

    async def _earlier(self, tenant_id: TenantId, key: str, fingerprint: bytes) -> Transfer:
        """Read the transfer of a key that is taken.

        Raises
        ------
        IdempotencyKeyReused
            The key was used for another request, or for something that is no transfer.
        """
        async with self._database.reading(tenant_id) as unit_of_work:
            earlier = await self._idempotency.find(unit_of_work, tenant_id, key, fingerprint)
        if earlier is None:
            raise IdempotencyKeyReused(key)
        return earlier


def reversal_fingerprint(request: ReversalRequest) -> bytes:
    """Digest what a reversal was asked with, so that a repeat can be told from another request."""
    return digest(
        {
            "reversal_of": str(request.transfer_id),
            "amount_minor": None if request.amount_minor is None else str(request.amount_minor),
            "reason": request.reason,
            "metadata": request.metadata,
        }
    )


def _terms(request: TransferRequest, legs: tuple[Leg, ...]) -> TransferTerms:
    is_manual = request.capture is CaptureMode.MANUAL
    hold_for = request.hold_for
    if is_manual and request.expires_at is None and hold_for is None:
        hold_for = timedelta(seconds=HOLD_SECONDS_DEFAULT)
    return TransferTerms(
        capture=request.capture,
        expires_at=request.expires_at,
        hold_for=hold_for,
        execute_at=request.execute_at,
        legs=legs,
    )


def _require_times_ahead(request: TransferRequest, fingerprint: bytes) -> None:
    """Refuse times that a new request cannot have; a repeat may come when they have passed.

    Raises
    ------
    TimesNotAhead
        A time is in the past, or too far off.
    """
    now = datetime.now(UTC)
    latest = {"expires_at": HOLD_SECONDS_MAXIMUM, "execute_at": EXECUTE_AT_SECONDS_MAXIMUM}
    start = max(now, request.execute_at or now)
    problems = [
        problem
        for field, moment, after in (
            ("execute_at", request.execute_at, now),
            ("expires_at", request.expires_at, start),
        )
        if (problem := time_problem(field, moment, after, seconds=latest[field])) is not None
    ]
    if problems:
        raise TimesNotAhead(problems, fingerprint)


def time_problem(
    field: str, moment: datetime | None, after: datetime, *, seconds: int
) -> FieldProblem | None:
    """Hold a time against its bounds: later than ``after``, and at most ``seconds`` later."""
    if moment is None or after < moment <= after + timedelta(seconds=seconds):
        return None
    return FieldProblem(
        field,
        "time_bounds",
        f"must be later than {after.isoformat(timespec='seconds')}, by at most {seconds} seconds",
    )


def _require_reversible(original: Transfer, amount_minor: int) -> None:
    if original.type is TransferType.REVERSAL:
        raise NotReversible("it is a reversal itself")
    if original.state is not ProcessState.SUCCESS:
        raise NotReversible(f"it is {original.state}, and only what has succeeded can be reversed")
    if original.reversed_minor >= original.moved_minor:
        raise NotReversible("it is reversed as a whole")
    if original.more_legs and amount_minor != original.moved_minor:
        raise NotReversible("it has several legs, and is reversed as a whole or not at all")
