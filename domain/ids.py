"""Identifiers. Ids are UUIDs, version 7 where this service makes them, so that they sort by age."""

import re
from datetime import datetime
from typing import Final, NewType
from uuid import UUID

TenantId = NewType("TenantId", UUID)
UserId = NewType("UserId", UUID)
AccountId = NewType("AccountId", UUID)
TransferId = NewType("TransferId", UUID)
EntryId = NewType("EntryId", UUID)
HoldId = NewType("HoldId", UUID)
ApiKeyId = NewType("ApiKeyId", UUID)
ApprovalRuleId = NewType("ApprovalRuleId", UUID)
StandingOrderId = NewType("StandingOrderId", UUID)
BatchId = NewType("BatchId", UUID)

BATCH_PREFIX: Final = "batch/"
_TIMELESS_BITS: Final = 80
"""Bits of a UUID of version 7 behind its time, which is in milliseconds."""

_CANONICAL_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def parse_uuid(text: str) -> UUID | None:
    """Read a UUID in its canonical form of 36 characters; anything else is ``None``.

    Notes
    -----
    Stricter than ``uuid.UUID``, which also takes braces, URNs and missing hyphens.
    """
    return UUID(text) if _CANONICAL_UUID.fullmatch(text) else None


def first_id_since(moment: datetime) -> UUID:
    """Give the lowest UUID of version 7 that can be made at a time or later."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << _TIMELESS_BITS)


def workflow_id(tenant_id: TenantId, idempotency_key: str) -> str:
    """Name the one workflow that serves an idempotency key of a tenant."""
    return f"{tenant_id}:{idempotency_key}"


def batch_workflow_id(tenant_id: TenantId, batch_id: BatchId) -> str:
    """Name the one workflow that carries a batch out; no key's workflow is named like it."""
    return f"{BATCH_PREFIX}{tenant_id}/{batch_id}"


def parse_batch_workflow_id(text: str) -> tuple[TenantId, BatchId] | None:
    """Read the tenant and the batch that a workflow is named for; anything else is ``None``."""
    tenant_id, _, batch_id = text.removeprefix(BATCH_PREFIX).partition("/")
    tenant, batch = parse_uuid(tenant_id), parse_uuid(batch_id)
    return None if tenant is None or batch is None else (TenantId(tenant), BatchId(batch))
