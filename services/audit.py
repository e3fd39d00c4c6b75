"""The audit log, read. It is written by whoever makes a change, in the change's transaction."""

from domain.audit import AuditRecord
from domain.pages import Page
from persistence.audit import AuditFilter
from persistence.database import Database


class AuditService:
    """Reads who changed what."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, wanted: AuditFilter, *, before: int | None, limit: int
    ) -> Page[AuditRecord]:
        """Read a page of records, newest first.

        Parameters
        ----------
        before
            Id of the last record of the page before.
        """
        async with self._database.reading() as unit_of_work:
            found = await unit_of_work.audit.page(wanted, before=before, limit=limit + 1)
        return Page.of(found, limit, lambda record: str(record.id))
