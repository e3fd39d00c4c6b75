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
from cli.calls import api_place, call_and_print, call_api, print_answer
from cli.console import messages, print_line
from cli.failures import CommandFailed
from cli.options import ApiKey, ApiUrl, AsJson, Cursor, DataDir, PageSize, Reason
from domain.batches import ResultFormat, RowStatus
from domain.limits import PAGE_SIZE_DEFAULT
from runtime.api_client import Answer, ApiClient, RetryPolicy
from runtime.settings import DEFAULT_DATA_DIR
from services.identifiers import new_uuid

app = typer.Typer(no_args_is_help=True, help="Many transfers under one key.")

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
        bool, typer.Option("--atomic", help="All rows or none (not for .json, which says it).")
    ] = False,
    description: Annotated[str | None, typer.Option(help="What it is for (not for .json).")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until every row has its outcome.")
    ] = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Post the transfers of a file in their order, once for each key."""
    media_type = MEDIA_TYPES.get(file.suffix.lower())
    if media_type is None:
        raise CommandFailed(f"{file} is none of {', '.join(MEDIA_TYPES)}.")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}.") from error
    used_key = key or str(new_uuid())
    if key is None:
        text = f"Idempotency key: {used_key} (repeat with --key to get the same outcome)"
        print_line(text, console=messages())

    async def send(api: ApiClient) -> Answer:
        answer = await api.batch(
            content,
            media_type=media_type,
            key=used_key,
            atomic="true" if atomic else None,
            description=description,
        )
        return await _finished(api, answer) if wait else answer

    place = api_place(api_url, api_key, data_dir)
    answer = call_api(place, send, as_json=as_json, retries=CREATE_RETRIES)
    print_answer(answer, show_batch, as_json=as_json)


@app.command(epilog="Example: transfers batches show BATCH_ID")
def show(
    batch_id: BatchId,
    *,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show a batch: how far it is, and what was not moved."""
    place = api_place(api_url, api_key, data_dir)
    call_and_print(place, lambda api: api.get(_path(batch_id)), show_batch, as_json=as_json)


@app.command("list", epilog="Example: transfers batches list --limit 10")
def list_batches(
    *,
    page_size: PageSize = PAGE_SIZE_DEFAULT,
    cursor: Cursor = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List batches, newest first."""
    call_and_print(
        api_place(api_url, api_key, data_dir),
        lambda api: api.get("/v1/transfer-batches", limit=page_size, cursor=cursor),
        show_batches,
        as_json=as_json,
    )


@app.command(epilog="Example: transfers batches rows BATCH_ID --status REJECTED --status FAILED")
def rows(
    batch_id: BatchId,
    *,
    status: Annotated[
        list[RowStatus] | None, typer.Option(help="Only of this status; may be given again.")
    ] = None,
    page_size: PageSize = PAGE_SIZE_DEFAULT,
    cursor: Cursor = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List the rows of a batch in their order."""
    statuses = [each.value for each in status or ()]
    call_and_print(
        api_place(api_url, api_key, data_dir),
        lambda api: api.get(
            f"{_path(batch_id)}/rows", status=statuses, limit=page_size, cursor=cursor
        ),
        show_batch_rows,
        as_json=as_json,
    )


@app.command(epilog="Example: transfers batches result BATCH_ID --format ndjson > result.ndjson")
def result(
    batch_id: BatchId,
    *,
    form: Annotated[ResultFormat, typer.Option("--format", help="How rows are written.")] = (
        ResultFormat.CSV
    ),
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write all rows of a batch to standard output, with what became of them."""

    async def download(api: ApiClient) -> None:
        await api.download(f"{_path(batch_id)}/result", sys.stdout.buffer, format=form)
        sys.stdout.buffer.flush()

    call_api(api_place(api_url, api_key, data_dir), download, as_json=False)


@app.command(epilog="Example: transfers batches cancel BATCH_ID")
def cancel(
    batch_id: BatchId,
    *,
    reason: Reason = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Stop a batch between two chunks: what is posted stays."""
    call_and_print(
        api_place(api_url, api_key, data_dir),
        lambda api: api.post(f"{_path(batch_id)}/cancel", {"reason": reason}),
        show_batch,
        as_json=as_json,
    )


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
