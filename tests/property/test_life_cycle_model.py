"""Random lives of holds, reversals and legs on the services and PostgreSQL, against a model."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.accounts import AccountReference
from domain.errors import DomainError, HoldExpired, TransferCancelled
from domain.ids import ApiKeyId
from domain.money import Money
from domain.operations import Operation, OperationOrder
from domain.states import TransferStage
from domain.transfers import (
    CaptureMode,
    LegRequest,
    ReversalRequest,
    Transfer,
    TransferRequest,
    TransferType,
)
from persistence.database import Database
from runtime.composition import Services, make_services
from services.idempotency import digest
from tests.property.test_services_model import (
    CURRENCY,
    CUSTOMERS,
    LIMIT_MINOR,
    Ledger,
    new_ledger,
)
from tests.support.postgres import PostgresServer

TRANSFERS: Final = range(4)
FIRST_END: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Wish:
    """A transfer to be made: a hold, a plain transfer, or several legs."""

    is_hold: bool
    legs: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Act:
    """One call of a service. The number of the act is its idempotency key, unless it repeats."""

    verb: str
    transfer: int = 0
    amount: int | None = None
    is_final: bool | None = None
    account: int = 0
    key: int = 0


PLACES = st.sampled_from(CUSTOMERS)
AMOUNTS = st.sampled_from((1, 30, 50, LIMIT_MINOR))
LEGS = st.tuples(PLACES, PLACES, AMOUNTS).filter(lambda leg: leg[0] != leg[1])
WISHES = st.one_of(
    st.builds(Wish, st.just(value=True), st.tuples(LEGS)),
    st.builds(Wish, st.just(value=True), st.tuples(LEGS)),
    st.builds(Wish, st.just(value=False), st.tuples(LEGS)),
    st.builds(Wish, st.just(value=False), st.lists(LEGS, min_size=2, max_size=4).map(tuple)),
)
WISH_OF_TRANSFER = st.lists(WISHES, min_size=len(TRANSFERS), max_size=len(TRANSFERS))
PARTS = st.one_of(st.none(), st.sampled_from((0, 1, 20, 30, 50, LIMIT_MINOR, LIMIT_MINOR + 1)))
VERBS = st.sampled_from(
    ("make",) * 4
    + ("capture",) * 5
    + ("reverse",) * 3
    + ("post",) * 3
    + ("expire", "expire_early", "extend", "cancel", "freeze", "unfreeze")
)


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[Wish], list[Act]]:
    """Draw wishes, and acts in any order; now and then an act is done again."""
    wishes = draw(WISH_OF_TRANSFER)
    acts: list[Act] = []
    for number, verb in enumerate(draw(st.lists(VERBS, min_size=10, max_size=40))):
        if acts and draw(st.integers(0, 9)) == 9:
            acts.append(draw(st.sampled_from(acts)))
        acts.append(
            Act(
                verb,
                transfer=draw(st.sampled_from(TRANSFERS)),
                amount=draw(PARTS) if verb in {"capture", "reverse"} else None,
                is_final=draw(st.sampled_from((None, True))) if verb == "capture" else None,
                account=draw(PLACES),
                key=number,
            )
        )
    return wishes, acts


@dataclass(slots=True)
class ModelTransfer:
    """A transfer in plain Python."""

    wish: Wish
    stage: TransferStage
    code: str | None = None
    captured: int = 0
    reversed: int = 0
    extensions: int = 0

    @property
    def amount(self) -> int:
        return self.wish.legs[0][2]

    @property
    def moved(self) -> int:
        if self.wish.is_hold:
            return self.captured
        return self.amount if self.stage is TransferStage.COMPLETED else 0

    @property
    def is_resting(self) -> bool:
        return self.wish.is_hold and self.stage is TransferStage.RESERVED

    @property
    def answer(self) -> str:
        if self.code:
            return f"{self.stage} {self.code}"
        return f"{self.stage} {self.captured if self.wish.is_hold else None}"


def net(legs: Sequence[tuple[int, int, int]]) -> list[int]:
    """Tell what each account sends less what it receives."""
    flows = [0] * len(CUSTOMERS)
    for source, destination, amount in legs:
        flows[source] += amount
        flows[destination] -= amount
    return flows


@dataclass(slots=True)
class Model:
    """What the services must answer to each act."""

    wishes: Sequence[Wish]
    posted: list[int] = field(default_factory=lambda: [0] * len(CUSTOMERS))
    held: list[int] = field(default_factory=lambda: [0] * len(CUSTOMERS))
    frozen: list[bool] = field(default_factory=lambda: [False] * len(CUSTOMERS))
    transfers: dict[int, ModelTransfer] = field(default_factory=dict)
    done: dict[int, str] = field(default_factory=dict)

    def take(self, act: Act) -> str:
        if act.verb in {"freeze", "unfreeze"}:
            self.frozen[act.account] = act.verb == "freeze"
            return "changed"
        if act.verb == "make":
            return self._make(act.transfer)
        return self._take_on(act)

    def _take_on(self, act: Act) -> str:
        transfer = self.transfers.get(act.transfer)
        if transfer is None:
            return "transfer_not_found"
        if act.verb in {"post", "expire", "expire_early"}:
            return self._move_on(act.verb, transfer)
        if act.key in self.done:
            return self.done[act.key]
        if act.verb == "reverse":
            return self._reverse(act, transfer)
        answer = getattr(self, f"_{act.verb}")(act, transfer)
        if answer is None:
            answer = self.done[act.key] = transfer.answer
        return str(answer)

    def _refusal(self, legs: Sequence[tuple[int, int, int]]) -> str | None:
        if any(self.frozen[place] for leg in legs for place in leg[:2]):
            return "account_frozen"
        for place, flow in enumerate(net(legs)):
            if flow > 0 and self.posted[place] - self.held[place] + LIMIT_MINOR < flow:
                return "insufficient_funds"
        return None

    def _hold(self, legs: Sequence[tuple[int, int, int]], sign: int) -> None:
        for place, flow in enumerate(net(legs)):
            self.held[place] += sign * max(flow, 0)

    def _post(self, legs: Sequence[tuple[int, int, int]]) -> None:
        for place, flow in enumerate(net(legs)):
            self.posted[place] -= flow

    def _make(self, number: int) -> str:
        wish = self.wishes[number]
        if number not in self.transfers:
            transfer = ModelTransfer(wish, TransferStage.RESERVED)
            transfer.code = self._refusal(wish.legs)
            if transfer.code:
                transfer.stage = TransferStage.FAILED
            else:
                self._hold(wish.legs, 1)
            self.transfers[number] = transfer
        return self.transfers[number].answer

    def _move_on(self, verb: str, transfer: ModelTransfer) -> str:
        legs = transfer.wish.legs
        if verb == "post" and transfer.stage is TransferStage.RESERVED and not transfer.is_resting:
            if self._frozen(legs):
                return "account_frozen"
            self._hold(legs, -1)
            self._post(legs)
            transfer.stage = TransferStage.COMPLETED
        elif verb == "expire" and transfer.is_resting:
            self._end(transfer, HoldExpired.code)
        return transfer.answer

    def _frozen(self, legs: Sequence[tuple[int, int, int]]) -> bool:
        return any(self.frozen[place] for leg in legs for place in leg[:2])

    def _end(self, transfer: ModelTransfer, code: str) -> None:
        if transfer.wish.is_hold:
            self.held[transfer.wish.legs[0][0]] -= transfer.amount - transfer.captured
        else:
            self._hold(transfer.wish.legs, -1)
        if transfer.captured:
            transfer.stage = TransferStage.COMPLETED
        else:
            transfer.stage, transfer.code = TransferStage.FAILED, code

    def _no_hold(self, transfer: ModelTransfer) -> str | None:
        if transfer.is_resting:
            return None
        if transfer.code:
            return HoldExpired.code if transfer.code == HoldExpired.code else "already_failed"
        return "already_posted" if transfer.stage is TransferStage.COMPLETED else "not_held"

    def _capture(self, act: Act, transfer: ModelTransfer) -> str | None:
        refusal = self._no_hold(transfer)
        if refusal:
            return refusal
        left = transfer.amount - transfer.captured
        amount = left if act.amount is None else act.amount
        is_last = act.is_final or act.amount is None or amount == left
        if amount > left or transfer.captured + amount == 0 or (amount == 0 and not is_last):
            return "capture_exceeds_hold"
        source, destination, _ = transfer.wish.legs[0]
        if amount:
            if self.frozen[source] or self.frozen[destination]:
                return "account_frozen"
            self.held[source] -= amount
            self.posted[source] -= amount
            self.posted[destination] += amount
            transfer.captured += amount
        if is_last:
            self._end(transfer, "")
        return None

    def _extend(self, _act: Act, transfer: ModelTransfer) -> str | None:
        refusal = self._no_hold(transfer)
        if refusal is None:
            transfer.extensions += 1
        return refusal

    def _cancel(self, _act: Act, transfer: ModelTransfer) -> str | None:
        if transfer.code:
            return "already_failed"
        if transfer.moved:
            return "already_posted"
        self._end(transfer, TransferCancelled.code)
        return None

    def _reverse(self, act: Act, transfer: ModelTransfer) -> str:
        left = transfer.moved - transfer.reversed
        amount = left if not act.amount else act.amount
        has_succeeded = transfer.stage is TransferStage.COMPLETED
        if not has_succeeded or left <= 0:
            return "not_reversible"
        legs = transfer.wish.legs
        if len(legs) > 1 and amount != transfer.moved:
            return "not_reversible"
        back = [(d, s, a if len(legs) > 1 else amount) for s, d, a in legs]
        code = "reversal_exceeds_transfer" if amount > left else self._refusal(back)
        if code is None:
            transfer.reversed += amount
            self._post(back)
        answer = f"FAILED {code}" if code else "COMPLETED None"
        self.done[act.key] = answer
        return answer


@dataclass(frozen=True, slots=True)
class Life:
    """The services, and what stands behind the numbers of accounts and transfers."""

    ledger: Ledger
    wishes: Sequence[Wish]
    api_key: ApiKeyId

    @property
    def services(self) -> Services:
        return self.ledger.services

    async def take(self, act: Act) -> str:
        """Do an act, and give its answer in the model's words."""
        try:
            if act.verb in {"freeze", "unfreeze"}:
                change = getattr(self.services.accounts, act.verb)
                await change(self.ledger.tenant_id, self._reference(act.account))
                return "changed"
            if act.verb == "make":
                return _answer(await self._make(act.transfer))
            transfer = await self.services.transactions.find_by_key(
                self.ledger.tenant_id, f"transfer-{act.transfer}"
            )
            if transfer is None:
                return "transfer_not_found"
            if act.verb == "reverse":
                return _answer(await self._reverse(act, transfer))
            return _answer(await self._move(act, transfer))
        except DomainError as error:
            return error.code

    async def _make(self, number: int) -> Transfer:
        wish = self.wishes[number]
        legs = tuple(
            LegRequest(self._reference(s), self._reference(d), Money(amount, CURRENCY))
            for s, d, amount in wish.legs
        )
        request = TransferRequest(
            idempotency_key=f"transfer-{number}",
            type=TransferType.INTERNAL,
            source=legs[0].source,
            destination=legs[0].destination,
            money=legs[0].money,
            description=None,
            metadata={},
            effective_at=None,
            capture=CaptureMode.MANUAL if wish.is_hold else CaptureMode.AUTOMATIC,
            hold_for=FIRST_END if wish.is_hold else None,
            legs=legs if len(legs) > 1 else (),
        )
        prepared = await self.services.requests.prepare(self.ledger.tenant_id, request)
        return await self.services.transactions.reserve(prepared.order)

    async def _reverse(self, act: Act, transfer: Transfer) -> Transfer:
        """Reverse as the saga does: reserve, post, finalise, or give up."""
        transactions, tenant_id = self.services.transactions, self.ledger.tenant_id
        request = ReversalRequest(f"act-{act.key}", transfer.id, act.amount or None, None, {})
        prepared = await self.services.requests.prepare_reversal(tenant_id, request)
        reversal = await transactions.reserve(prepared.order)
        if reversal.is_final:
            return reversal
        await transactions.post(tenant_id, reversal.id)
        return await transactions.finalise(tenant_id, reversal.id)

    async def _move(self, act: Act, transfer: Transfer) -> Transfer:
        transactions, tenant_id = self.services.transactions, self.ledger.tenant_id
        if act.verb == "post":
            posted = await transactions.post(tenant_id, transfer.id)
            is_posted = posted.stage is TransferStage.POSTED
            return await transactions.finalise(tenant_id, transfer.id) if is_posted else posted
        if act.verb == "expire_early":
            return await transactions.expire(tenant_id, transfer.id, transfer.created_at)
        if act.verb == "expire":
            end = transfer.created_at + timedelta(days=365)
            return await transactions.expire(tenant_id, transfer.id, end)
        operation = Operation(act.verb)
        asked = {"act": act.key, "transfer": str(transfer.id)}
        order = OperationOrder(
            tenant_id=tenant_id,
            transfer_id=transfer.id,
            idempotency_key=f"act-{act.key}",
            fingerprint=digest(asked),
            operation=operation,
            requested_by=self.api_key,
            amount_minor=act.amount,
            is_final=act.is_final,
            expires_at=_later(transfer) if operation is Operation.EXTEND else None,
        )
        return await self.services.operations.carry_out(order)

    def _reference(self, place: int) -> AccountReference:
        return AccountReference("", id=self.ledger.accounts[place].id)


def _later(transfer: Transfer) -> datetime:
    return (transfer.expires_at or datetime.now(UTC)) + timedelta(seconds=1)


def _answer(transfer: Transfer) -> str:
    if transfer.failure:
        return f"{transfer.stage} {transfer.failure.code}"
    return f"{transfer.stage} {transfer.captured_minor}"


@pytest.fixture(scope="module")
async def own_services(postgres: PostgresServer) -> AsyncIterator[Services]:
    """Services over a database that no worker and no reconciliation touches."""
    async with postgres.database() as url:
        database = Database.at(postgres.as_service(url))
        yield make_services(database)
        await database.close()


async def new_life(services: Services, wishes: Sequence[Wish]) -> Life:
    ledger = await new_ledger(services)
    [key] = [
        key for key in await services.access.list_keys(None) if key.tenant_id == ledger.tenant_id
    ]
    return Life(ledger, wishes, key.id)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(life=lives())
async def test_every_life_of_transfers_goes_as_the_model_says(
    own_services: Services, life: tuple[list[Wish], list[Act]]
) -> None:
    wishes, acts = life
    services, model = await new_life(own_services, wishes), Model(wishes)
    for number, act in enumerate(acts):
        assert (number, await services.take(act)) == (number, model.take(act))
    expected = list(zip(model.posted, model.held, strict=True))
    assert (await services.ledger.amounts())[: len(CUSTOMERS)] == expected
    await services.ledger.require_invariants()


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(life=lives(), lanes=st.integers(3, 8))
async def test_acts_at_the_same_time_never_wait_for_each_other_and_conserve_the_sum(
    own_services: Services, life: tuple[list[Wish], list[Act]], lanes: int
) -> None:
    wishes, acts = life
    services = await new_life(own_services, wishes)
    answers: set[str] = set()
    await asyncio.gather(*(services.take(Act("make", number)) for number in TRANSFERS))

    async def run(lane: int) -> None:
        for act in acts[lane::lanes]:
            answers.add(await services.take(act))

    await asyncio.gather(*(run(lane) for lane in range(lanes)))

    # No deadlock, no constraint that only the database remembered.
    assert not answers & {"database_unavailable", "ledger_rule_violated", "illegal_transition"}
    assert sum(posted for posted, _ in await services.ledger.amounts()) == 0
    await services.ledger.require_invariants()
