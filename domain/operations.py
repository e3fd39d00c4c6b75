"""What is done to a transfer that rests: capture, extend, cancel, approve, reject."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.audit import Actor
from domain.ids import ApiKeyId, TenantId, TransferId
from domain.transfers import Transfer


class Operation(StrEnum):
    """One thing that can be done to a transfer, once for each idempotency key."""

    CAPTURE = "capture"
    """Move what is held, as a whole or in part."""
    EXTEND = "extend"
    """Let a hold stand longer."""
    CANCEL = "cancel"
    """Give the transfer up before it posts."""
    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class OperationOrder:
    """A checked request to do something to a transfer.

    Parameters
    ----------
    fingerprint
        SHA-256 of what was asked for; tells a repeat from another request with the same key.
    amount_minor
        What to capture, in minor units; all that is left where left out. 0 captures nothing and,
        with ``is_final``, releases what is left.
    is_final
        Whether the capture is the last one and releases what is left; ``None`` is yes for a capture
        without an amount, and no for one with an amount that leaves something.
    expires_at
        The new end of a hold.
    note
        Reason of a cancel, or what an approver says.
    seen_fingerprint
        Fingerprint of the transfer that an approver has seen, where they name it.
    actor
        Who asks for it, for the audit log; ``None`` in orders of before there was one.
    """

    tenant_id: TenantId
    transfer_id: TransferId
    idempotency_key: str
    fingerprint: bytes
    operation: Operation
    requested_by: ApiKeyId
    amount_minor: int | None = None
    is_final: bool | None = None
    expires_at: datetime | None = None
    note: str | None = None
    seen_fingerprint: bytes | None = None
    actor: Actor | None = None


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """An operation that was done.

    Parameters
    ----------
    transfer
        The transfer as the operation left it.
    """

    operation: Operation
    transfer: Transfer
    amount_minor: int | None
    note: str | None
    requested_by: ApiKeyId
    created_at: datetime
