"""Rules and limits for services that post many plain transfers in one unit of work."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from domain.errors import ApprovalRequired
from domain.ids import AccountId
from domain.money import Money
from domain.rules import ApprovalRule, LimitUsage, demand_of


class TransferBounds:
    """Judges plain transfers one after the other, each with what those before it have used.

    Parameters
    ----------
    rules
        The tenant's in force.
    usages
        Of those among the accounts that have limits; read while their balances are locked.
    """

    def __init__(
        self, rules: Iterable[ApprovalRule], usages: Mapping[AccountId, LimitUsage]
    ) -> None:
        self._rules = tuple(rules)
        self._usages = dict(usages)
        self._counted_minor: defaultdict[AccountId, int] = defaultdict(int)

    @property
    def counted_minor(self) -> Mapping[AccountId, int]:
        """What was counted of accounts with limits, in minor units: to be recorded as used."""
        return self._counted_minor

    def missing_approval(self, amount_minor: int, currency: str) -> ApprovalRequired | None:
        """Tell whether a transfer would have to wait for an approval, where nothing waits."""
        if not self._rules:
            return None
        if demand_of(self._rules, {currency: amount_minor}) is None:
            return None
        return ApprovalRequired(amount_minor=amount_minor, currency=currency)

    def is_limited(self, source: AccountId) -> bool:
        """Tell whether an account has limits."""
        return source in self._usages

    def require_within(self, source: AccountId, money: Money) -> None:
        """Refuse a transfer that exceeds its source's limits.

        Raises
        ------
        LimitExceeded
            The source would send more than its limits allow.
        """
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
