"""``transfers evidence``."""

import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from cli.calls import api_place
from cli.console import messages, print_line
from cli.failures import CommandFailed
from cli.options import ApiKey, ApiUrl, DataDir, TransferId
from cli.statements import download, download_to
from domain.evidence import EvidenceFormat
from runtime.settings import DEFAULT_DATA_DIR


def evidence(
    transfer_id: TransferId,
    *,
    format_: Annotated[
        EvidenceFormat, typer.Option("--format", help="What to write.")
    ] = EvidenceFormat.JSON,
    output: Annotated[
        Path | None,
        typer.Option(help="File to write; standard output by default.", dir_okay=False),
    ] = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write all that is on record of a transfer, in one document."""
    place = api_place(api_url, api_key, data_dir)
    path = f"/v1/transfers/{quote(transfer_id, safe='')}/evidence"
    parameters: dict[str, str | None] = {"format": format_.value}
    if output is None:
        if format_ is EvidenceFormat.PDF and sys.stdout.isatty():
            raise CommandFailed("A PDF is nothing for a terminal: name a file with --output.")
        download(place, path, sys.stdout.buffer, parameters)
        sys.stdout.buffer.flush()
        return
    download_to(output, place, path, parameters)
    print_line(f"Wrote {output}.", console=messages())
