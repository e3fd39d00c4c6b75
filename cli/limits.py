"""``transfers limits``: how much accounts may send."""

from typing import Annotated, Final, TypeAlias
from urllib.parse import quote

import typer

from cli.bound_documents import show_limits
from cli.calls import api_place, call_and_print
from cli.failures import CommandFailed
from cli.options import ApiKey, ApiUrl, AsJson, DataDir, Reason
from runtime.settings import DEFAULT_DATA_DIR

NO_LIMIT: Final = "none"

AccountArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="A UUID, an account number, or ext:ID.")
]

app = typer.Typer(no_args_is_help=True, help="Show, set and clear how much an account may send.")


@app.command(epilog="Example: transfers limits show ext:ada-eur")
def show(
    account: AccountArgument,
    *,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show an account's limits, and what is used of them."""
    place = api_place(api_url, api_key, data_dir)
    call_and_print(place, lambda api: api.get(_path(account)), show_limits, as_json=as_json)


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
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
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
    place = api_place(api_url, api_key, data_dir)
    call_and_print(place, lambda api: api.put(_path(account), body), show_limits, as_json=as_json)


@app.command(epilog="Example: transfers limits clear ext:ada-eur")
def clear(
    account: AccountArgument,
    *,
    reason: Reason = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Take all limits of an account away."""
    place = api_place(api_url, api_key, data_dir)
    call_and_print(
        place,
        lambda api: api.delete(_path(account), reason=reason),
        show_limits,
        as_json=as_json,
    )


def _path(account: str) -> str:
    return f"/v1/accounts/{quote(account, safe=':')}/limits"


def _limit(name: str, text: str) -> int | None:
    if text == NO_LIMIT:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    option = f"--{name.replace('_', '-')}"
    raise CommandFailed(f"{option} takes a whole number of minor units, or {NO_LIMIT}.")
