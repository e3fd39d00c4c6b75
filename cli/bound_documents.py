"""Approval rules, limits and waiting transfers as a person reads them."""

from cli.documents import amount_text, print_fields, print_page, time_text
from runtime.api_client import Answer


def show_waiting(answer: Answer) -> None:
    """Print a page of transfers that wait for approval."""
    print_page(
        answer,
        ("Id", "Amount", "Source", "Destination", "Approvers", "Made by", "Fails at"),
        [
            (
                transfer["id"],
                amount_text(transfer["amount"], transfer["currency"])
                + (f" and {len(transfer['legs']) - 1} more" if transfer["legs"] else ""),
                transfer["source"],
                transfer["destination"],
                str(transfer["approvals_required"]),
                transfer["requested_by"] or "",
                time_text(transfer["approval_deadline_at"]),
            )
            for transfer in answer.document["data"]
        ],
    )


def show_rule(answer: Answer) -> None:
    """Print one approval rule."""
    rule = answer.document
    print_fields(
        {
            "Rule": rule["id"],
            "Applies above": amount_text(rule["threshold"], rule["currency"]),
            "Approvers": rule["approvers"],
            "Deadline": f"{rule['deadline_seconds']} s",
            "Created": time_text(rule["created_at"]),
            "Retired": time_text(rule["retired_at"]),
        }
    )


def show_rules(answer: Answer) -> None:
    """Print a page of approval rules."""
    print_page(
        answer,
        ("Id", "Applies above", "Approvers", "Deadline", "Created", "Retired"),
        [
            (
                rule["id"],
                amount_text(rule["threshold"], rule["currency"]),
                str(rule["approvers"]),
                f"{rule['deadline_seconds']} s",
                time_text(rule["created_at"]),
                time_text(rule["retired_at"]),
            )
            for rule in answer.document["data"]
        ],
    )


def show_limits(answer: Answer) -> None:
    """Print an account's limits."""
    limits = answer.document

    def text(name: str) -> str:
        amount_minor = limits[name]
        return "none" if amount_minor is None else amount_text(amount_minor, limits["currency"])

    def of_period(limit: str, left: str) -> str:
        return text(limit) if limits[left] is None else f"{text(limit)}, {text(left)} left"

    print_fields(
        {
            "Account": limits["account_id"],
            "Per transfer": text("per_transfer"),
            "Per day": of_period("per_day", "left_today"),
            "Per month": of_period("per_month", "left_this_month"),
        }
    )
