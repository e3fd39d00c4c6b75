"""``transfers limits``: how much accounts may send."""

from typing import Annotated, Final, TypeAlias
from urllib.parse import quote

import typer

from cli.bound_documents import show_limits
from cli.calls import Call
from cli.failures import CommandFailed
from cli.groups import Commands
from cli.options import Reason

NO_LIMIT: Final = "none"

AccountArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="A UUID, an account number, or ext:ID.")
]

app = Commands(no_args_is_help=True, help="Show, set and clear how much an account may send.")


@app.command(epilog="Example: transfers limits show ext:ada-eur")
def show(
    account: AccountArgument,
    *,
    call: Call,
) -> None:
    """Show an account's limits, and what is used of them."""
    call.show(lambda api: api.get(_path(account)), show_limits)


@app.command("set", epilog="Example: transfers limits set ext:ada-eur --per-day 50000")
def set_limits(
    account: AccountArgument,
    *,
    per_transfer: Annotated[
        str | None, typer.Option(help="Most of one transfer, in minor units (cents), or none.")
    ] = None,
    per_day: Annotated[str | None, typer.Option(help="Most of one day of UTC, or none.")] = None,
    per_month: Annotated[
        str | None, typer.Option(help="Most of one month of UTC, or none.")
    ] = None,
    reason: Reason = None,
    call: Call,
) -> None:
    """Set limits; what is not given stays, none takes a limit away, 0 lets nothing through."""
    given = {"per_transfer": per_transfer, "per_day": per_day, "per_month": per_month}
    body: dict[str, int | str | None] = {
        name: _limit(name, text) for name, text in given.items() if text is not None
    }
    if not body:
        raise CommandFailed("Give --per-transfer, --per-day or --per-month.")
    if reason is not None:
        body["reason"] = reason
    call.show(lambda api: api.put(_path(account), body), show_limits)


@app.command(epilog="Example: transfers limits clear ext:ada-eur")
def clear(
    account: AccountArgument,
    *,
    reason: Reason = None,
    call: Call,
) -> None:
    """Take all limits of an account away."""
    call.show(lambda api: api.delete(_path(account), reason=reason), show_limits)


def _path(account: str) -> str:
    return f"/v1/accounts/{quote(account, safe=':')}/limits"


def _limit(name: str, text: str) -> int | None:
    if text == NO_LIMIT:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    option = f"--{name.replace('_', '-')}"
    raise CommandFailed(f"{option} takes a whole number of minor units, or {NO_LIMIT}.")
