"""Transfers found by their metadata, behind the tenants' fence as the service does it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import TransferId
from persistence import transfers as transfer_statements
from persistence.database import Database
from persistence.transfers import TransferFilter, TransferRepository
from runtime.composition import make_services
from tests.support.postgres import PostgresServer
from tests.support.wallets import Wallets, make_wallets

TRANSFERS = 120
FEW = 10
READ = text(
    "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'transfers'"
)


@dataclass(frozen=True, slots=True)
class Archive:
    """Transfers of one tenant, oldest first; another tenant's have the same metadata."""

    database: Database
    wallets: Wallets
    ids: list[TransferId]


async def recorded(wallets: Wallets, number: int) -> TransferId:
    request = replace(
        wallets,
        key=f"found-{number}",
    ).changed(1, metadata={"order": number, "channel": "app"})
    prepared = await wallets.services.requests.prepare(wallets.tenant_id, request)
    return (await wallets.services.transactions.reserve(prepared.order)).id


@pytest.fixture(scope="module")
async def archive(postgres: PostgresServer) -> AsyncIterator[Archive]:
    async with postgres.database() as url:
        database = Database.at(postgres.as_service(url))
        own, other = [await make_wallets(make_services(database)) for _ in range(2)]
        ids = [await recorded(own, number) for number in range(TRANSFERS)]
        await recorded(other, 7)
        yield Archive(database, own, ids)
        await database.close()


async def found(
    connection: AsyncConnection, archive: Archive, metadata: Mapping[str, Any], **page: Any
) -> list[TransferId]:
    repository = TransferRepository(connection)
    wanted = TransferFilter(metadata=metadata)
    asked = {"after": None, "limit": 5, **page}
    return [each.id for each in await repository.page(archive.wallets.tenant_id, wanted, **asked)]


async def test_a_rare_value_is_found_without_reading_the_tenants_transfers(
    archive: Archive,
) -> None:
    async with archive.database.snapshot(archive.wallets.tenant_id) as connection:
        assert await found(connection, archive, {"order": 7}) == [archive.ids[7]]
        assert await connection.scalar(READ) < FEW


async def test_a_value_of_many_fills_its_pages_from_the_newest_on(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = archive.ids[::-1]
    for maximum in (TRANSFERS, TRANSFERS - 1):
        monkeypatch.setattr(transfer_statements, "METADATA_MATCHES_MAXIMUM", maximum)
        async with archive.database.snapshot(archive.wallets.tenant_id) as connection:
            first = await found(connection, archive, {"channel": "app"})
            assert first == newest[:5]
            second = await found(connection, archive, {"channel": "app"}, after=first[-1])
            assert second == newest[5:10]


async def test_a_value_that_nobody_has_finds_nothing(archive: Archive) -> None:
    async with archive.database.snapshot(archive.wallets.tenant_id) as connection:
        assert await found(connection, archive, {"order": TRANSFERS}) == []


async def test_the_function_tells_no_other_tenants_transfers(archive: Archive) -> None:
    ask = text("SELECT count(*) FROM transfers_with_metadata('{\"order\": 7}', 10)")
    async with archive.database.snapshot(archive.wallets.tenant_id) as connection:
        assert await connection.scalar(ask) == 1
        await connection.execute(text("SELECT set_config('transfers.tenant_id', '', true)"))
        assert await connection.scalar(ask) == 0
