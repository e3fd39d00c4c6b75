"""How a transfer ends that does not simply go through."""

from collections.abc import Mapping
from typing import Any

from domain.states import Step, TransferStage
from domain.transfers import Failure, Transfer
from persistence.database import UnitOfWork
from services.balances import BalanceService


class EndingService:
    """Brings unfinished transfers to their one right end inside a caller's unit of work."""

    def __init__(self, balances: BalanceService) -> None:
        self._balances = balances

    async def end(
        self,
        unit_of_work: UnitOfWork,
        transfer: Transfer,
        step: Step,
        failure: Failure,
        *,
        details: Mapping[str, Any] | None = None,
    ) -> Transfer:
        """End a locked transfer that is not final: by what has moved, not by what was meant.

        What has posted stays posted, and the transfer becomes SUCCESS, also where only a part of a
        hold was captured; the rest of it is released. Where nothing has moved, all is released, and
        the transfer becomes FAILED.

        Parameters
        ----------
        step
            What ends it, for the log.
        """
        if transfer.stage is TransferStage.POSTED:
            return await self.complete(unit_of_work, transfer)
        await self._balances.release(unit_of_work, transfer)
        if transfer.captured_minor:
            transfer = await unit_of_work.transfers.advance(
                transfer, step, TransferStage.POSTED, details=details
            )
            return await self.complete(unit_of_work, transfer)
        return await unit_of_work.transfers.advance(
            transfer, step, TransferStage.FAILED, failure=failure, details=details
        )

    async def complete(self, unit_of_work: UnitOfWork, transfer: Transfer) -> Transfer:
        """Complete a locked transfer that has posted."""
        return await unit_of_work.transfers.advance(
            transfer, Step.FINALISE, TransferStage.COMPLETED
        )
