"""Everything that is on record of one transfer, for auditors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.accounts import AccountLabel
from domain.audit import AuditRecord
from domain.chain_proofs import ChainProof
from domain.ids import AccountId, ApiKeyId, HoldId
from domain.ledger import LedgerEntry
from domain.operations import OperationRecord
from domain.transfers import HoldStatus, Transfer, TransferEvent


class EvidenceFormat(StrEnum):
    """How an evidence document is written."""

    JSON = "json"
    PDF = "pdf"


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """The one use of an idempotency key.

    Parameters
    ----------
    fingerprint
        SHA-256 of what was asked for.
    """

    key: str
    operation: str
    fingerprint: bytes
    claimed_at: datetime


@dataclass(frozen=True, slots=True)
class HoldRecord:
    """A reservation, open or closed."""

    id: HoldId
    account_id: AccountId
    amount_minor: int
    captured_minor: int
    currency: str
    status: HoldStatus
    created_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class HistoryRecord:
    """One thing that Temporal kept of a transfer's workflow.

    Parameters
    ----------
    what
        As in ``activity completed`` or ``workflow terminated``.
    step
        Name of the activity or the update, where it is about one.
    error
        What failed, or why it was ended.
    """

    run_id: str
    event_id: int
    occurred_at: datetime
    what: str
    step: str | None = None
    attempt: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """One run of a transfer's workflow: a restart by an operator begins another."""

    id: str
    status: str
    started_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class TemporalEvidence:
    """What Temporal still has of a transfer's workflow.

    Parameters
    ----------
    run_id, status
        Of its newest run; ``NOT_FOUND`` once its retention is over.
    runs
        Those that Temporal still knows, oldest first.
    records
        Of all these runs, oldest first.
    is_complete
        Whether all runs and all of their histories were read.
    """

    workflow_id: str
    run_id: str | None
    status: str
    runs: Sequence[WorkflowRun]
    records: Sequence[HistoryRecord]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the database has of one transfer, of one moment.

    Parameters
    ----------
    key_names
        Names of the API keys that took part.
    more
        Names of the lists that have more rows than are here.
    chain_proof
        That the entries are those which the ledger's hash chain was made over.
    """

    tenant_name: str
    transfer: Transfer
    claim: KeyClaim | None
    original: Transfer | None
    operations: Sequence[OperationRecord]
    holds: Sequence[HoldRecord]
    entries: Sequence[LedgerEntry]
    events: Sequence[TransferEvent]
    audit: Sequence[AuditRecord]
    reversals: Sequence[Transfer]
    accounts: Mapping[AccountId, AccountLabel]
    key_names: Mapping[ApiKeyId, str]
    more: Sequence[str]
    chain_proof: ChainProof
