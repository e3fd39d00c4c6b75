"""The accounts that clients move money between, and the orders that they draw."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.chaos.history import Fate, Kind, Movement, Order, Row
from tests.support.api import Client, Json

CURRENCY: Final = "EUR"
RICH_MINOR: Final = 10**9
POOR_MINOR: Final = 1_000
BEYOND_MINOR: Final = 10**15
"""More than all accounts have together."""

AMOUNT_MAXIMUM_MINOR: Final = 1_000
SHORT_HOLD_SECONDS: Final = 3
ROWS_MAXIMUM: Final = 8
PARTS_MAXIMUM: Final = 3

CERTAIN: Final = Fate()
DOOMED: Final = Fate(may_succeed=False, codes=frozenset({"insufficient_funds"}))
RISKY: Final = Fate(codes=frozenset({"insufficient_funds", "account_frozen"}))
SHORT: Final = Fate(codes=frozenset({"expired"}))
TAKEN_BACK: Final = Fate(codes=frozenset({"reversal_exceeds_transfer"}))


def seeded(seed: int, purpose: str) -> random.Random:
    """Give the random numbers of a seed; each purpose has its own, whoever draws first."""
    return random.Random(f"{seed} {purpose}")  # noqa: S311 - nothing here is secret


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
    settlement
        Where deposits come from and withdrawals go to.
    """

    hot: str
    rich: tuple[str, ...]
    poor: str
    fickle: str
    settlement: str

    @property
    def accounts(self) -> tuple[str, ...]:
        """All of them."""
        return (self.settlement, self.hot, *self.rich, self.poor, self.fickle)

    def endowment(self) -> list[Order]:
        """Give every account what it begins with."""
        return [
            self.transfer(
                f"open-{account}",
                (self.settlement, account, POOR_MINOR if account == self.poor else RICH_MINOR),
                CERTAIN,
            )
            for account in self.accounts
            if account != self.settlement
        ]

    def transfer(self, key: str, movement: Movement, fate: Fate) -> Order:
        """Make an order for money between two accounts; settlement makes it a deposit or so."""
        body = self._body(movement)
        return Order(
            kind=Kind.TRANSFER,
            key=key,
            path="/transfers",
            body=body,
            fate=fate,
            movements=(movement,),
        )

    def legs(self, key: str, movements: Sequence[Movement]) -> Order:
        """Make an order for several legs."""
        legs = [
            {"source": source, "destination": destination, "amount": amount, "currency": CURRENCY}
            for source, destination, amount in movements
        ]
        return Order(
            kind=Kind.TRANSFER,
            key=key,
            path="/transfers",
            body={"legs": legs},
            movements=tuple(movements),
        )

    def hold(self, key: str, movement: Movement, *, is_short: bool) -> Order:
        """Make an order for a hold."""
        body = {**self._body(movement), "capture": "manual"}
        if is_short:
            body["expires_in_seconds"] = SHORT_HOLD_SECONDS
        return Order(
            kind=Kind.HOLD,
            key=key,
            path="/transfers",
            body=body,
            fate=SHORT if is_short else CERTAIN,
            movements=(movement,),
        )

    def batch(self, key: str, rows: Sequence[Row], *, is_atomic: bool) -> Order:
        """Make an order for a batch."""
        bodies = [{"idempotency_key": row.key, **self._body(row.movement)} for row in rows]
        return Order(
            kind=Kind.BATCH,
            key=key,
            path="/transfer-batches",
            body={"transfers": bodies, "atomic": is_atomic},
            rows=tuple(rows),
        )

    def _body(self, movement: Movement) -> Json:
        source, destination, amount = movement
        body: Json = {"amount": amount, "currency": CURRENCY}
        if source == self.settlement:
            return {**body, "type": "DEPOSIT", "destination": destination}
        if destination == self.settlement:
            return {**body, "type": "WITHDRAWAL", "source": source}
        return {**body, "type": "INTERNAL", "source": source, "destination": destination}


class OrderBook:
    """Draws orders of a town for one client; the seed decides them.

    Parameters
    ----------
    prefix
        Begins the client's keys.
    """

    def __init__(self, town: Town, rng: random.Random, prefix: str) -> None:
        self._town = town
        self._rng = rng
        self._numbers = (f"{prefix}-{number}" for number in itertools.count())

    def key(self, kind: str) -> str:
        """Give a new key."""
        return f"{kind}-{next(self._numbers)}"

    def transfer(self) -> Order:
        """Draw a plain transfer, one that must fail, or one that may."""
        town, rng = self._town, self._rng
        amount = rng.randint(1, AMOUNT_MAXIMUM_MINOR)
        risky = ((town.poor, town.hot), (town.fickle, town.hot), (town.hot, town.fickle))
        fate, (source, destination) = rng.choices(
            (
                (CERTAIN, self._sides()),
                (CERTAIN, (town.settlement, town.hot)),
                (CERTAIN, (rng.choice(town.rich), town.settlement)),
                (DOOMED, self._sides()),
                (RISKY, rng.choice(risky)),
            ),
            (10, 3, 2, 2, 5),
        )[0]
        amount = BEYOND_MINOR if fate is DOOMED else amount
        return town.transfer(self.key("move"), (source, destination, amount), fate)

    def legs(self) -> Order:
        """Draw a transfer of several legs."""
        return self._town.legs(
            self.key("legs"), [self._movement() for _ in range(self._rng.randint(2, 4))]
        )

    def hold(self) -> Order:
        """Draw a hold; one in eight ends soon by itself."""
        amount = self._rng.randint(100, AMOUNT_MAXIMUM_MINOR)
        is_short = self._rng.random() < 1 / 8
        return self._town.hold(self.key("hold"), (*self._sides(), amount), is_short=is_short)

    def parts(self, hold: Order) -> Iterator[Order]:
        """Draw captures of a hold, each of another amount, the last one final perhaps."""
        (source, destination, amount), *_ = hold.movements
        count = self._rng.randint(1, PARTS_MAXIMUM)
        # Together at most the whole: the amounts tell the captures apart in the ledger.
        amounts = self._rng.sample(range(1, amount // PARTS_MAXIMUM), count)
        for number, part in enumerate(amounts, start=1):
            is_final = number == count and self._rng.random() < 1 / 2
            yield self.capture(hold, (source, destination, part), is_final=is_final)

    def capture(self, hold: Order, movement: Movement, *, is_final: bool) -> Order:
        """Make an order to capture a part; of nothing, to close a hold that was captured before."""
        amount = movement[2]
        return Order(
            kind=Kind.CAPTURE,
            key=self.key("capture"),
            path="capture",
            body={"amount": amount, "final": is_final},
            movements=(movement,) if amount else (),
            target=hold.key,
        )

    def cancel(self, hold: Order) -> Order:
        """Make an order to cancel a hold."""
        return Order(
            kind=Kind.CANCEL,
            key=self.key("cancel"),
            path="cancel",
            body={"reason": "changed my mind"},
            target=hold.key,
        )

    def reversal(self, order: Order) -> Order:
        """Draw a reversal of a transfer: of a part, or of the whole."""
        is_whole = len(order.movements) > 1 or self._rng.random() < 1 / 2
        movements = [
            (
                destination,
                source,
                amount if is_whole else self._rng.randint(1, amount),
            )
            for source, destination, amount in order.movements
        ]
        amount = None if len(movements) > 1 else movements[0][2]
        return Order(
            kind=Kind.REVERSAL,
            key=self.key("reverse"),
            path="reversals",
            body={} if amount is None else {"amount": amount},
            fate=TAKEN_BACK,
            movements=tuple(movements),
            target=order.key,
        )

    def batch(self) -> Order:
        """Draw a batch; some have a row that must fail, some are all or nothing."""
        rng, key = self._rng, self.key("batch")
        movements = [(self._movement(), CERTAIN) for _ in range(rng.randint(2, ROWS_MAXIMUM))]
        if rng.random() < 1 / 3:
            place = rng.randrange(len(movements))
            movements[place] = (*self._sides(), BEYOND_MINOR), DOOMED
        rows = [
            Row(f"{key}-row-{number}", movement, fate)
            for number, (movement, fate) in enumerate(movements, start=1)
        ]
        return self._town.batch(key, rows, is_atomic=rng.random() < 1 / 4)

    def single_of(self, row: Row) -> Order:
        """Make the order of a batch's row once more, as a transfer by itself."""
        return self._town.transfer(row.key, row.movement, row.fate)

    def _movement(self) -> Movement:
        return (*self._sides(), self._rng.randint(1, AMOUNT_MAXIMUM_MINOR))

    def _sides(self) -> tuple[str, str]:
        one, other = self._rng.sample(self._town.rich, 2)
        hot = self._town.hot
        return self._rng.choice(((hot, one), (one, hot), (one, other)))


async def found_town(client: Client, rich: int = 4) -> Town:
    """Open the accounts of a town."""
    user = await client.user()
    accounts = [await client.account(CURRENCY, user_id=user["id"]) for _ in range(rich + 3)]
    hot, poor, fickle, *others = (account["id"] for account in accounts)
    settlement, *_ = (
        account["id"]
        for account in (await client.get("/accounts", limit=200))["data"]
        if account["kind"] == "SYSTEM"
    )
    return Town(hot, tuple(others), poor, fickle, settlement)
