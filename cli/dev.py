"""``transfers dev``: the whole product on this machine."""

import asyncio
from typing import Annotated

import typer

from cli.console import output, print_line
from cli.failures import needing_embedded_servers
from cli.options import DataDir
from domain.limits import API_WORKERS_MAXIMUM
from runtime.settings import DEFAULT_DATA_DIR
from runtime.stack_files import StackInfo
from runtime.stack_options import (
    DEFAULT_API_PORT,
    DEFAULT_POSTGRES_PORT,
    DEFAULT_TEMPORAL_PORT,
    DEFAULT_TEMPORAL_UI_PORT,
    LocalStackOptions,
)

_PORT_HELP = "Port of {}; 0 takes any free one."


def dev(
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_port: Annotated[
        int, typer.Option(min=0, max=65535, help=_PORT_HELP.format("the API"))
    ] = DEFAULT_API_PORT,
    postgres_port: Annotated[
        int, typer.Option(min=0, max=65535, help=_PORT_HELP.format("PostgreSQL"))
    ] = DEFAULT_POSTGRES_PORT,
    temporal_port: Annotated[
        int, typer.Option(min=0, max=65535, help=_PORT_HELP.format("Temporal"))
    ] = DEFAULT_TEMPORAL_PORT,
    temporal_ui_port: Annotated[
        int, typer.Option(min=0, max=65535, help=_PORT_HELP.format("Temporal's UI"))
    ] = DEFAULT_TEMPORAL_UI_PORT,
    api_workers: Annotated[
        int, typer.Option(min=1, max=API_WORKERS_MAXIMUM, help="Processes that serve the API.")
    ] = 1,
) -> None:
    """Run PostgreSQL, Temporal, the API and a worker here, until Ctrl-C.

    Nothing has to be installed or set up. Data and logs stay in the data folder; parts that crash
    are started again.
    """
    # The embedded servers are an extra that production does not install.
    with needing_embedded_servers():
        from runtime.local import make_local_stack  # noqa: PLC0415
        from runtime.local_stack import run_local_stack  # noqa: PLC0415

    options = LocalStackOptions(
        data_dir=data_dir,
        api_port=api_port,
        postgres_port=postgres_port,
        temporal_port=temporal_port,
        temporal_ui_port=temporal_ui_port,
        api_workers=api_workers,
    )
    stack = make_local_stack(options, report=print_line)
    option = "" if data_dir == DEFAULT_DATA_DIR else f" --data-dir {data_dir}"
    asyncio.run(run_local_stack(stack, on_ready=lambda info: _welcome(info, option)))
    print_line("Stopped. The data stays; `transfers dev` goes on with it.")


def _welcome(info: StackInfo, option: str) -> None:
    console = output()
    console.print("\n[bold green]The stack is up.[/] Ctrl-C stops it.\n")
    places = {
        "API": info.api_url,
        "API documentation": f"{info.api_url}/docs",
        "Operators' console": info.console_url,
        "Temporal's UI": info.temporal_ui_url,
    }
    for name, url in places.items():
        print_line(f"  {name:<20}{url}")
    print_line(f"\n  Log in to the console with the key {info.operator_key}")
    console.print("\nMake a user over HTTP, in another terminal:\n")
    print_line(
        f"  curl -sS {info.api_url}/v1/users"
        f" -H 'Authorization: Bearer {info.api_key}'"
        """ -H 'Content-Type: application/json' -d '{"name": "Ada"}'"""
    )
    console.print("\nOr with this program, which finds the stack by itself:\n")
    for command in (
        "users list",
        "accounts create --user USER_ID --currency EUR",
        "send --to ACCOUNT_ID --amount 1250 --currency EUR",
        "verify",
    ):
        print_line(f"  transfers {command}{option}")
    console.print()
