"""One outcome for one key, for ever."""

import hashlib
import json
from typing import Any, Final

from domain.errors import IdempotencyKeyReused
from domain.ids import AccountId, TenantId
from domain.transfers import Transfer, TransferOrder, TransferRequest
from persistence.database import UnitOfWork

CREATE_TRANSFER: Final = "transfer.create"

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


class IdempotencyService:
    """Finds and takes idempotency keys inside a caller's unit of work."""

    async def find(
        self, unit_of_work: UnitOfWork, tenant_id: TenantId, key: str, fingerprint: bytes
    ) -> Transfer | None:
        """Find the transfer that a key was used for; ``None`` where the key is free.

        Raises
        ------
        IdempotencyKeyReused
            The key was used for another request.
        """
        transfer = await unit_of_work.transfers.get_by_key(tenant_id, key)
        if transfer is not None and transfer.fingerprint != fingerprint:
            raise IdempotencyKeyReused(key)
        return transfer

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


def fingerprint_of(request: TransferRequest, *, source: AccountId, destination: AccountId) -> bytes:
    """Digest what a client asked for, so that a repeat can be told from another request.

    Notes
    -----
    SHA-256 over canonical JSON. It covers the meaning and not the spelling: an account's UUID and
    its number are one, and so are ``100`` and ``"100"``.
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
    return hashlib.sha256(_CANONICAL.encode(meaning).encode()).digest()
