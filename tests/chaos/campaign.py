"""A run of chaos: clients and faults for a time, then calm, then the proof."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from temporalio.service import RPCError

from runtime.temporal import connect
from runtime.verification import VerificationReport
from tests.chaos.checker import Checker, Trouble, Violation
from tests.chaos.clients import Crowd
from tests.chaos.history import TRANSFER_KINDS, Books, History, Kind
from tests.chaos.nemesis import OPEN_WORKFLOWS, Nemesis
from tests.chaos.report import Figures, Report
from tests.chaos.site import Site, SitePlan, violations_of
from tests.chaos.town import Town, found_town, seeded
from tests.support.api import Client, Json
from tests.support.waiting import until

SETTLING_SECONDS: Final = 90.0
"""Once faults stop, everything has its outcome within this time, or it is stuck."""

SETTLING_SECONDS_AN_ORDER: Final = 0.1
"""Besides, for each order that is in doubt then: it is sent again, eight at a time. An hour leaves
thousands, and the service answers some thirty a second on two cores."""

ENDOWING_SECONDS: Final = 60.0
LONGER_SECONDS: Final = 60.0
PAGE_SIZE: Final = 200
REPEATS_MAXIMUM: Final = 2_000
"""So many answered orders, chosen at random, are sent once more in the end."""

SEEDS: Final = 10**6
WHOLE: Final = SitePlan(apis=2, workers=2)
"""What chaos runs on where nothing else is wanted."""

Faults = Callable[[Nemesis, asyncio.Event], Any]


@dataclass(slots=True)
class Campaign:
    """Clients of one tenant on a site, and what becomes of them.

    Parameters
    ----------
    report
        Takes lines of progress.
    """

    site: Site
    client: Client
    town: Town
    crowd: Crowd
    seed: int
    report: Callable[[str], None]
    history: History
    _violations: list[Violation] = field(default_factory=list)

    @property
    def tenant_id(self) -> str:
        """Whose transfers they are."""
        return str(self.client.tenant_id)

    async def run(
        self,
        duration_seconds: float,
        *,
        faults: Faults | None = None,
        is_enough: Callable[[History], bool] = lambda _history: True,
        settling_seconds: float = SETTLING_SECONDS,
    ) -> Report:
        """Let clients work while things fail, wait for calm, and prove what is in the books.

        Parameters
        ----------
        duration_seconds
            How long clients work and things fail; the proof takes further time.
        faults
            Breaks things until it is told to end; by default everything, at random.
        is_enough
            Whether enough has happened to stop then; else it goes on, for ``LONGER_SECONDS`` at
            most.
        settling_seconds
            How long everything may take to have its outcome once faults have stopped, beside
            ``SETTLING_SECONDS_AN_ORDER`` for each order that is in doubt.
        """
        began_at = datetime.now(UTC)
        async with asyncio.timeout(ENDOWING_SECONDS):
            await self.crowd.endow()
        await self._make_trouble(duration_seconds, faults or Nemesis.run, is_enough)
        calm = time.monotonic()
        acknowledged = sum(not record.is_open for record in self.history.records.values())
        done = dict(self.history.done())
        in_doubt = len(self.history.open_records())
        await self._settle(settling_seconds + in_doubt * SETTLING_SECONDS_AN_ORDER)
        settled_seconds = time.monotonic() - calm
        self.report(f"settled {settled_seconds:.1f} s after the last fault")
        proof = await self._prove()
        return Report(
            seed=self.seed,
            began_at=began_at,
            duration_seconds=duration_seconds,
            settled_seconds=settled_seconds,
            processes=[*self.site.parts],
            faults=dict(self.history.faults),
            sealed_entries=proof.seals.sealed_entries,
            figures=Figures.of(
                self.history,
                acknowledged=acknowledged,
                done=done,
                in_doubt=in_doubt,
                violations=self._violations,
            ),
            violations=tuple(self._violations),
        )

    async def _make_trouble(
        self, duration_seconds: float, faults: Faults, is_enough: Callable[[History], bool]
    ) -> None:
        is_over, is_calm = asyncio.Event(), asyncio.Event()
        nemesis = Nemesis(
            self.site,
            self.crowd,
            self.history,
            tenant_id=self.tenant_id,
            seed=self.seed,
            report=self.report,
        )

        async def break_things() -> None:
            await faults(nemesis, is_over)
            is_calm.set()

        async def has_enough() -> bool:
            return is_enough(self.history)

        async with asyncio.TaskGroup() as tasks:
            # Clients go on until all is mended.
            tasks.create_task(self.crowd.run(is_calm))
            tasks.create_task(break_things())
            await asyncio.sleep(duration_seconds)
            with suppress(TimeoutError):
                await until(has_enough, timeout_seconds=LONGER_SECONDS)
            is_over.set()

    async def _settle(self, seconds: float) -> None:
        """Resolve what is in doubt, close what clients left open, and wait until nothing moves."""
        try:
            async with asyncio.timeout(seconds):
                await self.crowd.resolve(self.history.open_records())
                await self._close_holds()
                await until(self._is_calm, timeout_seconds=seconds)
        except TimeoutError:
            message = f"not everything had its outcome {seconds:g} s after the last fault"
            self._violations.append(Violation(Trouble.STUCK, "the whole", message))

    async def _close_holds(self) -> None:
        holds = {record.order.key: record for record in self.history.of_kinds(Kind.HOLD)}
        open_holds = await self._all("/transfers", state="PROCESSING")
        await asyncio.gather(
            *(
                self.crowd.close_hold(
                    holds[found["idempotency_key"]], is_captured=bool(found["captured_amount"])
                )
                for found in open_holds
                if found["idempotency_key"] in holds
            )
        )

    async def _is_calm(self) -> bool:
        if await self._all("/transfers", state="PROCESSING"):
            return False
        temporal = self.site.temporal
        client = await connect(temporal.address, temporal.namespace)
        try:
            if (await client.count_workflows(OPEN_WORKFLOWS)).count:
                return False
        except RPCError:
            return False
        batches = await self._all("/transfer-batches")
        return all(batch["state"] != "PROCESSING" for batch in batches)

    async def _prove(self) -> VerificationReport:
        """Repeat orders, read the books, and hold everything against everything."""
        answered = [record for record in self.history.records.values() if not record.is_open]
        chosen = seeded(self.seed, "repeats").sample(answered, min(len(answered), REPEATS_MAXIMUM))
        await self.crowd.repeat(record for record in chosen if not record.is_refused)
        self.report(f"sent {len(chosen)} orders once more")
        books = await self._books()
        self.report(f"read {len(books.transfers)} transfers and their entries")
        proof = await self.site.verify()
        self._violations += Checker(self.history, books).check()
        self._violations += found_by_service(proof, self.site.unexpected_errors())
        return proof

    async def _books(self) -> Books:
        accounts = await self._all("/accounts")
        batches = {
            batch["idempotency_key"]: batch for batch in await self._all("/transfer-batches")
        }
        transfers = await self._all("/transfers")
        return Books(
            transfers=transfers,
            entries={
                account["id"]: await self._all(f"/accounts/{account['id']}/entries", order="asc")
                for account in accounts
            },
            balances={
                account["id"]: (account["balance"]["posted"], account["balance"]["held"])
                for account in accounts
            },
            settlement=self.town.settlement,
            batches=batches,
            rows={
                key: await self._all(f"/transfer-batches/{batch['id']}/rows")
                for key, batch in batches.items()
            },
            ids=await self._ids_of_others({transfer["id"] for transfer in transfers}),
        )

    async def _ids_of_others(self, recorded: Collection[str]) -> dict[str, str]:
        """Read what stands under each promised id that is none of the recorded ones."""
        records = self.history.of_kinds(*TRANSFER_KINDS)
        promised = {id_ for record in records for id_ in record.promised_ids}
        answers = {
            id_: await self.client.call("GET", f"/transfers/{id_}")
            for id_ in promised.difference(recorded)
        }
        return {id_: answer.json()["id"] for id_, answer in answers.items() if answer.is_success}

    async def _all(self, path: str, **params: Any) -> list[Json]:
        pages = self.client.walk(path, limit=PAGE_SIZE, **params)
        return [found async for page in pages for found in page]


def found_by_service(proof: VerificationReport, errors: Iterable[str]) -> list[Violation]:
    """Give what the service's own proof has found, and what its logs say that nobody foresaw."""
    return [
        *(Violation(Trouble.INVARIANT, *found.split(": ", 1)) for found in violations_of(proof)),
        *(Violation(Trouble.ERROR, "the log", line) for line in errors),
    ]


def new_seed() -> int:
    """Choose a seed."""
    return secrets.randbelow(SEEDS)


@asynccontextmanager
async def campaign_on(
    site: Site, seed: int, report: Callable[[str], None]
) -> AsyncIterator[Campaign]:
    """Found a town on a site, with its clients."""
    key, secret = await site.make_key()
    async with Client(site.url_for_clients(), secret, key) as client:
        town = await found_town(client)
        history = History()
        async with Crowd(site, town, secret, history, seed=seed) as crowd:
            yield Campaign(site, client, town, crowd, seed, report, history)
