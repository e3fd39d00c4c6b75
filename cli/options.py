"""Options that several commands take, each with one meaning everywhere."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from cli.failures import CommandFailed
from domain.limits import PAGE_SIZE_MAXIMUM, WAIT_SECONDS_MAXIMUM

_METADATA_FORM: Final = """Give an object, as in --metadata '{"till": 7}'."""

DataDir: TypeAlias = Annotated[
    Path,
    typer.Option(
        help="Folder of the local stack; its stack.json says where the stack runs.",
        file_okay=False,
    ),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON to standard output, for programs.")
]
ApiUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="TRANSFERS_API_URL",
        help="Base URL of the API; the running local stack's by default.",
        show_envvar=True,
    ),
]
ApiKey: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="TRANSFERS_API_KEY",
        help="API key; the running local stack's by default.",
        show_envvar=True,
    ),
]
PageSize: TypeAlias = Annotated[
    int, typer.Option("--limit", min=1, max=PAGE_SIZE_MAXIMUM, help="Objects on a page.")
]
Cursor: TypeAlias = Annotated[
    str | None, typer.Option(help="Where to go on: the next cursor that the page before named.")
]
MetadataJson: TypeAlias = Annotated[
    str | None, typer.Option("--metadata", help="A JSON object of your own: '{\"till\": 7}'.")
]

Reason: TypeAlias = Annotated[str | None, typer.Option(help="Why; it stands in the audit log.")]
TransferId: TypeAlias = Annotated[str, typer.Argument(help="The transfer's id.")]
Key: TypeAlias = Annotated[
    str | None, typer.Option(help="Idempotency key. Left out: a new one, which is printed.")
]
Wait: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, max=WAIT_SECONDS_MAXIMUM, help="Seconds to wait for the outcome."),
]
RespondAsync: TypeAlias = Annotated[
    bool, typer.Option("--async", help="Do not wait: it happens in the background.")
]

_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd]?)")
_SECONDS_OF_UNIT: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_duration(text: str, *, option: str) -> int:
    """Read a duration, in seconds.

    Raises
    ------
    CommandFailed
        It is none.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise CommandFailed(f"{option} takes a duration such as 90s, 30m, 12h or 7d, not {text!r}.")
    return int(found[1]) * _SECONDS_OF_UNIT[found[2]]


def parse_metadata(text: str | None) -> dict[str, Any] | None:
    """Read ``--metadata``.

    Raises
    ------
    CommandFailed
        It is no JSON object.
    """
    if text is None:
        return None
    try:
        metadata = json.loads(text)
    except ValueError as error:
        raise CommandFailed(f"--metadata is not JSON: {error}. {_METADATA_FORM}") from None
    if not isinstance(metadata, dict):
        raise CommandFailed(f"--metadata is JSON, but no object. {_METADATA_FORM}")
    return metadata
