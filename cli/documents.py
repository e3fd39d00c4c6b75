"""The API's objects as a person reads them: tables, amounts in major units, short times."""

import json
from collections.abc import Sequence
from typing import Final

from rich.table import Table

from cli.console import messages, output, print_line, print_table
from runtime.api_client import Answer, Document
from services.currencies import find_currency

_TRANSFER_COLUMNS: Final = ("Id", "Type", "State", "Amount", "Source", "Destination", "Created")
_ACCOUNT_COLUMNS: Final = (
    "Id",
    "Account number",
    "External id",
    "Kind",
    "Status",
    "Posted",
    "Held",
    "Available",
)


def amount_text(amount_minor: int, currency: str) -> str:
    """Write an amount in major units with its currency, exactly."""
    found = find_currency(currency)
    return found.format(amount_minor) if found else f"{amount_minor} {currency} (minor units)"


def time_text(moment: str | None) -> str:
    """Write a time of the API to the second."""
    return "" if moment is None else f"{moment[:10]} {moment[11:19]}"


def show_user(answer: Answer) -> None:
    """Print one user."""
    user = answer.document
    print_fields(
        {
            "User": user["id"],
            "Name": user["name"],
            "External id": user["external_id"],
            "Metadata": user["metadata"],
            "Created": time_text(user["created_at"]),
        }
    )


def show_users(answer: Answer) -> None:
    """Print a page of users."""
    print_page(
        answer,
        ("Id", "Name", "External id", "Created"),
        [
            (user["id"], user["name"], user["external_id"] or "", time_text(user["created_at"]))
            for user in answer.document["data"]
        ],
    )


def show_account(answer: Answer) -> None:
    """Print one account."""
    account = answer.document
    balance, currency = account["balance"], account["currency"]
    limit = account["overdraft_limit"]
    print_fields(
        {
            "Account": account["id"],
            "Account number": account["account_number"],
            "External id": account["external_id"],
            "User": account["user_id"],
            "Status": account["status"],
            "Overdraft limit": "none" if limit is None else amount_text(limit, currency),
            **{part.title(): amount_text(minor, currency) for part, minor in balance.items()},
            "Metadata": account["metadata"],
            "Created": time_text(account["created_at"]),
        }
    )


def show_accounts(answer: Answer) -> None:
    """Print a page of accounts."""
    print_page(
        answer,
        _ACCOUNT_COLUMNS,
        [
            (
                account["id"],
                account["account_number"],
                account["external_id"] or "",
                account["kind"],
                account["status"],
                *(
                    amount_text(account["balance"][part], account["currency"])
                    for part in ("posted", "held", "available")
                ),
            )
            for account in answer.document["data"]
        ],
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
    failure = transfer["failure"]
    print_fields(
        {
            "Transfer": transfer["id"],
            "Idempotency key": transfer["idempotency_key"],
            "Type": transfer["type"],
            "State": transfer["state"],
            "Stage": transfer["stage"],
            "Failure": f"{failure['code']}: {failure['message']}" if failure else None,
            "Amount": amount_text(transfer["amount"], transfer["currency"]),
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


def show_transfers(answer: Answer) -> None:
    """Print a page of transfers."""
    print_page(
        answer,
        _TRANSFER_COLUMNS,
        [
            (
                transfer["id"],
                transfer["type"],
                transfer["failure"]["code"] if transfer["failure"] else transfer["state"],
                amount_text(transfer["amount"], transfer["currency"]),
                transfer["source"],
                transfer["destination"],
                time_text(transfer["created_at"]),
            )
            for transfer in answer.document["data"]
        ],
    )


def print_events(events: Sequence[Document]) -> None:
    """Print the log of a transfer's stages."""
    print_table(
        ("#", "Stage", "Step", "Cause", "Time"),
        [
            (
                str(event["sequence"]),
                event["stage"],
                event["step"],
                event["cause"] or "",
                event["occurred_at"],
            )
            for event in events
        ],
        title="Events",
    )


def print_entries(entries: Sequence[Document], *, title: str = "Entries") -> None:
    """Print ledger entries with the balances that result from them."""
    print_table(
        ("Account", "#", "Direction", "Amount", "Balance after", "Effective"),
        [
            (
                entry["account_id"],
                str(entry["sequence"]),
                entry["direction"],
                amount_text(entry["amount"], entry["currency"]),
                amount_text(entry["balance_after"], entry["currency"]),
                time_text(entry["effective_at"]),
            )
            for entry in entries
        ],
        title=title,
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
    for pending in workflow["pending_activities"]:
        print_line(
            f"{pending['name']} is {pending['state']}, attempt {pending['attempt']}: "
            f"{pending['last_failure'] or 'no failure yet'}"
        )


def print_page(answer: Answer, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a page of a list, and how to go on."""
    if not rows:
        print_line("There are none.", console=messages())
        return
    print_table(columns, rows)
    cursor = answer.document["next_cursor"]
    if cursor is not None:
        print_line(f"There are more: add --cursor {cursor}", console=messages())


def print_fields(fields: Document) -> None:
    """Print one object's fields, without those that are empty."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        if value is not None and value not in ({}, ""):
            text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
            table.add_row(name, text)
    output().print(table, markup=False, highlight=False)
