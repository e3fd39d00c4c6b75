"""How Hypothesis searches: without a clock, for the machine is shared with servers."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from persistence.database import Database
from runtime.composition import Services, make_services
from tests.support.postgres import PostgresServer

settings.register_profile("project", deadline=None, database=None, print_blob=True)
settings.load_profile("project")


@pytest.fixture(scope="module")
async def own_services(postgres: PostgresServer) -> AsyncIterator[Services]:
    """Services over a database that no worker and no reconciliation touches."""
    async with postgres.database() as url:
        database = Database.at(url)
        yield make_services(database)
        await database.close()
