"""Approval rules and limits as pure rules: which one applies, and what is within."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import LimitExceeded
from domain.ids import AccountId, ApprovalRuleId, TenantId
from domain.money import Money
from domain.rules import AccountLimits, ApprovalDemand, ApprovalRule, LimitUsage, demand_of
from services.bounds import TransferBounds
from services.identifiers import new_uuid

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ACCOUNT, UNLIMITED = AccountId(new_uuid()), AccountId(new_uuid())


def rule(
    threshold_minor: int, *, currency: str = "EUR", approvers: int = 1, deadline: timedelta = HOUR
) -> ApprovalRule:
    return ApprovalRule(
        id=ApprovalRuleId(new_uuid()),
        tenant_id=TenantId(new_uuid()),
        currency=currency,
        threshold_minor=threshold_minor,
        approvers=approvers,
        deadline=deadline,
        created_at=datetime.now(UTC),
        created_by=None,
    )


@pytest.mark.parametrize(("amount_minor", "waits"), [(99, False), (100, False), (101, True)])
def test_a_rule_applies_above_its_threshold(amount_minor: int, waits: bool) -> None:  # noqa: FBT001 - a parameter of the test
    demand = demand_of([rule(100)], {"EUR": amount_minor})
    assert demand == (ApprovalDemand(1, HOUR) if waits else None)


def test_a_rule_of_another_currency_does_not_apply() -> None:
    assert demand_of([rule(100, currency="USD")], {"EUR": 1_000}) is None
    assert demand_of([rule(0)], {}) is None
    assert demand_of([], {"EUR": 1_000}) is None


def test_of_one_currencys_rules_the_highest_that_is_exceeded_counts_alone() -> None:
    rules = [
        rule(1_000, approvers=1, deadline=HOUR),
        rule(100, approvers=2, deadline=MINUTE),
        rule(5_000, approvers=2, deadline=MINUTE),
    ]
    for ordered in (rules, rules[::-1]):
        assert demand_of(ordered, {"EUR": 1_001}) == ApprovalDemand(1, HOUR)
        assert demand_of(ordered, {"EUR": 1_000}) == ApprovalDemand(2, MINUTE)
        assert demand_of(ordered, {"EUR": 5_001}) == ApprovalDemand(2, MINUTE)


def test_of_several_currencies_the_strictest_counts() -> None:
    rules = [
        rule(100, approvers=2, deadline=HOUR),
        rule(100, currency="USD", approvers=1, deadline=MINUTE),
    ]
    assert demand_of(rules, {"EUR": 101, "USD": 101}) == ApprovalDemand(2, MINUTE)
    assert demand_of(rules, {"EUR": 100, "USD": 101}) == ApprovalDemand(1, MINUTE)


@pytest.mark.parametrize(
    ("limits", "period"),
    [
        (AccountLimits(ACCOUNT), None),
        (AccountLimits(ACCOUNT, 10, 70, 100), None),
        (AccountLimits(ACCOUNT, 9, 69, 99), "transfer"),
        (AccountLimits(ACCOUNT, None, 69, 99), "day"),
        (AccountLimits(ACCOUNT, 10, 70, 99), "month"),
        (AccountLimits(ACCOUNT, None, None, 0), "month"),
    ],
)
def test_the_shortest_period_that_is_exceeded_is_named(
    limits: AccountLimits, period: str | None
) -> None:
    usage = LimitUsage(limits, used_today_minor=60, used_this_month_minor=90)
    if period is None:
        usage.require_within(10)
        return
    with pytest.raises(LimitExceeded, match=f"per {period}"):
        usage.require_within(10)


def test_transfers_that_are_judged_together_use_up_one_limit() -> None:
    usage = LimitUsage(AccountLimits(ACCOUNT, per_day_minor=100), 60, 60)
    bounds = TransferBounds([rule(50)], {ACCOUNT: usage})
    money = Money(20, "EUR")
    for _ in range(2):
        bounds.require_within(ACCOUNT, money)
        bounds.count(ACCOUNT, money)
    with pytest.raises(LimitExceeded, match="of which 100 are used"):
        bounds.require_within(ACCOUNT, Money(1, "EUR"))
    bounds.require_within(UNLIMITED, Money(50, "EUR"))
    bounds.count(UNLIMITED, Money(50, "EUR"))
    assert bounds.counted_minor == {ACCOUNT: 40}


def test_a_transfer_that_would_have_to_wait_is_refused_where_nothing_waits() -> None:
    bounds = TransferBounds([rule(50)], {})
    refusal = bounds.missing_approval(51, "EUR")
    assert refusal is not None
    assert refusal.code == "approval_required"
    assert bounds.missing_approval(50, "EUR") is None
    assert bounds.missing_approval(51, "USD") is None
