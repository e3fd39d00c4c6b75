"""The demo's customers, with books of their own to hold against the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol
from uuid import uuid4

from domain.ledger import EntryDirection
from domain.money import Currency
from runtime.api_client import Answer, ApiClient, Document
from runtime.stack_files import StackInfo
from services.currencies import find_currency
from services.verification import Check

CURRENCY: Final = "EUR"
PAGE_SIZE: Final = 200
PREFER: Final = "wait=30"


class DemoFailed(Exception):
    """Something is not as it must be; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One entry of an account as its owner reads it."""

    sequence: int
    description: str
    amount: str
    balance: str


class DemoAudience(Protocol):
    """Sees the demo."""

    def step(self, title: str) -> None:
        """Begin a part of the story."""

    def note(self, line: str) -> None:
        """Read what happened."""

    def links(self, info: StackInfo) -> None:
        """Read where to look while it runs."""

    def statement(self, name: str, lines: Sequence[StatementLine]) -> None:
        """Read an account's statement."""

    def proved(self, checks: Sequence[Check]) -> None:
        """Read what was proved."""

    def ending(self, info: StackInfo, *, keep: bool) -> None:
        """Read how it ends."""


def expect(what: str, *, expected: object, found: object) -> None:
    """Hold what was found against what must be.

    Raises
    ------
    DemoFailed
        They differ.
    """
    if found != expected:
        raise DemoFailed(f"{what}: expected {expected}, found {found}")


class Wallets:
    """Accounts by their owner's name, and what each must have."""

    def __init__(self, api: ApiClient) -> None:
        self.api = api
        self.ids: dict[str, str] = {}
        self.expected_minor: dict[str, int] = {}
        self._currency = _currency()

    def text(self, amount_minor: int) -> str:
        """Write an amount as a person does."""
        return self._currency.format(amount_minor)

    async def open(self, name: str) -> None:
        """Record a user and open an account."""
        user = (await self.api.post("/v1/users", {"name": name})).document
        body = {"user_id": user["id"], "currency": CURRENCY, "external_id": f"demo-{name.lower()}"}
        self.ids[name] = (await self.api.post("/v1/accounts", body)).document["id"]
        self.expected_minor[name] = 0

    async def deposit(self, name: str, amount_minor: int) -> None:
        """Bring money in from outside."""
        await self._transfer(
            str(uuid4()),
            {
                "type": "DEPOSIT",
                "destination": self.ids[name],
                "amount": amount_minor,
                "description": "Deposit",
            },
        )
        self.expected_minor[name] += amount_minor

    async def pay(
        self, source: str, destination: str, amount_minor: int, *, description: str
    ) -> Document:
        """Move money once, however often it has to be asked for, and give the transfer."""
        body = self.payment(source, destination, amount_minor, description=description)
        answer = await self._transfer(str(uuid4()), body)
        self.book(source, destination, amount_minor)
        return answer.document

    def payment(
        self, source: str, destination: str, amount_minor: int, *, description: str
    ) -> dict[str, Any]:
        """Write the request of a payment."""
        return {
            "source": self.ids[source],
            "destination": self.ids[destination],
            "amount": amount_minor,
            "currency": CURRENCY,
            "description": description,
        }

    def book(self, source: str, destination: str, amount_minor: int) -> None:
        """Write a payment into the demo's own books."""
        self.expected_minor[source] -= amount_minor
        self.expected_minor[destination] += amount_minor

    async def check_balances(self) -> None:
        """Hold every balance against the demo's own books.

        Raises
        ------
        DemoFailed
            One differs.
        """
        for name, expected_minor in self.expected_minor.items():
            balance = (await self.api.account(self.ids[name]))["balance"]
            found = self.text(balance["posted"]), self.text(balance["held"])
            expect(
                f"{name}'s balance, and what is held of it",
                expected=(self.text(expected_minor), self.text(0)),
                found=found,
            )

    async def _transfer(self, key: str, body: dict[str, Any]) -> Answer:
        sent = {"currency": CURRENCY, **body}
        answer = await self.api.transfer(sent, key=key, prefer=PREFER)
        while answer.status == HTTPStatus.ACCEPTED:
            answer = await self.api.transfer(sent, key=key, prefer=PREFER)
        return answer


async def as_statement(api: ApiClient, wallets: Wallets, name: str) -> list[StatementLine]:
    """Read an account's entries, oldest first, and check that each balance follows.

    Raises
    ------
    DemoFailed
        A balance does not follow from the one before.
    """
    account_id = wallets.ids[name]
    path = f"/v1/accounts/{account_id}/entries"
    entries = (await api.get(path, order="asc", limit=PAGE_SIZE)).document["data"]
    transfers = (await api.get("/v1/transfers", account=account_id, limit=PAGE_SIZE)).document
    descriptions = {each["id"]: each["description"] for each in transfers["data"]}
    lines, balance_minor = [], 0
    for entry in entries:
        amount_minor = EntryDirection(entry["direction"]).signed(entry["amount"])
        balance_minor += amount_minor
        expect(
            f"{name}'s balance after entry {entry['sequence']}",
            expected=wallets.text(balance_minor),
            found=wallets.text(entry["balance_after"]),
        )
        line = StatementLine(
            sequence=entry["sequence"],
            description=descriptions[entry["transfer_id"]],
            amount=wallets.text(amount_minor),
            balance=wallets.text(balance_minor),
        )
        lines.append(line)
    return lines


def _currency() -> Currency:
    found = find_currency(CURRENCY)
    if found is None:
        raise LookupError(CURRENCY)
    return found
