"""PostgreSQL or Temporal comes back from a backup: nothing on record is lost or doubled."""

import secrets
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from domain.access import CLIENT_SCOPES
from domain.figures import ArchiveFigure
from runtime.comparison import Comparison, compare, repeat_all
from runtime.composition import open_services
from runtime.local import make_local_stack
from runtime.local_stack import LocalStack
from runtime.restoration import Loss, LostOutcome
from runtime.settings import Settings
from runtime.stack_files import throwaway_data_dir
from runtime.stack_options import LocalStackOptions
from runtime.temporal import connect
from runtime.verification import verify
from tests.support.answers import Answers
from tests.support.api import Client, Json
from tests.support.command import Command
from tests.support.load import Load, Record, found_town, require_books, require_transfers, seeded
from tests.support.point_in_time import PointInTime
from tests.support.waiting import until

ALL_TIME = datetime(2020, 1, 1, tzinfo=UTC)
SETTLED_SECONDS = 60.0
OPEN_WORKFLOWS = "WorkflowType = 'TransferWorkflow' AND ExecutionStatus = 'Running'"
CLIENTS_OF_SERVERS = ("api", "worker")


@dataclass(frozen=True, slots=True)
class Scene:
    """A stack of a test's own with clients that move money."""

    stack: LocalStack
    folder: Path
    client: Client
    holder: Client
    load: Load

    @property
    def settings(self) -> Settings:
        info = self.stack.info
        return Settings(
            database_url=SecretStr(info.service_database_url),
            temporal_address=info.temporal_address,
            temporal_namespace=info.temporal_namespace,
        )

    async def on_record(self) -> dict[str, str]:
        """Give the state of each transfer that the database knows, by its id."""
        async with await psycopg.AsyncConnection.connect(self.stack.info.database_url) as found:
            rows = await (await found.execute("SELECT id::text, state FROM transfers")).fetchall()
        return dict(rows)

    async def stop(self, *parts: str) -> None:
        for part in parts:
            await self.stack.stop_part(part)

    async def start(self, *parts: str) -> None:
        for part in parts:
            await self.stack.start_part(part)

    async def archive(self) -> ArchiveFigure:
        """Tell what the metrics say of the archive."""
        async with open_services(self.stack.info.service_database_url) as services:
            return (await services.figures.now()).archive

    async def begin_anew(self) -> list[Record]:
        """Let clients ask again for all that they were told; gives what that was."""
        told = list(self.load.records)
        self.load.records[:] = [Record(record.order) for record in told]
        for account in self.load.town.accounts:
            await self.client.change_status(account, "unfreeze")
        await self.load.resolve()
        await self.load.repeat()
        return told

    async def prove(self) -> None:
        """Hold the ledger against what clients were told in the end."""
        info = self.stack.info
        temporal = await connect(info.temporal_address, info.temporal_namespace)

        async def is_settled() -> bool:
            processing = (await self.client.get("/transfers", state="PROCESSING"))["data"]
            return not processing and not (await temporal.count_workflows(OPEN_WORKFLOWS)).count

        await until(is_settled, timeout_seconds=SETTLED_SECONDS)
        report = await verify(
            info.service_database_url,
            temporal_address=info.temporal_address,
            temporal_namespace=info.temporal_namespace,
        )
        assert [v for check in report.checks for v in check.violations] == []


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    with throwaway_data_dir() as folder:
        async with (
            make_local_stack(LocalStackOptions.on_free_ports(folder)) as stack,
            client_of(stack, "movers") as client,
            client_of(stack, "holders") as holder,
        ):
            load = Load(
                client, await found_town(client), seeded(secrets.randbelow(10**6), "orders")
            )
            yield Scene(stack, folder, client, holder, load)


@asynccontextmanager
async def client_of(stack: LocalStack, tenant: str) -> AsyncIterator[Client]:
    async with open_services(stack.info.service_database_url) as services:
        key, secret = await services.access.create_key(
            tenant_name=tenant, name="test", scopes=CLIENT_SCOPES
        )
    async with Client(stack.info.api_url, secret, key) as client:
        yield client


@pytest.mark.parametrize("is_repeated", [False, True], ids=["clients alone", "with the command"])
async def test_postgresql_restored_to_the_middle_of_a_stream_behind_temporal(
    scene: Scene, *, is_repeated: bool
) -> None:
    point = PointInTime(scene.stack, scene.folder)
    load = scene.load
    account = await scene.holder.account(balance=1_000)
    answers = Answers(scene.holder, account["id"], (await scene.holder.account())["id"])
    assert not (await scene.archive()).is_on
    began_at = time.time()
    await point.begin_archiving()
    captured, known = await move_past(scene, point, answers)
    balances = await answers.balances()
    hold = await a_hold(scene.holder, account)
    await point.finish_archiving()
    archive = await scene.archive()
    assert archive.is_on
    assert archive.archived_at > began_at
    await scene.stop(*CLIENTS_OF_SERVERS)
    await point.restore()
    kept = await scene.on_record()
    await scene.start(*CLIENTS_OF_SERVERS)

    found = await compare(scene.settings, ALL_TIME, settling=timedelta())
    told = {record.transfer["id"]: record for record in load.records}
    *operations, batch = [answer.told["id"] for answer in answers.given[known:]]
    missing = ids_of(found.transfers, Loss.MISSING)
    assert missing == (told.keys() | set(operations)) - kept.keys()
    assert len(missing) >= 20
    assert captured["id"] in ids_of(found.transfers, Loss.DIFFERENT)
    assert ids_of(found.transfers, Loss.UNFINISHED) == {hold["id"]}
    assert [str(lost.id) for lost in found.batches if lost.is_missing] == [batch]
    if is_repeated:
        await require_brought_back(scene, found, hold)
    records = await scene.begin_anew()
    await answers.ask_again()
    assert await answers.balances() == balances

    for before, after in zip(records, load.records, strict=True):
        require_as_told(before, after, kept.get(before.transfer["id"]), is_repeated=is_repeated)
    if not is_repeated:
        again = await repeat_all(scene.settings, ALL_TIME, settling=timedelta())
        assert [str(done.lost.order.transfer_id) for done in again.repeated] == [hold["id"]]
        await require_named_by_command(scene, batch)
    released = await scene.holder.operate(hold, "cancel")
    assert released.json()["state"] == "FAILED"
    await scene.prove()
    await require_books(scene.client, load.records)
    await require_transfers(scene.client, load.records)


async def test_temporal_restored_to_a_time_before_what_the_database_knows(scene: Scene) -> None:
    load = scene.load
    account = await scene.holder.account(balance=1_000)
    files = scene.folder / "temporal"
    async with load.running():
        await load.acknowledge(10)
        await scene.stack.kill_part("temporal")
        shutil.copytree(files, scene.folder / "temporal.earlier")
        await scene.start("temporal")
        await load.acknowledge(20)
    await load.resolve()
    hold = await a_hold(scene.holder, account)
    kept = await scene.on_record()
    await scene.stop(*CLIENTS_OF_SERVERS, "temporal")
    shutil.rmtree(files)
    (scene.folder / "temporal.earlier").rename(files)
    await scene.start("temporal", *CLIENTS_OF_SERVERS)

    records = await scene.begin_anew()

    for before, after in zip(records, load.records, strict=True):
        assert (after.status, after.document) == (before.status, before.document)

    async def is_released() -> bool:
        found = await scene.holder.get(f"/transfers/{hold['id']}")
        return bool(found["state"] == "FAILED")

    # Its workflow is lost: nobody would ever end the hold else.
    await until(is_released, timeout_seconds=SETTLED_SECONDS)
    assert (await scene.on_record()).keys() == kept.keys()
    await scene.prove()
    await require_books(scene.client, load.records)
    await require_transfers(scene.client, load.records)


async def a_hold(client: Client, account: Json) -> Json:
    """Reserve money that rests until it is captured or cancelled."""
    held = await client.hold(type="WITHDRAWAL", source=account["id"], amount=100)
    assert held["stage"] == "RESERVED"
    return held


async def move_past(scene: Scene, point: PointInTime, answers: Answers) -> tuple[Json, int]:
    """Move money before and after the point that is to be restored.

    Returns
    -------
    tuple[Json, int]
        A hold of before the point that is captured after it, and how many answers were given until
        the point.
    """
    load = scene.load
    async with load.running():
        await load.acknowledge(10)
        await point.back_up()
        await load.acknowledge(20)
        await answers.ask_for_each()
        captured = await answers.hold()
        known = len(answers.given)
        await point.mark()
        await answers.capture(captured)
        await answers.ask_for_each()
        await load.acknowledge(20)
    await load.resolve()
    return captured, known


def require_as_told(
    before: Record, after: Record, recorded: str | None, *, is_repeated: bool
) -> None:
    """Hold what a client is told after the restore against what it was told before.

    Parameters
    ----------
    recorded
        The transfer's state at the point; ``None`` where it was not on record.
    """
    is_final = recorded in {"SUCCESS", "FAILED"}
    if is_final or is_repeated:
        assert after.transfer["id"] == before.transfer["id"] or before.status != 201
    if recorded and before.status == 201:
        assert after.status == 201
    if is_final:
        assert (after.status, after.document) == (before.status, before.document)


def ids_of(lost: Sequence[LostOutcome], loss: Loss) -> set[str]:
    return {str(found.order.transfer_id) for found in lost if found.loss is loss}


async def require_brought_back(scene: Scene, lost: Comparison, hold: Json) -> None:
    """Carry out anew what can be, and find it under its old ids."""
    again = await repeat_all(scene.settings, ALL_TIME, settling=timedelta())
    assert {done.lost.order.transfer_id for done in again.repeated} == {
        found.order.transfer_id for found in lost.transfers if found.can_be_repeated
    }
    states = await scene.on_record()
    for done in again.repeated:
        assert states[str(done.lost.order.transfer_id)] == done.state
    assert states[hold["id"]] == "PROCESSING"


async def require_named_by_command(scene: Scene, batch: str) -> None:
    """A batch that was lost cannot come back under its id: the command says so, and fails."""
    info = scene.stack.info
    ending = await Command(
        DATABASE_URL=info.service_database_url,
        TEMPORAL_ADDRESS=info.temporal_address,
        TEMPORAL_NAMESPACE=info.temporal_namespace,
    )("restore", "--since", f"{ALL_TIME:%Y-%m-%d}", "--json")
    assert ending.code == 1, ending.messages
    assert [lost["batch_id"] for lost in ending.document["batches"]] == [batch]
