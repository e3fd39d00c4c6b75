"""Made-up histories, to see what the checker makes of them."""

from collections.abc import Iterator
from itertools import count
from typing import Any, Final

from tests.chaos.checker import Checker, Trouble
from tests.chaos.history import (
    Attempt,
    Books,
    Fate,
    History,
    Kind,
    Movement,
    Order,
    Read,
    Record,
    Row,
)
from tests.support.api import Json

TENANT: Final = "tenant"
ADA: Final = "ada"
BOB: Final = "bob"
SETTLEMENT: Final = "settlement"
CREATED: Final = 201


class Story:
    """Writes a history and the books that belong to it; tests then spoil one of them.

    Each order takes the second that begins with its turn: the first from 1.0 to 1.5, and so on.
    """

    def __init__(self) -> None:
        self.history = History()
        self.transfers: list[Json] = []
        self.entries: dict[str, list[Json]] = {ADA: [], BOB: [], SETTLEMENT: []}
        self.batches: dict[str, Json] = {}
        self.rows: dict[str, list[Json]] = {}
        self._turns: Iterator[int] = count(1)

    def send(self, order: Order, status: int, document: Json, code: str | None = None) -> Record:
        """Let a client send an order and get a definite answer."""
        record = self.history.record(order)
        turn = next(self._turns)
        attempt = Attempt(float(turn), turn + 0.5, status, code)
        record.take(attempt, document, is_definite=True)
        return record

    def transfer(
        self,
        key: str,
        amount: int = 10,
        *,
        source: str = ADA,
        destination: str = BOB,
        failure: str | None = None,
        fate: Fate | None = None,
    ) -> Record:
        """Make a transfer, acknowledged and in the books."""
        fate = fate or (Fate() if failure is None else Fate(codes=frozenset({failure})))
        movement = (source, destination, amount)
        order = Order(
            kind=Kind.TRANSFER, key=key, path="", body={}, fate=fate, movements=(movement,)
        )
        document = self.book(key, amount, failure=failure)
        if failure is None:
            self.enter(document, movement)
            return self.send(order, CREATED, document)
        return self.send(order, 422, document, failure)

    def hold(self, key: str, amount: int = 10, *, captured: int = 0) -> Record:
        """Hold money; it ends as SUCCESS where something of it was captured, else as cancelled."""
        order = Order(kind=Kind.HOLD, key=key, path="", body={}, movements=((ADA, BOB, amount),))
        failure = None if captured else "cancelled"
        document = self.book(key, amount, failure=failure, capture="manual")
        document["captured_amount"] = captured
        return self.send(order, CREATED, document | {"state": "PROCESSING"})

    def operation(
        self, kind: Kind, target: str, amount: int = 0, code: str | None = None
    ) -> Record:
        """Capture or cancel; a code refuses it."""
        movement = (ADA, BOB, amount)
        order = Order(
            kind=kind,
            key=f"{kind} {amount} of {target}",
            path="",
            body={},
            movements=(movement,) if amount else (),
            target=target,
        )
        document = self.found(target)
        if code is not None:
            return self.send(order, 409, {}, code)
        if amount:
            self.enter(document, movement)
        return self.send(order, 200, document)

    def reversal(self, target: str, amount: int) -> Record:
        """Take something back, acknowledged and in the books."""
        key = f"reversal of {amount} of {target}"
        movement = (BOB, ADA, amount)
        order = Order(
            kind=Kind.REVERSAL, key=key, path="", body={}, movements=(movement,), target=target
        )
        document = self.book(key, amount)
        self.enter(document, movement)
        self.found(target)["reversed_amount"] += amount
        return self.send(order, CREATED, document)

    def batch(self, key: str, *amounts: int, status: str = "SUCCEEDED") -> Record:
        """Send a batch; all rows have one status."""
        rows = tuple(
            Row(f"{key}-{number}", (ADA, BOB, amount), Fate())
            for number, amount in enumerate(amounts)
        )
        self.batches[key] = {
            "id": f"id of {key}",
            "workflow_id": key,
            "state": "SUCCESS",
            "stage": "COMPLETED",
            "atomic": False,
        }
        self.rows[key] = []
        for row in rows:
            shown: Json = {"idempotency_key": row.key, "status": status, "transfer_id": None}
            if status == "SUCCEEDED":
                document = self.book(row.key, row.movement[2], batch_id=f"id of {key}")
                self.enter(document, row.movement)
                shown["transfer_id"] = document["id"]
            self.rows[key].append(shown)
        order = Order(kind=Kind.BATCH, key=key, path="", body={}, rows=rows)
        return self.send(order, CREATED, self.batches[key])

    def book(self, key: str, amount: int, *, failure: str | None = None, **fields: Any) -> Json:
        """Put a transfer into the books, without its entries."""
        document: Json = {
            "id": f"id of {key}",
            "idempotency_key": key,
            "workflow_id": f"{TENANT}:{key}",
            "state": "SUCCESS" if failure is None else "FAILED",
            "stage": "COMPLETED" if failure is None else "FAILED",
            "amount": amount,
            "capture": "automatic",
            "captured_amount": amount if failure is None else 0,
            "reversed_amount": 0,
            "failure": None if failure is None else {"code": failure},
            "batch_id": None,
            **fields,
        }
        self.transfers.append(document)
        return document

    def enter(self, document: Json, movement: Movement) -> None:
        """Put the entries of a movement into the books."""
        source, destination, amount = movement
        for account, direction in ((source, "DEBIT"), (destination, "CREDIT")):
            entries = self.entries[account]
            before = entries[-1]["balance_after"] if entries else 0
            entries.append(
                {
                    "transfer_id": document["id"],
                    "sequence": len(entries) + 1,
                    "direction": direction,
                    "amount": amount,
                    "balance_after": before + (amount if direction == "CREDIT" else -amount),
                }
            )

    def drop_last_entries(self) -> None:
        """Take the last movement out of the books."""
        for entries in self.entries.values():
            if entries and entries[-1]["transfer_id"] == self.transfers[-1]["id"]:
                del entries[-1]

    def found(self, key: str) -> Json:
        """Give a transfer of the books."""
        return next(each for each in self.transfers if each["idempotency_key"] == key)

    def read(self, read: Read) -> None:
        """Let a client read."""
        self.history.reads.append(read)

    def troubles(self) -> list[Trouble]:
        """Let the checker judge."""
        balances = {
            account: (entries[-1]["balance_after"] if entries else 0, 0)
            for account, entries in self.entries.items()
        }
        books = Books(
            transfers=self.transfers,
            entries=self.entries,
            balances=balances,
            settlement=SETTLEMENT,
            batches=self.batches,
            rows=self.rows,
        )
        return [found.trouble for found in Checker(self.history, books).check()]
