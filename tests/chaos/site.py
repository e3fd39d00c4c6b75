"""The product as several processes on servers of its own, for tests that break them."""

import asyncio
import os
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import psutil

from domain.access import CLIENT_SCOPES, ApiKey, Scope
from runtime.command_part import CommandPart
from runtime.composition import open_services
from runtime.embedded_postgres import EmbeddedPostgres
from runtime.embedded_temporal import EmbeddedTemporal
from runtime.migrations import migrate
from runtime.part import Part, say_nothing
from runtime.part_supervisor import PartSupervisor, RestartPolicy
from runtime.ports import LOOPBACK, free_port
from runtime.stack_files import throwaway_data_dir
from runtime.trust import trust_for
from runtime.verification import VerificationReport, verify
from tests.chaos.links import Link
from tests.chaos.logs import is_unexpected
from tests.support.api import Client
from tests.support.processes import alive
from tests.support.waiting import until
from workflows.search_attributes import SEARCH_ATTRIBUTE_NAMES

COMING_BACK_SECONDS: Final = 60.0
INVARIANTS: Final = 7
LOG_LINES: Final = 40
WORKFLOWS_CHECK: Final = "workflows"
SEALS_CHECK: Final = "seals"

POSTGRES: Final = "postgres"
TEMPORAL: Final = "temporal"
CLIENTS: Final = "clients"
PROGRAM: Final = (sys.executable, "-m", "cli.main")

PATIENCE: Final = RestartPolicy(max_crashes=1_000, max_delay_seconds=1.0)
"""Parts are brought back however often they are killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan:
    """What a site consists of.

    Parameters
    ----------
    apis, workers
        Processes of each kind; a worker runs in each API too, unless the environment says no.
    program
        What takes ``api`` and ``worker`` as its last argument: the product, or a broken build.
    environment
        Further environment variables of these processes.
    """

    apis: int = 1
    workers: int = 1
    program: tuple[str, ...] = PROGRAM
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def api_names(self) -> list[str]:
        """Names of the processes that serve."""
        return [f"api-{number}" for number in range(1, self.apis + 1)]

    @property
    def worker_names(self) -> list[str]:
        """Names of the processes that only work."""
        return [f"worker-{number}" for number in range(1, self.workers + 1)]


class Site:
    """Real servers, the product's processes on them, and a link on each way between them.

    Notes
    -----
    A part that is killed from outside is started again, as in production. One that ``stop_part`` or
    ``kill_part`` ended stays away until ``start_part``.
    """

    def __init__(self, folder: Path, plan: SitePlan) -> None:
        self.plan = plan
        self.folder = folder
        self.postgres = EmbeddedPostgres(folder)
        self.temporal = EmbeddedTemporal(folder, search_attributes=SEARCH_ATTRIBUTE_NAMES)
        self.parts: dict[str, Part] = {POSTGRES: self.postgres, TEMPORAL: self.temporal}
        self.links: dict[tuple[str, str], Link] = {}
        self._api_ports: dict[str, int] = {}
        self._supervisor = PartSupervisor(PATIENCE, say_nothing, lambda: None)
        self._exits = AsyncExitStack()

    async def start(self) -> None:
        """Start all parts and wait until they are ready."""
        await asyncio.gather(self._start(self.postgres), self._start(self.temporal))
        await asyncio.to_thread(migrate, self.database_url)
        for name in [*self.plan.api_names, *self.plan.worker_names]:
            await self._prepare_command(name)
        await asyncio.gather(
            *(self._start(part) for name, part in self.parts.items() if name in self.commands)
        )

    async def stop(self) -> None:
        """Stop all parts, those that use others first."""
        for part in self.parts.values():
            await self._supervisor.let_go(part)
        for link in self.links.values():
            link.mend()
        commands = [self.parts[name] for name in self.commands if name in self.parts]
        await asyncio.gather(*(part.kill() for part in commands))
        await asyncio.gather(self.temporal.kill(), self.postgres.stop("immediate"))
        await self._exits.aclose()

    @property
    def commands(self) -> list[str]:
        """Names of the product's own processes."""
        return [*self.plan.api_names, *self.plan.worker_names]

    @property
    def database_url(self) -> str:
        """The database, for the tables' owner and without a link before it."""
        return self.postgres.database_url

    @property
    def service_url(self) -> str:
        """The same for the role that the product works as."""
        return self.postgres.service_url

    def url_for_clients(self, api: str = "api-1") -> str:
        """Where clients reach an API, over their link."""
        return f"http://{LOOPBACK}:{self.links[CLIENTS, api].port}"

    def pids(self) -> dict[str, int]:
        """Give the process ids of the parts' latest starts."""
        return {name: part.pid for name, part in self.parts.items()}

    @asynccontextmanager
    async def client(
        self, api: str = "api-1", *, scopes: frozenset[Scope] = CLIENT_SCOPES
    ) -> AsyncIterator[Client]:
        """Give a client of a new tenant."""
        key, secret = await self.make_key(scopes)
        async with Client(self.url_for_clients(api), secret, key) as client:
            yield client

    async def make_key(self, scopes: frozenset[Scope] = CLIENT_SCOPES) -> tuple[ApiKey, str]:
        """Make a key of a new tenant."""
        async with open_services(self.service_url) as services:
            return await services.access.create_key(
                tenant_name=secrets.token_hex(6), name="test", scopes=scopes
            )

    def send_signal(self, part: str, number: signal.Signals) -> None:
        """Send a signal to a part and to all processes below it; one that is gone needs none."""
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            process = psutil.Process(self.parts[part].pid)
            for each in (process, *process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess, ProcessLookupError):
                    each.send_signal(number)

    async def crash(self, *parts: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End parts from outside, and wait until their supervisor has brought them back."""
        ended = {part: self.parts[part].pid for part in parts}
        for pid in ended.values():
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        await self.await_successors(ended)

    async def take_away(
        self, part: str, *, kill: bool, meanwhile: Callable[[], Awaitable[None]]
    ) -> None:
        """Stop or kill a part, keep it away until something has happened, and start it again."""
        ended = {part: self.parts[part].pid}
        await (self.kill_part(part) if kill else self.stop_part(part))
        assert alive(ended.values()) == []
        await meanwhile()
        await self.start_part(part)
        await self.await_successors(ended)

    async def stop_part(self, name: str) -> None:
        """Stop a part in good order."""
        await self._supervisor.let_go(self.parts[name])
        await self.parts[name].stop()

    async def kill_part(self, name: str) -> None:
        """Kill a part."""
        await self._supervisor.let_go(self.parts[name])
        await self.parts[name].kill()

    async def start_part(self, name: str) -> None:
        """Start a part again that was stopped or killed here; nothing where it runs."""
        await self._supervisor.let_go(self.parts[name])
        await self._start(self.parts[name])

    async def await_successors(self, ended: Mapping[str, int]) -> None:
        """Wait until parts run again in other processes, and the whole is ready."""

        async def are_back() -> bool:
            pids = self.pids()
            return all(pids[part] != pid for part, pid in ended.items()) and await self.is_ready()

        await until(are_back, timeout_seconds=COMING_BACK_SECONDS)
        assert alive(ended.values()) == []

    async def is_ready(self) -> bool:
        """Tell whether every API serves, asked without a link between."""
        statuses = [await self.status("/readyz", api) for api in self.plan.api_names]
        return set(statuses) <= {httpx.codes.OK}

    async def status(self, path: str, api: str = "api-1") -> int:
        """Ask an API for its own state; 0 where nobody answers."""
        base_url = f"http://{LOOPBACK}:{self._api_ports[api]}"
        trusted = trust_for(base_url)
        async with httpx.AsyncClient(base_url=base_url, trust_env=False, verify=trusted) as http:
            try:
                return (await http.get(path)).status_code
            except httpx.TransportError:
                return 0

    async def violations(self, *, while_moving: bool = False) -> list[str]:
        """Prove the invariants and the seals; while money moves, those that hold at any moment."""
        return violations_of(await self.verify(), while_moving=while_moving)

    async def verify(self) -> VerificationReport:
        """Do what ``transfers verify`` does."""
        report = await verify(
            self.service_url,
            temporal_address=self.temporal.address,
            temporal_namespace=self.temporal.namespace,
        )
        assert len(report.checks) == INVARIANTS
        return report

    def unexpected_errors(self) -> list[str]:
        """Give the lines of the APIs' and workers' logs that tell of errors nobody foresaw."""
        return [
            f"{name}: {line}"
            for name in self.commands
            for line in self._log(name)
            if is_unexpected(line)
        ]

    def keep_logs(self, folder: Path) -> None:
        """Copy all logs to a folder, for the site's own is thrown away."""
        shutil.copytree(self.folder / "logs", folder, dirs_exist_ok=True)

    def log_tails(self) -> str:
        """Give the last lines that each part wrote."""
        return "".join(
            f"{part}: {line}\n" for part in self.parts for line in self._log(part)[-LOG_LINES:]
        )

    async def _prepare_command(self, name: str) -> None:
        """Make a process's links, and the process, which does not start yet."""
        servers = {POSTGRES: self.postgres.port, TEMPORAL: self.temporal.port}
        for server, server_port in servers.items():
            self.links[name, server] = await self._link(f"{name} to {server}", server_port)
        is_api = name in self.plan.api_names
        port = free_port() if is_api else None
        if port is not None:
            self._api_ports[name] = port
            self.links[CLIENTS, name] = await self._link(f"{CLIENTS} to {name}", port)
        self.parts[name] = CommandPart(
            name,
            (*self.plan.program, "api" if is_api else "worker"),
            environment=self._environment(name, port),
            log_path=self.folder / "logs" / f"{name}.log",
            port=port,
            ready_url=f"http://{LOOPBACK}:{port}/readyz" if is_api else None,
        )

    async def _link(self, name: str, port: int) -> Link:
        return await self._exits.enter_async_context(Link(name, port))

    def _environment(self, name: str, port: int | None) -> dict[str, str]:
        database_port = self.links[name, POSTGRES].port
        return {
            **os.environ,
            "DATABASE_URL": self.service_url.replace(
                f":{self.postgres.port}/", f":{database_port}/"
            ),
            "TEMPORAL_ADDRESS": f"{LOOPBACK}:{self.links[name, TEMPORAL].port}",
            "TEMPORAL_NAMESPACE": self.temporal.namespace,
            "API_HOST": LOOPBACK,
            "API_PORT": str(port or 0),
            **self.plan.environment,
        }

    async def _start(self, part: Part) -> None:
        await part.start()
        self._supervisor.watch(part)

    def _log(self, part: str) -> list[str]:
        path = self.folder / "logs" / f"{part}.log"
        return path.read_text(errors="replace").splitlines() if path.exists() else []


def violations_of(report: VerificationReport, *, while_moving: bool = False) -> list[str]:
    """Give a line for all that a proof has found, of the invariants and of the seals."""
    found = {
        check.name: check.violations
        for check in report.checks
        if not (while_moving and check.name == WORKFLOWS_CHECK)
    }
    found[SEALS_CHECK] = report.seals.violations
    return [
        f"{name}: {violation.subject} {violation.message}"
        for name, violations in found.items()
        for violation in violations
    ]


@asynccontextmanager
async def running_site(plan: SitePlan | None = None, **environment: str) -> AsyncIterator[Site]:
    """Run a site, by default of one API and one worker, with further environment variables."""
    with throwaway_data_dir() as folder:
        site = Site(folder, plan or SitePlan(environment=environment))
        try:
            await site.start()
            yield site
        finally:
            await site.stop()
