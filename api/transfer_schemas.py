"""What clients send to make transfers and reversals."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from api.fields import (
    AccountName,
    Amount,
    CurrencyCode,
    Description,
    HoldSeconds,
    Metadata,
    Moment,
)
from api.schemas import Notes, RequestBody
from domain.errors import FieldProblem, ValidationFailed
from domain.ids import TransferId
from domain.limits import LEGS_MAXIMUM
from domain.money import Money
from domain.transfers import (
    CaptureMode,
    LegRequest,
    ReversalRequest,
    TransferRequest,
    TransferType,
)

ONE_LEG: Final = "one_leg"


SEVERAL_LEGS: Final = "several_legs"


class LegCreate(RequestBody):
    """One movement of money within a transfer."""

    source: AccountName
    destination: AccountName
    amount: Amount
    currency: CurrencyCode

    def to_request(self) -> LegRequest:
        """Say it in the domain's words."""
        return LegRequest(self.source, self.destination, Money(self.amount, self.currency))


class Movement(Notes):
    """Money between two accounts: what a transfer, a row of a batch and a standing order share."""

    type: Literal[TransferType.INTERNAL, TransferType.DEPOSIT, TransferType.WITHDRAWAL] = (
        TransferType.INTERNAL
    )
    source: AccountName | None = Field(
        default=None, description="Left out of a DEPOSIT: the money comes from settlement."
    )
    destination: AccountName | None = Field(
        default=None, description="Left out of a WITHDRAWAL: the money goes to settlement."
    )
    amount: Amount
    currency: CurrencyCode


class Dated(RequestBody):
    """When money counts that moves now."""

    effective_at: Moment | None = Field(
        default=None, description="When the money counts; the moment of recording by default."
    )


class Timed(Dated):
    """When to move money, and when it counts."""

    execute_at: Moment | None = Field(
        default=None,
        description="When to carry it out, at most 366 days ahead; funds are checked then.",
    )


class TransferCreate(Movement, Timed):
    """Money to be moved."""

    capture: CaptureMode = Field(
        default=CaptureMode.AUTOMATIC,
        description="manual: hold the money now, and move it by captures later.",
    )
    expires_at: Moment | None = Field(
        default=None, description="When a hold with manual capture ends; at most 31 days ahead."
    )
    expires_in_seconds: HoldSeconds | None = Field(
        default=None, description="The same, from the reserve on. 7 days where both are left out."
    )

    def to_request(self, idempotency_key: str) -> TransferRequest:
        """Say it in the domain's words.

        Raises
        ------
        ValidationFailed
            Fields that only a manual capture has, or both of two that exclude each other.
        """
        problems = list(_misfits(self))
        if problems:
            raise ValidationFailed(problems)
        seconds = self.expires_in_seconds
        return TransferRequest(
            idempotency_key=idempotency_key,
            type=TransferType(self.type),
            source=self.source,
            destination=self.destination,
            money=Money(self.amount, self.currency),
            description=self.description,
            metadata=self.metadata,
            effective_at=self.effective_at,
            capture=self.capture,
            expires_at=self.expires_at,
            hold_for=None if seconds is None else timedelta(seconds=seconds),
            execute_at=self.execute_at,
        )


class LegsCreate(Notes, Timed):
    """Money to be moved along several legs: all of them, or none."""

    type: Literal[TransferType.INTERNAL] = TransferType.INTERNAL
    legs: Annotated[list[LegCreate], Field(min_length=2, max_length=LEGS_MAXIMUM)] = Field(
        description="Entries follow this order; funds are checked net per account over all legs."
    )

    def to_request(self, idempotency_key: str) -> TransferRequest:
        """Say it in the domain's words; the first leg's sides and money are the transfer's."""
        legs = tuple(leg.to_request() for leg in self.legs)
        return TransferRequest(
            idempotency_key=idempotency_key,
            type=TransferType(self.type),
            source=legs[0].source,
            destination=legs[0].destination,
            money=legs[0].money,
            description=self.description,
            metadata=self.metadata,
            effective_at=self.effective_at,
            execute_at=self.execute_at,
            legs=legs,
        )


def _shape_of(body: Any) -> str:
    return SEVERAL_LEGS if isinstance(body, dict) and "legs" in body else ONE_LEG


TransferBody: TypeAlias = Annotated[
    Annotated[TransferCreate, Tag(ONE_LEG)] | Annotated[LegsCreate, Tag(SEVERAL_LEGS)],
    Discriminator(_shape_of),
]
"""What creates a transfer; the tags show up in the locations of errors, and are taken out there."""


def _misfits(body: TransferCreate) -> Iterator[FieldProblem]:
    """Find fields that do not go together."""
    if body.capture is CaptureMode.MANUAL:
        if body.expires_at is not None and body.expires_in_seconds is not None:
            yield FieldProblem(
                "expires_in_seconds", "not_allowed", "must be left out beside expires_at"
            )
        if body.effective_at is not None:
            yield FieldProblem(
                "effective_at",
                "not_allowed",
                "must be left out of a manual capture: each capture counts from its own moment",
            )
        return
    for field in ("expires_at", "expires_in_seconds"):
        if getattr(body, field) is not None:
            yield FieldProblem(field, "not_allowed", "is only for a transfer with capture manual")


class ReversalCreate(RequestBody):
    """Money to be taken back along a transfer."""

    amount: Amount | None = Field(
        default=None, description="All that is not reversed yet where left out."
    )
    reason: Description | None = None
    metadata: Metadata = Field(default_factory=dict)

    def to_request(self, idempotency_key: str, transfer_id: TransferId) -> ReversalRequest:
        """Say it in the domain's words."""
        return ReversalRequest(
            idempotency_key, transfer_id, self.amount, self.reason, self.metadata
        )
