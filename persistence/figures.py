"""What is under way, counted in SQL.

Each statement walks a partial index of what is PROCESSING: its cost goes with what is under way and
not with what the tables hold.
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.figures import ArchiveFigure, BatchFigure, HeldFigure, ServiceFigures, StageFigure
from domain.states import TransferStage
from persistence.due import DUE_AT

_STAGES: Final = text(f"""
SELECT stage, count(*) AS transfers,
    extract(epoch FROM clock_timestamp() - min(created_at)) AS oldest_seconds,
    count(*) FILTER (
        WHERE {DUE_AT} < clock_timestamp() - make_interval(secs => :overdue_seconds)
    ) AS overdue
FROM transfers AS transfer WHERE state = 'PROCESSING' GROUP BY stage ORDER BY stage
""")  # noqa: S608 - of this package
# Every currency that was ever used, at 0 as well: a gauge that is not set again would stay up.
_HELD: Final = text("""
SELECT currency, coalesce(holds, 0) AS holds, coalesce(held, 0) AS held
FROM (SELECT DISTINCT currency FROM accounts WHERE kind = 'SYSTEM') AS used
LEFT JOIN (
    SELECT transfer.currency, count(*) AS holds,
        sum(hold.amount_minor - hold.captured_minor) AS held
    FROM transfers AS transfer JOIN holds AS hold ON hold.transfer_id = transfer.id
    WHERE transfer.state = 'PROCESSING' AND hold.status = 'HELD'
    GROUP BY transfer.currency
) AS open USING (currency)
ORDER BY currency
""")
_BATCHES: Final = text("""
SELECT count(*) AS batches, coalesce(sum(total_rows - succeeded_rows - failed_rows - rejected_rows
    - cancelled_rows), 0) AS unsettled
FROM transfer_batches WHERE state = 'PROCESSING'
""")


_ARCHIVE: Final = text("""
SELECT current_setting('archive_mode') <> 'off' AS is_on,
    coalesce(extract(epoch FROM last_archived_time), 0) AS archived_at
FROM pg_stat_archiver
""")


class FigureRepository:
    """Counts what is under way, of all tenants."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def now(self, *, overdue_seconds: float) -> ServiceFigures:
        """Count."""
        stages = await self._connection.execute(_STAGES, {"overdue_seconds": overdue_seconds})
        held = await self._connection.execute(_HELD)
        batches = (await self._connection.execute(_BATCHES)).one()
        archive = (await self._connection.execute(_ARCHIVE)).one()
        return ServiceFigures(
            stages=[
                StageFigure(
                    stage=TransferStage(row.stage),
                    count=row.transfers,
                    oldest_seconds=float(row.oldest_seconds),
                    overdue=row.overdue,
                )
                for row in stages
            ],
            held=[HeldFigure(row.currency, row.holds, int(row.held)) for row in held],
            batches=BatchFigure(batches.batches, int(batches.unsettled)),
            archive=ArchiveFigure(archive.is_on, float(archive.archived_at)),
        )
