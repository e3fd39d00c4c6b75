"""Fixtures of all tests. Servers start when a test first asks for one: unit tests need none."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from temporalio.client import Client as TemporalClient

from persistence.database import Database
from runtime.composition import Services, make_services
from runtime.temporal import connect
from tests.support.api import Client
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack, running_stack
from tests.support.temporal import TemporalServer, temporal_server
from tests.support.tenants import TenantMaker
from tests.support.workers import WorkerFactory

SERVERS = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SERVERS] = []
    # Before Hypothesis reads it: what a run has found can be found again.
    seed = config.option.hypothesis_seed or str(secrets.randbelow(2**32))
    config.option.hypothesis_seed = seed
    config.stash[SERVERS].append(f"Hypothesis: --hypothesis-seed={seed}")
    if config.pluginmanager.has_plugin("dsession"):
        config.pluginmanager.register(Gathering(config.stash[SERVERS]))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a process among several tell the one that sums up which servers it had."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["servers"] = session.config.stash[SERVERS]


class Gathering:
    """Takes in what the processes of a run tell at their ends."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def pytest_testnodedown(self, node: Any) -> None:
        """Keep what is new."""
        told = getattr(node, "workeroutput", {}).get("servers", ())
        self._said += [line for line in told if line not in self._said]


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
    """The migrated database that the stack and the services share, for the tables' owner."""
    async with postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
def service_url(postgres: PostgresServer, database_url: str) -> str:
    """The same database for the role that the product works as."""
    return postgres.as_service(database_url)


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
async def stack(
    database_url: str, service_url: str, temporal: TemporalServer
) -> AsyncIterator[Stack]:
    """The API and a worker as processes.

    At the end all that the tests have left behind must be a clean ledger, without errors that
    nobody foresaw.
    """
    async with running_stack(database_url, temporal, service_url=service_url) as stack:
        yield stack
        await require_clean_ledger(stack)
        assert stack.unexpected_errors() == []


@pytest.fixture(scope="session")
async def services(service_url: str) -> AsyncIterator[Services]:
    """The services in this process, over the stack's database."""
    database = Database.at(service_url)
    yield make_services(database)
    await database.close()


@pytest.fixture
async def own_services(postgres: PostgresServer) -> AsyncIterator[Services]:
    """Services over a database of the test's own.

    For tests with a Temporal of their own, too: on the shared database the stack's reconciliations
    would take what they find in no workflow of theirs for abandoned, and carry it on or end it.
    """
    async with postgres.database() as url:
        database = Database.at(postgres.as_service(url))
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
