"""A load of clients on a stack whose parts fail, and the plain model that its ledger must match."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import httpx

from tests.support.api import Client, Json, problem_of
from tests.support.waiting import until

CURRENCY: Final = "EUR"
RICH_MINOR: Final = 10**9
POOR_MINOR: Final = 1_000
BEYOND_MINOR: Final = 10**15
"""More than all accounts have together."""

CLIENTS: Final = 10
ORDERS_MAXIMUM: Final = 500
THINKING_SECONDS: Final = 0.02
FREEZING_SECONDS: Final = 0.1
RETRY_AFTER_SECONDS: Final = 1.0
RESOLVING_SECONDS: Final = 60.0
PAGE_SIZE: Final = 200

AWAY_CODES: Final = frozenset({"database_unavailable", "temporal_unavailable"})
LOST: Final = "lost"
"""Instead of an answer: the connection broke, or nobody listens."""
PROMISED: Final = "202"
FINAL_STATUSES: Final = frozenset({201, 422})

Entry = tuple[str, str, str, int]
"""Transfer, account, direction, amount."""


def seeded(seed: int, purpose: str) -> random.Random:
    """Give the random numbers of a seed; each purpose has its own, whoever draws first."""
    return random.Random(f"{seed} {purpose}")  # noqa: S311 - nothing here is secret


class Fate(StrEnum):
    """What must become of an order, whatever fails meanwhile."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    EITHER = "EITHER"
    """It depends on what came before it."""


REFUSALS: Final = {
    Fate.SUCCESS: frozenset[str](),
    Fate.FAILED: frozenset({"insufficient_funds"}),
    Fate.EITHER: frozenset({"insufficient_funds", "account_frozen"}),
}


@dataclass(frozen=True, slots=True)
class Order:
    key: str
    body: Json
    prefer: str
    fate: Fate


@dataclass(slots=True)
class Record:
    """An order, the one outcome that a client was told, and what else it was told.

    Parameters
    ----------
    disturbances
        A code of a 503, ``LOST`` or ``PROMISED`` for each sending that gave no outcome.
    promised_ids
        The transfers that answers without an outcome spoke of.
    """

    order: Order
    disturbances: list[str] = field(default_factory=list)
    promised_ids: set[str] = field(default_factory=set)
    status: int = 0
    document: Json = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return not self.status

    @property
    def transfer(self) -> Json:
        """The transfer of the outcome, as the client was told."""
        told: Json = self.document if self.status == 201 else self.document["transfer"]
        return told

    def take(self, response: httpx.Response) -> None:
        """Hold an answer against the contract, and remember it."""
        if response.status_code == 503:
            code = response.json()["code"]
            assert code in AWAY_CODES
            problem_of(response, 503, code)
            assert int(response.headers["Retry-After"]) > 0
            self.disturbances.append(code)
        elif response.status_code == 202:
            assert response.json()["state"] == "PROCESSING"
            assert response.headers["Location"] == f"/v1/transfers/{response.json()['id']}"
            self.disturbances.append(PROMISED)
            self.promised_ids.add(response.json()["id"])
        else:
            self._conclude(response)

    def _conclude(self, response: httpx.Response) -> None:
        if response.status_code == 422:
            code = response.json()["code"]
            assert code in REFUSALS[self.order.fate], (self.order, response.text)
            problem_of(response, 422, code)
        assert response.status_code in FINAL_STATUSES, (response.status_code, response.text)
        if not self.is_open:
            assert response.headers["Idempotency-Replayed"] == "true"
            assert (response.status_code, response.json()) == (self.status, self.document)
        self.status, self.document = response.status_code, response.json()
        self._require_what_was_ordered()

    def _require_what_was_ordered(self) -> None:
        transfer, order = self.transfer, self.order
        assert transfer["state"] == ("SUCCESS" if self.status == 201 else "FAILED")
        assert order.fate in {Fate.EITHER, transfer["state"]}, (order, transfer)
        assert order.body.items() <= transfer.items()
        assert transfer["idempotency_key"] == order.key
        assert self.promised_ids <= {transfer["id"]}, (order, self.promised_ids, transfer)


@dataclass(frozen=True, slots=True)
class Town:
    """Accounts of one tenant.

    Parameters
    ----------
    hot
        A side of most transfers.
    poor
        Has too little for all that is asked of it.
    fickle
        Frozen and unfrozen all the time.
    """

    hot: str
    rich: tuple[str, ...]
    poor: str
    fickle: str

    @property
    def accounts(self) -> tuple[str, ...]:
        return (self.hot, *self.rich, self.poor, self.fickle)

    def endowment(self) -> list[Order]:
        """Give every account what it begins with."""
        return [
            self._order(f"open-{account}", Fate.SUCCESS, "DEPOSIT", None, account, amount)
            for account in self.accounts
            for amount in [POOR_MINOR if account == self.poor else RICH_MINOR]
        ]

    def orders(self, rng: random.Random) -> Iterator[Order]:
        """Draw orders for ever; the seed decides them all."""
        for number in itertools.count():
            one, other = rng.sample(self.rich, 2)
            hot, poor, amount = self.hot, self.poor, rng.randint(1, 1_000)
            sides = rng.choice(((hot, one), (one, hot), (one, other), (one, poor)))
            risky = rng.choice(((poor, hot), (self.fickle, hot), (hot, self.fickle)))
            kind = rng.choices(("move", "in", "out", "doomed", "risky"), (10, 3, 2, 2, 5))[0]
            fate, type_, source, destination, amount = {
                "move": (Fate.SUCCESS, "INTERNAL", *sides, amount),
                "in": (Fate.SUCCESS, "DEPOSIT", None, hot, amount),
                "out": (Fate.SUCCESS, "WITHDRAWAL", one, None, amount),
                "doomed": (Fate.FAILED, "INTERNAL", *sides, BEYOND_MINOR),
                "risky": (Fate.EITHER, "INTERNAL", *risky, amount),
            }[kind]
            prefer = rng.choices(("wait=3", "respond-async"), (9, 1))[0]
            yield self._order(
                f"order-{number}", fate, type_, source, destination, amount, prefer=prefer
            )

    @staticmethod
    def _order(
        key: str,
        fate: Fate,
        type_: str,
        source: str | None,
        destination: str | None,
        amount: int,
        *,
        prefer: str = "wait=10",
    ) -> Order:
        sides = {"source": source, "destination": destination}
        named = {side: account for side, account in sides.items() if account is not None}
        body = {"type": type_, "amount": amount, "currency": CURRENCY, **named}
        return Order(key, body, prefer, fate)


async def found_town(client: Client, rich: int = 4) -> Town:
    user = await client.user()
    accounts = [await client.account(CURRENCY, user_id=user["id"]) for _ in range(rich + 3)]
    hot, poor, fickle, *others = (account["id"] for account in accounts)
    return Town(hot, tuple(others), poor, fickle)


class Load:
    """Clients that send orders, one after the other each, and set aside what gets no outcome."""

    def __init__(self, client: Client, town: Town, rng: random.Random) -> None:
        self._client = client
        self.town = town
        self._orders = itertools.islice(town.orders(rng), ORDERS_MAXIMUM)
        self._is_ending = False
        self._in_flight: dict[str, Record] = {}
        self.records: list[Record] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Endow the accounts, then keep the clients sending until the block ends."""
        await self.resolve(self._record(order) for order in self.town.endowment())
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self._send_orders())
            clients.create_task(self._freeze_and_unfreeze())
            yield
            self._is_ending = True

    async def busy(self) -> list[Record]:
        """Wait until half of the clients wait for an answer, and give what they wait for."""
        await self._until(lambda: 2 * len(self._in_flight) >= CLIENTS)
        return list(self._in_flight.values())

    async def acknowledge(self, more: int) -> None:
        """Wait until so many more orders have their outcome."""
        wanted = self._concluded() + more
        await self._until(lambda: self._concluded() >= wanted)

    async def disturb(self, *kinds: str) -> None:
        """Wait until an answer of one of these kinds has come after this call."""
        before = self._count(kinds)
        await self._until(lambda: self._count(kinds) > before)

    def disturbances(self) -> Counter[str]:
        return Counter(itertools.chain(*(record.disturbances for record in self.records)))

    async def resolve(self, records: Iterable[Record] | None = None) -> None:
        """Send orders until each has its outcome: by default those that have none yet."""
        wanted = records or [record for record in self.records if record.is_open]
        turns = asyncio.Semaphore(CLIENTS)

        async def settle(record: Record) -> None:
            async with turns:
                while record.is_open:
                    await self._send(record, "wait=10")

        async with asyncio.timeout(RESOLVING_SECONDS):
            await asyncio.gather(*(settle(record) for record in wanted))

    async def repeat(self) -> None:
        """Send every order once more: each gets its outcome again, to the letter."""
        turns = asyncio.Semaphore(CLIENTS)

        async def again(record: Record) -> None:
            async with turns:
                seen = len(record.disturbances)
                await self._send(record, "wait=10")
                assert len(record.disturbances) == seen, record

        await asyncio.gather(*(again(record) for record in self.records))

    async def _send_orders(self) -> None:
        for order in self._orders:
            record = self._record(order)
            await self._send(record, order.prefer)
            if self._is_ending:
                return
            await asyncio.sleep(RETRY_AFTER_SECONDS if record.is_open else THINKING_SECONDS)

    async def _freeze_and_unfreeze(self) -> None:
        verbs = itertools.cycle(("freeze", "unfreeze"))
        while not self._is_ending:
            path = f"/accounts/{self.town.fickle}/{next(verbs)}"
            with suppress(httpx.TransportError):
                response = await self._client.call("POST", path)
                assert response.status_code in {200, 503}, response.text
            await asyncio.sleep(FREEZING_SECONDS)

    async def _send(self, record: Record, prefer: str) -> None:
        order = record.order
        self._in_flight[order.key] = record
        try:
            response = await self._client.post_transfer(
                key=order.key, headers={"Prefer": prefer}, **order.body
            )
        except httpx.TransportError:
            record.disturbances.append(LOST)
            await asyncio.sleep(RETRY_AFTER_SECONDS)
        else:
            record.take(response)
        finally:
            del self._in_flight[order.key]

    def _record(self, order: Order) -> Record:
        record = Record(order)
        self.records.append(record)
        return record

    def _concluded(self) -> int:
        return sum(not record.is_open for record in self.records)

    def _count(self, kinds: Iterable[str]) -> int:
        seen = self.disturbances()
        return sum(seen[kind] for kind in kinds)

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async def look() -> bool:
            return is_so()

        await until(look, timeout_seconds=RESOLVING_SECONDS)


async def require_books(client: Client, records: Iterable[Record]) -> None:
    """Hold the ledger against plain sums over what the clients of a tenant were told."""
    accounts = [
        account async for page in client.walk("/accounts", limit=PAGE_SIZE) for account in page
    ]
    moved = [record.transfer for record in records if record.status == 201]
    expected: Counter[str] = Counter()
    for transfer in moved:
        expected[transfer["source"]] -= transfer["amount"]
        expected[transfer["destination"]] += transfer["amount"]
    balances = {account["id"]: account["balance"] for account in accounts}
    assert {name: balance["posted"] for name, balance in balances.items()} == expected
    assert {balance["held"] for balance in balances.values()} == {0}
    entries = [entry for name in balances for entry in await _entries(client, name)]
    assert Counter(entries) == Counter(
        (transfer["id"], transfer[side], direction, transfer["amount"])
        for transfer in moved
        for side, direction in (("source", "DEBIT"), ("destination", "CREDIT"))
    )


async def require_transfers(client: Client, records: Iterable[Record]) -> None:
    """Hold the list of transfers against the clients' keys: one each, as the client was told."""
    pages = client.walk("/transfers", limit=PAGE_SIZE)
    recorded = {transfer["id"]: transfer async for page in pages for transfer in page}
    assert recorded == {record.transfer["id"]: record.transfer for record in records}


async def _entries(client: Client, account: str) -> list[Entry]:
    """Read an account's ledger; each resulting balance must follow from the one before."""
    balance, found = 0, []
    async for page in client.walk(f"/accounts/{account}/entries", limit=PAGE_SIZE, order="asc"):
        for entry in page:
            balance += entry["amount"] if entry["direction"] == "CREDIT" else -entry["amount"]
            assert entry["balance_after"] == balance
            found.append((entry["transfer_id"], account, entry["direction"], entry["amount"]))
    return found
