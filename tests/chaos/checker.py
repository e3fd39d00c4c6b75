"""Proves a history of clients against the books: a plain model, and none of the product's code.

What it holds a run to is listed in ``docs/reliability.md``.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tests.chaos.held import HeldChecker
from tests.chaos.history import (
    OPERATION_KINDS,
    TRANSFER_KINDS,
    Books,
    Fate,
    History,
    Kind,
    Movement,
    Record,
    Row,
    lasting,
)
from tests.chaos.order import Moment, OrderChecker
from tests.support.api import Json

SUCCESS: Final = "SUCCESS"
FAILED: Final = "FAILED"
FORCED_CODES: Final = frozenset({"cancelled", "workflow_terminated"})
"""Why a transfer fails whose workflow was cancelled or terminated."""

STATES_BEHIND_REFUSAL: Final = {
    "already_failed": {FAILED},
    "expired": {FAILED, SUCCESS},
    "already_posted": {SUCCESS},
}
"""What a transfer ends as where an operation on it was refused so."""

Entry = tuple[str, str, int]
"""Account, direction, amount."""


class Trouble(StrEnum):
    """What is wrong, in one word."""

    LOST = "lost"
    """Something acknowledged does not stand."""
    DOUBLED = "doubled"
    """Something happened more than once, or nobody asked for it."""
    ANSWER = "answer"
    """A client got an answer that it should not get, such as another one for the same key."""
    UNEXPLAINED = "unexplained"
    """An outcome for which there was no reason."""
    STUCK = "stuck"
    """No outcome, or not in time."""
    READ = "read"
    """A read fits no order of its account."""
    ORDER = "order"
    """An account's order contradicts what clients saw."""
    INVARIANT = "invariant"
    """One of the seven invariants does not hold."""
    ERROR = "error"
    """The service met an error that nobody foresaw."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong."""

    trouble: Trouble
    subject: str
    message: str


class Checker:
    """Holds what clients were told against what stands in the books."""

    def __init__(self, history: History, books: Books) -> None:
        self._history = history
        self._books = books
        self._violations: list[Violation] = []
        self._transfers: defaultdict[str, list[Json]] = defaultdict(list)
        for transfer in books.transfers:
            self._transfers[transfer["idempotency_key"]].append(transfer)
        self._entries: defaultdict[str, Counter[Entry]] = defaultdict(Counter)
        for account, entries in books.entries.items():
            for entry in entries:
                self._entries[entry["transfer_id"]][
                    account, entry["direction"], entry["amount"]
                ] += 1
        self._operations: defaultdict[str, list[Record]] = defaultdict(list)
        for record in history.of_kinds(*OPERATION_KINDS, Kind.REVERSAL):
            self._operations[record.order.target or ""].append(record)
        self._rows = {
            row.key: (record, row)
            for record in history.of_kinds(Kind.BATCH)
            for row in record.order.rows
        }

    def check(self) -> list[Violation]:
        """Find everything that is wrong."""
        self._check_answers()
        self._check_keys()
        for record in self._history.of_kinds(*TRANSFER_KINDS):
            self._check_transfer(record)
        for record in self._history.of_kinds(*OPERATION_KINDS):
            self._check_operation(record)
        for record in self._history.of_kinds(Kind.BATCH):
            self._check_batch(record)
        self._check_reversed_sums()
        self._check_accounts()
        self._check_order_and_reads()
        return self._violations

    def _blame(self, trouble: Trouble, subject: str, message: str) -> None:
        self._violations.append(Violation(trouble, subject, message))

    def _check_answers(self) -> None:
        for record in self._history.records.values():
            for complaint in record.complaints:
                self._blame(Trouble.ANSWER, record.order.key, complaint)
            if record.is_open:
                self._blame(Trouble.STUCK, record.order.key, "never got a definite answer")

    def _check_keys(self) -> None:
        asked = {record.order.key for record in self._history.of_kinds(*TRANSFER_KINDS)}
        for key, transfers in self._transfers.items():
            if len(transfers) > 1:
                self._blame(Trouble.DOUBLED, key, f"has {len(transfers)} transfers")
            if key not in asked and key not in self._rows:
                self._blame(Trouble.DOUBLED, key, "has a transfer that nobody asked for")
        known = {transfer["id"] for transfer in self._books.transfers}
        for transfer_id in self._entries.keys() - known:
            self._blame(Trouble.DOUBLED, transfer_id, "has entries and is no transfer")

    def _check_transfer(self, record: Record) -> None:
        key = record.order.key
        found = self._found(key)
        if record.is_refused:
            if found is not None and key not in self._rows:
                self._blame(Trouble.DOUBLED, key, f"was refused with {record.code}, and happened")
            elif record.order.kind is not Kind.REVERSAL or record.code != "not_reversible":
                self._blame(Trouble.UNEXPLAINED, key, f"was refused with {record.code}")
            return
        if not record.is_open:
            self._require_told(record, found)
        if found is None:
            return
        if not {self._books.ids.get(id_, id_) for id_ in record.promised_ids} <= {found["id"]}:
            self._blame(Trouble.LOST, key, f"was promised as {sorted(record.promised_ids)}")
        is_hold = record.order.kind is Kind.HOLD
        self._require_explained(key, found, record.order.fate, is_hold=is_hold)
        moved = self._captured(key) if is_hold else record.order.movements
        self._require_entries(key, found, moved)
        if is_hold:
            self._require_captured(key, found, moved)

    def _require_told(self, record: Record, found: Json | None) -> None:
        """What was acknowledged still stands, to the letter."""
        key, told = record.order.key, record.document
        if found is None:
            self._blame(Trouble.LOST, key, f"was acknowledged as {told['id']}, and is not there")
        elif found["id"] != told["id"]:
            self._blame(
                Trouble.LOST, key, f"was acknowledged as {told['id']}, and is {found['id']}"
            )
        elif told["state"] in {SUCCESS, FAILED} and lasting(found) != lasting(told):
            self._blame(
                Trouble.LOST, key, f"was acknowledged as {lasting(told)}, and is {lasting(found)}"
            )

    def _require_explained(self, key: str, found: Json, fate: Fate, *, is_hold: bool) -> None:
        """A transfer ends as it was asked to, or for a reason that the model knows."""
        state = found["state"]
        if state == SUCCESS:
            if not fate.may_succeed:
                self._blame(Trouble.UNEXPLAINED, key, "succeeded, and could not")
        elif state == FAILED:
            code = found["failure"]["code"]
            codes = set(fate.codes)
            if self._is_disturbed(found):
                codes |= FORCED_CODES
            if is_hold and self._is_done(key, Kind.CANCEL):
                codes.add("cancelled")
            if code not in codes:
                self._blame(Trouble.UNEXPLAINED, key, f"failed with {code}, for no reason")
        else:
            self._blame(Trouble.STUCK, key, f"is {state} in stage {found['stage']}")

    def _require_entries(self, key: str, found: Json, moved: Iterable[Movement]) -> None:
        """The ledger has exactly what a transfer moved: once if it succeeded, nothing else."""
        expected = entries_of(moved) if found["state"] == SUCCESS else Counter[Entry]()
        actual = self._entries[found["id"]]
        if missing := expected - actual:
            self._blame(Trouble.LOST, key, f"{found['state']}, and lacks {dict(missing)}")
        if extra := actual - expected:
            self._blame(Trouble.DOUBLED, key, f"{found['state']}, and has {dict(extra)} too many")

    def _require_captured(self, key: str, found: Json, moved: Sequence[Movement]) -> None:
        amount = sum(amount for _, _, amount in moved)
        if found["captured_amount"] != amount:
            message = f"says {found['captured_amount']} captured, of {amount} acknowledged"
            self._blame(Trouble.UNEXPLAINED, key, message)

    def _check_operation(self, record: Record) -> None:
        found = self._found(record.order.target or "")
        key = record.order.key
        if record.is_open or found is None:
            return
        if record.status < 400:
            if record.document["id"] != found["id"]:
                self._blame(Trouble.LOST, key, f"was done to {record.document['id']}")
            elif record.order.kind is Kind.CANCEL and found["state"] != FAILED:
                self._blame(Trouble.LOST, key, f"was acknowledged, and it is {found['state']}")
            return
        if found["state"] not in STATES_BEHIND_REFUSAL.get(record.code or "", ()):
            message = f"was refused with {record.code}, and it is {found['state']}"
            self._blame(Trouble.UNEXPLAINED, key, message)

    def _check_batch(self, record: Record) -> None:
        key = record.order.key
        batch = self._books.batches.get(key)
        if batch is None:
            if not (record.is_open or record.is_refused):
                self._blame(Trouble.LOST, key, "the batch was acknowledged, and is not there")
            return
        if {record.document.get("id", batch["id"]), *record.promised_ids} != {batch["id"]}:
            self._blame(Trouble.LOST, key, f"was told of another batch than {batch['id']}")
        if batch["state"] == "PROCESSING":
            self._blame(Trouble.STUCK, key, f"the batch is in stage {batch['stage']}")
        rows = self._books.rows[key]
        if [row["idempotency_key"] for row in rows] != [row.key for row in record.order.rows]:
            self._blame(Trouble.LOST, key, "the batch has other rows than were sent")
            return
        for asked, row in zip(record.order.rows, rows, strict=True):
            self._check_row(record, batch, asked, row)

    def _check_row(self, record: Record, batch: Json, asked: Row, row: Json) -> None:
        found, status, key = self._found(asked.key), row["status"], asked.key
        if status in {"REJECTED", "CANCELLED"}:
            may_be = self._is_disturbed(batch) or (
                batch["atomic"] and not all(each.fate.may_succeed for each in record.order.rows)
            )
            if not may_be:
                self._blame(Trouble.UNEXPLAINED, key, f"its row is {status}, for no reason")
            if found is not None and found["batch_id"] == batch["id"]:
                self._blame(Trouble.DOUBLED, key, f"its row is {status}, and it happened")
            return
        if found is None or row["transfer_id"] != found["id"]:
            self._blame(Trouble.LOST, key, f"its row is {status}, and its transfer is not there")
            return
        if {"SUCCEEDED": SUCCESS, "FAILED": FAILED}.get(status) != found["state"]:
            self._blame(Trouble.LOST, key, f"its row is {status}, and it is {found['state']}")
        self._require_explained(key, found, asked.fate, is_hold=False)
        self._require_entries(key, found, [asked.movement])

    def _check_reversed_sums(self) -> None:
        """Reversals never take back more than has moved."""
        for record in self._history.of_kinds(Kind.TRANSFER, Kind.HOLD):
            found = self._found(record.order.key)
            if found is None:
                continue
            taken_back = sum(
                reversal["amount"]
                for other in self._operations[record.order.key]
                if other.order.kind is Kind.REVERSAL
                and (reversal := self._found(other.order.key)) is not None
                and reversal["state"] == SUCCESS
            )
            if taken_back > found["captured_amount"] or taken_back != found["reversed_amount"]:
                message = (
                    f"moved {found['captured_amount']}, says {found['reversed_amount']} reversed, "
                    f"and reversals took back {taken_back}"
                )
                self._blame(Trouble.DOUBLED, record.order.key, message)

    def _check_accounts(self) -> None:
        """Each entry follows from the one before, the balance from the last; nothing is held."""
        for account, entries in self._books.entries.items():
            balance = 0
            for sequence, entry in enumerate(entries, start=1):
                sign = 1 if entry["direction"] == "CREDIT" else -1
                balance += sign * entry["amount"]
                if (entry["sequence"], entry["balance_after"]) != (sequence, balance):
                    message = f"entry {entry['sequence']} does not follow from the one before"
                    self._blame(Trouble.ORDER, account, message)
            posted, held = self._books.balances[account]
            if posted != balance:
                self._blame(Trouble.LOST, account, f"has {posted} posted, and entries of {balance}")
            if held:
                self._blame(Trouble.STUCK, account, f"has {held} held for nothing")

    def _check_order_and_reads(self) -> None:
        moments = self._moments()
        checker = OrderChecker(self._books, moments)
        for account, message in checker.contradictions():
            self._blame(Trouble.ORDER, account, message)
        for subject, message in checker.misreads(self._history.reads):
            self._blame(Trouble.READ, subject, message)
        disturbed = {workflow_id.partition(":")[2] for workflow_id in self._history.disturbed}
        held = HeldChecker(self._history, disturbed)
        for subject, message in held.misreads(self._history.reads):
            self._blame(Trouble.READ, subject, message)

    def _moments(self) -> dict[tuple[str, int], Moment]:
        """Tell when each movement was first asked for, and when a client was told that it is done.

        Of captures by their amount, which is another for each capture of a hold.
        """
        moments: dict[tuple[str, int], Moment] = {}

        def add(found: Json | None, amounts: Iterable[int], record: Record, *, done: bool) -> None:
            if found is None:
                return
            told = Moment(record.invoked, record.acknowledged if done else None)
            for amount in amounts:
                known = moments.get((found["id"], amount))
                moments[found["id"], amount] = told if known is None else known.joined(told)

        for record in self._history.of_kinds(Kind.TRANSFER, Kind.REVERSAL):
            amounts = [amount for _, _, amount in record.order.movements]
            add(self._found(record.order.key), amounts, record, done=record.status == 201)
        for record in self._history.of_kinds(Kind.CAPTURE):
            amounts = [amount for _, _, amount in record.order.movements]
            found = self._found(record.order.target or "")
            add(found, amounts, record, done=record.status == 200)
        for key, (record, row) in self._rows.items():
            add(self._found(key), [row.movement[2]], record, done=not record.is_open)
        return moments

    def _captured(self, key: str) -> list[Movement]:
        """Give what the captures of a hold that clients were told of have moved."""
        return [
            movement
            for record in self._operations[key]
            if record.order.kind is Kind.CAPTURE and record.status == 200
            for movement in record.order.movements
        ]

    def _is_done(self, key: str, kind: Kind) -> bool:
        return any(
            record.order.kind is kind and record.status == 200 for record in self._operations[key]
        )

    def _is_disturbed(self, found: Json) -> bool:
        return found["workflow_id"] in self._history.disturbed

    def _found(self, key: str) -> Json | None:
        transfers = self._transfers.get(key)
        return transfers[0] if transfers else None


def entries_of(movements: Iterable[Movement]) -> Counter[Entry]:
    """Give the entries that movements leave in the ledger."""
    entries: Counter[Entry] = Counter()
    for source, destination, amount in movements:
        entries[source, "DEBIT", amount] += 1
        entries[destination, "CREDIT", amount] += 1
    return entries
