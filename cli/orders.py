"""``transfers orders``: transfers that are made again and again."""

from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import quote

import typer

from cli.amounts import parse_amount
from cli.calls import Call, Listing
from cli.failures import CommandFailed
from cli.groups import Commands
from cli.moving import SEND_RETRIES, key_or_new
from cli.options import (
    MetadataJson,
    parse_metadata,
)
from cli.order_documents import show_order, show_orders, show_runs
from cli.transfers import ACCOUNT_FORMS, SendType, type_of
from domain.standing_orders import MissedRuns, StandingOrderStatus

_ORDER: Final = "0199d5c0-7a1e-7c3b-9c5e-3f6a1b2c4d5e"

OrderId: TypeAlias = Annotated[str, typer.Argument(help="The standing order's id.")]
Reason: TypeAlias = Annotated[str | None, typer.Option(help="Why; it is shown with the order.")]

app = Commands(no_args_is_help=True, help="Make transfers again and again: standing orders.")


@app.command(
    epilog="Example: transfers orders create --from ext:ada-eur --to ext:landlord --amount 85000"
    ' --currency EUR --cron "0 9 1 * *" --time-zone Europe/Berlin'
)
def create(
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
    every: Annotated[int | None, typer.Option(help="Seconds from one run to the next.")] = None,
    cron: Annotated[
        str | None,
        typer.Option(help="Minute, hour, day of month, month, day of week, as in '0 9 1 * *'."),
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Whose clock --cron goes by, as in Europe/Berlin.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="First time for a run, as in 2026-01-31T12:00:00Z.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="Last time for a run. Default: never.")] = None,
    missed_runs: Annotated[
        MissedRuns, typer.Option(help="What becomes of runs that could not begin at their time.")
    ] = MissedRuns.RUN_ALL,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key. Left out: a new one, which is printed.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    metadata: MetadataJson = None,
    call: Call,
) -> None:
    """Order money to be moved again and again: the same --key makes one order, for ever."""
    body: dict[str, Any] = {
        "type": transfer_type or type_of(source, destination),
        "source": source,
        "destination": destination,
        "amount": parse_amount(amount, currency),
        "currency": currency,
        "description": description,
        "metadata": parse_metadata(metadata) or {},
        "schedule": _schedule(every, cron, time_zone),
        "start_at": start,
        "end_at": end,
        "missed_runs": missed_runs,
    }
    used_key = key_or_new(key, "order")
    call.show(lambda api: api.standing_order(body, key=used_key), show_order, retries=SEND_RETRIES)


@app.command("list", epilog="Example: transfers orders list --status ACTIVE")
def list_orders(
    *,
    status: Annotated[
        StandingOrderStatus | None, typer.Option(help="Only with this status.")
    ] = None,
    listing: Listing,
) -> None:
    """List standing orders, newest first."""
    listing.show_page("/v1/standing-orders", show_orders, status=status)


@app.command(epilog=f"Example: transfers orders show {_ORDER}")
def show(
    order: OrderId,
    *,
    call: Call,
) -> None:
    """Show a standing order with its last run and its next ones."""
    call.show(lambda api: api.get(_path(order)), show_order)


@app.command(epilog=f"Example: transfers orders runs {_ORDER} --limit 10")
def runs(
    order: OrderId,
    *,
    listing: Listing,
) -> None:
    """List the past runs of a standing order, the latest first."""
    listing.show_page(f"{_path(order)}/runs", show_runs)


@app.command(epilog=f'Example: transfers orders pause {_ORDER} --reason "on holiday"')
def pause(
    order: OrderId,
    *,
    reason: Reason = None,
    call: Call,
) -> None:
    """Make no runs until it is resumed. Runs of the meantime are never made up for."""
    body = {"reason": reason}
    call.show(lambda api: api.post(f"{_path(order)}/pause", body), show_order)


@app.command(epilog=f"Example: transfers orders resume {_ORDER}")
def resume(
    order: OrderId,
    *,
    reason: Reason = None,
    call: Call,
) -> None:
    """Make runs again, from now on."""
    body = {"reason": reason}
    call.show(lambda api: api.post(f"{_path(order)}/resume", body), show_order)


@app.command(epilog=f'Example: transfers orders cancel {_ORDER} --reason "moved out"')
def cancel(
    order: OrderId,
    *,
    reason: Reason = None,
    call: Call,
) -> None:
    """Make no runs any more, for ever. A run that was begun goes on."""
    body = {"reason": reason}
    call.show(lambda api: api.post(f"{_path(order)}/cancel", body), show_order)


def _path(order: str) -> str:
    return f"/v1/standing-orders/{quote(order, safe='')}"


def _schedule(every: int | None, cron: str | None, time_zone: str | None) -> dict[str, Any]:
    if (every is None) == (cron is None) or (cron is None) != (time_zone is None):
        raise CommandFailed(
            "Give --every, or --cron with --time-zone: when the money is to be moved."
        )
    if every is not None:
        return {"interval_seconds": every}
    return {"cron": cron, "time_zone": time_zone}
