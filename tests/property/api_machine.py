"""A client that does anything in any order, and holds each answer of the API against the model."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, TypeVar

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule

from domain.limits import AMOUNT_MAXIMUM_MINOR
from domain.states import TransferStage
from services.access import AccessService
from tests.property.api_bank import STATUSES, ApiBank, Heard, shown
from tests.property.bank_histories import (
    BOUNDS,
    CHANGES,
    CUSTOMERS,
    DAYS,
    DECIDERS,
    LIMITS,
    OVERDRAFTS,
    PARTS,
    PLACES,
    WISHES,
)
from tests.property.bank_model import Bank
from tests.property.bank_parts import Answer, Command, Wish

Result = TypeVar("Result")

ANSWER_SECONDS: Final = 60
AT_ONCE: Final = 4
ON_TRANSFERS: Final = frozenset({"send", "reverse"})

API_WISHES = st.one_of(
    WISHES,
    WISHES,
    WISHES,
    WISHES.filter(lambda wish: not wish.is_hold).map(lambda wish: replace(wish, is_scheduled=True)),
)


@dataclass(frozen=True, slots=True)
class Ground:
    """What a machine runs on: the stack, and the loop that its client belongs to."""

    loop: asyncio.AbstractEventLoop
    http: httpx.AsyncClient
    access: AccessService

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Do on the loop what a thread of another asks for."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(ANSWER_SECONDS)


class ApiMachine(RuleBasedStateMachine):
    """One tenant's life; a subclass says on what ground."""

    ground: ClassVar[Ground]

    sent = Bundle("sent")
    """Commands whose transfers are on record."""
    operated = Bundle("operated")
    """Commands that were operations on transfers."""

    @initialize()
    def open(self) -> None:
        self.model = Bank.of(OVERDRAFTS)
        self.bank = self.run(ApiBank.open(self.ground.http, self.ground.access, OVERDRAFTS))
        self.first: dict[str, Heard] = {}
        self.keys = 0

    @rule(target=sent, wish=API_WISHES)
    def send(self, wish: Wish) -> Any:
        return self.make(Command("send", self.new_key(), wish=wish))

    @rule(target=sent, wish=API_WISHES)
    def send_at_once(self, wish: Wish) -> Any:
        """Send one request several times at once: one transfer, and all get its outcome."""
        command = Command("send", self.new_key(), wish=wish)
        expected = self.model.take(command)
        heard = self.run(self._at_once(command))
        if expected.code is not None:
            assert [each.answer for each in heard] == [expected] * AT_ONCE
            return multiple()
        assert [each.answer for each in heard] == [expected] * AT_ONCE
        assert [each.is_replay for each in heard].count(False) == 1
        self.require_balances()
        return command

    @rule(target=sent, command=sent, amount=PARTS)
    def reverse(self, command: Command, amount: int | None) -> Any:
        return self.make(Command("reverse", self.new_key(), command.key, amount=amount))

    @rule(command=sent | operated)
    def repeat(self, command: Command) -> None:
        self.ask(command)

    @rule(command=sent | operated, other=sent)
    def use_a_key_again_for_another_request(self, command: Command, other: Command) -> None:
        # By the key that may do anything: that of an approver may not cancel.
        changed = Command("cancel", command.key, other.key)
        if command.wish is not None:
            source, destination, amount = command.wish.legs[0]
            other_amount = amount + 1 if amount < AMOUNT_MAXIMUM_MINOR else amount - 1
            legs = ((source, destination, other_amount), *command.wish.legs[1:])
            changed = replace(command, wish=replace(command.wish, legs=legs))
        if changed.request != command.request:
            self.ask(changed)

    @rule(
        target=operated,
        command=sent,
        amount=PARTS | st.just(0),
        is_final=st.sampled_from((None, None, True, False)),
    )
    def capture(self, command: Command, amount: int | None, is_final: bool | None) -> Any:  # noqa: FBT001 - drawn by name
        asked = Command("capture", self.new_key(), command.key, amount=amount, is_final=is_final)
        return self.operate(asked)

    @rule(target=operated, command=sent, day=DAYS)
    def extend(self, command: Command, day: int) -> Any:
        return self.operate(Command("extend", self.new_key(), command.key, day=day))

    @rule(target=operated, command=sent)
    def cancel(self, command: Command) -> Any:
        return self.operate(Command("cancel", self.new_key(), command.key))

    @rule(target=operated, command=sent, by=DECIDERS, verb=st.sampled_from(("approve", "reject")))
    def decide(self, command: Command, by: int, verb: str) -> Any:
        return self.operate(Command(verb, self.new_key(), command.key, by=by))

    @rule(account=PLACES, verb=st.sampled_from(CHANGES[:-1]))
    def change_status(self, account: int, verb: str) -> None:
        self.ask(Command(verb, account=account))

    @rule(account=PLACES, amount=BOUNDS, verb=st.sampled_from(("overdraw", *LIMITS[:2])))
    def bound(self, account: int, amount: int, verb: str) -> None:
        self.ask(Command(verb, account=account, amount=amount))

    @rule(account=PLACES)
    def unlimit(self, account: int) -> None:
        self.ask(Command("unlimit", account=account))

    @rule(amount=BOUNDS, by=st.sampled_from((1, 2)))
    def make_rule(self, amount: int, by: int) -> None:
        self.ask(Command("make_rule", amount=amount, by=by))

    @rule(amount=BOUNDS)
    def retire_rule(self, amount: int) -> None:
        if amount in self.bank.rules:
            self.ask(Command("retire_rule", amount=amount))

    @rule(command=sent)
    def look(self, command: Command) -> None:
        """Read a transfer, its entries and its log."""
        found = self.run(self.bank.read(command.key))
        transfer = self.model.transfers[command.key]
        assert shown(found) == transfer.answer
        assert found["approvals_required"] == (transfer.approvals_required or None)
        entries = self.run(self.bank.listed(f"/transfers/{found['id']}/entries"))
        moved = transfer.moved - transfer.wish.amount + sum(leg[2] for leg in transfer.wish.legs)
        expected = moved if transfer.moved else 0
        for direction in ("DEBIT", "CREDIT"):
            amounts = [e["amount"] for e in entries if e["direction"] == direction]
            assert sum(amounts) == expected
        events = self.run(self.bank.listed(f"/transfers/{found['id']}/events"))
        assert events[-1]["stage"] == transfer.stage

    @rule(stage=st.sampled_from(TransferStage))
    def list_by_stage(self, stage: TransferStage) -> None:
        listed = self.run(self.bank.listed("/transfers", stage=stage))
        names = {identifier: key for key, identifier in self.bank.transfers.items()}
        found = {names[transfer["id"]]: shown(transfer) for transfer in listed}
        transfers = self.model.transfers.items()
        assert found == {key: each.answer for key, each in transfers if each.stage is stage}

    def make(self, command: Command) -> Any:
        """Ask for a transfer; give the command where it is on record."""
        self.ask(command)
        return command if command.key in self.model.transfers else multiple()

    def operate(self, command: Command) -> Any:
        """Ask for an operation; give the command where it was done."""
        self.ask(command)
        return command if command.key in self.model.operated else multiple()

    def ask(self, command: Command) -> None:
        """Ask the API and the model for the same, and compare all that is to be seen of it."""
        is_repeat = command.key in self.model.requests
        expected = self.model.take(command)
        heard = self.run(self.bank.take(command))
        assert heard.answer == expected, (command, heard)
        assert heard.status == status_of(command, expected), (command, heard)
        assert heard.is_replay == (is_repeat and expected.code is None), (command, heard)
        if command.key and expected.code is None:
            first = self.first.setdefault(command.key, heard)
            # What was only promised may have come to its end since.
            if first.status != 202:
                assert (heard.status, heard.body) == (first.status, first.body)
        if command.verb == "approve":
            self.settle(command.transfer)
        self.require_balances()

    def settle(self, key: str) -> None:
        """Let an approved transfer go on to its end."""
        transfer = self.model.transfers.get(key)
        if transfer is not None and transfer.stage is TransferStage.RESERVED:
            self.model.settle(key)
            if not transfer.wish.is_hold:
                assert shown(self.run(self.bank.settled(key))) == transfer.answer

    def require_balances(self) -> None:
        found = {account["id"]: account for account in self.run(self.bank.read_accounts())}
        for place, account in enumerate(self.model.accounts):
            seen = found[self.bank.accounts[place]]
            assert seen["balance"] == {
                "posted": account.posted,
                "held": account.held,
                "available": account.available,
            }, place
            assert (seen["status"], seen["overdraft_limit"]) == (account.status, account.overdraft)

    def new_key(self) -> str:
        self.keys += 1
        return f"key-{self.keys}"

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return self.ground.run(coroutine)

    async def _at_once(self, command: Command) -> list[Heard]:
        return await asyncio.gather(*(self.bank.take(command) for _ in range(AT_ONCE)))


def status_of(command: Command, answer: Answer) -> int:
    """Tell what an answer's HTTP status must be."""
    if answer.code == "account_closed":
        return 409 if command.account in CUSTOMERS and not command.key else 422
    if answer.code is not None:
        return STATUSES[answer.code]
    if command.verb == "make_rule":
        return 201
    if command.verb not in ON_TRANSFERS:
        return 200
    if answer.failure is not None:
        return 422
    is_hold = command.wish is not None and command.wish.is_hold
    is_done = answer.stage is TransferStage.COMPLETED or (
        is_hold and answer.stage is TransferStage.RESERVED
    )
    return 201 if is_done else 202
