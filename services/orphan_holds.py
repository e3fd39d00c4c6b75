"""Holds whose transfer is final: nobody is left to capture or release them."""

from dataclasses import dataclass, replace
from typing import Final

from domain.ids import TenantId, TransferId
from domain.states import ProcessState
from domain.transfers import HoldStatus
from persistence.database import Database

ORPHANS: Final = "holds"
"""Name of the walk."""

TRANSFERS_A_SLICE: Final = 5_000


@dataclass(frozen=True, slots=True)
class OrphanReport:
    """What a slice found and did.

    Parameters
    ----------
    left
        Those that nobody can say the right end of: the account's held amount agrees with neither.
    """

    examined: int
    closed: int
    left: int


class OrphanHoldService:
    """Closes holds that outlived their transfer, where that has one right end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def close_slice(self) -> OrphanReport:
        """Look at the next transfers by id, and close the holds of those that are final.

        Raises
        ------
        DatabaseUnavailable
            No connection; the next run looks at the same slice.
        """
        async with self._database.transaction() as unit_of_work:
            walk = await unit_of_work.proofs.walk(ORPHANS)
        async with self._database.reading() as unit_of_work:
            found = await unit_of_work.reconciliation.orphans(walk.position, TRANSFERS_A_SLICE)
        closed = [await self.close(*orphan) for orphan in found.transfers]
        async with self._database.transaction() as unit_of_work:
            await unit_of_work.proofs.advance(
                walk, position=found.position, examined=found.examined
            )
        return OrphanReport(found.examined, sum(closed), len(closed) - sum(closed))

    async def close(self, tenant_id: TenantId, transfer_id: TransferId) -> bool:
        """Close the open holds of a final transfer; tell whether they are.

        Notes
        -----
        One transaction. Locks the transfer, then the balances in the order of their ids. What an
        account holds for transfers that are not final decides: where its held amount counts the
        orphan beside them, it is given back; where it does not, only the hold's status was left
        behind; else nothing is done, and the proof of the holds names the account.
        """
        async with self._database.transaction() as unit_of_work:
            transfer = await unit_of_work.transfers.lock(tenant_id, transfer_id)
            if transfer is None or not transfer.is_final:
                return False
            holds = await unit_of_work.holds.open_of(transfer_id)
            accounts = sorted({hold.account_id for hold in holds})
            locked = await unit_of_work.balances.lock(tenant_id, accounts)
            living = await unit_of_work.reconciliation.living_holds(accounts)
            counted = []
            for hold in holds:
                balance = locked[hold.account_id]
                over = balance.held_minor - living.get(hold.account_id, 0)
                if over not in {0, hold.left_minor}:
                    return False
                if over:
                    counted.append((hold, replace(balance, held_minor=balance.held_minor - over)))
            if counted:
                await unit_of_work.balances.set_amounts([balance for _, balance in counted])
            is_success = transfer.state is ProcessState.SUCCESS
            await unit_of_work.holds.close(
                transfer_id, HoldStatus.CAPTURED if is_success else HoldStatus.RELEASED
            )
            if not is_success and transfer.reversal_of is None:
                for hold, _ in counted:
                    await unit_of_work.limits.give_back(
                        hold.account_id, hold.created_at.date(), hold.left_minor
                    )
        return True
