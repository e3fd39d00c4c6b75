"""What can be chosen about a local stack: its folder, its ports, its commands."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from runtime.ports import free_port, require_port
from runtime.settings import DEFAULT_DATA_DIR

# Registered for nothing, and below the range that systems take for outgoing connections.
DEFAULT_API_PORT = 18700
DEFAULT_POSTGRES_PORT = 18732
DEFAULT_TEMPORAL_PORT = 18733
DEFAULT_TEMPORAL_UI_PORT = 18734

PORT_OPTIONS = {
    "api_port": "--api-port",
    "postgres_port": "--postgres-port",
    "temporal_port": "--temporal-port",
    "temporal_ui_port": "--temporal-ui-port",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStackOptions:
    """What a person can choose about a local stack; port 0 takes any free one.

    Parameters
    ----------
    data_dir
        Folder of its data, logs, keys and ``stack.json``.
    api_port
        Where the API listens.
    postgres_port
        Where PostgreSQL listens.
    temporal_port
        Where Temporal's front end listens.
    temporal_ui_port
        Where Temporal's UI listens.
    api_workers
        How many processes serve the API.
    """

    data_dir: Path = DEFAULT_DATA_DIR
    api_port: int = DEFAULT_API_PORT
    postgres_port: int = DEFAULT_POSTGRES_PORT
    temporal_port: int = DEFAULT_TEMPORAL_PORT
    temporal_ui_port: int = DEFAULT_TEMPORAL_UI_PORT
    api_workers: int = 1

    @classmethod
    def on_free_ports(cls, data_dir: Path) -> Self:
        """Give options that clash with no other stack: for tests and the demo."""
        return cls(
            data_dir=data_dir, api_port=0, postgres_port=0, temporal_port=0, temporal_ui_port=0
        )


def _command(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "cli.main", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackCommands:
    """The commands of this project that a stack runs.

    Parameters
    ----------
    migrate
        Brings the database to the right revision, and ends.
    api
        Serves until it is told to stop.
    worker
        Works until it is told to stop.
    """

    migrate: tuple[str, ...] = _command("migrate")
    api: tuple[str, ...] = _command("api")
    worker: tuple[str, ...] = _command("worker")


def choose_ports(options: LocalStackOptions) -> LocalStackOptions:
    """Give the options with a free port in the place of each 0."""
    ports = {name: getattr(options, name) for name in PORT_OPTIONS}
    for name, port in ports.items():
        ports[name] = port or free_port(avoid=ports.values())
    return replace(options, **ports)


def require_ports(options: LocalStackOptions) -> None:
    """Check that all ports can be listened on.

    Raises
    ------
    PortTakenError
        One cannot; the message names the option that moves it.
    """
    for name, option in PORT_OPTIONS.items():
        wanted_by = name.removesuffix("_port").replace("_", " ")
        require_port(getattr(options, name), wanted_by=wanted_by, option=option)
