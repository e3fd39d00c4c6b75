"""``transfers versions``: which version of the workers takes the work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.console import messages, print_json, print_line, print_table
from cli.failures import CommandFailed, clear_startup_failures
from cli.groups import Commands
from cli.options import AsJson
from cli.surroundings import settings_from_environment

if TYPE_CHECKING:
    from temporalio.client import Client

    from runtime.worker_versions import WorkerDeployment

PERCENT: Final = 100.0

BuildId = Annotated[
    str | None, typer.Argument(help="Build to name.", show_default="WORKER_BUILD_ID")
]

app = Commands(
    no_args_is_help=True,
    help="See and choose the version of the workers, of the deployment WORKER_DEPLOYMENT_NAME.",
)


@app.command(epilog="Example: transfers versions show")
def show(*, as_json: AsJson = False) -> None:
    """Show which version is current, and how far others are drained."""
    from runtime.worker_versions import describe  # noqa: PLC0415 - loads Temporal's client

    name, _ = _deployment(None)
    _with_client(lambda client: _show(client, name, describe, as_json=as_json))


@app.command(epilog="Example: transfers versions set-current 1.4.0")
def set_current(build_id: BuildId = None) -> None:
    """Give a version all new work, and running workflows once their old workers stop."""
    from runtime.worker_versions import set_current as choose  # noqa: PLC0415

    name, build = _required(build_id)
    _with_client(lambda client: choose(client, name, build))
    print_line(f"{name}.{build} is current.", console=messages())


@app.command(epilog="Example: transfers versions ramp 1.4.0 --percentage 5")
def ramp(
    build_id: BuildId = None,
    *,
    percentage: Annotated[float, typer.Option(min=0, max=PERCENT, help="Share of the work.")],
) -> None:
    """Give a version a share of the work beside the current one."""
    from runtime.worker_versions import set_ramping  # noqa: PLC0415

    name, build = _required(build_id)
    _with_client(lambda client: set_ramping(client, name, build, percentage))
    print_line(f"{name}.{build} takes {percentage:g}%.", console=messages())


async def _show(
    client: "Client",
    name: str,
    describe: "Callable[[Client, str], Awaitable[WorkerDeployment]]",
    *,
    as_json: bool,
) -> None:
    found = await describe(client, name)
    if as_json:
        print_json(
            {
                "deployment": found.name,
                "current": found.current,
                "ramping": found.ramping,
                "ramping_percentage": found.ramping_percentage,
                "versions": [
                    {"build_id": version.build_id, "status": version.status}
                    for version in found.versions
                ],
            }
        )
        return
    print_table(
        ("Build", "Status"), [(version.build_id, version.status) for version in found.versions]
    )
    if found.current is None:
        print_line("No version is current: workers without versions take the work.")


def _with_client(call: "Callable[[Client], Awaitable[None]]") -> None:
    from temporalio.service import RPCError  # noqa: PLC0415

    from runtime.temporal import connect_to  # noqa: PLC0415
    from runtime.temporal_access import TemporalAccess  # noqa: PLC0415
    from runtime.worker_versions import VersionRefused  # noqa: PLC0415

    settings = settings_from_environment()

    async def run() -> None:
        await call(await connect_to(TemporalAccess.of(settings)))

    with clear_startup_failures(settings.temporal_address):
        try:
            asyncio.run(run())
        except VersionRefused as error:
            raise CommandFailed(f"Temporal does not take it: {error}.") from error
        except RPCError as error:
            raise CommandFailed(f"Temporal refuses: {error.message}") from error


def _deployment(build_id: str | None) -> tuple[str, str | None]:
    settings = settings_from_environment()
    if settings.worker_deployment_name is None:
        raise CommandFailed("WORKER_DEPLOYMENT_NAME is not set: workers have no versions here.")
    return settings.worker_deployment_name, build_id or settings.worker_build_id


def _required(build_id: str | None) -> tuple[str, str]:
    name, build = _deployment(build_id)
    if build is None:
        raise CommandFailed("Name a build: transfers versions set-current BUILD.")
    return name, build
