"""``transfers restore``: what a restored database lacks, found in Temporal's histories."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.console import messages, print_json, print_line, print_table
from cli.failures import clear_startup_failures
from cli.options import AsJson, DataDir
from cli.surroundings import settings_or_stack
from runtime.settings import DEFAULT_DATA_DIR

if TYPE_CHECKING:
    from runtime.restoration import LostOutcome, Repetition

EXIT_LOST: Final = 1


def restore(
    *,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="Compare what ended from this time on (UTC).",
            show_default="an hour before the database's last transfer",
        ),
    ] = None,
    repeat: Annotated[
        bool,
        typer.Option(
            "--repeat", help="Carry lost transfers out anew, under the keys and ids they had."
        ),
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List transfers that Temporal knows and a database that was restored does not.

    Exit code 1 where there are any, or where one that was repeated came to something else. Changes
    nothing without --repeat. Uses DATABASE_URL, TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE, else the
    running local stack's.
    """
    with clear_startup_failures(settings_or_stack(data_dir).temporal_address):
        found, repeated = asyncio.run(_run(data_dir, since, repeat=repeat))
    if as_json:
        print_json(
            {
                "data": [_lost_document(lost) for lost in found],
                "repeated": [_repeated_document(repetition) for repetition in repeated],
            }
        )
    else:
        _print(found, repeated)
    settled = {id(repetition.lost) for repetition in repeated if repetition.is_as_told}
    if any(id(lost) not in settled for lost in found):
        raise SystemExit(EXIT_LOST)


async def _run(
    data_dir: Path, since: datetime | None, *, repeat: bool
) -> tuple[list["LostOutcome"], list["Repetition"]]:
    # Loads SQLAlchemy and Temporal's client.
    from runtime.restoration import compare, repeat_all  # noqa: PLC0415

    settings = settings_or_stack(data_dir)
    if repeat:
        return await repeat_all(settings, since)
    return await compare(settings, since), []


def _print(found: Sequence["LostOutcome"], repeated: Sequence["Repetition"]) -> None:
    print_table(
        ("Transfer", "Tenant", "Key", "Amount", "Told", "Recorded", "At"),
        [
            (
                str(lost.order.transfer_id),
                str(lost.order.tenant_id),
                lost.order.idempotency_key,
                f"{lost.order.amount_minor} {lost.order.currency}",
                lost.told.state if lost.told else "",
                lost.recorded.state if lost.recorded else "nothing",
                f"{lost.at:%Y-%m-%d %H:%M:%S}",
            )
            for lost in found
        ],
    )
    for repetition in repeated:
        if not repetition.is_as_told:
            print_line(
                f"{repetition.lost.order.transfer_id} came to {repetition.state}"
                f" ({repetition.code}), and not to what was told."
            )
    done = sum(repetition.is_as_told for repetition in repeated)
    print_line(
        f"{len(found)} outcomes are not in the database; {done} of them are again.",
        console=messages(),
    )


def _lost_document(lost: "LostOutcome") -> dict[str, Any]:
    return {
        "loss": lost.loss,
        "transfer_id": str(lost.order.transfer_id),
        "tenant_id": str(lost.order.tenant_id),
        "idempotency_key": lost.order.idempotency_key,
        "type": lost.order.type,
        "source": str(lost.order.source_account_id),
        "destination": str(lost.order.destination_account_id),
        "amount": lost.order.amount_minor,
        "currency": lost.order.currency,
        "told": lost.told.state if lost.told else None,
        "recorded": lost.recorded.state if lost.recorded else None,
        "at": lost.at.isoformat(),
        "can_be_repeated": lost.can_be_repeated,
    }


def _repeated_document(repetition: "Repetition") -> dict[str, Any]:
    return {
        "transfer_id": str(repetition.lost.order.transfer_id),
        "state": repetition.state,
        "code": repetition.code,
        "is_as_told": repetition.is_as_told,
    }
