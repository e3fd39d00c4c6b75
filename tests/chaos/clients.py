"""Many clients of one tenant that send orders, retry them with their keys, and read in between."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any, Final, Self

import httpx

from tests.chaos.history import (
    LOST_CONNECTION,
    OPERATION_KINDS,
    TRANSFER_KINDS,
    Attempt,
    BalanceRead,
    EntriesRead,
    History,
    Kind,
    Order,
    Record,
    TransferRead,
)
from tests.chaos.site import Site
from tests.chaos.town import OrderBook, Town, seeded
from tests.support.api import Json

CLIENTS: Final = 8
READERS: Final = 2
TRIES: Final = 4
"""How often a client sends an order while things fail; then it leaves it for the end."""

WAIT_SECONDS: Final = 3
PATIENCE_SECONDS: Final = 5.0
"""How long a client waits for an answer that should have come."""

IMPATIENCE_SECONDS: Final = (0.02, 0.3)
"""Now and then a client gives up at once, and sends the same again."""

ABANDONED_SECONDS: Final = 15.0
"""An API is through with a request that its client has given up after this long."""

PAUSE_SECONDS: Final = (0.1, 0.8)
THINKING_SECONDS: Final = 0.02
FREEZING_SECONDS: Final = 0.15
READING_SECONDS: Final = 0.1
ENTRIES_READ: Final = 20

AWAY_CODES: Final = frozenset({"database_unavailable", "temporal_unavailable", "overloaded"})
OK: Final = 200
CREATED: Final = 201
ACCEPTED: Final = 202
UNAVAILABLE: Final = 503
REFUSALS: Final = frozenset({404, 409, 422})
REVERSED_MAXIMUM: Final = 1_000
"""So many orders are remembered as ones to be taken back."""


class Crowd:
    """The clients.

    Parameters
    ----------
    secret
        Their API key.
    history
        Takes all that they ask and are told.
    """

    def __init__(self, site: Site, town: Town, secret: str, history: History, *, seed: int) -> None:
        self._site = site
        self._town = town
        self._secret = secret
        self._seed = seed
        self._history = history
        self._rng = seeded(seed, "crowd")
        self._is_ending = False
        self._https: list[httpx.AsyncClient] = []
        self._exits = AsyncExitStack()
        self._reversible: list[Order] = []
        self.in_flight: dict[str, int] = {}
        """Keys of transfers that clients wait for just now."""

    async def __aenter__(self) -> Self:
        for api in self._site.plan.api_names:
            http = httpx.AsyncClient(
                base_url=self._site.url_for_clients(api),
                headers={"Authorization": f"Bearer {self._secret}"},
                timeout=PATIENCE_SECONDS,
                trust_env=False,
                limits=httpx.Limits(max_connections=50, max_keepalive_connections=50),
            )
            self._https.append(await self._exits.enter_async_context(http))
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._exits.aclose()

    async def endow(self) -> None:
        """Give the accounts what they begin with."""
        records = [self._history.record(order) for order in self._town.endowment()]
        self._history.endowment.update(self._history.records)
        await self.resolve(records)

    async def run(self, is_over: asyncio.Event) -> None:
        """Send orders and read until it is over, and let those in flight come back."""
        self._is_ending = False
        async with asyncio.TaskGroup() as tasks:
            for number in range(CLIENTS):
                tasks.create_task(self._shop(number))
            for number in range(READERS):
                tasks.create_task(self._look_around(number))
            tasks.create_task(self._freeze_and_unfreeze())
            await is_over.wait()
            self._is_ending = True

    async def resolve(self, records: Iterable[Record]) -> None:
        """Send orders until each has its definite answer."""
        turns = asyncio.Semaphore(CLIENTS)

        async def settle(record: Record) -> None:
            async with turns:
                while record.is_open:
                    await self._send(record, wait_seconds=10)
                    if record.is_open:
                        await self._pause()

        await asyncio.gather(*(settle(record) for record in records))

    async def repeat(self, records: Iterable[Record]) -> None:
        """Send orders once more that have their answer: it comes again, to the letter."""
        turns = asyncio.Semaphore(CLIENTS)

        async def again(record: Record) -> None:
            async with turns:
                await self._send(record, wait_seconds=10)

        await asyncio.gather(*(again(record) for record in records))

    async def close_hold(self, hold: Record, *, is_captured: bool) -> None:
        """End a hold that is still open: cancel it, or close it after its captures."""
        orders = OrderBook(self._town, self._rng, f"end-{hold.order.key}")
        if is_captured:
            source, destination, _ = hold.order.movements[0]
            order = orders.capture(hold.order, (source, destination, 0), is_final=True)
        else:
            order = orders.cancel(hold.order)
        await self.resolve([self._history.record(order)])

    async def _shop(self, number: int) -> None:
        rng = seeded(self._seed, f"client {number}")
        orders = OrderBook(self._town, rng, f"c{number}")
        ways: Mapping[Callable[[OrderBook, random.Random], Awaitable[None]], int] = {
            self._move: 10,
            self._move_along_legs: 2,
            self._hold: 4,
            self._take_back: 3,
            self._send_batch: 2,
        }
        while not self._is_ending:
            way = rng.choices([*ways], [*ways.values()])[0]
            await way(orders, rng)
            await asyncio.sleep(THINKING_SECONDS)

    async def _move(self, orders: OrderBook, rng: random.Random) -> None:
        record = self._history.record(orders.transfer())
        await self._insist(record, rng)
        if record.status == CREATED:
            await self._look_at(record, rng)
            self._remember(record.order)

    async def _move_along_legs(self, orders: OrderBook, rng: random.Random) -> None:
        record = self._history.record(orders.legs())
        await self._insist(record, rng)
        if record.status == CREATED:
            self._remember(record.order)

    async def _hold(self, orders: OrderBook, rng: random.Random) -> None:
        """Hold money, and capture parts of it, cancel it, both at once, or leave it alone."""
        hold = orders.hold()
        record = self._history.record(hold)
        await self._insist(record, rng)
        if record.status != CREATED:
            return
        captures, cancel = [*orders.parts(hold)], orders.cancel(hold)
        plan = rng.choice(("capture", "capture", "cancel", "race", "leave"))
        if plan == "race":
            rivals = [self._history.record(order) for order in (captures[0], cancel)]
            await asyncio.gather(*(self._insist(each, rng) for each in rivals))
        if plan == "cancel":
            await self._insist(self._history.record(cancel), rng)
        if plan == "capture":
            parts = [self._history.record(order) for order in captures]
            for part in parts:
                await self._insist(part, rng)
            self._remember_captured(hold, parts)

    async def _take_back(self, orders: OrderBook, rng: random.Random) -> None:
        """Reverse what succeeded, sometimes twice at once, which can be too much."""
        if not self._reversible:
            return
        target = rng.choice(self._reversible)
        count = rng.choice((1, 1, 2))
        records = [self._history.record(orders.reversal(target)) for _ in range(count)]
        await asyncio.gather(*(self._insist(record, rng) for record in records))

    async def _send_batch(self, orders: OrderBook, rng: random.Random) -> None:
        """Send a batch; sometimes one of its rows by itself meanwhile, with the row's key."""
        order = orders.batch()
        records = [self._history.record(order)]
        if not order.body["atomic"] and rng.random() < 1 / 3:
            records.append(self._history.record(orders.single_of(rng.choice(order.rows))))
        await asyncio.gather(*(self._insist(record, rng) for record in records))

    async def _insist(self, record: Record, rng: random.Random) -> None:
        """Send an order until its outcome is known, or for some times."""
        for number in range(TRIES):
            mood = rng.random()
            if mood < 1 / 20:
                await self._send(record, patience_seconds=rng.uniform(*IMPATIENCE_SECONDS))
            elif mood < 1 / 10:
                await asyncio.gather(self._send(record), self._send(record))
            elif mood < 1 / 5:
                await self._send(record, wait_seconds=0)
            else:
                await self._send(record)
            if not record.is_open or self._is_ending:
                return
            if number < TRIES - 1:
                await self._pause()

    async def _send(
        self,
        record: Record,
        *,
        wait_seconds: int = WAIT_SECONDS,
        patience_seconds: float | None = None,
    ) -> None:
        """Send an order once, to any API, and remember what came of it."""
        order = record.order
        prefer = f"wait={wait_seconds}" if wait_seconds else "respond-async"
        self.in_flight[order.key] = self.in_flight.get(order.key, 0) + 1
        started = time.monotonic()
        try:
            response = await self._rng.choice(self._https).post(
                f"/v1{self._path(order)}",
                json=order.body,
                headers={"Idempotency-Key": order.key, "Prefer": prefer},
                timeout=patience_seconds or wait_seconds + PATIENCE_SECONDS,
            )
        except httpx.TransportError as error:
            code = type(error).__name__
            attempt = Attempt(started, time.monotonic(), LOST_CONNECTION, code)
            record.take(attempt, {}, is_definite=False)
        else:
            is_alone = self.in_flight[order.key] == 1
            take(record, started, response, is_alone=is_alone)
        finally:
            self.in_flight[order.key] -= 1
            if not self.in_flight[order.key]:
                del self.in_flight[order.key]

    def _path(self, order: Order) -> str:
        if order.target is None:
            return order.path
        for kind in (Kind.HOLD, Kind.TRANSFER):
            target = self._history.records.get(kind + order.target)
            if target is not None:
                return f"/transfers/{target.document['id']}/{order.path}"
        raise LookupError(order.target)

    def _remember(self, order: Order) -> None:
        """Let an order be taken back later, unless its receiver may have spent the money."""
        sides = {side for movement in order.movements for side in movement[:2]}
        if sides & {self._town.poor, self._town.fickle}:
            return
        self._reversible.append(order)
        if len(self._reversible) > REVERSED_MAXIMUM:
            del self._reversible[0]

    def _remember_captured(self, hold: Order, parts: Sequence[Record]) -> None:
        """Let a hold be taken back later whose captures are told of, the final one among them."""
        source, destination, _ = hold.movements[0]
        captured = sum(part.order.movements[0][2] for part in parts)
        if all(part.is_done for part in parts) and parts[-1].order.body["final"]:
            self._remember(replace(hold, movements=((source, destination, captured),)))

    async def _look_around(self, number: int) -> None:
        """Read balances and entries of any account."""
        rng = seeded(self._seed, f"reader {number}")
        while not self._is_ending:
            await self._read(rng.choice(self._town.accounts), rng)
            await asyncio.sleep(READING_SECONDS)

    async def _look_at(self, record: Record, rng: random.Random) -> None:
        """Read now and then what an answer has just told."""
        if rng.random() < 1 / 4:
            await self._read(rng.choice(record.order.movements[0][:2]), rng)
        if rng.random() < 1 / 4:
            transfer_id = record.document["id"]
            started = time.monotonic()
            found = await self._get(f"/transfers/{transfer_id}", rng)
            if found is not None:
                read = TransferRead(transfer_id, started, time.monotonic(), found["state"])
                self._history.reads.append(read)

    async def _read(self, account: str, rng: random.Random) -> None:
        started = time.monotonic()
        if rng.random() < 1 / 2:
            balance = await self._get(f"/accounts/{account}/balance", rng)
            if balance is not None:
                ended, posted, held = time.monotonic(), balance["posted"], balance["held"]
                read = BalanceRead(account, started, ended, posted, held)
                self._history.reads.append(read)
            return
        page = await self._get(f"/accounts/{account}/entries", rng, limit=ENTRIES_READ)
        if page is not None:
            entries = tuple(page["data"])
            self._history.reads.append(EntriesRead(account, started, time.monotonic(), entries))

    async def _get(self, path: str, rng: random.Random, **params: Any) -> Json | None:
        """Read something; nothing where the service is away."""
        try:
            response = await rng.choice(self._https).get(f"/v1{path}", params=params)
        except httpx.TransportError:
            return None
        if response.status_code == UNAVAILABLE and response.json()["code"] in AWAY_CODES:
            return None
        if response.status_code != OK:
            raise UnexpectedAnswer(f"GET {path}: {response.status_code} {response.text}")
        found: Json = response.json()
        return found

    async def _freeze_and_unfreeze(self) -> None:
        verbs = itertools.cycle(("freeze", "unfreeze"))
        while not self._is_ending:
            path = f"/v1/accounts/{self._town.fickle}/{next(verbs)}"
            with suppress(httpx.TransportError):
                await self._rng.choice(self._https).post(path)
            await asyncio.sleep(FREEZING_SECONDS)

    async def _pause(self) -> None:
        await asyncio.sleep(self._rng.uniform(*PAUSE_SECONDS))


class UnexpectedAnswer(Exception):
    """A read was answered as no read should be."""


def take(record: Record, started: float, response: httpx.Response, *, is_alone: bool) -> None:
    """Find out what an answer means, and remember it.

    Parameters
    ----------
    is_alone
        Whether no other sending of the same order waits for its answer. A refusal that records
        nothing speaks for its own request: an earlier one, given up, may still be with an API.
    """
    status, document = response.status_code, response.json()
    code = document.get("code") if status >= 400 else None
    attempt = Attempt(started, time.monotonic(), status, code)
    kind = record.order.kind
    if status == UNAVAILABLE and code in AWAY_CODES:
        record.take(attempt, {}, is_definite=False)
    elif status in REFUSALS:
        is_last_word = is_alone and not record.was_in_doubt_after(started - ABANDONED_SECONDS)
        transfer = document.get("transfer", {})
        record.take(attempt, transfer, is_definite=bool(transfer) or is_last_word)
    elif status in {CREATED, ACCEPTED} and kind is Kind.BATCH:
        record.take(attempt, document, is_definite=document["state"] != "PROCESSING")
    elif (status == CREATED and kind in TRANSFER_KINDS) or (
        status == OK and kind in OPERATION_KINDS
    ):
        record.take(attempt, document, is_definite=True)
    elif status == ACCEPTED:
        record.take(attempt, document, is_definite=False)
    else:
        record.take(attempt, {}, is_definite=False)
        record.complaints.append(f"was answered {status} {response.text}")
