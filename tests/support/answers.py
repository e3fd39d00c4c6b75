"""What a client was told, to be asked for again after a restore: each kind of request once."""

from dataclasses import dataclass, field

import httpx

from tests.support.api import Client, Json, new_key
from tests.support.batches import finished, rows_of
from tests.support.waiting import until

HELD_MINOR = 40
BATCH_ROWS = 3
UNDECIDED = frozenset({202, 404, 409, 503})
"""Answers that another try changes: the transfer has yet to come back to where it was."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A request, and what it was told in the end."""

    path: str
    key: str
    body: Json
    told: Json


@dataclass(slots=True)
class Answers:
    """Requests of one client, in the order in which they were answered."""

    client: Client
    source: str
    destination: str
    given: list[Answer] = field(default_factory=list)

    async def ask(self, path: str, **body: object) -> Json:
        """Send a request that succeeds, and remember it."""
        answer = Answer(path, new_key(), body, {})
        told = await self._answered(answer)
        self.given.append(Answer(answer.path, answer.key, answer.body, told))
        return told

    async def hold(self) -> Json:
        return await self.ask("/transfers", **self._move(HELD_MINOR), capture="manual")

    async def capture(self, held: Json) -> Json:
        return await self.ask(f"/transfers/{held['id']}/capture", amount=HELD_MINOR)

    async def ask_for_each(self) -> None:
        """Capture a hold, reverse a part of a transfer, send several legs, and last a batch."""
        await self.capture(await self.hold())
        paid = await self.ask("/transfers", **self._move(9))
        await self.ask(f"/transfers/{paid['id']}/reversals", amount=4)
        await self.ask("/transfers", legs=[self._move(3), self._move(5)])
        rows = [{"idempotency_key": new_key(), **self._move(1)} for _ in range(BATCH_ROWS)]
        await self.ask("/transfer-batches", transfers=rows)

    async def ask_again(self) -> None:
        """Send everything once more, in its order: all comes to what was told."""
        for answer in self.given:
            found = await self._answered(answer)
            assert found["state"] == answer.told["state"], (answer, found)
            if answer.path == "/transfer-batches":
                assert found["counts"] == {
                    **answer.told["counts"],
                    "replayed": found["counts"]["replayed"],
                }
                statuses = {row["status"] for row in await rows_of(self.client, found["id"])}
                assert statuses == {"SUCCEEDED"}
            else:
                assert found["id"] == answer.told["id"]

    async def balances(self) -> tuple[int, int]:
        """Give what both accounts have posted."""
        return await self.client.posted(self.source), await self.client.posted(self.destination)

    async def _answered(self, answer: Answer) -> Json:
        response: httpx.Response

        async def is_decided() -> bool:
            nonlocal response
            response = await self.client.call(
                "POST",
                answer.path,
                json=answer.body,
                headers={"Idempotency-Key": answer.key, "Prefer": "wait=10"},
            )
            return response.status_code not in UNDECIDED

        await until(is_decided)
        assert response.is_success, response.text
        told: Json = response.json()
        if answer.path == "/transfer-batches":
            return await finished(self.client, told["id"])
        return told

    def _move(self, amount: int) -> Json:
        return {
            "source": self.source,
            "destination": self.destination,
            "amount": amount,
            "currency": "EUR",
        }
