"""``transfers accounts statement``."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Annotated
from urllib.parse import quote

import typer

from cli.calls import api_place, call_api
from cli.console import messages, print_line
from cli.failures import CommandFailed
from cli.options import ApiKey, ApiUrl, DataDir
from domain.statements import StatementFormat
from runtime.api_client import ApiPlace
from runtime.settings import DEFAULT_DATA_DIR


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
    output: Annotated[
        Path | None,
        typer.Option(help="File to write; standard output by default.", dir_okay=False),
    ] = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write an account's statement: balances, and each entry in between."""
    place = api_place(api_url, api_key, data_dir)
    path = f"/v1/accounts/{quote(account, safe=':')}/statement"
    parameters = {"from": from_, "to": to, "format": format_.value}
    if output is None:
        if format_ is StatementFormat.PDF and sys.stdout.isatty():
            raise CommandFailed("A PDF is nothing for a terminal: name a file with --output.")
        download(place, path, sys.stdout.buffer, parameters)
        sys.stdout.buffer.flush()
        return
    download_to(output, place, path, parameters)
    print_line(f"Wrote {output}.", console=messages())


def download_to(
    output: Path, place: ApiPlace, path: str, parameters: dict[str, str | None]
) -> None:
    """Write what an API answers with to a file, whole or not at all."""
    part = output.with_name(f".{output.name}.part")
    try:
        with part.open("wb") as file:
            download(place, path, file, parameters)
        part.replace(output)
    except OSError as error:
        raise CommandFailed(f"{output} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            part.unlink()


def download(
    place: ApiPlace, path: str, target: IO[bytes], parameters: dict[str, str | None]
) -> None:
    """Write what an API answers with to an open file."""
    call_api(place, lambda api: api.download(path, target, **parameters), as_json=False)
