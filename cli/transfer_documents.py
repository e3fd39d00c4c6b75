"""Transfers as a person reads them: holds, schedules, legs, reversals and approvals included."""

import json
from collections.abc import Sequence
from typing import Final

from cli.console import messages, print_line, print_table
from cli.documents import amount_text, print_fields, print_page, time_text
from domain.states import ProcessState
from runtime.api_client import Answer, Document

_COLUMNS: Final = (
    *("Id", "Type", "State", "Amount", "Amount moved", "Source", "Destination", "Created"),
)


def show_transfer(answer: Answer) -> None:
    """Print one transfer, and whether this is an earlier request's outcome."""
    print_transfer(answer.document)
    if answer.is_replay:
        print_line(
            "This is the outcome of an earlier request with this key; nothing moved now.",
            console=messages(),
        )


def print_transfer(transfer: Document) -> None:
    """Print a transfer's fields."""
    failure, currency = transfer["failure"], transfer["currency"]
    is_hold, reversed_amount = transfer["capture"] == "manual", transfer["reversed_amount"]
    print_fields(
        {
            "Transfer": transfer["id"],
            "Idempotency key": transfer["idempotency_key"],
            "Type": transfer["type"],
            "State": transfer["state"],
            "Stage": transfer["stage"],
            "Failure": f"{failure['code']}: {failure['message']}" if failure else None,
            "Amount": amount_text(transfer["amount"], currency) + _more_legs(transfer),
            "Captured": amount_text(transfer["captured_amount"], currency) if is_hold else None,
            "Hold ends": time_text(transfer["expires_at"]),
            "Reversed": amount_text(reversed_amount, currency) if reversed_amount else None,
            "Scheduled for": time_text(transfer["execute_at"]),
            "Approvals needed": transfer["approvals_required"],
            "Approval until": time_text(transfer["approval_deadline_at"]),
            "Fingerprint": transfer["fingerprint"] if transfer["approvals_required"] else None,
            "Source": transfer["source"],
            "Destination": transfer["destination"],
            "Description": transfer["description"],
            "Metadata": transfer["metadata"],
            "Reversal of": transfer["reversal_of"],
            "Effective": time_text(transfer["effective_at"]),
            "Created": time_text(transfer["created_at"]),
            "Completed": time_text(transfer["completed_at"]),
        }
    )
    if transfer["legs"]:
        _print_legs(transfer["legs"])


def show_transfers(answer: Answer) -> None:
    """Print a page of transfers."""
    print_page(
        answer,
        _COLUMNS,
        [_row(transfer) for transfer in answer.document["data"]],
    )


def print_reversals(reversals: Sequence[Document]) -> None:
    """Print the transfers that take money back along one."""
    print_table(_COLUMNS, [_row(reversal) for reversal in reversals], title="Reversals")


def print_approvals(decisions: Sequence[Document]) -> None:
    """Print who approved or rejected a transfer."""
    print_table(
        ("Decision", "By key", "Note", "Time"),
        [
            (
                decision["decision"],
                decision["decided_by"],
                decision["note"] or "",
                time_text(decision["decided_at"]),
            )
            for decision in decisions
        ],
        title="Approvals",
    )


def print_events(events: Sequence[Document]) -> None:
    """Print the log of a transfer's stages."""
    print_table(
        ("#", "Stage", "Step", "Cause", "Details", "Time"),
        [
            (
                str(event["sequence"]),
                event["stage"],
                event["step"],
                event["cause"] or "",
                _details_text(event["details"]),
                event["occurred_at"],
            )
            for event in events
        ],
        title="Events",
    )


def print_workflow(workflow: Document) -> None:
    """Print a transfer's workflow as Temporal sees it."""
    print_fields(
        {
            "Workflow": workflow["workflow_id"],
            "Run": workflow["run_id"],
            "Status": workflow["status"],
            "Stage": workflow["stage"],
            "Events in history": workflow["history_length"],
            "Temporal's UI": workflow["temporal_ui_url"],
        }
    )
    print_pending(workflow["pending_activities"])


def print_pending(steps: Sequence[Document]) -> None:
    """Print the activities that a workflow waits for."""
    for pending in steps:
        print_line(
            f"{pending['name']} is {pending['state']}, attempt {pending['attempt']}: "
            f"{pending['last_failure'] or 'no failure yet'}"
        )


def _row(transfer: Document) -> tuple[str, ...]:
    currency = transfer["currency"]
    return (
        transfer["id"],
        transfer["type"],
        _state_text(transfer),
        amount_text(transfer["amount"], currency) + _more_legs(transfer),
        amount_text(transfer["captured_amount"], currency),
        transfer["source"],
        transfer["destination"],
        time_text(transfer["created_at"]),
    )


def _state_text(transfer: Document) -> str:
    """Say how a transfer ended, or in which stage it is."""
    if transfer["failure"]:
        return str(transfer["failure"]["code"])
    if transfer["state"] == ProcessState.PROCESSING:
        return f"{transfer['state']} ({transfer['stage']})"
    return str(transfer["state"])


def _more_legs(transfer: Document) -> str:
    return f" (first of {len(transfer['legs'])} legs)" if transfer["legs"] else ""


def _print_legs(legs: Sequence[Document]) -> None:
    print_table(
        ("#", "Source", "Destination", "Amount"),
        [
            (
                str(position),
                leg["source"],
                leg["destination"],
                amount_text(leg["amount"], leg["currency"]),
            )
            for position, leg in enumerate(legs, 1)
        ],
        title="Legs",
    )


def _details_text(details: Document | None) -> str:
    return json.dumps(details, ensure_ascii=False) if details else ""
