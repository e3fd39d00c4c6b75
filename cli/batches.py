"""``transfers batches``: many transfers under one key."""

import asyncio
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final
from urllib.parse import quote

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cli.batch_documents import show_batch, show_batch_rows, show_batches
from cli.calls import Api, Call, Listing
from cli.console import messages, print_line
from cli.failures import CommandFailed
from cli.groups import Commands
from cli.moving import key_or_new
from cli.options import Reason
from domain.batches import ResultFormat, RowStatus
from runtime.api_client import Answer, ApiClient, RetryPolicy

app = Commands(no_args_is_help=True, help="Many transfers under one key.")

CREATE_RETRIES: Final = RetryPolicy(max_seconds=30.0)
POLL_SECONDS: Final = 0.25
MEDIA_TYPES: Final = MappingProxyType(
    {
        ".json": "application/json",
        ".ndjson": "application/x-ndjson",
        ".jsonl": "application/x-ndjson",
        ".csv": "text/csv",
    }
)

BatchId = Annotated[str, typer.Argument(help="The batch's id.")]


@app.command(epilog="Example: transfers batches create payroll.csv --wait")
def create(
    file: Annotated[
        Path, typer.Argument(help="The transfers: .json, .ndjson or .csv, each with its key.")
    ],
    *,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key. Left out: a new one, which is printed.")
    ] = None,
    atomic: Annotated[
        bool, typer.Option("--atomic", help="All rows or none; a .json file may say it itself.")
    ] = False,
    description: Annotated[
        str | None, typer.Option(help="What it is for; a .json file may say it itself.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until every row has its outcome.")
    ] = False,
    call: Call,
) -> None:
    """Post the transfers of a file in their order, once for each key."""
    media_type = MEDIA_TYPES.get(file.suffix.lower())
    if media_type is None:
        raise CommandFailed(f"{file} is none of {', '.join(MEDIA_TYPES)}.")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}.") from error
    used_key = key_or_new(key, "outcome")

    async def send(api: ApiClient) -> Answer:
        answer = await api.batch(
            content,
            media_type=media_type,
            key=used_key,
            atomic="true" if atomic else None,
            description=description,
        )
        return await _finished(api, answer) if wait else answer

    call.show(send, show_batch, retries=CREATE_RETRIES)


@app.command(epilog="Example: transfers batches show BATCH_ID")
def show(
    batch_id: BatchId,
    *,
    call: Call,
) -> None:
    """Show a batch: how far it is, and what was not moved."""
    call.show(lambda api: api.get(_path(batch_id)), show_batch)


@app.command("list", epilog="Example: transfers batches list --limit 10")
def list_batches(
    *,
    listing: Listing,
) -> None:
    """List batches, newest first."""
    listing.show_page("/v1/transfer-batches", show_batches)


@app.command(epilog="Example: transfers batches rows BATCH_ID --status REJECTED --status FAILED")
def rows(
    batch_id: BatchId,
    *,
    status: Annotated[
        list[RowStatus] | None, typer.Option(help="Only of this status; may be given again.")
    ] = None,
    listing: Listing,
) -> None:
    """List the rows of a batch in their order."""
    statuses = [each.value for each in status or ()]
    listing.show_page(f"{_path(batch_id)}/rows", show_batch_rows, status=statuses)


@app.command(epilog="Example: transfers batches result BATCH_ID --format ndjson > result.ndjson")
def result(
    batch_id: BatchId,
    *,
    form: Annotated[ResultFormat, typer.Option("--format", help="How rows are written.")] = (
        ResultFormat.CSV
    ),
    api: Api,
) -> None:
    """Write all rows of a batch to standard output, with what became of them."""

    async def download(client: ApiClient) -> None:
        await client.download(f"{_path(batch_id)}/result", sys.stdout.buffer, format=form)
        sys.stdout.buffer.flush()

    api.ask(download)


@app.command(epilog="Example: transfers batches cancel BATCH_ID")
def cancel(
    batch_id: BatchId,
    *,
    reason: Reason = None,
    call: Call,
) -> None:
    """Stop a batch between two chunks: what is posted stays."""
    call.show(lambda api: api.post(f"{_path(batch_id)}/cancel", {"reason": reason}), show_batch)


async def _finished(api: ApiClient, answer: Answer) -> Answer:
    """Wait until every row has its outcome, and show how far it is."""
    total = answer.document["counts"]["total"]
    began = time.monotonic()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=messages()
    ) as progress:
        task = progress.add_task("rows", total=total)
        while True:
            counts = answer.document["counts"]
            progress.update(task, completed=total - counts["pending"])
            if answer.document["state"] != "PROCESSING":
                break
            await asyncio.sleep(POLL_SECONDS)
            found = await api.get(_path(answer.document["id"]))
            answer = Answer(found.status, found.document, found.text, answer.is_replay)
    print_line(f"{time.monotonic() - began:.1f} s", console=messages())
    return answer


def _path(batch_id: str) -> str:
    return f"/v1/transfer-batches/{quote(batch_id, safe='')}"
