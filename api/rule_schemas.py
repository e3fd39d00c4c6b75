"""Bodies about what a tenant sets bounds with: approval rules, and limits of accounts."""

from datetime import datetime, timedelta
from typing import Annotated, TypeAlias
from uuid import UUID

from pydantic import BaseModel, Field

from api.fields import AmountFromZero, CurrencyCode
from api.schemas import ChangeBody
from domain.accounts import Account
from domain.limits import (
    APPROVAL_SECONDS_DEFAULT,
    APPROVAL_SECONDS_MAXIMUM,
    APPROVERS_MAXIMUM,
)
from domain.rules import AccountLimits, ApprovalRule, LimitChanges, LimitUsage

Approvers: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=APPROVERS_MAXIMUM)]
DeadlineSeconds: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=APPROVAL_SECONDS_MAXIMUM)]


class ApprovalRuleCreate(ChangeBody):
    """A rule by which transfers are to wait."""

    currency: CurrencyCode
    threshold: AmountFromZero = Field(
        description="Transfers of more than this wait; of several rules, the one with the highest "
        "threshold below the amount counts."
    )
    approvers: Approvers = Field(default=1, description="How many different keys must approve.")
    deadline_seconds: DeadlineSeconds = Field(
        default=APPROVAL_SECONDS_DEFAULT, description="How long a transfer waits. 1 day by default."
    )

    @property
    def deadline(self) -> timedelta:
        """How long a transfer waits."""
        return timedelta(seconds=self.deadline_seconds)


class ApprovalRuleView(BaseModel):
    """A rule by which transfers wait for approval."""

    id: UUID
    currency: str
    threshold: int
    approvers: int
    deadline_seconds: int
    created_at: datetime
    created_by: UUID | None = Field(description="The API key.")
    retired_at: datetime | None = Field(description="null: in force")
    retired_by: UUID | None

    @staticmethod
    def of(rule: ApprovalRule) -> "ApprovalRuleView":
        """Show a rule."""
        return ApprovalRuleView(
            id=rule.id,
            currency=rule.currency,
            threshold=rule.threshold_minor,
            approvers=rule.approvers,
            deadline_seconds=int(rule.deadline.total_seconds()),
            created_at=rule.created_at,
            created_by=rule.created_by,
            retired_at=rule.retired_at,
            retired_by=rule.retired_by,
        )


class LimitsChange(ChangeBody):
    """Limits of an account: what is left out stays, and null takes a limit away."""

    per_transfer: AmountFromZero | None = None
    per_day: AmountFromZero | None = Field(default=None, description="Days of UTC.")
    per_month: AmountFromZero | None = Field(default=None, description="Months of UTC.")

    def to_changes(self) -> LimitChanges:
        """Say it in the domain's words."""
        changes = LimitChanges()
        if "per_transfer" in self.model_fields_set:
            changes["per_transfer_minor"] = self.per_transfer
        if "per_day" in self.model_fields_set:
            changes["per_day_minor"] = self.per_day
        if "per_month" in self.model_fields_set:
            changes["per_month_minor"] = self.per_month
        return changes


class LimitsView(BaseModel):
    """How much an account may send, in minor units; null is without limit."""

    account_id: UUID
    currency: str
    per_transfer: int | None
    per_day: int | None
    per_month: int | None
    used_today: int | None = Field(description="null where the account has no limits")
    used_this_month: int | None = Field(description="null where the account has no limits")
    left_today: int | None = Field(description="Of the limit per day alone.")
    left_this_month: int | None = Field(description="Of the limit per month alone.")

    @staticmethod
    def of(account: Account, usage: LimitUsage | None) -> "LimitsView":
        """Show an account's limits."""
        limits = usage.limits if usage else AccountLimits(account.id)
        used_today = usage.used_today_minor if usage else None
        used_this_month = usage.used_this_month_minor if usage else None
        return LimitsView(
            account_id=account.id,
            currency=account.currency,
            per_transfer=limits.per_transfer_minor,
            per_day=limits.per_day_minor,
            per_month=limits.per_month_minor,
            used_today=used_today,
            used_this_month=used_this_month,
            left_today=_left(limits.per_day_minor, used_today),
            left_this_month=_left(limits.per_month_minor, used_this_month),
        )


def _left(limit_minor: int | None, used_minor: int | None) -> int | None:
    # A limit may be set below what is used already.
    return None if limit_minor is None else max(limit_minor - (used_minor or 0), 0)
