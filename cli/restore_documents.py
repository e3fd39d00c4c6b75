"""What ``transfers restore --json`` writes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from domain.standing_orders import StandingOrderRun
    from runtime.lost_batches import LostBatch
    from runtime.lost_runs import LostRun
    from runtime.restoration import LostOutcome, Repetition


def lost_document(lost: "LostOutcome") -> dict[str, Any]:
    """Show a transfer that is not in the database as it was told."""
    return {
        "loss": lost.loss,
        "transfer_id": str(lost.order.transfer_id),
        "tenant_id": str(lost.order.tenant_id),
        "idempotency_key": lost.order.idempotency_key,
        "type": lost.order.type,
        "source": str(lost.order.source_account_id),
        "destination": str(lost.order.destination_account_id),
        "amount": lost.order.amount_minor,
        "currency": lost.order.currency,
        "told": lost.told.state if lost.told else None,
        "recorded": lost.recorded.state if lost.recorded else None,
        "at": lost.at.isoformat(),
        "can_be_repeated": lost.can_be_repeated,
    }


def repeated_document(repetition: "Repetition") -> dict[str, Any]:
    """Show what became of a transfer that was carried out anew."""
    return {
        "transfer_id": str(repetition.lost.order.transfer_id),
        "state": repetition.state,
        "code": repetition.code,
        "is_as_told": repetition.is_as_told,
    }


def batch_document(lost: "LostBatch") -> dict[str, Any]:
    """Show a batch that is not in the database as it was told."""
    return {
        "batch_id": str(lost.id),
        "tenant_id": str(lost.tenant_id),
        "rows": lost.told.total if lost.told else None,
        "told": lost.told.stage if lost.told else None,
        "recorded": lost.recorded.stage if lost.recorded else None,
        "at": lost.at.isoformat(),
    }


def run_document(lost: "LostRun", recorded: Sequence["StandingOrderRun"]) -> dict[str, Any]:
    """Show a run of a standing order that was not in the database."""
    again = {(run.order_id, run.scheduled_at) for run in recorded}
    return {
        "standing_order_id": str(lost.order_id),
        "scheduled_at": lost.scheduled_at.isoformat(),
        "tenant_id": str(lost.order.tenant_id) if lost.order else None,
        "told": lost.told.state if lost.told else None,
        "is_recorded_again": (lost.order_id, lost.scheduled_at) in again,
        "at": lost.at.isoformat(),
    }
