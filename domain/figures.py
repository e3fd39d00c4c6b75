"""What is under way in the whole service, in a few figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.states import TransferStage


@dataclass(frozen=True, slots=True)
class StageFigure:
    """Transfers that are PROCESSING, of one stage.

    Parameters
    ----------
    oldest_seconds
        Since the first of them was accepted.
    overdue
        Those that were to move on ``OVERDUE_SECONDS`` ago: after their time or deadline where they
        rest until one, else after their last change.
    """

    stage: TransferStage
    count: int
    oldest_seconds: float
    overdue: int


@dataclass(frozen=True, slots=True)
class HeldFigure:
    """Money that is held, in minor units."""

    currency: str
    holds: int
    held_minor: int


@dataclass(frozen=True, slots=True)
class BatchFigure:
    """Batches that are PROCESSING, and their rows without an outcome."""

    batches: int
    rows: int


@dataclass(frozen=True, slots=True)
class ArchiveFigure:
    """How far PostgreSQL's log is kept away from its disk.

    Parameters
    ----------
    is_on
        PostgreSQL is told to archive it (``archive_mode``).
    archived_at
        When it last did, in seconds since 1970; 0 where it never did.
    """

    is_on: bool
    archived_at: float


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """All tenants together, at one moment."""

    stages: Sequence[StageFigure]
    held: Sequence[HeldFigure]
    batches: BatchFigure
    archive: ArchiveFigure
