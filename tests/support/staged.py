"""Batches that are recorded through the services, for workflows that tests start themselves."""

import secrets
from collections.abc import Sequence

from domain.batches import BatchOrder, StagedRow, TransferBatch
from domain.ids import BatchId
from domain.transfers import TransferType
from services.identifiers import new_uuid
from services.staged_text import staged_row
from tests.support.wallets import Wallets


def new_keys(count: int) -> list[str]:
    return [secrets.token_hex(8) for _ in range(count)]


async def stage_batch(
    wallets: Wallets, keys: Sequence[str], *, amount_minor: int = 100, is_atomic: bool = False
) -> TransferBatch:
    """Record a batch of transfers with some keys, from the source to the destination."""
    order = BatchOrder(
        id=BatchId(new_uuid()),
        tenant_id=wallets.tenant_id,
        idempotency_key=secrets.token_hex(8),
        fingerprint=bytes(32),
        is_atomic=is_atomic,
        description=None,
        rows=len(keys),
        requested_by=wallets.api_key_id,
    )
    rows = [
        StagedRow(
            position=position,
            idempotency_key=key,
            type=TransferType.INTERNAL.value,
            source=str(wallets.source.id),
            destination=str(wallets.destination.id),
            amount_minor=amount_minor,
            currency="EUR",
            description=None,
            metadata={},
            effective_at=None,
        )
        for position, key in enumerate(keys, start=1)
    ]
    lines = (f"{order.id}\t{order.tenant_id}\t{staged_row(row)}".encode() for row in rows)
    return await wallets.services.batches.stage(order, lines)
