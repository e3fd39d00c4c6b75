"""Balances in SQL: the rows that every movement of money locks, in the order of account ids."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import RowMapping, Update, Uuid, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.accounts import AccountStatus, Balance
from domain.errors import LedgerRuleViolated
from domain.ids import AccountId, TenantId
from persistence.tables.accounts import balances
from persistence.tables.columns import MinorUnits

BALANCE_COLUMNS: Final = (
    balances.c.account_id,
    balances.c.currency,
    balances.c.status,
    balances.c.posted_minor,
    balances.c.held_minor,
    balances.c.overdraft_limit_minor,
    balances.c.last_sequence,
)

# The statements of every transfer are built once: building one costs more than running it.
_LOCKED: Final = (
    select(*BALANCE_COLUMNS)
    .where(
        balances.c.tenant_id == bindparam("tenant", type_=Uuid),
        balances.c.account_id.in_(bindparam("account_ids", type_=Uuid, expanding=True)),
    )
    .order_by(balances.c.account_id)
    .with_for_update(key_share=True)
)
_THE_ACCOUNT: Final = balances.c.account_id == bindparam("account", type_=Uuid)
_SET_AMOUNTS: Final = (
    update(balances)
    .where(_THE_ACCOUNT)
    .values(
        posted_minor=bindparam("posted", type_=MinorUnits),
        held_minor=bindparam("held", type_=MinorUnits),
        last_sequence=bindparam("sequence"),
    )
)


class BalanceRepository:
    """Rows of ``balances``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def lock(
        self, tenant_id: TenantId, account_ids: Collection[AccountId]
    ) -> dict[AccountId, Balance]:
        """Lock balances until the transaction ends.

        Notes
        -----
        The rows are locked in the order of their account ids, so that two transactions that want
        the same accounts cannot wait for each other.
        """
        result = await self._connection.execute(
            _LOCKED, {"tenant": tenant_id, "account_ids": list(set(account_ids))}
        )
        found = [balance_from(row) for row in result.mappings()]
        return {balance.account_id: balance for balance in found}

    async def read(self, tenant_id: TenantId, account_id: AccountId) -> Balance | None:
        """Read one balance without a lock."""
        result = await self._connection.execute(
            select(*BALANCE_COLUMNS).where(
                balances.c.tenant_id == tenant_id, balances.c.account_id == account_id
            )
        )
        row = result.mappings().one_or_none()
        return None if row is None else balance_from(row)

    async def insert(
        self,
        *,
        account_id: AccountId,
        tenant_id: TenantId,
        currency: str,
        kind: str,
        overdraft_limit_minor: int | None,
    ) -> None:
        """Open an account's balance at zero."""
        await self._connection.execute(
            balances.insert().values(
                account_id=account_id,
                tenant_id=tenant_id,
                currency=currency,
                kind=kind,
                overdraft_limit_minor=overdraft_limit_minor,
            )
        )

    async def set_amounts(self, changed: Collection[Balance]) -> None:
        """Write what accounts have now; the rows must be locked.

        Raises
        ------
        LedgerRuleViolated
            Less than zero would be held, or more than is available.
        BalanceOutOfRange
            A balance has too many digits.
        """
        await self._connection.execute(
            _SET_AMOUNTS,
            [
                {
                    "account": balance.account_id,
                    "posted": balance.posted_minor,
                    "held": balance.held_minor,
                    "sequence": balance.last_sequence,
                }
                for balance in changed
            ],
        )

    async def set_status(self, account_id: AccountId, status: AccountStatus) -> None:
        """Change whether money may move; the row must be locked."""
        await self._update_one(
            update(balances).where(_THE_ACCOUNT).values(status=status), {"account": account_id}
        )

    async def set_overdraft_limit(self, account_id: AccountId, limit_minor: int) -> None:
        """Change the overdraft limit; the row must be locked."""
        await self._update_one(
            update(balances).where(_THE_ACCOUNT).values(overdraft_limit_minor=limit_minor),
            {"account": account_id},
        )

    async def _update_one(self, statement: Update, parameters: Mapping[str, Any]) -> None:
        result = await self._connection.execute(statement, parameters)
        if result.rowcount != 1:
            raise LedgerRuleViolated("balances_pkey")


def balance_from(row: RowMapping | Mapping[str, Any]) -> Balance:
    """Read a balance from a row that holds ``BALANCE_COLUMNS``."""
    return Balance(
        account_id=AccountId(row["account_id"]),
        currency=row["currency"],
        status=AccountStatus(row["status"]),
        posted_minor=row["posted_minor"],
        held_minor=row["held_minor"],
        overdraft_limit_minor=row["overdraft_limit_minor"],
        last_sequence=row["last_sequence"],
    )
