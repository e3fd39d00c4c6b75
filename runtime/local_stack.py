"""The whole product on this machine, with real servers, in one command and with nothing to install.

PostgreSQL and Temporal come as Python packages; the API and the worker are commands of this
project. The same code runs `transfers dev`, the demo and the tests of the whole.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from runtime.child_process import Launch, run_to_end
from runtime.command_part import CommandPart
from runtime.embedded_postgres import EmbeddedPostgres
from runtime.embedded_temporal import EmbeddedTemporal
from runtime.part import Part, Report, say_nothing
from runtime.part_supervisor import PartSupervisor, RestartPolicy
from runtime.ports import LOOPBACK
from runtime.postgres_home import make_data_folder
from runtime.stack_files import (
    BootstrapKeys,
    StackInfo,
    hold_stack_lock,
    load_keys,
    remove_stack_file,
    save_keys,
    write_stack_file,
)
from runtime.stack_options import (
    PORT_OPTIONS,
    LocalStackOptions,
    StackCommands,
    choose_ports,
    require_ports,
)

# What uses others stops before them.
STOP_ORDER = (("api", "worker"), ("temporal",), ("postgres",))

NAMESPACE = "default"
MIGRATE_SECONDS = 120.0
PAYLOAD_KEY_VARIABLES = ("PAYLOAD_KEYS", "PAYLOAD_KEYS_FILE")
CODEC_PATH = "/codec"

Bootstrap = Callable[[str], Awaitable[BootstrapKeys]]


def console_url(api_url: str) -> str:
    """Say where an operator sees the transfers of a stack."""
    return f"{api_url}/console"


class LocalStack:
    """PostgreSQL, Temporal, API and worker, running together; an async context manager.

    Parameters
    ----------
    options
        What a person chose.
    bootstrap
        Makes the keys of a new database, given its URL; called after the migrations. It may be
        called again where a start was interrupted before the keys were kept.
    report
        Takes lines of progress.
    commands
        The commands of the API, the worker and the migrations.
    environment
        Further environment variables for those commands.
    search_attributes
        Names of Temporal's custom search attributes of type Keyword.
    dynamic_config
        Values of Temporal's dynamic configuration.
    restart_policy
        How a part that crashes is started again.

    Notes
    -----
    A part that ends by itself, or is killed from outside, has crashed and is started again. A part
    that `stop_part` or `kill_part` ended stays down until `start_part`.
    """

    def __init__(
        self,
        options: LocalStackOptions,
        *,
        bootstrap: Bootstrap,
        report: Report = say_nothing,
        commands: StackCommands | None = None,
        environment: Mapping[str, str] | None = None,
        search_attributes: tuple[str, ...] = (),
        dynamic_config: Mapping[str, Any] | None = None,
        restart_policy: RestartPolicy | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self._report = report
        self._commands = commands or StackCommands()
        self._further_environment = dict(environment or {})
        self._search_attributes = search_attributes
        self._dynamic_config = dynamic_config
        self._policy = restart_policy or RestartPolicy()
        self._data_dir = options.data_dir.resolve()
        self._options = options
        self._supervisor = PartSupervisor(self._policy, report, self._write_file)
        self._parts: dict[str, Part] = {}
        self._exits = ExitStack()
        self._info: StackInfo | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def info(self) -> StackInfo:
        """Where the running stack is to be found, with the pids of the latest starts."""
        if self._info is None:
            raise RuntimeError("the stack is not running")
        return replace(self._info, pids={name: part.pid for name, part in self._parts.items()})

    async def start(self) -> None:
        """Start all parts, and write ``stack.json`` when all are ready.

        Raises
        ------
        AlreadyRunningError
            Another stack runs on the data folder.
        PortTakenError
            A port cannot be listened on.
        LocalStackError
            Anything else that keeps a part from starting. `stop` then ends those that run.
        """
        began = time.monotonic()
        make_data_folder(self._data_dir)
        self._options = choose_ports(self._options)
        api_url = f"http://{LOOPBACK}:{self._options.api_port}"
        self._exits.enter_context(hold_stack_lock(self._data_dir, api_url=api_url))
        remove_stack_file(self._data_dir)
        self._exits.callback(remove_stack_file, self._data_dir)
        postgres, temporal = self._servers()
        # First of all, for a predecessor that is still shutting down holds its port.
        await postgres.settle()
        require_ports(self._options)
        await _together(self._start(postgres), self._start(temporal))
        environment = self._environment(postgres, temporal)
        await self._migrate(environment)
        keys = await self._load_or_make_keys(postgres)
        await _together(*(self._start(part) for part in self._command_parts(api_url, environment)))
        self._info = StackInfo(
            api_url=api_url,
            console_url=console_url(api_url),
            temporal_ui_url=temporal.ui_url,
            temporal_address=temporal.address,
            temporal_namespace=temporal.namespace,
            database_url=postgres.database_url,
            api_key=keys.api_key,
            operator_key=keys.operator_key,
            pids={},
        )
        self._write_file()
        self._report(f"all parts are ready after {time.monotonic() - began:.1f} s")

    async def stop(self) -> None:
        """Stop all parts, the ones that use others first, and remove ``stack.json``."""
        self._info = None
        failures: list[BaseException] = []
        try:
            for part in self._parts.values():
                await self._supervisor.let_go(part)
            for names in STOP_ORDER:
                parts = [self._parts[name] for name in names if name in self._parts]
                # One that fails to stop must not keep the others from it.
                endings = await asyncio.gather(
                    *(self._stop(part) for part in parts), return_exceptions=True
                )
                failures += [ending for ending in endings if ending is not None]
        finally:
            self._exits.close()
        if failures:
            raise failures[0]

    async def start_part(self, name: str) -> None:
        """Start a part again that was stopped or killed here; nothing where it runs.

        Raises
        ------
        PartFailedError
            It does not become ready.
        """
        part = self._parts[name]
        await self._supervisor.let_go(part)
        await self._start(part)
        self._write_file()

    async def stop_part(self, name: str) -> None:
        """Stop a part in good order; it stays down until `start_part`."""
        await self._supervisor.let_go(self._parts[name])
        await self._stop(self._parts[name])

    async def kill_part(self, name: str) -> None:
        """Kill a part as a power cut would; it stays down until `start_part`."""
        await self._supervisor.let_go(self._parts[name])
        await self._parts[name].kill()
        self._report(f"{name} was killed")

    async def wait_until_given_up(self) -> None:
        """Wait until a part cannot be kept up any more.

        Raises
        ------
        TooManyCrashesError
            It crashed too often.
        """
        await self._supervisor.wait_until_given_up()

    def _servers(self) -> tuple[EmbeddedPostgres, EmbeddedTemporal]:
        options = self._options
        postgres = EmbeddedPostgres(self._data_dir, port=options.postgres_port, report=self._report)
        temporal = EmbeddedTemporal(
            self._data_dir,
            port=options.temporal_port,
            ui_port=options.temporal_ui_port,
            namespace=NAMESPACE,
            search_attributes=self._search_attributes,
            dynamic_config=self._dynamic_config,
            ui_codec_endpoint=self._codec_endpoint(),
        )
        self._parts |= {part.name: part for part in (postgres, temporal)}
        return postgres, temporal

    def _codec_endpoint(self) -> str | None:
        """Say where Temporal's UI gets payloads in clear, where the stack encrypts them."""
        given = {**os.environ, **self._further_environment}
        if not any(given.get(name) for name in PAYLOAD_KEY_VARIABLES):
            return None
        return f"http://{LOOPBACK}:{self._options.api_port}{CODEC_PATH}"

    def _command_parts(self, api_url: str, environment: Mapping[str, str]) -> list[CommandPart]:
        logs = self._data_dir / "logs"
        api = CommandPart(
            "api",
            self._commands.api,
            environment=environment,
            log_path=logs / "api.log",
            port=self._options.api_port,
            port_option=PORT_OPTIONS["api_port"],
            ready_url=f"{api_url}/readyz",
        )
        worker = CommandPart(
            "worker",
            self._commands.worker,
            environment=environment,
            log_path=logs / "worker.log",
        )
        self._parts |= {part.name: part for part in (api, worker)}
        return [api, worker]

    def _environment(
        self, postgres: EmbeddedPostgres, temporal: EmbeddedTemporal
    ) -> dict[str, str]:
        return {
            **os.environ,
            **self._further_environment,
            "DATABASE_URL": postgres.database_url,
            "TEMPORAL_ADDRESS": temporal.address,
            "TEMPORAL_NAMESPACE": temporal.namespace,
            "TEMPORAL_UI_URL": temporal.ui_url,
            "API_HOST": LOOPBACK,
            "API_PORT": str(self._options.api_port),
            "API_WORKERS": str(self._options.api_workers),
        }

    async def _migrate(self, environment: Mapping[str, str]) -> None:
        log_path = self._data_dir / "logs" / "migrate.log"
        launch = Launch(command=self._commands.migrate, log_path=log_path, environment=environment)
        await run_to_end("migrate", launch, timeout_seconds=MIGRATE_SECONDS)
        self._report("the database is at the right revision")

    async def _load_or_make_keys(self, postgres: EmbeddedPostgres) -> BootstrapKeys:
        keys = load_keys(self._data_dir, postgres.system_identifier)
        if keys is None:
            keys = await self._bootstrap(postgres.database_url)
            save_keys(self._data_dir, postgres.system_identifier, keys)
        return keys

    async def _start(self, part: Part) -> None:
        began = time.monotonic()
        await part.start()
        self._supervisor.watch(part)
        seconds = time.monotonic() - began
        self._report(f"{part.name} is ready (pid {part.pid}, {seconds:.1f} s)")

    async def _stop(self, part: Part) -> None:
        if part.running:
            await part.stop()
            self._report(f"{part.name} has stopped")

    def _write_file(self) -> None:
        if self._info is not None:
            write_stack_file(self._data_dir, self.info)


async def run_local_stack(
    stack: LocalStack, *, on_ready: Callable[[StackInfo], None] | None = None
) -> None:
    """Run a stack until SIGINT, SIGTERM or SIGHUP, then stop it in good order.

    Parameters
    ----------
    stack
        Not started yet.
    on_ready
        Called once all parts are ready.

    Raises
    ------
    LocalStackError
        It could not start, or a part crashed too often. All parts are stopped by then.
    """

    async def run() -> None:
        async with stack:
            if on_ready is not None:
                on_ready(stack.info)
            await stack.wait_until_given_up()

    running = asyncio.create_task(run())
    with _stop_signals(running.cancel) as asked:
        try:
            await running
        except asyncio.CancelledError:
            if not asked.is_set():
                raise


@contextmanager
def _stop_signals(stop: Callable[[], object]) -> Iterator[asyncio.Event]:
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def ask() -> None:
        # Once: a second Ctrl-C must not interrupt the stopping, which takes a bounded time.
        if not asked.is_set():
            asked.set()
            stop()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # Ignored under nohup, which means to outlive the terminal.
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, ask)
    try:
        yield asked
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _together(*steps: Awaitable[None]) -> None:
    """Do several things at once; the first failure ends the others and is raised by itself."""

    async def do(step: Awaitable[None]) -> None:
        await step

    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(do(step))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
