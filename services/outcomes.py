"""Hand-over of transfers inside a process, from the step that recorded one to who waits for it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from domain.ids import workflow_id
from domain.transfers import Transfer


class OutcomeBoard:
    """Tells waiters of this process about transfers as they are committed.

    Notes
    -----
    Only ever a short cut: a waiter also has Temporal and the database to ask, since a transfer
    may be carried out in another process. What is published is committed. Belongs to one loop.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, list[tuple[Callable[[Transfer], bool], asyncio.Future[Transfer]]]]
        self._waiting = {}

    @contextmanager
    def expecting(
        self, workflow_id: str, until: Callable[[Transfer], bool]
    ) -> Iterator[asyncio.Future[Transfer]]:
        """Give a future for the first published transfer of a workflow that ``until`` accepts."""
        future: asyncio.Future[Transfer] = asyncio.get_running_loop().create_future()
        waiter = (until, future)
        self._waiting.setdefault(workflow_id, []).append(waiter)
        try:
            yield future
        finally:
            waiters = self._waiting[workflow_id]
            waiters.remove(waiter)
            if not waiters:
                del self._waiting[workflow_id]
            future.cancel()

    def publish(self, transfer: Transfer) -> None:
        """Hand a committed transfer to those who wait for it."""
        # By its key, whoever made it: a batch's transfer is what the key's own workflow ends with.
        waited_for = workflow_id(transfer.tenant_id, transfer.idempotency_key)
        for until, future in self._waiting.get(waited_for, ()):
            if not future.done() and until(transfer):
                future.set_result(transfer)
