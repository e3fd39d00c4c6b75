"""Standing orders and their runs as a person reads them."""

from cli.console import messages, print_line
from cli.documents import amount_text, print_fields, print_page, time_text
from runtime.api_client import Answer, Document


def show_order(answer: Answer) -> None:
    """Print one order, with its last run and its next ones."""
    order = answer.document
    print_fields(
        {
            "Standing order": order["id"],
            "Status": order["status"],
            "Reason": order["status_reason"],
            "Type": order["type"],
            "Amount": amount_text(order["amount"], order["currency"]),
            "Source": order["source"],
            "Destination": order["destination"],
            "Description": order["description"],
            "Metadata": order["metadata"],
            "Schedule": schedule_text(order["schedule"]),
            "Start": time_text(order["start_at"]),
            "End": time_text(order["end_at"]),
            "Missed runs": order["missed_runs"],
            "Last run": _run_text(order["last_run"]),
            "Next runs": _next_text(order["next_runs"]),
            "Created": time_text(order["created_at"]),
        }
    )
    if answer.is_replay:
        text = "An earlier request with this key made this order; nothing was made now."
        print_line(text, console=messages())


def show_orders(answer: Answer) -> None:
    """Print a page of orders."""
    print_page(
        answer,
        ("Id", "Status", "Amount", "Source", "Destination", "Schedule", "Created"),
        [
            (
                order["id"],
                order["status"],
                amount_text(order["amount"], order["currency"]),
                order["source"],
                order["destination"],
                schedule_text(order["schedule"]),
                time_text(order["created_at"]),
            )
            for order in answer.document["data"]
        ],
    )


def show_runs(answer: Answer) -> None:
    """Print a page of an order's runs."""
    print_page(
        answer,
        ("Scheduled", "State", "Reason", "Transfer"),
        [
            (
                time_text(run["scheduled_at"]),
                run["state"],
                run["failure"]["code"] if run["failure"] else "",
                run["transfer_id"] or "",
            )
            for run in answer.document["data"]
        ],
    )


def schedule_text(schedule: Document) -> str:
    """Write a schedule in a few words."""
    if schedule["cron"] is not None:
        return f"{schedule['cron']} ({schedule['time_zone']})"
    return f"every {schedule['interval_seconds']} s"


def _run_text(run: Document | None) -> str | None:
    if run is None:
        return None
    reason = f" ({run['failure']['code']})" if run["failure"] else ""
    return f"{time_text(run['scheduled_at'])} {run['state']}{reason}"


def _next_text(next_runs: list[str] | None) -> str:
    if next_runs is None:
        return "not known: Temporal does not answer just now"
    return ", ".join(time_text(time) for time in next_runs[:3]) or "none"
