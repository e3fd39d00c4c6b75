"""``transfers send``, ``show`` and ``list``."""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from cli.amounts import parse_amount
from cli.calls import Call, Listing
from cli.console import print_json
from cli.documents import print_entries
from cli.failures import CommandFailed
from cli.moving import Sending
from cli.options import (
    MetadataJson,
    TransferId,
    parse_duration,
    parse_metadata,
)
from cli.transfer_documents import (
    print_approvals,
    print_events,
    print_reversals,
    print_transfer,
    print_workflow,
    show_transfers,
)
from domain.states import ProcessState
from domain.transfers import TransferType
from runtime.api_client import ApiClient, Document

ACCOUNT_FORMS: Final = "a UUID, an account number, or ext:ID"


class SendType(StrEnum):
    """Types that a client can ask for."""

    INTERNAL = TransferType.INTERNAL
    DEPOSIT = TransferType.DEPOSIT
    WITHDRAWAL = TransferType.WITHDRAWAL


def send(
    *,
    amount: Annotated[
        str | None, typer.Option(help="Whole number of minor units: 1250 of EUR is 12.50 EUR.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Code of ISO 4217, as in EUR.")] = None,
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
    legs: Annotated[
        Path | None,
        typer.Option(
            help="File with a JSON list of legs instead of the sides and the amount: "
            "objects with source, destination, amount and currency. All move, or none.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    hold: Annotated[
        bool, typer.Option("--hold", help="Hold the money; `transfers capture` moves it.")
    ] = False,
    expires_in: Annotated[
        str | None, typer.Option(help="How long it is held, as in 90s, 12h or 7d. Default: 7d.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="Until when it is held, as in 2026-01-31T12:00:00Z.")
    ] = None,
    execute_at: Annotated[
        str | None, typer.Option(help="When to do it, as in 2026-01-31T12:00:00Z. Default: now.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    metadata: MetadataJson = None,
    effective_at: Annotated[
        str | None, typer.Option(help="When it counts, as in 2026-01-31T12:00:00Z. Default: now.")
    ] = None,
    sending: Sending,
) -> None:
    """Move money once: the same command with the same --key has the same outcome, for ever."""
    body = _sides(source, destination, amount, currency, transfer_type) if legs is None else {}
    if legs is not None:
        if {source, destination, amount, currency, transfer_type} != {None}:
            raise CommandFailed("--legs names accounts and amounts: leave out the other options.")
        body = {"legs": _read_legs(legs)}
    if expires_in is not None:
        body["expires_in_seconds"] = parse_duration(expires_in, option="--expires-in")
    body |= {
        "description": description,
        "metadata": parse_metadata(metadata) or {},
        "effective_at": effective_at,
        "execute_at": execute_at,
        **({"capture": "manual"} if hold else {}),
        **({"expires_at": expires_at} if expires_at is not None else {}),
    }
    sending.post_once("/v1/transfers", body)


def show(
    transfer_id: TransferId,
    *,
    events: Annotated[bool, typer.Option("--events", help="Also the log of its stages.")] = False,
    entries: Annotated[bool, typer.Option("--entries", help="Also its ledger entries.")] = False,
    reversals: Annotated[bool, typer.Option("--reversals", help="Also its reversals.")] = False,
    approvals: Annotated[
        bool, typer.Option("--approvals", help="Also who approved or rejected it.")
    ] = False,
    workflow: Annotated[
        bool, typer.Option("--workflow", help="Also its workflow, live from Temporal.")
    ] = False,
    call: Call,
) -> None:
    """Show a transfer, and what is asked for beside it.

    With --json and anything beside it, the document has a field for each: transfer, events,
    entries, reversals, approvals, workflow.
    """
    asked = {
        "events": events,
        "entries": entries,
        "reversals": reversals,
        "approvals": approvals,
        "workflow": workflow,
    }
    parts = [part for part, is_asked in asked.items() if is_asked]
    found = call.ask(lambda api: _read_parts(api, transfer_id, parts))
    if call.as_json:
        print_json(found if parts else found["transfer"])
        return
    print_transfer(found["transfer"])
    for part in parts:
        _PRINTERS[part](found[part])


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
    listing: Listing,
) -> None:
    """List transfers, newest first."""
    listing.show_page(
        "/v1/transfers",
        show_transfers,
        state=state,
        type=transfer_type,
        account=account,
        idempotency_key=key,
        created_from=created_from,
        created_to=created_to,
    )


async def _read_parts(api: ApiClient, transfer_id: str, parts: list[str]) -> Document:
    path = f"/v1/transfers/{quote(transfer_id, safe='')}"
    found: Document = {"transfer": (await api.get(path)).document}
    for part in parts:
        place = f"{path}/{part}"
        if part == "workflow":
            found[part] = (await api.get(place)).document
        else:
            found[part] = await api.read_all(place)
    return found


_PRINTERS: Final[Mapping[str, Callable[[Any], None]]] = {
    "events": print_events,
    "entries": print_entries,
    "reversals": print_reversals,
    "approvals": print_approvals,
    "workflow": print_workflow,
}


def _sides(
    source: str | None,
    destination: str | None,
    amount: str | None,
    currency: str | None,
    transfer_type: SendType | None,
) -> dict[str, Any]:
    """Say what a transfer between two accounts moves."""
    if amount is None or currency is None:
        raise CommandFailed("Give --amount and --currency, or --legs with a file.")
    return {
        "type": transfer_type or type_of(source, destination),
        "source": source,
        "destination": destination,
        "amount": parse_amount(amount, currency),
        "currency": currency,
    }


def _read_legs(path: Path) -> list[Any]:
    try:
        legs = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{path} cannot be read as JSON: {error}.") from None
    if not isinstance(legs, list):
        raise CommandFailed(
            f"{path} holds no JSON list. A leg has source, destination, amount and currency."
        )
    return legs


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
