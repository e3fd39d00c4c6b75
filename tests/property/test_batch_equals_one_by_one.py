"""A batch leaves the very ledger that its rows would have left, sent one after the other."""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.access import ApiKey, Scope
from domain.accounts import AccountReference
from domain.batches import BatchOrder, RowStatus, StagedRow, request_of
from domain.errors import DomainError, TransferRefusal
from domain.ids import AccountId, BatchId
from domain.limits import AMOUNT_MAXIMUM_MINOR
from domain.states import ProcessState, TransferStage
from domain.transfers import Failure, Transfer, TransferType
from persistence.accounts import AccountFilter
from persistence.database import Database
from persistence.ledger import EntryFilter
from persistence.tenancy import EVERY_TENANT
from persistence.verification import PROVED_IN_SQL, prove
from runtime.composition import Services, make_services
from services.batch_posting import BatchPostingService
from services.identifiers import new_uuid
from services.staged_text import staged_row
from tests.support.postgres import PostgresServer

CHUNK_ROWS = 4
LIMITS = (0, 100, 250, 0, 0, 0)
FROZEN, CLOSED, DOLLARS = 3, 4, 5
NOBODY = "ext:nobody"

# The first accounts are hot; few different amounts, so that exactly what is available is asked for.
NAMES = st.sampled_from((0, 0, 0, 1, 1, 2, FROZEN, CLOSED, DOLLARS, None))
AMOUNTS = st.sampled_from((1, 50, 50, 100, 100, 250, AMOUNT_MAXIMUM_MINOR))
Name = int | None


@dataclass(frozen=True, slots=True)
class Wish:
    type: TransferType
    source: Name
    destination: Name
    amount: int


WISHES = st.builds(
    Wish,
    st.sampled_from(
        (
            TransferType.INTERNAL,
            TransferType.INTERNAL,
            TransferType.DEPOSIT,
            TransferType.WITHDRAWAL,
        )
    ),
    NAMES,
    NAMES,
    AMOUNTS,
)
# Two batches: the second repeats keys of the first, with the same wish or with another.
BATCHES = st.tuples(
    *(st.lists(st.tuples(st.integers(0, 30), WISHES), max_size=30, unique_by=lambda r: r[0]),) * 2
).filter(all)


@dataclass(slots=True)
class Bank:
    """A tenant with accounts, all named by their place."""

    services: Services
    key: ApiKey
    accounts: list[AccountId] = field(default_factory=list)

    def row(self, position: int, key: int, wish: Wish) -> StagedRow:
        def name(place: Name) -> str:
            return NOBODY if place is None else str(self.accounts[place])

        return StagedRow(
            position=position,
            idempotency_key=f"key-{key}",
            type=wish.type.value,
            source=None if wish.type is TransferType.DEPOSIT else name(wish.source),
            destination=None if wish.type is TransferType.WITHDRAWAL else name(wish.destination),
            amount_minor=wish.amount,
            currency="EUR",
            description=None,
            metadata={},
            effective_at=None,
        )

    async def one_by_one(self, rows: Sequence[StagedRow]) -> list[str]:
        return [await self._single(row) for row in rows]

    async def in_a_batch(self, rows: Sequence[StagedRow]) -> list[str]:
        batches = self.services.batches
        order = BatchOrder(
            id=BatchId(new_uuid()),
            tenant_id=self.key.tenant_id,
            idempotency_key=f"batch-{secrets.token_hex(8)}",
            fingerprint=bytes(32),
            is_atomic=False,
            description=None,
            rows=len(rows),
            requested_by=self.key.id,
        )
        lines = (f"{order.id}\t{order.tenant_id}\t{staged_row(row)}".encode() for row in rows)
        await batches.stage(order, lines)
        posting = BatchPostingService(self.services.database, chunk_rows=CHUNK_ROWS)
        batch = await posting.post(
            order.tenant_id, order.id, chunks=len(rows), on_chunk=lambda _batch: None
        )
        assert batch.state is ProcessState.SUCCESS
        found = await batches.rows(batch, (), after=0, limit=len(rows))
        return [
            f"{row.status} {row.failure.code}" if row.failure else row.status for row in found.items
        ]

    async def ledger(self) -> list[Any]:
        """Give every entry of every account, the settlement accounts' too, without ids."""
        page = await self.services.accounts.list_accounts(
            self.key.tenant_id, AccountFilter(), after=None, limit=20
        )
        places = {account: place for place, account in enumerate(self.accounts)}
        found: list[Any] = []
        for account in page.items:
            place = places.get(account.id, f"settlement {account.currency}")
            entries = await self.services.ledger.entries_of_account(
                account.tenant_id,
                account.id,
                EntryFilter(ascending=True),
                after=None,
                limit=500,
            )
            found.append(
                (
                    str(place),
                    account.balance.posted_minor,
                    account.balance.held_minor,
                    [
                        (e.sequence, e.direction, e.amount_minor, e.balance_after_minor)
                        for e in entries.items
                    ],
                )
            )
        return sorted(found)

    async def _single(self, row: StagedRow) -> str:
        transactions, tenant_id = self.services.transactions, self.key.tenant_id
        try:
            prepared = await self.services.requests.prepare(tenant_id, request_of(row))
            transfer = prepared.earlier or await transactions.reserve(prepared.order)
        except DomainError as error:
            return f"{RowStatus.REJECTED} {error.code}"
        if transfer.stage is TransferStage.RESERVED:
            try:
                await transactions.post(tenant_id, transfer.id)
                transfer = await transactions.finalise(tenant_id, transfer.id)
            except TransferRefusal as error:
                transfer = await transactions.compensate(tenant_id, transfer.id, Failure.of(error))
        return _said(transfer)


def _said(transfer: Transfer) -> str:
    if transfer.failure is not None:
        return f"{RowStatus.FAILED} {transfer.failure.code}"
    return RowStatus.SUCCEEDED


async def new_bank(services: Services) -> Bank:
    key, _ = await services.access.create_key(
        tenant_name=secrets.token_hex(8), name="test", scopes=frozenset(Scope)
    )
    tenant_id = key.tenant_id
    user = await services.accounts.create_user(tenant_id, name="A", external_id=None, metadata={})
    bank = Bank(services, key)
    for place, limit_minor in enumerate(LIMITS):
        account = await services.accounts.open_account(
            tenant_id,
            user_id=user.id,
            currency="USD" if place == DOLLARS else "EUR",
            external_id=None,
            overdraft_limit_minor=limit_minor,
            metadata={},
        )
        bank.accounts.append(account.id)
    for place, change in ((FROZEN, services.accounts.freeze), (CLOSED, services.accounts.close)):
        await change(tenant_id, AccountReference("", id=bank.accounts[place]))
    return bank


@pytest.fixture(scope="module")
async def own_services(postgres: PostgresServer) -> AsyncIterator[Services]:
    """Services over a database that no worker and no reconciliation touches."""
    async with postgres.database() as url:
        database = Database.at(postgres.as_service(url))
        yield make_services(database)
        await database.close()


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(wishes=BATCHES)
async def test_a_batch_has_the_outcome_of_its_rows_one_by_one(
    own_services: Services, wishes: tuple[list[tuple[int, Wish]], ...]
) -> None:
    single, batched = await new_bank(own_services), await new_bank(own_services)
    for batch in wishes:
        asked = [
            [bank.row(n, *each) for n, each in enumerate(batch, start=1)]
            for bank in (single, batched)
        ]
        assert await batched.in_a_batch(asked[1]) == await single.one_by_one(asked[0])
    assert await batched.ledger() == await single.ledger()
    async with own_services.database.snapshot(EVERY_TENANT) as snapshot:
        for invariant in PROVED_IN_SQL:
            assert (await prove(snapshot, invariant)).violations == (), invariant
