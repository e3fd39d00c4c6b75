"""What is stuck, found in the database and in Temporal, and judged by both."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final, Protocol
from uuid import UUID

from domain.errors import TemporalUnavailable, TransferNotFound
from domain.ids import TenantId, parse_uuid
from domain.limits import (
    OPEN_WORKFLOWS_LISTED_MAXIMUM,
    STUCK_EXAMINED_MAXIMUM,
    STUCK_IDLE_SECONDS,
    STUCK_LOOKS_AT_ONCE,
)
from domain.stuck import (
    Candidate,
    Judgement,
    StuckCause,
    StuckCount,
    StuckKind,
    WorkflowSight,
    judge,
)
from persistence.database import Database
from persistence.stuck import StuckFilter, StuckOrder, StuckPosition
from persistence.tenancy import EVERY_TENANT

TENANT_ID_LENGTH: Final = 36
UNRECORDED_SECONDS: Final = 10
"""A workflow that was started more recently may just not have recorded its transfer yet."""
KEYS_AT_ONCE: Final = 1_000


class OpenTransferWorkflow(Protocol):
    """An open workflow of a transfer, as Temporal lists it."""

    @property
    def workflow_id(self) -> str: ...  # noqa: D102

    @property
    def started_at(self) -> datetime: ...  # noqa: D102

    @property
    def transfer_id(self) -> UUID | None: ...  # noqa: D102


class WorkflowLookout(Protocol):
    """Temporal as the search needs it; ``workflows.operations_gateway`` has it."""

    async def look(self, workflow_id: str) -> WorkflowSight:
        """Tell what is in a workflow's way."""

    async def flagged(self, *, maximum: int) -> list[str]:
        """Find the ids of open workflows that are paused, or whose tasks fail."""

    def open_transfers(
        self, *, started_before: datetime, maximum: int
    ) -> AsyncIterator[OpenTransferWorkflow]:
        """Go through the open workflows of transfers that were started before a time."""

    async def accepted(self, transfer_id: UUID) -> OpenTransferWorkflow | None:
        """Find the workflow of a transfer that the database need not know."""


@dataclass(frozen=True, slots=True)
class StuckPage:
    """A part of what is stuck.

    Parameters
    ----------
    next_position
        Behind which the next page begins; ``None`` on the last one.
    is_complete
        Whether Temporal's own lists were read to their end, and answered at all.
    """

    items: Sequence[Judgement]
    next_position: StuckPosition | None
    is_complete: bool


class StuckService:
    """Finds what is stuck, of all tenants.

    Notes
    -----
    Reads alone, and changes nothing. Candidates come from the database, and from Temporal's list
    where the database does not tell: what is paused, whose code fails, what is not recorded, and
    what has ended with its workflow open. Each is then looked at in Temporal.
    """

    def __init__(self, database: Database, lookout: WorkflowLookout) -> None:
        self._database = database
        self._lookout = lookout

    async def page(
        self,
        wanted: StuckFilter,
        order: StuckOrder,
        *,
        cause: StuckCause | None = None,
        after: StuckPosition | None,
        limit: int,
    ) -> StuckPage:
        """Read a page of what is stuck.

        Parameters
        ----------
        limit
            Most items of a page. A page may have fewer, and still a next one: no more than
            ``STUCK_EXAMINED_MAXIMUM`` are looked at for it.

        Raises
        ------
        DatabaseUnavailable
            No connection.

        Notes
        -----
        Where Temporal does not answer, what the database alone tells is given.
        """
        try:
            extra, is_complete = await self._seen_in_temporal(wanted)
            is_temporal_there = True
        except TemporalUnavailable:
            extra, is_complete, is_temporal_there = [], False, False
        candidates = _merged(await self._recorded_page(wanted, order, after), extra, order, after)
        items, last = await self._stuck_of(
            candidates[:STUCK_EXAMINED_MAXIMUM], cause, limit, is_temporal_there=is_temporal_there
        )
        has_more = last < len(candidates)
        position = position_of(candidates[last - 1]) if has_more and last else None
        return StuckPage(items, position, is_complete)

    async def count(self) -> StuckCount:
        """Count what is stuck, of all tenants.

        Raises
        ------
        DatabaseUnavailable, TemporalUnavailable
            No answer, also about one candidate alone: nobody knows how much it is.

        Notes
        -----
        Looks at the ``STUCK_EXAMINED_MAXIMUM`` oldest candidates at most.
        """
        anything = StuckFilter()
        extra, is_complete = await self._seen_in_temporal(anything)
        found = await self._recorded_page(anything, StuckOrder.AGE, None)
        candidates = _merged(found, extra, StuckOrder.AGE, None)
        counts: Counter[TenantId] = Counter()
        for begin in range(0, min(len(candidates), STUCK_EXAMINED_MAXIMUM), STUCK_LOOKS_AT_ONCE):
            part = candidates[begin : begin + STUCK_LOOKS_AT_ONCE]
            judged = await asyncio.gather(*map(self._looked_at, part))
            counts.update(each.candidate.tenant_id for each in judged if each.cause is not None)
        return StuckCount(counts, is_complete and len(candidates) <= STUCK_EXAMINED_MAXIMUM)

    async def find(self, item_id: UUID, kind: StuckKind | None = None) -> Judgement:
        """Judge a transfer, a batch, or a standing order's run, of any tenant, stuck or not.

        Parameters
        ----------
        item_id
            Of an order, its oldest run that is under way is judged.
        kind
            What it must be; ``None`` for whatever has the id.

        Raises
        ------
        TransferNotFound
            Neither the database nor Temporal knows it.
        DatabaseUnavailable, TemporalUnavailable
            No answer.
        """
        candidate = (
            await self._recorded(item_id, kind)
            or await self._accepted(item_id)
            # It was recorded just now.
            or await self._recorded(item_id, kind)
        )
        if candidate is None:
            raise TransferNotFound(str(item_id))
        return await self._looked_at(candidate)

    async def _looked_at(self, candidate: Candidate) -> Judgement:
        return judge(candidate, await self._lookout.look(candidate.workflow_id), datetime.now(UTC))

    async def _recorded_page(
        self, wanted: StuckFilter, order: StuckOrder, after: StuckPosition | None
    ) -> list[Candidate]:
        """Find what the database shows, and one more than is looked at where there is more."""
        async with self._database.reading(EVERY_TENANT) as unit_of_work:
            return await unit_of_work.stuck.page(
                wanted,
                order,
                idle_seconds=STUCK_IDLE_SECONDS,
                after=after,
                limit=STUCK_EXAMINED_MAXIMUM + 1,
            )

    async def _recorded(self, item_id: UUID, wanted: StuckKind | None) -> Candidate | None:
        async with self._database.reading(EVERY_TENANT) as unit_of_work:
            for kind in StuckKind if wanted is None else (wanted,):
                found = await unit_of_work.stuck.get(kind, item_id)
                if found is not None:
                    return found
        return None

    async def _accepted(self, transfer_id: UUID) -> Candidate | None:
        """Find a transfer that is accepted and not recorded."""
        found = await self._lookout.accepted(transfer_id)
        unrecorded, _ = await self._compared([] if found is None else [found])
        return unrecorded[0] if unrecorded else None

    async def _stuck_of(
        self,
        candidates: Sequence[Candidate],
        cause: StuckCause | None,
        limit: int,
        *,
        is_temporal_there: bool,
    ) -> tuple[list[Judgement], int]:
        """Look at candidates in their order until there are enough, and tell how many that took."""
        items: list[Judgement] = []
        for begin in range(0, len(candidates), STUCK_LOOKS_AT_ONCE):
            part = candidates[begin : begin + STUCK_LOOKS_AT_ONCE]
            judged = await asyncio.gather(
                *(self._judged(each, is_temporal_there=is_temporal_there) for each in part)
            )
            for place, judgement in enumerate(judged, begin + 1):
                if judgement.cause is None or cause not in {None, judgement.cause}:
                    continue
                items.append(judgement)
                if len(items) == limit:
                    return items, place
        return items, len(candidates)

    async def _judged(self, candidate: Candidate, *, is_temporal_there: bool) -> Judgement:
        sight = None
        if is_temporal_there:
            try:
                sight = await self._lookout.look(candidate.workflow_id)
            except TemporalUnavailable:
                sight = None
        return judge(candidate, sight, datetime.now(UTC))

    async def _seen_in_temporal(self, wanted: StuckFilter) -> tuple[list[Candidate], bool]:
        """Find what the database alone does not show."""
        if wanted.kind not in {None, StuckKind.TRANSFER}:
            return [], True
        flagged = await self._lookout.flagged(maximum=STUCK_EXAMINED_MAXIMUM)
        keys = [key for key in map(_key_of, flagged) if key is not None]
        async with self._database.reading(EVERY_TENANT) as unit_of_work:
            candidates = await unit_of_work.stuck.of_keys(keys) if keys else []
        before = datetime.now(UTC) - timedelta(seconds=UNRECORDED_SECONDS)
        count = 0
        waiting: list[OpenTransferWorkflow] = []
        async for found in self._lookout.open_transfers(
            started_before=before, maximum=OPEN_WORKFLOWS_LISTED_MAXIMUM
        ):
            count += 1
            waiting.append(found)
            if len(waiting) == KEYS_AT_ONCE:
                candidates += chain(*await self._compared(waiting))
                waiting = []
        candidates += chain(*await self._compared(waiting))
        shown = [each for each in candidates if _is_wanted(each, wanted)]
        return shown, count < OPEN_WORKFLOWS_LISTED_MAXIMUM

    async def _compared(
        self, open_workflows: Sequence[OpenTransferWorkflow]
    ) -> tuple[list[Candidate], list[Candidate]]:
        """Find the open workflows that the database has no record of, and those of ended ones."""
        keys = {key: each for each in open_workflows if (key := _key_of(each.workflow_id))}
        if not keys:
            return [], []
        async with self._database.reading(EVERY_TENANT) as unit_of_work:
            known = await unit_of_work.stuck.of_keys(keys)
            recorded = {(each.tenant_id, each.idempotency_key) for each in known}
            missing = {key: each for key, each in keys.items() if key not in recorded}
            names = await unit_of_work.stuck.tenant_names([tenant for tenant, _ in missing])
        unrecorded = [
            Candidate(
                kind=StuckKind.TRANSFER,
                id=each.transfer_id,
                tenant_id=tenant_id,
                tenant_name=names[tenant_id],
                stage="ACCEPTED",
                since=each.started_at,
                workflow_id=each.workflow_id,
                idempotency_key=key,
                is_recorded=False,
            )
            for (tenant_id, key), each in missing.items()
            if each.transfer_id is not None and tenant_id in names
        ]
        before = datetime.now(UTC) - timedelta(seconds=STUCK_IDLE_SECONDS)
        ended = [each for each in known if each.is_final and each.since < before]
        return unrecorded, ended


def position_of(candidate: Candidate) -> StuckPosition:
    """Tell where in the list a candidate stands."""
    return StuckPosition(candidate.since, candidate.amount_minor or 0, candidate.id)


def _merged(
    found: Sequence[Candidate],
    extra: Sequence[Candidate],
    order: StuckOrder,
    after: StuckPosition | None,
) -> list[Candidate]:
    """Put candidates of both sources into one order, each once."""

    def rank(position: StuckPosition) -> tuple[object, object, UUID]:
        amount = -position.amount_minor
        if order is StuckOrder.AGE:
            return (position.since, amount, position.id)
        return (amount, position.since, position.id)

    merged = {(each.kind, each.id, each.scheduled_at): each for each in (*extra, *found)}
    ranked = sorted(merged.values(), key=lambda each: rank(position_of(each)))
    if after is None:
        return ranked
    return [each for each in ranked if rank(position_of(each)) > rank(after)]


def _is_wanted(candidate: Candidate, wanted: StuckFilter) -> bool:
    return wanted.tenant_id in {None, candidate.tenant_id} and wanted.currency in {
        None,
        candidate.currency,
    }


def _key_of(workflow_id: str) -> tuple[TenantId, str] | None:
    """Read tenant and key from the id of a transfer's workflow; ``None`` for another's."""
    tenant_id = parse_uuid(workflow_id[:TENANT_ID_LENGTH])
    key = workflow_id[TENANT_ID_LENGTH + 1 :]
    return (TenantId(tenant_id), key) if tenant_id is not None and key else None
