"""``transfers audit``: who changed what."""

from typing import Annotated

import typer

from cli.calls import Listing
from cli.documents import print_page, time_text
from runtime.api_client import Answer, Document


def audit(
    *,
    subject: Annotated[str | None, typer.Option(help="Only of the thing with this id.")] = None,
    subject_type: Annotated[str | None, typer.Option(help="Only of such things: account.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this: account.freeze.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only by the one with this id.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="At or after this time.")] = None,
    to: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    listing: Listing,
) -> None:
    """List who changed what, from where and why, newest first."""
    wanted = {
        "subject_id": subject,
        "subject_type": subject_type,
        "action": action,
        "actor": actor,
        "from": from_,
        "to": to,
    }
    listing.show_page("/v1/audit-log", _show_changes, **wanted)


def _show_changes(answer: Answer) -> None:
    """Print a page of changes."""
    print_page(
        answer,
        ("At", "Action", "Subject", "By", "From", "Reason"),
        [
            (
                time_text(record["recorded_at"]),
                record["action"],
                record["subject_id"],
                _actor_text(record["actor"]),
                record["actor"]["source_address"] or "",
                record["reason"] or "",
            )
            for record in answer.document["data"]
        ],
    )


def _actor_text(actor: Document) -> str:
    return f"{actor['name']} ({actor['kind']})"
