"""The bank in plain Python: what must be the answer to each thing that is asked of it.

The services and the HTTP API are both held against it. It has no ids and no clock: accounts are
known by their places, transfers by their keys, times by the numbers of days.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from domain.states import TransferStage as Stage
from domain.transfers import TransferType
from tests.property.bank_parts import (
    DONE,
    FINAL,
    Account,
    Answer,
    Command,
    Leg,
    Refused,
    Transfer,
    Wish,
    net_outflows,
)

Effect: TypeAlias = Callable[[Transfer], None]

GIVEN_UP: Final = "given_up"
"""Why a transfer fails that is compensated."""


@dataclass(slots=True)
class Bank:
    """All that is to be known of a tenant's accounts of one currency.

    Each method that is the verb of a command does one thing whole, as one transaction does.
    """

    accounts: list[Account]
    transfers: dict[str, Transfer] = field(default_factory=dict)
    requests: dict[str, tuple[object, ...]] = field(default_factory=dict)
    """What each idempotency key stands for."""
    operated: dict[str, Answer] = field(default_factory=dict)
    rules: dict[int, int] = field(default_factory=dict)
    """Approvers by threshold."""

    @classmethod
    def of(cls, overdrafts: Sequence[int]) -> "Bank":
        """Open accounts with these overdrafts, and behind them the settlement account."""
        return cls([*(Account(overdraft) for overdraft in overdrafts), Account(None)])

    def take(self, command: Command) -> Answer:
        """Do what is asked for, and give the answer."""
        try:
            answer: Answer = getattr(self, command.verb)(command)
        except Refused as refused:
            return Answer(refused.code)
        return answer

    @property
    def end(self) -> tuple[list[tuple[int, int]], dict[str, Answer]]:
        """What is posted and held on each account, and what became of each transfer."""
        amounts = [(account.posted, account.held) for account in self.accounts]
        return amounts, {key: transfer.answer for key, transfer in self.transfers.items()}

    # Transfers, step by step as the saga takes them.

    def ask(self, command: Command) -> Answer:
        """Record a wish and hold its funds, once for its key."""
        wish = command.wish
        assert wish is not None
        if any(source == destination for source, destination, _ in wish.legs):
            raise Refused("same_account")
        earlier = self._earlier(command)
        return earlier.answer if earlier else self._record(command, wish).answer

    def prepare_reversal(self, command: Command) -> Answer:
        """Say how much a reversal would take back, or why there is nothing to reverse."""
        original = self._find(command.transfer)
        earlier = self._earlier(command)
        if earlier:
            return Answer(amount=earlier.wish.amount)
        amount = original.moved - original.reversed if command.amount is None else command.amount
        is_reversible = original.stage is Stage.COMPLETED and original.reversed < original.moved
        is_whole = len(original.wish.legs) == 1 or amount == original.moved
        if original.original is not None or not is_reversible or not is_whole:
            raise Refused("not_reversible")
        return Answer(amount=amount)

    def reversal(self, command: Command) -> Answer:
        """Record a prepared reversal and hold its funds, once for its key."""
        earlier = self._earlier(command)
        if earlier:
            return earlier.answer
        legs, amount = self._find(command.transfer).wish.legs, command.taken
        assert amount is not None
        back = tuple((d, s, a if len(legs) > 1 else amount) for s, d, a in legs)
        wish = Wish(TransferType.REVERSAL, back)
        return self._record(command, wish, original=command.transfer).answer

    def post(self, command: Command) -> Answer:
        """Move the money of a reserved transfer that waits for nobody."""
        transfer = self._find(command.transfer)
        if transfer.stage is Stage.RESERVED and not transfer.wish.is_hold:
            legs = transfer.wish.legs
            for place in sorted({place for leg in legs for place in leg[:2]}):
                self.accounts[place].require_active()
            self._hold(legs, -1)
            self._move(legs)
            transfer.stage = Stage.POSTED
        return transfer.answer

    def finalise(self, command: Command) -> Answer:
        """Complete a posted transfer."""
        transfer = self._find(command.transfer)
        if transfer.stage is Stage.POSTED:
            transfer.stage = Stage.COMPLETED
        elif transfer.stage not in FINAL:
            raise Refused("illegal_transition")
        return transfer.answer

    def compensate(self, command: Command) -> Answer:
        """Bring a transfer to its one right end."""
        transfer = self._find(command.transfer)
        if transfer.stage not in FINAL:
            self._end(transfer, GIVEN_UP)
        return transfer.answer

    def expire(self, command: Command) -> Answer:
        """End a hold or an approval whose time has come."""
        transfer = self._find(command.transfer)
        if transfer.stage is Stage.AWAITING_APPROVAL:
            self._end(transfer, "approval_expired")
        elif transfer.is_resting_hold:
            self._end(transfer, "expired")
        return transfer.answer

    def expire_early(self, command: Command) -> Answer:
        """Do nothing: the time has not come."""
        return self._find(command.transfer).answer

    # Transfers as the API takes them: to their end, or to where they rest.

    def send(self, command: Command) -> Answer:
        """Make a transfer, or give its first answer again."""
        is_repeat = command.key in self.requests
        self.ask(command)
        return self._brought_on(command.key, is_repeat=is_repeat)

    def reverse(self, command: Command) -> Answer:
        """Take money back along a transfer, or give the first answer again."""
        is_repeat = command.key in self.requests
        prepared = self.prepare_reversal(command)
        self.reversal(replace(command, taken=prepared.amount))
        return self._brought_on(command.key, is_repeat=is_repeat)

    def settle(self, key: str) -> None:
        """Bring a transfer to its end that waits for nobody."""
        command = Command("post", transfer=key)
        transfer = self.transfers[key]
        if transfer.stage is not Stage.RESERVED or transfer.wish.is_hold:
            return
        try:
            self.post(command)
        except Refused as refused:
            self._end(transfer, refused.code)
        else:
            self.finalise(command)

    # Operations on transfers that rest, once for each key.

    def capture(self, command: Command) -> Answer:
        """Move what is held, as a whole or in part; the last capture releases the rest."""

        def effect(transfer: Transfer) -> None:
            transfer.require_held()
            left = transfer.wish.amount - transfer.captured
            amount = left if command.amount is None else command.amount
            is_last = command.is_final or command.amount is None or amount == left
            if amount > left or transfer.captured + amount == 0 or not (amount or is_last):
                raise Refused("capture_exceeds_hold")
            source, destination, _ = transfer.wish.legs[0]
            if amount:
                for place in sorted((source, destination)):
                    self.accounts[place].require_active()
                self.accounts[source].held -= amount
                self._move([(source, destination, amount)])
                transfer.captured += amount
            if is_last:
                self._end(transfer, "")

        return self._operate(command, effect)

    def extend(self, command: Command) -> Answer:
        """Let a hold stand until a later day."""

        def effect(transfer: Transfer) -> None:
            transfer.require_held()
            if command.day <= transfer.ends_on:
                raise Refused("expiry_not_later")
            transfer.ends_on = command.day

        return self._operate(command, effect)

    def cancel(self, command: Command) -> Answer:
        """Give a transfer up of which nothing has moved."""

        def effect(transfer: Transfer) -> None:
            if transfer.failure:
                raise Refused("already_failed")
            if transfer.moved:
                raise Refused("already_posted")
            self._end(transfer, "cancelled")

        return self._operate(command, effect)

    def approve(self, command: Command) -> Answer:
        """Count an approval; the last one that is needed lets the transfer go on."""

        def effect(transfer: Transfer) -> None:
            transfer.require_decidable(command.by)
            transfer.approvers.append(command.by)
            if len(transfer.approvers) >= transfer.approvals_required:
                transfer.stage, transfer.was_reserved = Stage.RESERVED, True

        return self._operate(command, effect)

    def reject(self, command: Command) -> Answer:
        """Fail a transfer that waits for its approval."""

        def effect(transfer: Transfer) -> None:
            transfer.require_decidable(command.by)
            self._end(transfer, "rejected")

        return self._operate(command, effect)

    # Accounts and rules.

    def freeze(self, command: Command) -> Answer:
        return self._set_status(command, "FROZEN")

    def unfreeze(self, command: Command) -> Answer:
        return self._set_status(command, "ACTIVE")

    def close(self, command: Command) -> Answer:
        account = self.accounts[command.account]
        if account.posted or account.held:
            raise Refused("account_not_empty")
        account.status = "CLOSED"
        return DONE

    def overdraw(self, command: Command) -> Answer:
        """Set an overdraft limit."""
        account = self._open_account(command)
        assert command.amount is not None
        if account.held - account.posted > command.amount:
            raise Refused("overdraft_limit_in_use")
        account.overdraft = command.amount
        return DONE

    def limit_transfer(self, command: Command) -> Answer:
        self._open_account(command).per_transfer = command.amount
        return DONE

    def limit_day(self, command: Command) -> Answer:
        self._open_account(command).per_day = command.amount
        return DONE

    def unlimit(self, command: Command) -> Answer:
        account = self._open_account(command)
        account.per_transfer = account.per_day = None
        return DONE

    def make_rule(self, command: Command) -> Answer:
        """Let transfers of more than an amount wait for ``by`` approvers."""
        assert command.amount is not None
        if command.amount in self.rules:
            raise Refused("approval_rule_taken")
        self.rules[command.amount] = command.by
        return DONE

    def retire_rule(self, command: Command) -> Answer:
        assert command.amount is not None
        self.rules.pop(command.amount, None)
        return DONE

    def _brought_on(self, key: str, *, is_repeat: bool) -> Answer:
        if is_repeat:
            return self.transfers[key].first_answer
        self.settle(key)
        return self.transfers[key].answer

    def _set_status(self, command: Command, status: str) -> Answer:
        self._open_account(command).status = status
        return DONE

    def _open_account(self, command: Command) -> Account:
        account = self.accounts[command.account]
        if account.status == "CLOSED":
            raise Refused("account_closed")
        return account

    def _find(self, key: str) -> Transfer:
        if key not in self.transfers:
            raise Refused("transfer_not_found")
        return self.transfers[key]

    def _earlier(self, command: Command) -> Transfer | None:
        """Find the transfer that a key was used for."""
        if command.key not in self.requests:
            return None
        if self.requests[command.key] != command.request:
            raise Refused("idempotency_key_reused")
        return self.transfers[command.key]

    def _record(self, command: Command, wish: Wish, original: str | None = None) -> Transfer:
        transfer = Transfer(wish, Stage.SCHEDULED, wish.ends_on, original=original)
        if not wish.is_scheduled:
            try:
                self._reserve(transfer)
            except Refused as refused:
                transfer.fail(refused.code)
        self.transfers[command.key] = transfer
        self.requests[command.key] = command.request
        return transfer

    def _reserve(self, transfer: Transfer) -> None:
        legs, outflows = transfer.wish.legs, net_outflows(transfer.wish.legs)
        original = self.transfers[transfer.original] if transfer.original else None
        if original and original.reversed + transfer.wish.amount > original.moved:
            raise Refused("reversal_exceeds_transfer")
        for leg in legs:
            for place in leg[:2]:
                self.accounts[place].require_active()
        for place, flow in outflows.items():
            account = self.accounts[place]
            if account.overdraft is not None and account.available < flow:
                raise Refused("insufficient_funds")
        if original:
            original.reversed += transfer.wish.amount
        else:
            for place, flow in outflows.items():
                self.accounts[place].require_within_limits(flow)
                self.accounts[place].sent += flow
            transfer.approvals_required = self._approvers_for(sum(leg[2] for leg in legs))
        self._hold(legs, 1)
        is_waiting = transfer.approvals_required > 0
        transfer.stage = Stage.AWAITING_APPROVAL if is_waiting else Stage.RESERVED
        transfer.was_reserved = not is_waiting

    def _approvers_for(self, amount: int) -> int:
        exceeded = [threshold for threshold in self.rules if amount > threshold]
        return self.rules[max(exceeded)] if exceeded else 0

    def _hold(self, legs: Sequence[Leg], sign: int) -> None:
        for place, flow in net_outflows(legs).items():
            self.accounts[place].held += sign * flow

    def _move(self, legs: Sequence[Leg]) -> None:
        for source, destination, amount in legs:
            self.accounts[source].posted -= amount
            self.accounts[destination].posted += amount

    def _end(self, transfer: Transfer, code: str) -> None:
        """End a transfer by what has moved; what it still holds is released."""
        if transfer.stage is Stage.POSTED:
            transfer.stage = Stage.COMPLETED
            return
        if transfer.stage is not Stage.SCHEDULED:
            self._release(transfer)
        if transfer.captured:
            transfer.stage = Stage.COMPLETED
        else:
            transfer.fail(code)

    def _release(self, transfer: Transfer) -> None:
        if transfer.original:
            self.transfers[transfer.original].reversed -= transfer.wish.amount
        for place, flow in net_outflows(transfer.wish.legs).items():
            left = flow - transfer.captured
            self.accounts[place].held -= left
            if not transfer.original:
                self.accounts[place].sent -= left

    def _operate(self, command: Command, effect: Effect) -> Answer:
        """Do an operation once for its key; a refused one uses no key up."""
        transfer = self._find(command.transfer)
        if command.key in self.requests:
            if self.requests[command.key] != command.request:
                raise Refused("idempotency_key_reused")
            return self.operated[command.key]
        effect(transfer)
        self.requests[command.key] = command.request
        self.operated[command.key] = transfer.answer
        return transfer.answer
