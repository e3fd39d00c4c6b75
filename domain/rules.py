"""What a tenant sets bounds with: approval rules, and limits of accounts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict

from domain.errors import LimitExceeded
from domain.ids import AccountId, ApiKeyId, ApprovalRuleId, TenantId


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """Transfers of a currency above a threshold wait for approvers.

    Parameters
    ----------
    threshold_minor
        The rule applies to amounts above it; of several rules, the one with the highest threshold.
    approvers
        How many different keys must approve, 1 to ``APPROVERS_MAXIMUM``.
    deadline
        How long a transfer waits, up to ``APPROVAL_SECONDS_MAXIMUM``.
    retired_at
        Since when it applies to no new transfer.
    created_by, retired_by
        API keys.
    """

    id: ApprovalRuleId
    tenant_id: TenantId
    currency: str
    threshold_minor: int
    approvers: int
    deadline: timedelta
    created_at: datetime
    created_by: ApiKeyId | None
    retired_at: datetime | None = None
    retired_by: ApiKeyId | None = None


@dataclass(frozen=True, slots=True)
class ApprovalDemand:
    """What rules ask of one transfer.

    Parameters
    ----------
    approvers
        How many different keys must approve.
    deadline
        How long it waits for them.
    """

    approvers: int
    deadline: timedelta


def demand_of(
    rules: Iterable[ApprovalRule], amounts_minor: Mapping[str, int]
) -> ApprovalDemand | None:
    """Tell what rules in force ask of amounts by currency; ``None`` where they ask for nothing.

    Notes
    -----
    A rule applies above its threshold. Of a currency's rules the one with the highest threshold
    counts, alone; of several currencies, the most approvers and the shortest deadline.
    """
    highest: dict[str, ApprovalRule] = {}
    for rule in rules:
        if amounts_minor.get(rule.currency, 0) <= rule.threshold_minor:
            continue
        present = highest.get(rule.currency)
        if present is None or present.threshold_minor < rule.threshold_minor:
            highest[rule.currency] = rule
    if not highest:
        return None
    return ApprovalDemand(
        approvers=max(rule.approvers for rule in highest.values()),
        deadline=min(rule.deadline for rule in highest.values()),
    )


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """How much an account may send, in minor units; ``None`` is without limit.

    Parameters
    ----------
    per_day_minor, per_month_minor
        Of all transfers reserved in one day or month of UTC, without what was released again.
    """

    account_id: AccountId
    per_transfer_minor: int | None = None
    per_day_minor: int | None = None
    per_month_minor: int | None = None


class LimitChanges(TypedDict, total=False):
    """Fields of ``AccountLimits`` that are to change; what is left out stays."""

    per_transfer_minor: int | None
    per_day_minor: int | None
    per_month_minor: int | None


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """What an account with limits has sent, in minor units.

    Parameters
    ----------
    used_today_minor, used_this_month_minor
        Counted at the reserve, without what was released again and without reversals.
    """

    limits: AccountLimits
    used_today_minor: int
    used_this_month_minor: int

    def require_within(self, amount_minor: int) -> None:
        """Refuse to reserve more than the limits allow.

        Raises
        ------
        LimitExceeded
            The shortest period whose limit would be exceeded.
        """
        for period, limit_minor, used_minor in (
            ("transfer", self.limits.per_transfer_minor, 0),
            ("day", self.limits.per_day_minor, self.used_today_minor),
            ("month", self.limits.per_month_minor, self.used_this_month_minor),
        ):
            if limit_minor is not None and used_minor + amount_minor > limit_minor:
                raise LimitExceeded(
                    period=period,
                    limit_minor=limit_minor,
                    used_minor=used_minor,
                    amount_minor=amount_minor,
                )
