"""One outcome for one key, for ever."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from domain.batches import StagedRow
from domain.errors import IdempotencyKeyReused
from domain.ids import AccountId, TenantId
from domain.operations import OperationOrder, OperationRecord
from domain.transfers import CaptureMode, Leg, Transfer, TransferOrder, TransferRequest
from persistence.database import UnitOfWork

CREATE_TRANSFER: Final = "transfer.create"
OPERATE_PREFIX: Final = "transfer."
"""Before the name of an ``Operation``."""

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


class IdempotencyService:
    """Finds and takes idempotency keys inside a caller's unit of work."""

    async def find(
        self, unit_of_work: UnitOfWork, tenant_id: TenantId, key: str, fingerprint: bytes
    ) -> Transfer | None:
        """Find the transfer that a key was used for; ``None`` where there is none.

        Raises
        ------
        IdempotencyKeyReused
            The key was used for another request.
        """
        transfer = await unit_of_work.transfers.get_by_key(tenant_id, key)
        if transfer is not None and transfer.fingerprint != fingerprint:
            raise IdempotencyKeyReused(key)
        return transfer

    async def find_operation(
        self, unit_of_work: UnitOfWork, order: OperationOrder, transfer: Transfer
    ) -> OperationRecord | None:
        """Find what an operation's key did before; ``None`` where it did none.

        Raises
        ------
        IdempotencyKeyReused
            The key was used for another request.
        """
        tenant_id, key = order.tenant_id, order.idempotency_key
        # Asked first: whoever takes the key after that may be a repeat of this very operation.
        is_taken = await unit_of_work.idempotency_keys.is_taken(tenant_id, key)
        found = await unit_of_work.operations.find(tenant_id, key, transfer.more_legs)
        if found is None:
            if is_taken:
                raise IdempotencyKeyReused(key)
            return None
        record, fingerprint = found
        if fingerprint != order.fingerprint:
            raise IdempotencyKeyReused(key)
        return record

    async def claim_operation(self, unit_of_work: UnitOfWork, order: OperationOrder) -> None:
        """Take the key of an operation that was not found before.

        Raises
        ------
        IdempotencyKeyReused
            Another request has taken it meanwhile.
        """
        is_new = await unit_of_work.idempotency_keys.claim(
            order.tenant_id,
            order.idempotency_key,
            operation=OPERATE_PREFIX + order.operation,
            fingerprint=order.fingerprint,
        )
        if not is_new:
            raise IdempotencyKeyReused(order.idempotency_key)

    async def claim(self, unit_of_work: UnitOfWork, order: TransferOrder) -> Transfer | None:
        """Take an order's key, or give the transfer that took it before.

        Raises
        ------
        IdempotencyKeyReused
            The key was used for another request.

        Notes
        -----
        The claim and the record of the transfer stand in one transaction: a key is never taken
        without its transfer.
        """
        is_new = await unit_of_work.idempotency_keys.claim(
            order.tenant_id,
            order.idempotency_key,
            operation=CREATE_TRANSFER,
            fingerprint=order.fingerprint,
        )
        if is_new:
            return None
        earlier = await self.find(
            unit_of_work, order.tenant_id, order.idempotency_key, order.fingerprint
        )
        if earlier is None:
            raise IdempotencyKeyReused(order.idempotency_key)
        return earlier


def fingerprint_of(
    request: TransferRequest, *, source: AccountId, destination: AccountId, legs: Sequence[Leg] = ()
) -> bytes:
    """Digest what a client asked for, so that a repeat can be told from another request.

    Notes
    -----
    SHA-256 over canonical JSON. It covers the meaning and not the spelling: an account's UUID and
    its number are one, and so are ``100`` and ``"100"``. What is not asked for is left out, so that
    the fingerprints of plain transfers stay what they have always been.
    """
    meaning: dict[str, Any] = {
        "type": request.type,
        "source": str(source),
        "destination": str(destination),
        "amount_minor": str(request.money.amount_minor),
        "currency": request.money.currency,
        "description": request.description,
        "metadata": request.metadata,
        "effective_at": request.effective_at.isoformat() if request.effective_at else None,
    }
    if request.capture is CaptureMode.MANUAL:
        meaning["capture"] = request.capture
    if request.expires_at is not None:
        meaning["expires_at"] = request.expires_at.isoformat()
    if request.hold_for is not None:
        meaning["hold_seconds"] = request.hold_for.total_seconds()
    if request.execute_at is not None:
        meaning["execute_at"] = request.execute_at.isoformat()
    if legs:
        meaning["legs"] = [
            [
                str(leg.source_account_id),
                str(leg.destination_account_id),
                str(leg.money.amount_minor),
                leg.money.currency,
            ]
            for leg in legs
        ]
    return digest(meaning)


def fingerprint_of_plain(row: StagedRow, *, source: AccountId, destination: AccountId) -> bytes:
    """Digest what a row of a batch asks for: the same bytes as ``fingerprint_of`` its request.

    Notes
    -----
    The canonical JSON written out, in a quarter of the time: batches do it for every row.
    """
    effective_at = f'"{row.effective_at.isoformat()}"' if row.effective_at else "null"
    metadata = _CANONICAL.encode(row.metadata) if row.metadata else "{}"
    return hashlib.sha256(
        f'{{"amount_minor":"{row.amount_minor}","currency":"{row.currency}",'
        f'"description":{_CANONICAL.encode(row.description)},"destination":"{destination}",'
        f'"effective_at":{effective_at},"metadata":{metadata},'
        f'"source":"{source}","type":"{row.type}"}}'.encode()
    ).digest()


def digest(meaning: Mapping[str, Any]) -> bytes:
    """Digest what was asked for: SHA-256 over canonical JSON."""
    return hashlib.sha256(_CANONICAL.encode(meaning).encode()).digest()
