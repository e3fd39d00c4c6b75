"""``transfers accounts statement``."""

from typing import Annotated
from urllib.parse import quote

import typer

from cli.downloads import Download
from domain.statements import StatementFormat


def statement(
    *,
    account: Annotated[
        str, typer.Argument(help="The account: a UUID, an account number, or ext:ID.")
    ],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Entries recorded from then on, as 2026-01-31T00:00:00Z; the account's opening"
            " by default.",
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="Entries recorded before then; now by default.")
    ] = None,
    format_: Annotated[
        StatementFormat, typer.Option("--format", help="What to write.")
    ] = StatementFormat.JSON,
    download: Download,
) -> None:
    """Write an account's statement: balances, and each entry in between."""
    path = f"/v1/accounts/{quote(account, safe=':')}/statement"
    download.write(path, {"from": from_, "to": to, "format": format_.value})
