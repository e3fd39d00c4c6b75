"""``transfers capture``, ``extend``, ``cancel``, ``reverse``, ``approve`` and ``reject``."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli.amounts import parse_amount
from cli.moving import Sending
from cli.options import (
    MetadataJson,
    TransferId,
    parse_metadata,
)


def capture(
    transfer_id: TransferId,
    *,
    amount: Annotated[
        str | None, typer.Option(help="Minor units. Left out: all that is left, as the last one.")
    ] = None,
    final: Annotated[
        bool, typer.Option("--final", help="The last capture: release what is left.")
    ] = False,
    sending: Sending,
) -> None:
    """Move what `transfers send --hold` holds: all of it, or a part."""
    body = {"amount": _amount(amount), "final": True if final else None}
    _operate(sending, transfer_id, "capture", body)


def extend(
    transfer_id: TransferId,
    *,
    expires_at: Annotated[
        str, typer.Option(help="The hold's new end, as in 2026-01-31T12:00:00Z.")
    ],
    sending: Sending,
) -> None:
    """Let a hold stand longer."""
    body = {"expires_at": expires_at}
    _operate(sending, transfer_id, "extend", body)


def cancel(
    transfer_id: TransferId,
    *,
    reason: Annotated[str | None, typer.Option(help="Why; it stays on record.")] = None,
    sending: Sending,
) -> None:
    """Give up a transfer of which nothing has moved, and release what it holds."""
    body = {"reason": reason}
    _operate(sending, transfer_id, "cancel", body)


def reverse(
    transfer_id: TransferId,
    *,
    amount: Annotated[
        str | None, typer.Option(help="Minor units. Left out: all that is not reversed yet.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; the reversal's description.")] = None,
    metadata: MetadataJson = None,
    sending: Sending,
) -> None:
    """Take money back along a transfer: a new transfer of its own, in full or in part."""
    body = {"amount": _amount(amount), "reason": reason, "metadata": parse_metadata(metadata)}
    _operate(sending, transfer_id, "reversals", body)


def approve(
    transfer_id: TransferId,
    *,
    note: Annotated[str | None, typer.Option(help="What you say to it.")] = None,
    fingerprint: Annotated[
        str | None,
        typer.Option(help="The transfer's as you saw it: another one is not approved."),
    ] = None,
    sending: Sending,
) -> None:
    """Approve a transfer that another API key has asked for."""
    body = {"note": note, "fingerprint": fingerprint}
    _operate(sending, transfer_id, "approve", body)


def reject(
    transfer_id: TransferId,
    *,
    note: Annotated[str | None, typer.Option(help="Why; it stays on record.")] = None,
    sending: Sending,
) -> None:
    """Reject a transfer that waits for its approval, and release what it holds."""
    body = {"note": note}
    _operate(sending, transfer_id, "reject", body)


def _operate(sending: Sending, transfer_id: str, verb: str, body: Mapping[str, Any]) -> None:
    path = f"/v1/transfers/{quote(transfer_id, safe='')}/{verb}"
    sending.post_once(path, {name: value for name, value in body.items() if value is not None})


def _amount(text: str | None) -> int | None:
    # Of which currency it is, only the API knows.
    return None if text is None else parse_amount(text, "")
