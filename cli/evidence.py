"""``transfers evidence``."""

from typing import Annotated
from urllib.parse import quote

import typer

from cli.downloads import Download
from cli.options import TransferId
from domain.evidence import EvidenceFormat


def evidence(
    transfer_id: TransferId,
    *,
    format_: Annotated[
        EvidenceFormat, typer.Option("--format", help="What to write.")
    ] = EvidenceFormat.JSON,
    download: Download,
) -> None:
    """Write all that is on record of a transfer, in one document."""
    path = f"/v1/transfers/{quote(transfer_id, safe='')}/evidence"
    download.write(path, {"format": format_.value})
