"""``transfers accounts``: what money moves between."""

from typing import Annotated, Final, TypeAlias
from urllib.parse import quote

import typer

from cli.calls import Call, Listing
from cli.documents import show_account, show_accounts
from cli.groups import Commands
from cli.options import (
    MetadataJson,
    Reason,
    parse_metadata,
)
from cli.statements import statement
from domain.accounts import AccountStatus

_ACCOUNT: Final = "ext:ada-eur"
AccountArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="A UUID, an account number, or ext:ID.")
]

app = Commands(
    no_args_is_help=True,
    help="Open, list, freeze and close accounts, and get their statements.",
)
app.command(
    epilog="Example: transfers accounts statement ext:ada-eur --from 2026-01-01T00:00:00Z"
    " --to 2026-02-01T00:00:00Z --format pdf --output january.pdf"
)(statement)


@app.command(
    epilog="Example: transfers accounts create --user 0199d5c0-7a1e-7c3b-9c5e-3f6a1b2c4d5e"
    " --currency EUR --external-id ada-eur"
)
def create(
    *,
    user: Annotated[str, typer.Option(help="Id of the user who owns it.")],
    currency: Annotated[str, typer.Option(help="Code of ISO 4217, as in EUR.")],
    external_id: Annotated[
        str | None, typer.Option(help="Your own id of the account; ext:ID then names it.")
    ] = None,
    overdraft_limit: Annotated[
        int, typer.Option(min=0, help="How far below zero it may go, in minor units (cents).")
    ] = 0,
    metadata: MetadataJson = None,
    call: Call,
) -> None:
    """Open an account of one currency."""
    body = {
        "user_id": user,
        "currency": currency,
        "external_id": external_id,
        "overdraft_limit": overdraft_limit,
        "metadata": parse_metadata(metadata) or {},
    }
    call.show(lambda api: api.post("/v1/accounts", body), show_account)


@app.command(epilog=f'Example: transfers accounts freeze {_ACCOUNT} --reason "lost card"')
def freeze(
    account: AccountArgument,
    *,
    reason: Reason = None,
    call: Call,
) -> None:
    """Stop all money of an account; what is reserved and not yet posted is released."""
    _change(call, account, "freeze", reason)


@app.command(epilog=f"Example: transfers accounts unfreeze {_ACCOUNT}")
def unfreeze(
    account: AccountArgument,
    *,
    reason: Reason = None,
    call: Call,
) -> None:
    """Let the money of an account move again."""
    _change(call, account, "unfreeze", reason)


@app.command(epilog=f"Example: transfers accounts close {_ACCOUNT}")
def close(
    account: AccountArgument,
    *,
    reason: Reason = None,
    call: Call,
) -> None:
    """Close an account for ever; it needs a zero balance and no holds."""
    _change(call, account, "close", reason)


@app.command("list", epilog="Example: transfers accounts list --currency EUR --status ACTIVE")
def list_accounts(
    *,
    user: Annotated[str | None, typer.Option(help="Only this user's, by id.")] = None,
    external_id: Annotated[str | None, typer.Option(help="Only the one with this id.")] = None,
    currency: Annotated[str | None, typer.Option(help="Only of this currency.")] = None,
    status: Annotated[AccountStatus | None, typer.Option(help="Only with this status.")] = None,
    listing: Listing,
) -> None:
    """List accounts with their balances, newest first, settlement accounts among them."""
    listing.show_page(
        "/v1/accounts",
        show_accounts,
        user_id=user,
        external_id=external_id,
        currency=currency,
        status=status,
    )


def _change(call: Call, account: str, verb: str, reason: str | None) -> None:
    path = f"/v1/accounts/{quote(account, safe=':')}/{verb}"
    call.show(lambda api: api.post(path, {"reason": reason}), show_account)
