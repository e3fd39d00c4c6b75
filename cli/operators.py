"""``transfers stuck`` and ``transfers operate``: what is stuck, and what is done about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import quote

import typer

from cli.calls import OperatorCall, OperatorListing
from cli.console import messages, print_json, print_line, print_table
from cli.failures import CommandFailed
from cli.groups import Commands
from cli.stuck_documents import show_one, show_stuck
from domain.operator_actions import ActionOutcome
from domain.stuck import OperatorAction, StuckCause, StuckKind
from runtime.api_client import Document, RetryPolicy

app = Commands(
    no_args_is_help=True,
    help="Look at what is stuck, of any tenant, and move it on; needs operations:write.",
)

ACTION_RETRIES: Final = RetryPolicy(max_seconds=10.0)
"""Every action may be repeated."""

_EXIT_REFUSED: Final = 1
_WRONG: Final = frozenset({ActionOutcome.REFUSED, ActionOutcome.FAILED})

Ids: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID...",
        help="Transfers or batches to act on, or standing orders, whose oldest run is meant.",
    ),
]
Why: TypeAlias = Annotated[str, typer.Option(help="Why; it stands in the audit log.")]
Preview: TypeAlias = Annotated[
    bool, typer.Option("--preview", help="Tell what would happen, and change nothing.")
]
OfTenant: TypeAlias = Annotated[
    str | None, typer.Option("--tenant", help="Only of the tenant with this id.")
]
OfCause: TypeAlias = Annotated[
    StuckCause | None, typer.Option("--cause", help="Only what is stuck for this cause.")
]
OfCurrency: TypeAlias = Annotated[
    str | None, typer.Option("--currency", help="Only in this currency.")
]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Options that say what is meant where no ids do."""

    all_stuck: Annotated[
        bool,
        typer.Option("--stuck", help="Instead of ids: all that is stuck (100 at most)."),
    ] = False
    kind: Annotated[
        StuckKind | None, typer.Option(help="With --stuck: of this kind; TRANSFER by default.")
    ] = None
    tenant: OfTenant = None
    cause: OfCause = None
    currency: OfCurrency = None

    def named(self, ids: Sequence[str] | None) -> dict[str, Any]:
        """Say what is meant, as the API reads it.

        Raises
        ------
        CommandFailed
            Nothing is, or it is said in two ways.
        """
        narrowed = {
            "kind": self.kind,
            "tenant": self.tenant,
            "cause": self.cause,
            "currency": self.currency,
        }
        given = {name: value for name, value in narrowed.items() if value is not None}
        if bool(ids) == self.all_stuck:
            raise CommandFailed("Name what is meant by ids, or give --stuck; not both.")
        if not ids:
            return {"stuck": given}
        if given:
            raise CommandFailed(f"--{next(iter(given))} goes with --stuck, not with ids.")
        return {"ids": list(ids)}


def stuck(
    *,
    tenant: OfTenant = None,
    kind: Annotated[StuckKind | None, typer.Option(help="Only of this kind.")] = None,
    cause: OfCause = None,
    currency: OfCurrency = None,
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


def show(
    item_id: Annotated[
        str, typer.Argument(metavar="ID", help="Of a transfer, a batch, or a standing order.")
    ],
    *,
    call: OperatorCall,
) -> None:
    """Show one thing of any tenant, stuck or not: why, and what can be done."""
    path = f"/v1/operations/stuck/{quote(item_id, safe='')}"
    call.show(lambda api: api.get(path), show_one)


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
            ("Id", "Action", "Outcome", "Message"),
            [(each["id"], each["action"], each["outcome"], each["message"]) for each in results],
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
        "Give transfers up of which nothing has moved, and release what they hold; stop batches.",
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
        selection: Selection,
        call: OperatorCall,
    ) -> None:
        _act(call, action, selection.named(ids), reason, preview=preview)

    app.command(
        action.value,
        help=does,
        epilog=f'Example: transfers operate {action} ID --reason "{example}"',
    )(command)


app.command("show", epilog="Example: transfers operate show ID")(show)
for _action in OperatorAction:
    _add_command(_action)
