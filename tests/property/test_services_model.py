"""Random steps of several transfers on the services and PostgreSQL, against a plain model."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.access import Scope
from domain.accounts import Account, AccountReference
from domain.errors import DomainError
from domain.ids import TenantId, TransferId
from domain.limits import AMOUNT_MAXIMUM_MINOR
from domain.money import Money
from domain.states import ProcessState, TransferStage
from domain.transfers import Failure, Transfer, TransferRequest, TransferType
from persistence.accounts import AccountFilter
from persistence.database import Database
from persistence.tenancy import EVERY_TENANT
from persistence.verification import PROVED_IN_SQL, prove
from runtime.composition import Services, make_services
from tests.support.postgres import PostgresServer

CURRENCY: Final = "EUR"
CUSTOMERS: Final = range(3)
SETTLEMENT: Final = 3
KEYS: Final = range(6)
LIMIT_MINOR: Final = 100
GIVEN_UP: Final = Failure("given_up", "The test gave it up.")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for; accounts by their place in the list."""

    type: TransferType
    source: int
    destination: int
    amount: int


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a service."""

    verb: str
    key: int = 0
    wish: Wish | None = None
    account: int = 0
    limit: int = 0


# Few different amounts, so that exactly what is available is often asked for.
AMOUNTS = st.sampled_from((1, 50, 50, LIMIT_MINOR, LIMIT_MINOR, AMOUNT_MAXIMUM_MINOR))
PLACES = st.sampled_from(CUSTOMERS)
WISHES = st.one_of(
    st.builds(Wish, st.just(TransferType.INTERNAL), PLACES, PLACES, AMOUNTS),
    st.builds(Wish, st.just(TransferType.DEPOSIT), st.just(SETTLEMENT), PLACES, AMOUNTS),
    st.builds(Wish, st.just(TransferType.WITHDRAWAL), PLACES, st.just(SETTLEMENT), AMOUNTS),
)
WISH_OF_KEY = st.lists(WISHES, min_size=len(KEYS), max_size=len(KEYS))
MOVES = ("post", "finalise", "compensate")
VERBS = st.sampled_from(
    ("ask",) * 5 + ("post",) * 4 + ("finalise",) * 2 + ("compensate", "freeze", "unfreeze", "limit")
)


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """Draw steps in any order; a key is now and then used for another key's wish."""
    wishes = draw(WISH_OF_KEY)
    steps = []
    for verb in draw(st.lists(VERBS, min_size=10, max_size=50)):
        key = draw(st.sampled_from(KEYS))
        if verb == "ask":
            is_other = draw(st.integers(0, 9)) == 9
            steps.append(Step(verb, key, wishes[(key + is_other) % len(KEYS)]))
        elif verb in MOVES:
            steps.append(Step(verb, key))
        else:
            limit = draw(st.integers(0, 2)) * LIMIT_MINOR // 2
            steps.append(Step(verb, account=draw(PLACES), limit=limit))
    return steps


@dataclass(slots=True)
class ModelAccount:
    limit: int | None
    posted: int = 0
    held: int = 0
    is_frozen: bool = False

    def covers(self, amount: int) -> bool:
        return self.limit is None or self.posted - self.held + self.limit >= amount


@dataclass(slots=True)
class ModelTransfer:
    wish: Wish
    stage: TransferStage
    code: str | None = None

    @property
    def answer(self) -> str:
        return f"{self.stage} {self.code}" if self.code else str(self.stage)


@dataclass(slots=True)
class Model:
    """What the services must say to each step, in plain Python."""

    accounts: list[ModelAccount] = field(
        default_factory=lambda: [
            *(ModelAccount(LIMIT_MINOR) for _ in CUSTOMERS),
            ModelAccount(None),
        ]
    )
    transfers: dict[int, ModelTransfer] = field(default_factory=dict)

    def take(self, step: Step) -> str:
        """Take a step, and give its answer: the stage that it leads to, or an error's code."""
        if step.verb == "ask" and step.wish is not None:
            return self._ask(step.key, step.wish)
        if step.verb in MOVES:
            transfer = self.transfers.get(step.key)
            return self._move(step.verb, transfer) if transfer else "transfer_not_found"
        account = self.accounts[step.account]
        if step.verb != "limit":
            account.is_frozen = step.verb == "freeze"
        elif account.held - account.posted > step.limit:
            return "overdraft_limit_in_use"
        else:
            account.limit = step.limit
        return "changed"

    def _ask(self, key: int, wish: Wish) -> str:
        if wish.source == wish.destination:
            return "same_account"
        earlier = self.transfers.get(key)
        if earlier is not None:
            return earlier.answer if earlier.wish == wish else "idempotency_key_reused"
        source = self.accounts[wish.source]
        transfer = self.transfers[key] = ModelTransfer(wish, TransferStage.FAILED)
        if source.is_frozen or self.accounts[wish.destination].is_frozen:
            transfer.code = "account_frozen"
        elif not source.covers(wish.amount):
            transfer.code = "insufficient_funds"
        else:
            transfer.stage = TransferStage.RESERVED
            source.held += wish.amount
        return transfer.answer

    def _move(self, verb: str, transfer: ModelTransfer) -> str:
        wish = transfer.wish
        source, destination = self.accounts[wish.source], self.accounts[wish.destination]
        if transfer.stage is TransferStage.RESERVED:
            if verb == "finalise":
                return "illegal_transition"
            if verb == "post" and (source.is_frozen or destination.is_frozen):
                return "account_frozen"
            source.held -= wish.amount
            if verb == "post":
                source.posted -= wish.amount
                destination.posted += wish.amount
                transfer.stage = TransferStage.POSTED
            else:
                transfer.stage, transfer.code = TransferStage.FAILED, GIVEN_UP.code
        elif transfer.stage is TransferStage.POSTED and verb != "post":
            transfer.stage = TransferStage.COMPLETED
        return transfer.answer


@dataclass(frozen=True, slots=True)
class Ledger:
    """The services with a new tenant of three customer accounts and the settlement account."""

    services: Services
    tenant_id: TenantId
    accounts: Sequence[Account]

    async def take(self, step: Step) -> str:
        """Take a step, and give its answer in the model's words."""
        try:
            if step.verb in MOVES:
                return await self._move(step)
            if step.wish is not None:
                return _answer(await self.ask(step.key, step.wish))
            await self._change(step)
        except DomainError as error:
            return error.code
        return "changed"

    async def ask(self, key: int, wish: Wish) -> Transfer:
        request = TransferRequest(
            idempotency_key=f"key-{key}",
            type=wish.type,
            source=self._reference(wish.source),
            destination=self._reference(wish.destination),
            money=Money(wish.amount, CURRENCY),
            description=None,
            metadata={},
            effective_at=None,
        )
        prepared = await self.services.requests.prepare(self.tenant_id, request)
        return await self.services.transactions.reserve(prepared.order)

    async def amounts(self) -> list[tuple[int, int]]:
        """Give what is posted and held on each account."""
        found = {account.id: account.balance for account in await self._read()}
        balances = [found[account.id] for account in self.accounts]
        return [(balance.posted_minor, balance.held_minor) for balance in balances]

    async def require_invariants(self) -> None:
        async with self.services.database.snapshot(EVERY_TENANT) as snapshot:
            for invariant in PROVED_IN_SQL:
                assert (await prove(snapshot, invariant)).violations == (), invariant

    async def _read(self) -> Sequence[Account]:
        page = await self.services.accounts.list_accounts(
            self.tenant_id, AccountFilter(), after=None, limit=10
        )
        return page.items

    async def _move(self, step: Step) -> str:
        transactions, tenant_id = self.services.transactions, self.tenant_id
        found = await transactions.find_by_key(tenant_id, f"key-{step.key}")
        transfer_id = found.id if found else TransferId(tenant_id)
        if step.verb == "post":
            return _answer(await transactions.post(tenant_id, transfer_id))
        if step.verb == "finalise":
            return _answer(await transactions.finalise(tenant_id, transfer_id))
        return _answer(await transactions.compensate(tenant_id, transfer_id, GIVEN_UP))

    async def _change(self, step: Step) -> None:
        accounts, reference = self.services.accounts, self._reference(step.account)
        assert reference is not None
        if step.verb == "freeze":
            await accounts.freeze(self.tenant_id, reference)
        elif step.verb == "unfreeze":
            await accounts.unfreeze(self.tenant_id, reference)
        else:
            await accounts.change_account(
                self.tenant_id, reference, overdraft_limit_minor=step.limit, metadata=None
            )

    def _reference(self, place: int) -> AccountReference | None:
        if place == SETTLEMENT:
            return None
        return AccountReference("", id=self.accounts[place].id)


def _answer(transfer: Transfer) -> str:
    return f"{transfer.stage} {transfer.failure.code}" if transfer.failure else transfer.stage


async def new_ledger(services: Services) -> Ledger:
    key, _ = await services.access.create_key(
        tenant_name=secrets.token_hex(8), name="test", scopes=frozenset(Scope)
    )
    user = await services.accounts.create_user(
        key.tenant_id, name="Ada", external_id=None, metadata={}
    )
    for _ in CUSTOMERS:
        await services.accounts.open_account(
            key.tenant_id,
            user_id=user.id,
            currency=CURRENCY,
            external_id=None,
            overdraft_limit_minor=LIMIT_MINOR,
            metadata={},
        )
    page = await services.accounts.list_accounts(
        key.tenant_id, AccountFilter(), after=None, limit=10
    )
    customers_first = sorted(page.items, key=lambda account: (account.kind, account.id))
    return Ledger(services, key.tenant_id, customers_first)


@pytest.fixture(scope="module")
async def own_services(postgres: PostgresServer) -> AsyncIterator[Services]:
    """Services over a database that no worker and no reconciliation touches."""
    async with postgres.database() as url:
        database = Database.at(postgres.as_service(url))
        yield make_services(database)
        await database.close()


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(steps=histories())
async def test_every_step_in_every_order_does_what_the_model_says(
    own_services: Services, steps: list[Step]
) -> None:
    ledger, model = await new_ledger(own_services), Model()
    for number, step in enumerate(steps):
        assert (number, await ledger.take(step)) == (number, model.take(step))
    assert await ledger.amounts() == [(account.posted, account.held) for account in model.accounts]
    await ledger.require_invariants()


SAGAS = st.lists(
    st.tuples(
        st.sampled_from(KEYS), st.lists(st.sampled_from(("post", *MOVES)), min_size=1, max_size=4)
    ),
    min_size=8,
    max_size=24,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(wishes=WISH_OF_KEY, sagas=SAGAS)
async def test_steps_at_the_same_time_move_each_transfer_once_and_conserve_the_sum(
    own_services: Services, wishes: list[Wish], sagas: list[tuple[int, list[str]]]
) -> None:
    ledger = await new_ledger(own_services)
    answers: set[str] = set()

    async def run(key: int, moves: list[str]) -> None:
        answers.add(await ledger.take(Step("ask", key, wishes[key])))
        for move in (*moves, "compensate"):
            answers.add(await ledger.take(Step(move, key)))

    async def freeze_and_unfreeze() -> None:
        for verb in ("freeze", "unfreeze"):
            answers.add(await ledger.take(Step(verb, account=0)))

    await asyncio.gather(freeze_and_unfreeze(), *(run(key, moves) for key, moves in sagas))

    # No deadlock, no constraint that only the database remembered.
    assert not answers & {"database_unavailable", "ledger_rule_violated"}
    model = Model()
    for key in {key for key, _ in sagas}:
        wish = wishes[key]
        transfer = await own_services.transactions.find_by_key(ledger.tenant_id, f"key-{key}")
        assert transfer is not None or wish.source == wish.destination
        assert transfer is None or transfer.is_final
        if transfer is not None and transfer.state is ProcessState.SUCCESS:
            model.accounts[wish.source].posted -= wish.amount
            model.accounts[wish.destination].posted += wish.amount
    assert await ledger.amounts() == [(account.posted, 0) for account in model.accounts]
    await ledger.require_invariants()
