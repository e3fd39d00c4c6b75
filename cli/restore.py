"""``transfers restore``: what a restored database lacks, found in Temporal's histories."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.console import messages, print_json, print_line, print_table
from cli.failures import clear_startup_failures
from cli.options import AsJson, DataDir
from cli.restore_documents import batch_document, lost_document, repeated_document, run_document
from cli.surroundings import settings_or_stack
from runtime.settings import DEFAULT_DATA_DIR

if TYPE_CHECKING:
    from runtime.comparison import Comparison

EXIT_LOST: Final = 1
TIME: Final = "%Y-%m-%d %H:%M:%S"


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
            "--repeat",
            help="Carry lost transfers out anew, under the keys and ids they had,"
            " and put runs of standing orders on record again.",
        ),
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List what Temporal knows and a database that was restored does not.

    Transfers, batches, and runs of standing orders. Exit code 1 where there are any, or where one
    that was repeated came to something else. Changes nothing without --repeat. Uses DATABASE_URL,
    TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE, else the running local stack's.
    """
    with clear_startup_failures(settings_or_stack(data_dir).temporal_address):
        found = asyncio.run(_run(data_dir, since, repeat=repeat))
    if as_json:
        print_json(
            {
                "data": [lost_document(lost) for lost in found.transfers],
                "repeated": [repeated_document(repetition) for repetition in found.repeated],
                "batches": [batch_document(lost) for lost in found.batches],
                "runs": [run_document(lost, found.recorded) for lost in found.runs],
            }
        )
    else:
        _print(found)
    if not found.is_whole:
        raise SystemExit(EXIT_LOST)


async def _run(data_dir: Path, since: datetime | None, *, repeat: bool) -> "Comparison":
    # Loads SQLAlchemy and Temporal's client.
    from runtime.comparison import compare, repeat_all  # noqa: PLC0415

    settings = settings_or_stack(data_dir)
    return await (repeat_all if repeat else compare)(settings, since)


def _print(found: "Comparison") -> None:
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
                f"{lost.at:{TIME}}",
            )
            for lost in found.transfers
        ],
    )
    if found.batches:
        print_table(
            ("Batch", "Tenant", "Rows", "Told", "Recorded", "At"),
            [
                (
                    str(lost.id),
                    str(lost.tenant_id),
                    str(lost.told.total) if lost.told else "",
                    lost.told.stage if lost.told else "",
                    lost.recorded.stage if lost.recorded else "nothing",
                    f"{lost.at:{TIME}}",
                )
                for lost in found.batches
            ],
        )
    if found.runs:
        print_table(
            ("Standing order", "Run", "Told", "Order"),
            [
                (
                    str(lost.order_id),
                    f"{lost.scheduled_at:{TIME}}",
                    lost.told.state if lost.told else "",
                    lost.order.status if lost.order else "nothing",
                )
                for lost in found.runs
            ],
        )
    _conclude(found)


def _conclude(found: "Comparison") -> None:
    for repetition in found.repeated:
        if not repetition.is_as_told:
            print_line(
                f"{repetition.lost.order.transfer_id} came to {repetition.state}"
                f" ({repetition.code}), and not to what was told."
            )
    done = sum(repetition.is_as_told for repetition in found.repeated)
    said = [f"{len(found.transfers)} outcomes are not in the database; {done} of them are again."]
    if found.batches:
        missing = sum(lost.is_missing for lost in found.batches)
        behind = len(found.batches) - missing
        said.append(f"{missing} batches are lost: their clients send them again. {behind} go on.")
    if found.runs:
        again = len(found.recorded)
        said.append(f"{len(found.runs)} runs are not in the database; {again} of them are again.")
    for line in said:
        print_line(line, console=messages())
