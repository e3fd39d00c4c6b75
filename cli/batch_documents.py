"""Batches as a person reads them."""

from cli.console import messages, print_line
from cli.documents import amount_text, print_fields, print_page, time_text
from runtime.api_client import Answer


def show_batch(answer: Answer) -> None:
    """Print a batch, its counts, and what was not moved."""
    batch = answer.document
    counts, failure = batch["counts"], batch["failure"]
    rate = batch["rows_per_second"]
    print_fields(
        {
            "Batch": batch["id"],
            "State": f"{batch['state']} ({batch['stage']})",
            "Idempotency key": batch["idempotency_key"],
            "Atomic": "yes" if batch["atomic"] else None,
            "Description": batch["description"],
            **{f"Rows {name}": f"{count:,}" for name, count in counts.items() if count},
            "Rows a second": None if rate is None else f"{rate:,.0f}",
            "Failure": f"{failure['code']}: {failure['message']}" if failure else None,
            **{f"Not moved: {code}": f"{n:,}" for code, n in batch.get("codes", {}).items()},
            "Workflow": batch["workflow_id"],
            "Created": time_text(batch["created_at"]),
            "Completed": time_text(batch["completed_at"]),
        }
    )
    for row in batch.get("rejects", ()):
        print_line(f"Row {row['position']} ({row['idempotency_key']}): {row['message']}")
    if answer.is_replay:
        text = "This is the batch of an earlier request with this key; nothing new was started."
        print_line(text, console=messages())


def show_batches(answer: Answer) -> None:
    """Print a page of batches."""
    print_page(
        answer,
        ("Id", "State", "Stage", "Count", "Succeeded", "Not moved", "Created"),
        [
            (
                batch["id"],
                batch["state"],
                batch["stage"],
                f"{batch['counts']['total']:,}",
                f"{batch['counts']['succeeded']:,}",
                f"{batch['counts']['failed'] + batch['counts']['rejected']:,}",
                time_text(batch["created_at"]),
            )
            for batch in answer.document["data"]
        ],
    )


def show_batch_rows(answer: Answer) -> None:
    """Print a page of a batch's rows."""
    print_page(
        answer,
        ("Row", "Idempotency key", "Status", "Amount", "Transfer", "Reason"),
        [
            (
                str(row["position"]),
                row["idempotency_key"],
                row["status"],
                amount_text(row["amount"], row["currency"]),
                row["transfer_id"] or "",
                row["message"] or "",
            )
            for row in answer.document["data"]
        ],
    )
