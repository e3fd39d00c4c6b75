"""What a decided chunk writes, in the text format of COPY."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from domain.batches import BatchRow, TransferBatch
from domain.states import Step, TransferStage, state_of
from persistence.copy_text import NULL, copied, copied_bytes, copied_rows
from services.chunk_decision import DecidedBlock, DecidedEntry, DecidedTransfer

_NO_METADATA: Final = "{}"


@dataclass(frozen=True, slots=True)
class BlockText:
    """Rows for the columns that ``persistence.batch_statements`` names."""

    transfers: bytes
    events: bytes
    entries: bytes


class ChunkText:
    """Writes what a decided chunk comes to.

    Parameters
    ----------
    moment
        When its transfers are completed.
    """

    def __init__(self, batch: TransferBatch, moment: datetime) -> None:
        self._tenant = str(batch.tenant_id)
        self._batch = str(batch.id)
        self._requester = NULL if batch.requested_by is None else str(batch.requested_by)
        self._moment = moment.isoformat()

    def of(self, block: DecidedBlock) -> BlockText:
        """Write a block. Each transfer has one event: it is accepted and at its end at once."""
        tenant, moment = self._tenant, self._moment
        decided = block.transfers
        return BlockText(
            transfers=copied_rows(
                [_transfer(tenant, self._batch, self._requester, moment, d) for d in decided]
            ),
            events=copied_rows([_event(tenant, moment, each) for each in decided]),
            entries=copied_rows([_entry(tenant, moment, each) for each in block.entries]),
        )


def staged_row(row: BatchRow) -> str:
    """Write what a row asks for, without the batch that it belongs to.

    Notes
    -----
    The same request is the same text, so that a batch can be told by its rows.
    """
    fields = (
        str(row.position),
        copied(row.idempotency_key),
        row.type.value,
        copied(row.source),
        copied(row.destination),
        str(row.amount_minor),
        row.currency,
        copied(row.description),
        metadata_text(row.metadata),
        NULL if row.effective_at is None else row.effective_at.isoformat(),
    )
    return "\t".join(fields) + "\n"


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """Write metadata, its keys in order: the same metadata is the same text."""
    return copied(json.dumps(metadata, sort_keys=True)) if metadata else _NO_METADATA


def _transfer(
    tenant: str, batch: str, requester: str, moment: str, decided: DecidedTransfer
) -> Sequence[str]:
    order, failure = decided.order, decided.failure
    stage = TransferStage.FAILED if failure else TransferStage.COMPLETED
    return (
        order.id.hex,
        tenant,
        copied(order.idempotency_key),
        copied_bytes(order.fingerprint),
        order.type.value,
        state_of(stage).value,
        stage.value,
        order.source_account_id.hex,
        order.destination_account_id.hex,
        str(order.money.amount_minor),
        order.money.currency,
        copied(order.description),
        metadata_text(order.metadata),
        NULL if failure is None else copied(failure.code),
        NULL if failure is None else copied(failure.message),
        moment if order.effective_at is None else order.effective_at.isoformat(),
        moment,
        batch,
        requester,
    )


def _event(tenant: str, moment: str, decided: DecidedTransfer) -> Sequence[str]:
    failure = decided.failure
    stage = TransferStage.FAILED if failure else TransferStage.COMPLETED
    cause = NULL if failure is None else copied(failure.code)
    return decided.order.id.hex, "1", tenant, Step.BATCH.value, stage.value, cause, moment


def _entry(tenant: str, moment: str, entry: DecidedEntry) -> Sequence[str]:
    order, balance = entry.order, entry.balance
    return (
        entry.id.hex,
        tenant,
        order.id.hex,
        entry.account_id.hex,
        str(balance.last_sequence),
        entry.direction.value,
        str(order.money.amount_minor),
        order.money.currency,
        str(balance.posted_minor),
        moment if order.effective_at is None else order.effective_at.isoformat(),
    )
