"""After PostgreSQL was restored to an earlier time: what Temporal remembers and it does not.

Transfers, batches, and runs of standing orders. What can be is brought back: transfers by their
orders, then runs by what they came to.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from temporalio.client import Client

from domain.standing_orders import StandingOrderRun
from persistence.database import Database
from persistence.tenancy import EVERY_TENANT
from runtime.composition import Services, open_services
from runtime.lost_batches import LostBatch, lost_batches
from runtime.lost_runs import LostRun, lost_runs, record_run
from runtime.restoration import LostOutcome, Repetition, lost_outcomes, repeat, unrecorded
from runtime.settings import Settings
from runtime.temporal import TASK_QUEUE, connect_to
from runtime.temporal_access import TemporalAccess
from workflows.batch_gateway import BatchGateway
from workflows.gateway import TransferGateway
from workflows.standing_order_runs import StandingOrderRunGateway

MARGIN: Final = timedelta(hours=1)
"""So much before the database's last transfer the comparison begins: a workflow is closed a moment
after its transfer, and clocks differ. What both know alike is not reported."""

SETTLING: Final = timedelta(seconds=60)
"""A workflow that started more recently may be about to record its transfer."""

# Ids are made in the order of time.
_LAST: Final = text("SELECT created_at FROM transfers ORDER BY id DESC LIMIT 1")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was told and is not in the database, each kind in the order in which it ended.

    Parameters
    ----------
    repeated
        What became of the transfers that were carried out anew.
    recorded
        The runs of standing orders that were put on record again, by the order and the time.
    """

    transfers: Sequence[LostOutcome] = ()
    batches: Sequence[LostBatch] = ()
    runs: Sequence[LostRun] = ()
    repeated: Sequence[Repetition] = ()
    recorded: Sequence[StandingOrderRun] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing was lost, or all of it is there again as it was told."""
        settled = {id(repetition.lost) for repetition in self.repeated if repetition.is_as_told}
        again = {(run.order_id, run.scheduled_at) for run in self.recorded}
        return (
            not self.batches
            and all(id(lost) in settled for lost in self.transfers)
            and all((lost.order_id, lost.scheduled_at) in again for lost in self.runs)
        )


async def compare(
    settings: Settings, since: datetime | None, *, settling: timedelta = SETTLING
) -> Comparison:
    """Find what was told since a time and is not in the database.

    Parameters
    ----------
    since
        ``None`` for ``MARGIN`` before the database's last transfer.
    settling
        Workflows that started more recently are left to themselves.

    Raises
    ------
    StaleSchemaError, DatabaseUnavailable, TemporalUnavailable
        Nothing was compared.
    """
    async with _opened(settings) as (services, client):
        return await _compare(services, client, since, settling)


async def repeat_all(
    settings: Settings, since: datetime | None, *, settling: timedelta = SETTLING
) -> Comparison:
    """Find what ``compare`` finds, and bring back what can be, one after the other.

    Raises
    ------
    StaleSchemaError, DatabaseUnavailable, TemporalUnavailable
        Not all was repeated; repeat it.
    """
    async with _opened(settings) as (services, client):
        found = await _compare(services, client, since, settling)
        gateway = TransferGateway(client, task_queue=TASK_QUEUE)
        repeated = [
            await repeat(services, gateway, lost)
            for lost in found.transfers
            if lost.can_be_repeated
        ]
        # Runs tell of their transfers, which are there by now.
        runs = [await record_run(services, lost) for lost in found.runs]
    recorded = [run for run in runs if run is not None]
    return Comparison(found.transfers, found.batches, found.runs, repeated, recorded)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Services, Client]]:
    async with open_services(settings.connection_url) as services:
        yield services, await connect_to(TemporalAccess.of(settings))


async def _compare(
    services: Services, client: Client, since: datetime | None, settling: timedelta
) -> Comparison:
    if since is None:
        last = await restore_point(services.database)
        since = datetime.fromtimestamp(0, UTC) if last is None else last - MARGIN
    elif since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    gateway = TransferGateway(client, task_queue=TASK_QUEUE)
    transfers = [lost async for lost in lost_outcomes(services, gateway, since=since)]
    before = datetime.now(UTC) - settling
    transfers += [lost async for lost in unrecorded(services, gateway, before=before)]
    batch_gateway = BatchGateway(client, task_queue=TASK_QUEUE)
    batches = [lost async for lost in lost_batches(services, batch_gateway, since=since)]
    run_gateway = StandingOrderRunGateway(client)
    runs = [lost async for lost in lost_runs(services, run_gateway, since=since)]
    return Comparison(
        sorted(transfers, key=lambda lost: lost.at),
        sorted(batches, key=lambda lost: lost.at),
        sorted(runs, key=lambda lost: lost.at),
    )


async def restore_point(database: Database) -> datetime | None:
    """Tell when the database's last transfer was recorded; ``None`` where it has none."""
    async with database.snapshot(EVERY_TENANT) as connection:
        moment: datetime | None = await connection.scalar(_LAST)
    return moment
