"""What is under way in the whole service."""

from domain.figures import ServiceFigures
from domain.limits import OVERDUE_SECONDS
from persistence.database import Database
from persistence.tenancy import EVERY_TENANT


class FigureService:
    """Counts what is under way, of all tenants: for metrics, not for clients."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def now(self) -> ServiceFigures:
        """Count transfers by stage, money that is held, and batches.

        Raises
        ------
        DatabaseUnavailable
            No connection.
        """
        async with self._database.reading(EVERY_TENANT) as unit_of_work:
            return await unit_of_work.figures.now(overdue_seconds=OVERDUE_SECONDS)
