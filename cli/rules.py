"""``transfers rules``: above which amounts transfers wait for approval."""

from typing import Annotated
from urllib.parse import quote

import typer

from cli.bound_documents import show_rule, show_rules
from cli.calls import Call, Listing
from cli.groups import Commands
from cli.options import Reason
from domain.limits import (
    APPROVAL_SECONDS_DEFAULT,
    APPROVAL_SECONDS_MAXIMUM,
    APPROVERS_MAXIMUM,
)

app = Commands(no_args_is_help=True, help="Set above which amounts transfers wait for approval.")


@app.command(epilog="Example: transfers rules create --currency EUR --threshold 1000000")
def create(
    *,
    currency: Annotated[str, typer.Option(help="Code of ISO 4217, as in EUR.")],
    threshold: Annotated[
        int, typer.Option(min=0, help="Transfers of more than this wait; in minor units (cents).")
    ],
    approvers: Annotated[
        int, typer.Option(min=1, max=APPROVERS_MAXIMUM, help="How many keys must approve.")
    ] = 1,
    deadline: Annotated[
        int,
        typer.Option(
            min=1,
            max=APPROVAL_SECONDS_MAXIMUM,
            help="Seconds that a transfer waits before it fails.",
        ),
    ] = APPROVAL_SECONDS_DEFAULT,
    reason: Reason = None,
    call: Call,
) -> None:
    """Let transfers above a threshold wait for approval, from now on."""
    body = {
        "currency": currency,
        "threshold": threshold,
        "approvers": approvers,
        "deadline_seconds": deadline,
        "reason": reason,
    }
    call.show(lambda api: api.post("/v1/approval-rules", body), show_rule)


@app.command("list", epilog="Example: transfers rules list --in-force")
def list_rules(
    *,
    in_force: Annotated[
        bool | None,
        typer.Option("--in-force/--retired", help="Only those in force, or only retired ones."),
    ] = None,
    listing: Listing,
) -> None:
    """List rules, newest first, retired ones among them."""
    wanted = None if in_force is None else str(in_force).lower()
    listing.show_page("/v1/approval-rules", show_rules, in_force=wanted)


@app.command(epilog="Example: transfers rules retire 0199d5c0-7a1e-7c3b-9c5e-3f6a1b2c4d5e")
def retire(
    rule_id: Annotated[str, typer.Argument(help="Id of the rule, as `rules list` shows it.")],
    *,
    reason: Reason = None,
    call: Call,
) -> None:
    """Take a rule out of force; transfers that wait go on waiting."""
    path = f"/v1/approval-rules/{quote(rule_id, safe='')}/retire"
    body = {"reason": reason}
    call.show(lambda api: api.post(path, body), show_rule)
