"""``transfers capture``, ``extend``, ``cancel``, ``reverse``, ``approve`` and ``reject``."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli.amounts import parse_amount
from cli.calls import api_place
from cli.moving import post_once, prefer_of
from cli.options import (
    ApiKey,
    ApiUrl,
    AsJson,
    DataDir,
    Key,
    MetadataJson,
    RespondAsync,
    TransferId,
    Wait,
    parse_metadata,
)
from runtime.api_client import ApiPlace
from runtime.settings import DEFAULT_DATA_DIR


def capture(
    transfer_id: TransferId,
    *,
    amount: Annotated[
        str | None, typer.Option(help="Minor units. Left out: all that is left, as the last one.")
    ] = None,
    final: Annotated[
        bool, typer.Option("--final", help="The last capture: release what is left.")
    ] = False,
    key: Key = None,
    wait: Wait = None,
    respond_async: RespondAsync = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Move what `transfers send --hold` holds: all of it, or a part."""
    body = {"amount": _amount(amount), "final": True if final else None}
    prefer = prefer_of(wait, respond_async=respond_async)
    place = api_place(api_url, api_key, data_dir)
    _operate(place, transfer_id, "capture", body, key=key, prefer=prefer, as_json=as_json)


def extend(
    transfer_id: TransferId,
    *,
    expires_at: Annotated[
        str, typer.Option(help="The hold's new end, as in 2026-01-31T12:00:00Z.")
    ],
    key: Key = None,
    wait: Wait = None,
    respond_async: RespondAsync = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Let a hold stand longer."""
    prefer = prefer_of(wait, respond_async=respond_async)
    place = api_place(api_url, api_key, data_dir)
    body = {"expires_at": expires_at}
    _operate(place, transfer_id, "extend", body, key=key, prefer=prefer, as_json=as_json)


def cancel(
    transfer_id: TransferId,
    *,
    reason: Annotated[str | None, typer.Option(help="Why; it stays on record.")] = None,
    key: Key = None,
    wait: Wait = None,
    respond_async: RespondAsync = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Give up a transfer of which nothing has moved, and release what it holds."""
    prefer = prefer_of(wait, respond_async=respond_async)
    place = api_place(api_url, api_key, data_dir)
    body = {"reason": reason}
    _operate(place, transfer_id, "cancel", body, key=key, prefer=prefer, as_json=as_json)


def reverse(
    transfer_id: TransferId,
    *,
    amount: Annotated[
        str | None, typer.Option(help="Minor units. Left out: all that is not reversed yet.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; the reversal's description.")] = None,
    metadata: MetadataJson = None,
    key: Key = None,
    wait: Wait = None,
    respond_async: RespondAsync = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Take money back along a transfer: a new transfer of its own, in full or in part."""
    prefer = prefer_of(wait, respond_async=respond_async)
    place = api_place(api_url, api_key, data_dir)
    body = {"amount": _amount(amount), "reason": reason, "metadata": parse_metadata(metadata)}
    _operate(place, transfer_id, "reversals", body, key=key, prefer=prefer, as_json=as_json)


def approve(
    transfer_id: TransferId,
    *,
    note: Annotated[str | None, typer.Option(help="What you say to it.")] = None,
    fingerprint: Annotated[
        str | None,
        typer.Option(help="The transfer's as you saw it: another one is not approved."),
    ] = None,
    key: Key = None,
    wait: Wait = None,
    respond_async: RespondAsync = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Approve a transfer that another API key has asked for."""
    prefer = prefer_of(wait, respond_async=respond_async)
    place = api_place(api_url, api_key, data_dir)
    body = {"note": note, "fingerprint": fingerprint}
    _operate(place, transfer_id, "approve", body, key=key, prefer=prefer, as_json=as_json)


def reject(
    transfer_id: TransferId,
    *,
    note: Annotated[str | None, typer.Option(help="Why; it stays on record.")] = None,
    key: Key = None,
    wait: Wait = None,
    respond_async: RespondAsync = False,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Reject a transfer that waits for its approval, and release what it holds."""
    prefer = prefer_of(wait, respond_async=respond_async)
    place = api_place(api_url, api_key, data_dir)
    body = {"note": note}
    _operate(place, transfer_id, "reject", body, key=key, prefer=prefer, as_json=as_json)


def _operate(
    place: ApiPlace,
    transfer_id: str,
    verb: str,
    body: Mapping[str, Any],
    *,
    key: str | None,
    prefer: str | None,
    as_json: bool,
) -> None:
    path = f"/v1/transfers/{quote(transfer_id, safe='')}/{verb}"
    given = {name: value for name, value in body.items() if value is not None}
    post_once(place, path, given, key=key, prefer=prefer, as_json=as_json)


def _amount(text: str | None) -> int | None:
    # Of which currency it is, only the API knows.
    return None if text is None else parse_amount(text, "")
