"""Samples of what no record tells afterwards, for the overview over time."""

import asyncio
from datetime import UTC, datetime

from domain.errors import TemporalUnavailable
from domain.limits import SAMPLE_STUCK_SECONDS_MAXIMUM
from domain.stuck import StuckCount
from persistence.database import Database
from persistence.samples import ProofSample
from persistence.tenancy import EVERY_TENANT
from services.ledger_proofs import LedgerProofService, LedgerStatus
from services.stuck import StuckService


class SampleService:
    """Takes samples of what is under way, stuck, held and proved, of all tenants."""

    def __init__(self, database: Database, stuck: StuckService, proofs: LedgerProofService) -> None:
        self._database = database
        self._stuck = stuck
        self._proofs = proofs

    async def take(self) -> bool:
        """Take the sample of the present slot, unless it was taken, and remove old ones.

        Returns
        -------
        bool
            Whether it was this call's.

        Raises
        ------
        DatabaseUnavailable
            No connection; the slot may go without a sample.

        Notes
        -----
        One transaction, and none while Temporal is asked. Of calls at the same time one writes:
        the slot is the key. What Temporal does not tell in time is written as not known.
        """
        async with self._database.reading(EVERY_TENANT) as unit_of_work:
            slot_at = await unit_of_work.samples.due()
        if slot_at is None:
            return False
        stuck = await self._count_stuck()
        proofs = _sample_of(await self._proofs.status())
        async with self._database.transaction(EVERY_TENANT) as unit_of_work:
            is_taken = await unit_of_work.samples.insert(slot_at, stuck, proofs)
            await unit_of_work.samples.remove_old()
        return is_taken

    async def _count_stuck(self) -> StuckCount | None:
        try:
            async with asyncio.timeout(SAMPLE_STUCK_SECONDS_MAXIMUM):
                return await self._stuck.count()
        except (TemporalUnavailable, TimeoutError):
            return None


def _sample_of(status: LedgerStatus) -> ProofSample:
    proved = [invariant.proved_at for invariant in status.invariants]
    known = [moment for moment in proved if moment is not None]
    age = datetime.now(UTC) - min(known) if known and len(known) == len(proved) else None
    return ProofSample(
        violations=sum(len(invariant.violations) for invariant in status.invariants),
        age_seconds=None if age is None else max(0, int(age.total_seconds())),
    )
