"""``transfers send``, ``show`` and ``list``."""

from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from cli.amounts import parse_amount
from cli.calls import api_place, call_and_print, call_api, print_answer
from cli.console import messages, print_json, print_line
from cli.documents import (
    print_entries,
    print_events,
    print_transfer,
    print_workflow,
    show_transfer,
    show_transfers,
)
from cli.failures import CommandFailed
from cli.options import (
    ApiKey,
    ApiUrl,
    AsJson,
    Cursor,
    DataDir,
    MetadataJson,
    PageSize,
    parse_metadata,
)
from domain.limits import PAGE_SIZE_DEFAULT, WAIT_SECONDS_MAXIMUM
from domain.states import ProcessState
from domain.transfers import TransferType
from runtime.api_client import ApiClient, Document, RetryPolicy
from runtime.settings import DEFAULT_DATA_DIR
from services.identifiers import new_uuid

SEND_RETRIES: Final = RetryPolicy(max_seconds=10.0)
"""The key makes it safe to repeat a request of unknown outcome; a person waits no longer."""

ACCOUNT_FORMS: Final = "a UUID, an account number, or ext:ID"


class SendType(StrEnum):
    """Types that a client can ask for."""

    INTERNAL = TransferType.INTERNAL
    DEPOSIT = TransferType.DEPOSIT
    WITHDRAWAL = TransferType.WITHDRAWAL


def send(
    *,
    amount: Annotated[
        str, typer.Option(help="Whole number of minor units: 1250 of EUR is 12.50 EUR.")
    ],
    currency: Annotated[str, typer.Option(help="Code of ISO 4217, as in EUR.")],
    source: Annotated[
        str | None, typer.Option("--from", help=f"Account that pays: {ACCOUNT_FORMS}.")
    ] = None,
    destination: Annotated[
        str | None, typer.Option("--to", help=f"Account that receives: {ACCOUNT_FORMS}.")
    ] = None,
    transfer_type: Annotated[
        SendType | None,
        typer.Option(
            "--type", help="Left out: DEPOSIT with only --to, WITHDRAWAL with only --from."
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key. Left out: a new one, which is printed.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    metadata: MetadataJson = None,
    effective_at: Annotated[
        str | None, typer.Option(help="When it counts, as in 2026-01-31T12:00:00Z. Default: now.")
    ] = None,
    wait: Annotated[
        int | None,
        typer.Option(min=0, max=WAIT_SECONDS_MAXIMUM, help="Seconds to wait for the outcome."),
    ] = None,
    respond_async: Annotated[
        bool, typer.Option("--async", help="Do not wait: the money moves in the background.")
    ] = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Move money once: the same command with the same --key has the same outcome, for ever."""
    body: dict[str, Any] = {
        "type": transfer_type or type_of(source, destination),
        "source": source,
        "destination": destination,
        "amount": parse_amount(amount, currency),
        "currency": currency,
        "description": description,
        "metadata": parse_metadata(metadata) or {},
        "effective_at": effective_at,
    }
    prefer = _prefer(wait, respond_async=respond_async)
    place = api_place(api_url, api_key, data_dir)
    used_key = key or str(new_uuid())
    if key is None:
        # Before anything is sent, so that it is known whatever happens next.
        text = f"Idempotency key: {used_key} (repeat with --key to get the same outcome)"
        print_line(text, console=messages())
    answer = call_api(
        place,
        lambda api: api.transfer(body, key=used_key, prefer=prefer),
        as_json=as_json,
        retries=SEND_RETRIES,
    )
    print_answer(answer, show_transfer, as_json=as_json)
    if answer.status == HTTPStatus.ACCEPTED:
        text = f"Still processing. Look again with: transfers show {answer.document['id']}"
        print_line(text, console=messages())


def show(
    transfer_id: Annotated[str, typer.Argument(help="The transfer's id.")],
    *,
    events: Annotated[bool, typer.Option("--events", help="Also the log of its stages.")] = False,
    entries: Annotated[bool, typer.Option("--entries", help="Also its ledger entries.")] = False,
    workflow: Annotated[
        bool, typer.Option("--workflow", help="Also its workflow, live from Temporal.")
    ] = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show a transfer, and what is asked for beside it.

    With --json and anything beside it, the document has a field for each: transfer, events,
    entries, workflow.
    """
    asked = {"events": events, "entries": entries, "workflow": workflow}
    parts = [part for part, is_asked in asked.items() if is_asked]
    found = call_api(
        api_place(api_url, api_key, data_dir),
        lambda api: _read_parts(api, transfer_id, parts),
        as_json=as_json,
    )
    if as_json:
        print_json(found if parts else found["transfer"])
        return
    print_transfer(found["transfer"])
    if events:
        print_events(found["events"])
    if entries:
        print_entries(found["entries"])
    if workflow:
        print_workflow(found["workflow"])


def list_transfers(
    *,
    state: Annotated[ProcessState | None, typer.Option(help="Only in this state.")] = None,
    transfer_type: Annotated[
        TransferType | None, typer.Option("--type", help="Only of this type.")
    ] = None,
    account: Annotated[
        str | None, typer.Option(help=f"Only into or out of this account: {ACCOUNT_FORMS}.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Only the one with this idempotency key.")] = None,
    created_from: Annotated[
        str | None, typer.Option(help="Only since then, as in 2026-01-31T12:00:00Z.")
    ] = None,
    created_to: Annotated[str | None, typer.Option(help="Only before then.")] = None,
    page_size: PageSize = PAGE_SIZE_DEFAULT,
    cursor: Cursor = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List transfers, newest first."""
    call_and_print(
        api_place(api_url, api_key, data_dir),
        lambda api: api.get(
            "/v1/transfers",
            state=state,
            type=transfer_type,
            account=account,
            idempotency_key=key,
            created_from=created_from,
            created_to=created_to,
            limit=page_size,
            cursor=cursor,
        ),
        show_transfers,
        as_json=as_json,
    )


async def _read_parts(api: ApiClient, transfer_id: str, parts: list[str]) -> Document:
    path = f"/v1/transfers/{quote(transfer_id, safe='')}"
    found: Document = {"transfer": (await api.get(path)).document}
    for part in parts:
        document = (await api.get(f"{path}/{part}")).document
        found[part] = document if part == "workflow" else document["data"]
    return found


def type_of(source: str | None, destination: str | None) -> TransferType:
    """Tell the type of a transfer by the sides that are named.

    Raises
    ------
    CommandFailed
        None is.
    """
    if source is None and destination is None:
        raise CommandFailed("Give --from, --to or both: the account that pays, that receives.")
    if source is None:
        return TransferType.DEPOSIT
    return TransferType.INTERNAL if destination is not None else TransferType.WITHDRAWAL


def _prefer(wait: int | None, *, respond_async: bool) -> str | None:
    if respond_async and wait is not None:
        raise CommandFailed("--async does not wait, and --wait does: give one of them.")
    if respond_async:
        return "respond-async"
    return None if wait is None else f"wait={wait}"
