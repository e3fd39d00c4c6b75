"""Rules and limits for services that post many plain transfers in one unit of work."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Self

from domain.errors import ApprovalRequired
from domain.ids import AccountId, TenantId
from domain.money import Money
from domain.rules import ApprovalRule, LimitUsage, demand_of
from persistence.database import UnitOfWork


class TransferBounds:
    """Judges plain transfers one after the other, each with what those before it have used.

    Parameters
    ----------
    rules
        The tenant's in force.
    usages
        Of those among the accounts that have limits.
    """

    def __init__(
        self, rules: Iterable[ApprovalRule], usages: Mapping[AccountId, LimitUsage]
    ) -> None:
        self._rules = tuple(rules)
        self._usages = dict(usages)
        self._counted_minor: defaultdict[AccountId, int] = defaultdict(int)

    @classmethod
    async def load(
        cls, unit_of_work: UnitOfWork, tenant_id: TenantId, account_ids: Collection[AccountId]
    ) -> Self:
        """Read what a tenant has set, for accounts whose balances are locked."""
        return cls(
            await unit_of_work.approval_rules.in_force(tenant_id),
            await unit_of_work.limits.usages(account_ids),
        )

    @property
    def counted_minor(self) -> Mapping[AccountId, int]:
        """What was counted of accounts with limits, in minor units: to be recorded as used."""
        return self._counted_minor

    def require_within(self, source: AccountId, money: Money) -> None:
        """Refuse a transfer that has to wait for an approval, or exceeds its source's limits.

        Raises
        ------
        ApprovalRequired
            A rule applies to it.
        LimitExceeded
            The source would send more than its limits allow.
        """
        if demand_of(self._rules, {money.currency: money.amount_minor}) is not None:
            raise ApprovalRequired(amount_minor=money.amount_minor, currency=money.currency)
        usage = self._usages.get(source)
        if usage is not None:
            usage.require_within(money.amount_minor)

    def count(self, source: AccountId, money: Money) -> None:
        """Count a transfer that is carried out against its source's limits."""
        usage = self._usages.get(source)
        if usage is None:
            return
        self._counted_minor[source] += money.amount_minor
        self._usages[source] = replace(
            usage,
            used_today_minor=usage.used_today_minor + money.amount_minor,
            used_this_month_minor=usage.used_this_month_minor + money.amount_minor,
        )

    async def record(self, unit_of_work: UnitOfWork, tenant_id: TenantId) -> None:
        """Write what was counted, while the balances are still locked."""
        for account_id, amount_minor in self._counted_minor.items():
            await unit_of_work.limits.use(tenant_id, account_id, amount_minor)
