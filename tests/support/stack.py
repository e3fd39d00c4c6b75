"""The product as processes of their own, over the test run's servers."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runtime.command_part import CommandPart
from runtime.ports import LOOPBACK, free_port
from runtime.stack_files import throwaway_data_dir
from runtime.stack_options import StackCommands
from tests.support.temporal import TemporalServer

UNEXPECTED = "unexpected_error"
"""What the API logs of an error that nobody foresaw."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running API with its worker, and one further worker process."""

    api_url: str
    database_url: str = field(repr=False)
    service_url: str = field(repr=False)
    temporal_address: str
    temporal_namespace: str
    temporal_ui_url: str | None
    logs: Path

    def unexpected_errors(self) -> list[str]:
        """Give the lines of the API's log that tell of errors nobody foresaw."""
        log = (self.logs / "api.log").read_text(errors="replace")
        return [line for line in log.splitlines() if UNEXPECTED in line]


@asynccontextmanager
async def running_stack(
    database_url: str, temporal: TemporalServer, *, service_url: str, **variables: str
) -> AsyncIterator[Stack]:
    """Start an API and a worker on a migrated database, and stop them afterwards.

    Parameters
    ----------
    database_url
        For the tests, of the tables' owner.
    service_url
        For the product.
    variables
        Further environment variables of both.
    """
    port = free_port()
    api_url = f"http://{LOOPBACK}:{port}"
    environment = {
        **os.environ,
        "DATABASE_URL": service_url,
        "TEMPORAL_ADDRESS": temporal.address,
        "TEMPORAL_NAMESPACE": temporal.namespace,
        # Tests of wrong keys send many.
        "API_FAILED_LOGINS_PER_MINUTE": "1000000",
        "API_HOST": LOOPBACK,
        "API_PORT": str(port),
        **({"TEMPORAL_UI_URL": temporal.ui_url} if temporal.ui_url else {}),
        **variables,
    }
    with throwaway_data_dir() as folder:
        logs = folder / "logs"
        commands = StackCommands()
        api = CommandPart(
            "api",
            commands.api,
            environment=environment,
            log_path=logs / "api.log",
            port=port,
            ready_url=f"{api_url}/readyz",
        )
        worker = CommandPart(
            "worker", commands.worker, environment=environment, log_path=logs / "worker.log"
        )
        try:
            await api.start()
            await worker.start()
            yield Stack(
                api_url=api_url,
                database_url=database_url,
                service_url=service_url,
                temporal_address=temporal.address,
                temporal_namespace=temporal.namespace,
                temporal_ui_url=temporal.ui_url,
                logs=logs,
            )
        finally:
            await worker.stop()
            await api.stop()
