"""Fixtures of all tests. Servers start when a test first asks for one: unit tests need none."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from temporalio.client import Client as TemporalClient

from persistence.database import Database
from runtime.composition import Services, make_services
from runtime.temporal import connect
from tests.support.api import Client
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.stack import Stack, running_stack
from tests.support.temporal import TemporalServer, temporal_server
from tests.support.tenants import TenantMaker
from tests.support.workers import WorkerFactory

SERVERS = pytest.StashKey[list[str]]()
LAST_OF_ALL = "test_the_whole_ledger"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SERVERS] = []
    # Before Hypothesis reads it: what a run has found can be found again.
    seed = config.option.hypothesis_seed or str(secrets.randbelow(2**32))
    config.option.hypothesis_seed = seed
    config.stash[SERVERS].append(f"Hypothesis: --hypothesis-seed={seed}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests of faults behind the others, and the proof of the whole ledger behind all."""

    def rank(item: pytest.Item) -> int:
        if LAST_OF_ALL in item.nodeid:
            return 2
        return 1 if item.get_closest_marker("fault") else 0

    items.sort(key=rank)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash[SERVERS]:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
async def postgres(pytestconfig: pytest.Config) -> AsyncIterator[PostgresServer]:
    """The PostgreSQL server of this run; ``postgres.database()`` makes scratch databases."""
    said = pytestconfig.stash[SERVERS]
    reasons: list[str] = []
    async with postgres_server(reasons.append) as server:
        said.append(f"PostgreSQL: {'; '.join([server.how, *reasons])}")
        yield server


@pytest.fixture(scope="session")
async def database_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """The migrated database that the stack and the services share."""
    async with postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
async def temporal(pytestconfig: pytest.Config) -> AsyncIterator[TemporalServer]:
    """The Temporal server and namespace of this run."""
    async with temporal_server() as server:
        said = f"Temporal: {server.how} ({server.address}, namespace {server.namespace})"
        pytestconfig.stash[SERVERS].append(said)
        yield server


@pytest.fixture(scope="session")
async def temporal_client(temporal: TemporalServer) -> TemporalClient:
    return await connect(temporal.address, temporal.namespace)


@pytest.fixture(scope="session")
async def stack(database_url: str, temporal: TemporalServer) -> AsyncIterator[Stack]:
    """The API and a worker as processes; errors that nobody foresaw fail the run at its end."""
    async with running_stack(database_url, temporal) as stack:
        yield stack
        assert stack.unexpected_errors() == []


@pytest.fixture(scope="session")
async def services(database_url: str) -> AsyncIterator[Services]:
    """The services in this process, over the stack's database."""
    database = Database.at(database_url)
    yield make_services(database)
    await database.close()


@pytest.fixture
async def own_services(postgres: PostgresServer) -> AsyncIterator[Services]:
    """Services over a database of the test's own.

    For tests with a Temporal of their own, too: on the shared database the stack's reconciliations
    would take what they find in no workflow of theirs for abandoned, and carry it on or end it.
    """
    async with postgres.database() as url:
        database = Database.at(url)
        yield make_services(database)
        await database.close()


@pytest.fixture
async def worker(
    temporal_client: TemporalClient, services: Services
) -> AsyncIterator[WorkerFactory]:
    """Start workers in this process: ``await worker(InjectedSteps(...), runner="sandboxed")``."""
    factory = WorkerFactory(temporal_client, services)
    yield factory
    await factory.stop()


@pytest.fixture
async def make_tenant(stack: Stack, services: Services) -> AsyncIterator[TenantMaker]:
    """Make clients of new tenants: ``await make_tenant(scopes=...)``."""
    async with AsyncExitStack() as clients:
        yield TenantMaker(stack.api_url, services.access, clients)


@pytest.fixture
async def tenant(make_tenant: TenantMaker) -> Client:
    """A client of a new tenant, with a key of all scopes."""
    return await make_tenant()
