"""An evidence document as JSON; the PDF is made from the same."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from api.account_schemas import EntryView
from api.audit_schemas import AuditRecordView
from api.evidence.chain_proof import ChainProofView
from api.transfer_views import EventView, TransferView
from domain.evidence import (
    Evidence,
    HistoryRecord,
    HoldRecord,
    KeyClaim,
    TemporalEvidence,
    WorkflowRun,
)
from domain.ids import ApiKeyId
from domain.operations import Operation, OperationRecord
from domain.transfers import HoldStatus


class PartyView(BaseModel):
    """An account that takes part."""

    id: UUID
    account_number: str
    kind: str


class KeyView(BaseModel):
    """The API key that asked for something."""

    id: UUID
    name: str | None


class RequestView(BaseModel):
    """What was asked for.

    Of the body, what it meant is kept: the transfer's own fields, and the fingerprint over them.
    """

    idempotency_key: str
    operation: str | None
    fingerprint: str = Field(description="SHA-256 of what was asked for.")
    is_fingerprint_of_claim: bool = Field(
        description="The key's record and the transfer's have one fingerprint."
    )
    claimed_at: datetime | None
    requested_by: KeyView | None


class OperationView(BaseModel):
    """A capture, an extension, a cancel, an approval or a rejection."""

    operation: Operation
    amount: int | None
    note: str | None
    requested_by: KeyView
    created_at: datetime
    stage_after: str

    @staticmethod
    def of(record: OperationRecord, names: dict[ApiKeyId, str]) -> "OperationView":
        """Show an operation."""
        return OperationView(
            operation=record.operation,
            amount=record.amount_minor,
            note=record.note,
            requested_by=_key(record.requested_by, names),
            created_at=record.created_at,
            stage_after=record.transfer.stage,
        )


class HoldView(BaseModel):
    """A reservation, open or closed."""

    id: UUID
    account_id: UUID
    amount: int
    captured_amount: int
    currency: str
    status: HoldStatus
    created_at: datetime
    closed_at: datetime | None

    @staticmethod
    def of(hold: HoldRecord) -> "HoldView":
        """Show a hold."""
        return HoldView(
            id=hold.id,
            account_id=hold.account_id,
            amount=hold.amount_minor,
            captured_amount=hold.captured_minor,
            currency=hold.currency,
            status=hold.status,
            created_at=hold.created_at,
            closed_at=hold.closed_at,
        )


class HistoryView(BaseModel):
    """One thing that Temporal kept of the workflow."""

    run_id: str
    event_id: int = Field(description="In the run's history; 0 for what is still pending.")
    occurred_at: datetime
    what: str
    step: str | None
    attempt: int | None
    error: str | None

    @staticmethod
    def of(record: HistoryRecord) -> "HistoryView":
        """Show a record."""
        return HistoryView(
            run_id=record.run_id,
            event_id=record.event_id,
            occurred_at=record.occurred_at,
            what=record.what,
            step=record.step,
            attempt=record.attempt,
            error=record.error,
        )


class RunView(BaseModel):
    """One run of the workflow: an operator's restart begins another."""

    run_id: str
    status: str
    started_at: datetime
    closed_at: datetime | None

    @staticmethod
    def of(run: WorkflowRun) -> "RunView":
        """Show a run."""
        return RunView(
            run_id=run.id, status=run.status, started_at=run.started_at, closed_at=run.closed_at
        )


class WorkflowEvidenceView(BaseModel):
    """What Temporal still has of the workflow: it forgets after its retention."""

    workflow_id: str
    run_id: str | None = Field(description="Of the newest run.")
    status: str = Field(
        description="Of the newest run. NOT_FOUND once it was forgotten; UNAVAILABLE for no answer."
    )
    runs: list[RunView] = Field(description="Those that Temporal still knows, oldest first.")
    history: list[HistoryView] = Field(description="Of all these runs, oldest first.")
    is_complete: bool


class EvidenceView(BaseModel):
    """All that is on record of a transfer, of one moment of the database."""

    generated_at: datetime
    tenant_id: UUID
    tenant_name: str
    request: RequestView
    transfer: TransferView
    accounts: list[PartyView]
    reversal_of: TransferView | None
    operations: list[OperationView] = Field(description="Approvals and captures, oldest first.")
    holds: list[HoldView]
    entries: list[EntryView]
    events: list[EventView]
    reversals: list[TransferView]
    audit: list[AuditRecordView] = Field(description="Oldest first.")
    workflow: WorkflowEvidenceView
    chain_proof: ChainProofView
    more: list[str] = Field(description="Names of lists that have more than is shown here.")

    @staticmethod
    def of(
        evidence: Evidence,
        workflow: TemporalEvidence,
        generated_at: datetime,
        *,
        for_operators: bool,
    ) -> "EvidenceView":
        """Show what was gathered; to others than operators, nothing of the ledger as a whole."""
        transfer, names = evidence.transfer, dict(evidence.key_names)
        original = evidence.original
        proof = ChainProofView.of(evidence.chain_proof, for_operators=for_operators)
        return EvidenceView(
            generated_at=generated_at,
            tenant_id=transfer.tenant_id,
            tenant_name=evidence.tenant_name,
            request=_request(evidence, evidence.claim, names),
            transfer=TransferView.of(transfer),
            accounts=[
                PartyView(id=account_id, account_number=label.account_number, kind=label.kind)
                for account_id, label in evidence.accounts.items()
            ],
            reversal_of=None if original is None else TransferView.of(original),
            operations=[OperationView.of(record, names) for record in evidence.operations],
            holds=[HoldView.of(hold) for hold in evidence.holds],
            entries=[EntryView.of(entry) for entry in evidence.entries],
            events=[EventView.of(event) for event in evidence.events],
            reversals=[TransferView.of(reversal) for reversal in evidence.reversals],
            audit=[AuditRecordView.of(record) for record in evidence.audit],
            workflow=WorkflowEvidenceView(
                workflow_id=workflow.workflow_id,
                run_id=workflow.run_id,
                status=workflow.status,
                runs=[RunView.of(run) for run in workflow.runs],
                history=[HistoryView.of(record) for record in workflow.records],
                is_complete=workflow.is_complete,
            ),
            chain_proof=proof,
            more=[*evidence.more, *([] if proof.is_complete else ["chain_proof"])],
        )


def _request(evidence: Evidence, claim: KeyClaim | None, names: dict[ApiKeyId, str]) -> RequestView:
    transfer = evidence.transfer
    requested_by = transfer.requested_by
    return RequestView(
        idempotency_key=transfer.idempotency_key,
        operation=None if claim is None else claim.operation,
        fingerprint=transfer.fingerprint.hex(),
        is_fingerprint_of_claim=claim is not None and claim.fingerprint == transfer.fingerprint,
        claimed_at=None if claim is None else claim.claimed_at,
        requested_by=None if requested_by is None else _key(requested_by, names),
    )


def _key(key_id: ApiKeyId, names: dict[ApiKeyId, str]) -> KeyView:
    return KeyView(id=key_id, name=names.get(key_id))
