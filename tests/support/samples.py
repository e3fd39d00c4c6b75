"""Samples of what is under way now, for a time that has passed."""

from datetime import UTC, datetime, timedelta

from domain.limits import SAMPLE_SECONDS
from domain.stuck import StuckCount
from persistence.samples import ProofSample
from persistence.tenancy import EVERY_TENANT
from runtime.composition import Services

NOTHING_PROVED = ProofSample(violations=0, age_seconds=None)


def slot_ago(*, minutes: int) -> datetime:
    """Give the slot of a sample that was taken some minutes ago."""
    moment = datetime.now(UTC) - timedelta(minutes=minutes)
    seconds = moment.second // SAMPLE_SECONDS * SAMPLE_SECONDS
    return moment.replace(second=seconds, microsecond=0)


async def sample(
    services: Services,
    slot_at: datetime,
    stuck: StuckCount | None = None,
    proofs: ProofSample = NOTHING_PROVED,
) -> bool:
    """Take a sample for some slot; tell whether it had none."""
    async with services.database.transaction(EVERY_TENANT) as unit_of_work:
        return await unit_of_work.samples.insert(slot_at, stuck, proofs)


async def no_sample() -> bool:
    """Take none."""
    return False
