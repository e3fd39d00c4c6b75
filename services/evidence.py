"""The evidence of one transfer: all that the database has of it, of one moment."""

from typing import Final, TypeVar

from domain.errors import TransferNotFound
from domain.evidence import Evidence
from domain.ids import TenantId, TransferId
from domain.limits import EVIDENCE_ROWS_MAXIMUM
from domain.operations import Operation
from domain.transfers import Transfer, accounts_of
from persistence.audit import AuditFilter
from persistence.database import Database, UnitOfWork
from persistence.tenancy import EVERY_TENANT
from services.chain_proofs import prove_transfer

Row = TypeVar("Row")

_SUBJECT: Final = "transfer"


class EvidenceService:
    """Gathers what is on record of a transfer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def gather(self, transfer_id: TransferId, *, tenant_id: TenantId | None) -> Evidence:
        """Read all of a transfer, in one snapshot.

        Parameters
        ----------
        tenant_id
            Whose it must be; ``None`` for any tenant's.

        Raises
        ------
        TransferNotFound
            There is no such transfer, or it is accepted and not yet recorded.
        DatabaseUnavailable
            No connection.
        """
        async with self._database.snapshot(EVERY_TENANT) as connection:
            unit_of_work = UnitOfWork(connection)
            owner = await unit_of_work.evidence.owner(transfer_id)
            if owner is None or tenant_id not in {None, owner[0]}:
                raise TransferNotFound(str(transfer_id))
            transfer = await unit_of_work.transfers.get(owner[0], transfer_id)
            if transfer is None:
                raise TransferNotFound(str(transfer_id))
            return await _evidence(unit_of_work, transfer, tenant_name=owner[1])


async def _evidence(unit_of_work: UnitOfWork, transfer: Transfer, *, tenant_name: str) -> Evidence:
    more: list[str] = []

    def bounded(name: str, rows: list[Row]) -> list[Row]:
        if len(rows) > EVIDENCE_ROWS_MAXIMUM:
            more.append(name)
        return rows[:EVIDENCE_ROWS_MAXIMUM]

    operations = await unit_of_work.operations.of_transfer(transfer.id, *Operation)
    entries = await unit_of_work.ledger.of_transfer(transfer.tenant_id, transfer.id)
    wanted = AuditFilter(
        tenant_id=transfer.tenant_id, subject_type=_SUBJECT, subject_id=str(transfer.id)
    )
    audit = await unit_of_work.audit.page(wanted, before=None, limit=EVIDENCE_ROWS_MAXIMUM + 1)
    original = None
    if transfer.reversal_of is not None:
        original = await unit_of_work.transfers.get(transfer.tenant_id, transfer.reversal_of)
    keys = {transfer.requested_by, *(record.requested_by for record in operations)}
    return Evidence(
        tenant_name=tenant_name,
        transfer=transfer,
        claim=await unit_of_work.evidence.claim(transfer.tenant_id, transfer.idempotency_key),
        original=original,
        operations=bounded("operations", operations),
        holds=bounded("holds", await unit_of_work.holds.of_transfer(transfer.id)),
        entries=bounded("entries", entries),
        events=bounded("events", await unit_of_work.transfers.events(transfer.id)),
        audit=bounded("audit", audit)[::-1],
        reversals=bounded(
            "reversals", await unit_of_work.transfers.reversals(transfer.tenant_id, transfer.id)
        ),
        accounts=await unit_of_work.labels.accounts(transfer.tenant_id, accounts_of(transfer.legs)),
        key_names=await unit_of_work.labels.api_keys([key for key in keys if key is not None]),
        more=more,
        chain_proof=await prove_transfer(
            unit_of_work.chain_proofs, transfer.tenant_id, transfer.id
        ),
    )
