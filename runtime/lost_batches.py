"""Batches that Temporal remembers and a restored database does not, or not as they ended.

Their rows stand in PostgreSQL alone: one that is missing altogether can only be sent again.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from activities.contracts import BatchProgress
from domain.batches import TransferBatch
from domain.errors import BatchNotFound
from domain.ids import BatchId, TenantId
from runtime.composition import Services
from workflows.batch_gateway import BatchGateway, KnownBatch


@dataclass(frozen=True, slots=True)
class LostBatch:
    """A batch that is not in the database as clients were told of it.

    Parameters
    ----------
    told
        What its workflow ended with; ``None`` where it runs, or ended without an outcome.
    recorded
        What the database says; ``None`` where it knows nothing of the batch, and clients have to
        send it again. Else the reconciliation brings it to what was told.
    at
        When the workflow ended; where it has not, when it started.
    """

    tenant_id: TenantId
    id: BatchId
    told: BatchProgress | None
    recorded: TransferBatch | None
    at: datetime

    @property
    def is_missing(self) -> bool:
        """Whether nothing of it is left."""
        return self.recorded is None


async def lost_batches(
    services: Services, gateway: BatchGateway, *, since: datetime
) -> AsyncIterator[LostBatch]:
    """Compare the batches whose workflow runs, or ended since a time, with the database.

    Raises
    ------
    DatabaseUnavailable, TemporalUnavailable
        A server does not answer; what was given until then holds.

    Notes
    -----
    A batch is recorded before its workflow starts, so that a workflow without one tells of a loss.
    """
    async for known in gateway.known_since(since):
        try:
            recorded = await services.batches.get(known.tenant_id, known.id)
        except BatchNotFound:
            recorded = None
        if recorded is None or _differs(known, recorded):
            yield LostBatch(known.tenant_id, known.id, known.told, recorded, known.at)


def _differs(known: KnownBatch, recorded: TransferBatch) -> bool:
    return known.told is not None and known.told.state is not recorded.state
