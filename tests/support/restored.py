"""A database that goes on, and the same one as it was at an earlier point."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from persistence.database import Database
from runtime.composition import Services, make_services
from tests.support.postgres import PostgresServer


@asynccontextmanager
async def services_over(postgres: PostgresServer, database_url: str) -> AsyncIterator[Services]:
    """Open services over a database, as the product works with it."""
    database = Database.at(postgres.as_service(database_url))
    try:
        yield make_services(database)
    finally:
        await database.close()


@dataclass(frozen=True, slots=True)
class Restorable:
    """A database of a test's own, of which there can be a backup."""

    postgres: PostgresServer
    url: str

    @asynccontextmanager
    async def services(self) -> AsyncIterator[Services]:
        async with services_over(self.postgres, self.url) as services:
            yield services

    @asynccontextmanager
    async def backed_up(self) -> AsyncIterator["Restorable"]:
        """Keep it as it is now; nobody may be connected at this moment."""
        async with self.postgres.database(copy_of=self.url) as url:
            yield Restorable(self.postgres, url)
