"""``transfers stuck`` and ``transfers operate``: what is stuck, and what is done about it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias

import typer

from cli.calls import OperatorCall, OperatorListing
from cli.console import messages, print_json, print_line, print_table
from cli.documents import amount_text
from cli.failures import CommandFailed
from cli.groups import Commands
from domain.operator_actions import ActionOutcome
from domain.stuck import OperatorAction, StuckCause, StuckKind
from runtime.api_client import Answer, Document, RetryPolicy

app = Commands(
    no_args_is_help=True,
    help="Move on transfers that are stuck, of any tenant; needs operations:write.",
)

ACTION_RETRIES: Final = RetryPolicy(max_seconds=10.0)
"""Every action may be repeated."""

_EXIT_REFUSED: Final = 1
_WRONG: Final = frozenset({ActionOutcome.REFUSED, ActionOutcome.FAILED})

Ids: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="TRANSFER_ID...", help="Transfers to act on.")
]
Why: TypeAlias = Annotated[str, typer.Option(help="Why; it stands in the audit log.")]
Preview: TypeAlias = Annotated[
    bool, typer.Option("--preview", help="Tell what would happen, and change nothing.")
]
AllStuck: TypeAlias = Annotated[
    bool,
    typer.Option("--stuck", help="Instead of ids: all transfers that are stuck (100 at most)."),
]
OfTenant: TypeAlias = Annotated[
    str | None, typer.Option("--tenant", help="Only of the tenant with this id.")
]
OfCause: TypeAlias = Annotated[
    StuckCause | None, typer.Option("--cause", help="Only those that are stuck for this cause.")
]


def stuck(
    *,
    tenant: OfTenant = None,
    kind: Annotated[StuckKind | None, typer.Option(help="Only of this kind.")] = None,
    cause: OfCause = None,
    currency: Annotated[str | None, typer.Option(help="Only in this currency.")] = None,
    sort: Annotated[str, typer.Option(help="age: oldest first; amount: largest first.")] = "age",
    listing: OperatorListing,
) -> None:
    """List what is stuck, of all tenants, why, and what can be done; needs operations:read."""
    listing.show_page(
        "/v1/operations/stuck",
        show_stuck,
        tenant=tenant,
        kind=kind,
        cause=cause,
        currency=currency,
        sort=sort,
    )


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


def _selected(
    ids: Sequence[str] | None, tenant: str | None, cause: StuckCause | None, *, all_stuck: bool
) -> dict[str, Any]:
    """Say which transfers are meant, as the API reads it.

    Raises
    ------
    CommandFailed
        None are, or it is said in two ways.
    """
    if bool(ids) == all_stuck:
        raise CommandFailed("Name transfers by their ids, or give --stuck; not both.")
    if ids:
        if tenant is not None or cause is not None:
            raise CommandFailed("--tenant and --cause go with --stuck, not with ids.")
        return {"transfer_ids": list(ids)}
    chosen = {"tenant": tenant, "cause": cause}
    return {"stuck": {name: value for name, value in chosen.items() if value is not None}}


def _act(
    call: OperatorCall,
    action: OperatorAction,
    selected: dict[str, Any],
    reason: str,
    *,
    preview: bool,
) -> None:
    """Ask for an action, print what became of each transfer, and fail where one was refused."""
    body = {"action": action, "reason": reason, "preview": preview, **selected}
    answer = call.ask(lambda api: api.post("/v1/operations/actions", body), retries=ACTION_RETRIES)
    results: Sequence[Document] = answer.document["data"]
    if call.as_json:
        print_json(answer.document)
    elif results:
        print_table(
            ("Transfer", "Action", "Outcome", "Message"),
            [
                (each["transfer_id"], each["action"], each["outcome"], each["message"])
                for each in results
            ],
        )
    else:
        print_line("Nothing is stuck in that way.", console=messages())
    if answer.document["has_more"]:
        print_line("More are stuck: the same command again goes on.", console=messages())
    if any(each["outcome"] in _WRONG for each in results):
        raise SystemExit(_EXIT_REFUSED)


_HELP: Final[Mapping[OperatorAction, tuple[str, str]]] = {
    OperatorAction.RETRY: (
        "Try the pending step at once, its attempts counted anew.",
        "database is back",
    ),
    OperatorAction.PAUSE: (
        "Let the pending step not be tried any more, until it is resumed.",
        "look at the bank first",
    ),
    OperatorAction.RESUME: ("Let what is paused go on at once.", "looked at"),
    OperatorAction.CANCEL: (
        "Give transfers up of which nothing has moved, and release what they hold.",
        "the customer asked",
    ),
    OperatorAction.RESOLVE: (
        "Bring transfers to the one right end that the database allows, and close their workflows.",
        "a bug holds it up",
    ),
    OperatorAction.RESTART: (
        "Go on in a new run of the workflow, from where the database says a transfer is.",
        "terminated by mistake",
    ),
}
"""What each action does, and an example of a reason for it."""


def _add_command(action: OperatorAction) -> None:
    does, example = _HELP[action]

    def command(
        ids: Ids = None,
        *,
        reason: Why,
        preview: Preview = False,
        all_stuck: AllStuck = False,
        tenant: OfTenant = None,
        cause: OfCause = None,
        call: OperatorCall,
    ) -> None:
        selected = _selected(ids, tenant, cause, all_stuck=all_stuck)
        _act(call, action, selected, reason, preview=preview)

    app.command(
        action.value,
        help=does,
        epilog=f'Example: transfers operate {action} TRANSFER_ID --reason "{example}"',
    )(command)


for _action in OperatorAction:
    _add_command(_action)
