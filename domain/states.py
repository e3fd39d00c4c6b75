"""States and stages of a transfer, and the one table of allowed changes."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from domain.errors import IllegalTransition


class ProcessState(StrEnum):
    """What a client needs to know of a transfer."""

    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


class TransferStage(StrEnum):
    """How far a transfer has come."""

    ACCEPTED = "ACCEPTED"
    """Durable in Temporal; the ledger does not know of it yet."""
    SCHEDULED = "SCHEDULED"
    """On record, to be carried out at a time to come; nothing is held."""
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    """The source's funds are held until others have approved."""
    RESERVED = "RESERVED"
    """The source's funds are held."""
    POSTED = "POSTED"
    """The entries stand in the ledger: the money has moved."""
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    """Refused, cancelled, expired or compensated: no entry, no open hold."""


class Step(StrEnum):
    """What moved a transfer on. (transfer, step) is unique, but for ``REPEATED_STEPS``."""

    ACCEPT = "accept"
    SCHEDULE = "schedule"
    RESERVE = "reserve"
    APPROVE = "approve"
    REJECT = "reject"
    EXTEND = "extend"
    CAPTURE = "capture"
    CANCEL = "cancel"
    EXPIRE = "expire"
    POST = "post"
    FINALISE = "finalise"
    RELEASE = "release"
    BATCH = "batch"
    """All of it at once, in a chunk of a batch."""


REPEATED_STEPS: Final = (Step.APPROVE, Step.EXTEND, Step.CAPTURE)
"""Told apart by the idempotency keys of their operations."""


TRANSITIONS: Final = MappingProxyType(
    {
        TransferStage.ACCEPTED: frozenset(
            {
                TransferStage.SCHEDULED,
                TransferStage.AWAITING_APPROVAL,
                TransferStage.RESERVED,
                TransferStage.FAILED,
            }
        ),
        TransferStage.SCHEDULED: frozenset(
            {TransferStage.AWAITING_APPROVAL, TransferStage.RESERVED, TransferStage.FAILED}
        ),
        TransferStage.AWAITING_APPROVAL: frozenset({TransferStage.RESERVED, TransferStage.FAILED}),
        TransferStage.RESERVED: frozenset({TransferStage.POSTED, TransferStage.FAILED}),
        TransferStage.POSTED: frozenset({TransferStage.COMPLETED}),
        TransferStage.COMPLETED: frozenset[TransferStage](),
        TransferStage.FAILED: frozenset[TransferStage](),
    }
)

_STATE_OF_STAGE: Final = MappingProxyType(
    {
        TransferStage.ACCEPTED: ProcessState.PROCESSING,
        TransferStage.SCHEDULED: ProcessState.PROCESSING,
        TransferStage.AWAITING_APPROVAL: ProcessState.PROCESSING,
        TransferStage.RESERVED: ProcessState.PROCESSING,
        TransferStage.POSTED: ProcessState.PROCESSING,
        TransferStage.COMPLETED: ProcessState.SUCCESS,
        TransferStage.FAILED: ProcessState.FAILED,
    }
)


def state_of(stage: TransferStage) -> ProcessState:
    """Tell the state that a stage belongs to."""
    return _STATE_OF_STAGE[stage]


def require_transition(current: TransferStage, target: TransferStage) -> None:
    """Hold a change of stage against the table.

    Raises
    ------
    IllegalTransition
        The table does not lead from ``current`` to ``target``.
    """
    if target not in TRANSITIONS[current]:
        raise IllegalTransition(current=current, target=target)
