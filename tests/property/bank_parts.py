"""What the model of the bank is made of: what is asked of it, what it says, what it keeps."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from domain.states import TransferStage as Stage
from domain.transfers import TransferType

Leg: TypeAlias = tuple[int, int, int]
"""Places of source and destination, and an amount."""

MAKER: Final = 0
"""The API key that makes transfers; others only decide on them."""

FINAL: Final = frozenset({Stage.COMPLETED, Stage.FAILED})


@dataclass(frozen=True, slots=True)
class Wish:
    """A transfer that is asked for."""

    type: TransferType
    legs: tuple[Leg, ...]
    is_hold: bool = False
    ends_on: int = 1
    is_scheduled: bool = False

    @property
    def amount(self) -> int:
        return self.legs[0][2]


@dataclass(frozen=True, slots=True)
class Command:
    """One thing that is asked of the bank; ``verb`` is the name of a method of ``Bank``.

    Parameters
    ----------
    key
        The idempotency key.
    transfer
        Key of the transfer that it is about.
    day
        When a hold is to end.
    by
        The API key that asks.
    taken
        What a reversal takes back that named no amount, as its preparation found.
    """

    verb: str
    key: str = ""
    transfer: str = ""
    wish: Wish | None = None
    account: int = 0
    amount: int | None = None
    is_final: bool | None = None
    day: int = 0
    by: int = MAKER
    taken: int | None = None

    @property
    def request(self) -> tuple[object, ...]:
        """What a repeat under the same key must ask for again."""
        verb = self.verb.removeprefix("prepare_")
        return (verb, self.transfer, self.wish, self.amount, self.is_final, self.day)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the bank says: a refusal that records nothing, a transfer, or only that it is done."""

    code: str | None = None
    stage: Stage | None = None
    failure: str | None = None
    amount: int = 0
    moved: int = 0
    reversed: int = 0


DONE: Final = Answer()


class Refused(Exception):
    """Nothing is done and no key is used up."""

    def __init__(self, code: str) -> None:
        self.code = code


@dataclass(slots=True)
class Account:
    """An account; an overdraft of ``None`` is without limit."""

    overdraft: int | None
    posted: int = 0
    held: int = 0
    status: str = "ACTIVE"
    per_transfer: int | None = None
    per_day: int | None = None
    sent: int = 0
    """What reserves have taken today, less what was released."""

    @property
    def available(self) -> int:
        return self.posted - self.held + (self.overdraft or 0)

    def require_active(self) -> None:
        if self.status != "ACTIVE":
            raise Refused(f"account_{self.status.lower()}")

    def require_within_limits(self, amount: int) -> None:
        for limit, used in ((self.per_transfer, 0), (self.per_day, self.sent)):
            if limit is not None and used + amount > limit:
                raise Refused("limit_exceeded")


@dataclass(slots=True)
class Transfer:
    """A transfer that is on record."""

    wish: Wish
    stage: Stage
    ends_on: int
    failure: str | None = None
    captured: int = 0
    reversed: int = 0
    original: str | None = None
    """Key of the transfer that a reversal goes back along."""
    was_reserved: bool = False
    approvals_required: int = 0
    approvers: list[int] = field(default_factory=list)

    @property
    def moved(self) -> int:
        if self.wish.is_hold:
            return self.captured
        return self.wish.amount if self.stage in {Stage.POSTED, Stage.COMPLETED} else 0

    @property
    def is_resting_hold(self) -> bool:
        return self.wish.is_hold and self.stage is Stage.RESERVED

    @property
    def answer(self) -> Answer:
        return Answer(
            stage=self.stage,
            failure=self.failure,
            amount=self.wish.amount,
            moved=self.moved,
            reversed=self.reversed,
        )

    @property
    def first_answer(self) -> Answer:
        """What a repeat of the request hears: what became of it, or that a hold was made."""
        if self.wish.is_hold and self.was_reserved:
            return Answer(stage=Stage.RESERVED, amount=self.wish.amount)
        return replace(self.answer, reversed=0)

    def fail(self, code: str) -> None:
        self.stage, self.failure = Stage.FAILED, code

    def require_held(self) -> None:
        """Refuse what only a hold that waits for its capture can take."""
        if self.is_resting_hold:
            return
        if self.failure:
            raise Refused("expired" if self.failure == "expired" else "already_failed")
        raise Refused("already_posted" if self.stage is Stage.COMPLETED else "not_held")

    def require_decidable(self, by: int) -> None:
        """Refuse a decision that is not due, or not this key's."""
        if self.stage is not Stage.AWAITING_APPROVAL:
            raise Refused("not_awaiting_approval")
        if by == MAKER:
            raise Refused("maker_cannot_approve")
        if by in self.approvers:
            raise Refused("already_approved")


def net_outflows(legs: Iterable[Leg]) -> dict[int, int]:
    """Tell how much more than it receives each account sends."""
    flows: dict[int, int] = {}
    for source, destination, amount in legs:
        flows[source] = flows.get(source, 0) + amount
        flows[destination] = flows.get(destination, 0) - amount
    return {place: flow for place, flow in flows.items() if flow > 0}
