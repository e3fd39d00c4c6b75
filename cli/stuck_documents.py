"""What ``transfers stuck`` and ``transfers operate show`` print."""

from collections.abc import Sequence

from cli.console import messages, print_line, print_table
from cli.documents import amount_text, print_fields, time_text
from cli.transfer_documents import print_pending
from domain.stuck import StuckKind
from runtime.api_client import Answer, Document


def show_stuck(answer: Answer) -> None:
    """Print a page of what is stuck."""
    found: Sequence[Document] = answer.document["data"]
    if not answer.document["is_complete"]:
        print_line(
            "Not complete: Temporal did not answer, or has more open workflows than are read.",
            console=messages(),
        )
    if found:
        print_table(
            ("Id", "Tenant", "Stage", "Age", "Cause", "Tries", "Amount", "Amount held", "Can be"),
            [_row(item) for item in found],
        )
    else:
        print_line("Nothing is stuck.", console=messages())
    for item in found:
        error = f" Last error: {item['last_error']}" if item["last_error"] else ""
        print_line(f"{item['id']}: {item['explanation']}{error}")
    cursor = answer.document["next_cursor"]
    if cursor is not None:
        print_line(f"There are more: add --cursor {cursor}", console=messages())


def show_one(answer: Answer) -> None:
    """Print what operators see of one thing."""
    found, currency = answer.document, answer.document["currency"]
    amount, held = found["amount"], found["held_amount"]
    print_fields(
        {
            found["kind"].replace("_", " ").capitalize(): found["id"],
            "Idempotency key": found["idempotency_key"],
            "Tenant": f"{found['tenant_name']} ({found['tenant_id']})",
            "Scheduled for": time_text(found["scheduled_at"]),
            "Stage": found["stage"],
            "Since": f"{time_text(found['since'])} ({age_text(found['age_seconds'])})",
            "Amount": None if amount is None or not currency else amount_text(amount, currency),
            "Amount held": amount_text(held, currency) if currency else None,
            "Cause": found["cause"] or "not stuck",
            "Explanation": found["explanation"],
            "Attempts": str(found["attempts"]),
            "Last error": found["last_error"],
            "Can be": ", ".join(found["actions"]) or None,
            "Workflow": f"{found['workflow_id']} {found['workflow_status'] or ''}",
            "In Temporal's UI": found["temporal_ui_url"],
        }
    )
    print_pending(found["pending_activities"])


def age_text(seconds: int) -> str:
    """Write an age as people say it: 42s, 7m, 3h or 2d."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _row(item: Document) -> tuple[str, ...]:
    currency = item["currency"]
    return (
        item["id"],
        item["tenant_name"],
        item["stage"] if item["kind"] == StuckKind.TRANSFER else f"{item['kind']} {item['stage']}",
        age_text(item["age_seconds"]),
        item["cause"],
        str(item["attempts"]),
        "" if item["amount"] is None else amount_text(item["amount"], currency),
        "" if currency is None else amount_text(item["held_amount"], currency),
        ", ".join(item["actions"]),
    )
