"""The commands that servers run: ``api``, ``worker`` and ``migrate``.

What they load is large, so each loads it by itself: a command that only calls the API starts fast.
"""

import asyncio
from typing import Annotated

import typer

from cli.console import messages, print_line
from cli.failures import CommandFailed, clear_startup_failures
from cli.options import DataDir
from cli.surroundings import migration_url, settings_from_environment
from domain.limits import API_WORKERS_MAXIMUM
from runtime.loading import loading
from runtime.logs import configure_logs
from runtime.settings import DEFAULT_DATA_DIR


def api(
    *,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=API_WORKERS_MAXIMUM,
            help="Processes that serve behind the one port, each with a worker of its own.",
            show_default="API_WORKERS, else 1",
        ),
    ] = None,
) -> None:
    """Serve the HTTP API until it is stopped.

    Settings come from the environment: DATABASE_URL, TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE,
    TEMPORAL_UI_URL, API_HOST, API_PORT, API_WORKERS, API_PIN_TO_CORES,
    RUN_WORKER_IN_API, LOG_LEVEL; and how many requests are taken in at once:
    API_TRANSFERS_IN_FLIGHT_MAXIMUM, API_REQUESTS_IN_FLIGHT_MAXIMUM. Who is let in:
    API_FAILED_LOGINS_PER_MINUTE, API_TRUSTED_PROXIES, API_CORS_ORIGINS, OIDC_ISSUER,
    OIDC_AUDIENCE, OIDC_JWKS_URL, OIDC_TENANT_CLAIM, OIDC_SCOPE_CLAIM, OIDC_CLIENT_ID,
    OIDC_CLIENT_SECRET, OIDC_LOGIN_SCOPE (docs/access.md). To Temporal by TLS: TEMPORAL_TLS,
    TEMPORAL_TLS_CA, TEMPORAL_TLS_CERT, TEMPORAL_TLS_KEY, TEMPORAL_TLS_SERVER_NAME,
    TEMPORAL_API_KEY. Encrypted payloads: PAYLOAD_KEYS or PAYLOAD_KEYS_FILE,
    PAYLOAD_ENCRYPTION_REQUIRED. Versions of workers: WORKER_DEPLOYMENT_NAME, WORKER_BUILD_ID.
    Telemetry: OTLP_ENDPOINT, OTLP_SAMPLE_RATIO, TEMPORAL_METRICS_ADDRESS (docs/observability.md).

    SIGTERM or Ctrl-C lets requests in flight finish; a second one ends at once. With several
    processes, SIGHUP replaces them one by one, without a gap.
    """
    with loading():
        from runtime.api_child import ApiProcessFailed  # noqa: PLC0415
        from runtime.api_supervisor import serve_with_processes  # noqa: PLC0415
        from runtime.connections import TooFewConnections, require_connections  # noqa: PLC0415
        from runtime.listeners import PlaceTaken  # noqa: PLC0415
        from runtime.server import serve  # noqa: PLC0415

    settings = settings_from_environment()
    if workers is not None:
        settings = settings.model_copy(update={"api_workers": workers})
    configure_logs(settings.log_level)
    with clear_startup_failures(settings.temporal_address):
        try:
            asyncio.run(require_connections(settings))
            if settings.api_workers == 1:
                serve(settings)
            elif not serve_with_processes(settings):
                raise CommandFailed("Not all processes finished in time; the log names them.")
        except (ApiProcessFailed, PlaceTaken, TooFewConnections) as error:
            raise CommandFailed(str(error)) from None


def worker() -> None:
    """Work on transfers until it is stopped: a second place beside the API's own worker.

    Settings come from the environment, as for the API; WORKER_METRICS_PORT besides.
    """
    with loading():
        import uvloop  # noqa: PLC0415

        from runtime.composition import work_until_stopped  # noqa: PLC0415

    settings = settings_from_environment()
    configure_logs(settings.log_level)
    with clear_startup_failures(settings.temporal_address):
        uvloop.run(work_until_stopped(settings))


def migrate(
    *,
    revision: Annotated[
        str | None, typer.Option(help="Revision to bring the database up to.", show_default="head")
    ] = None,
    downgrade_to: Annotated[
        str | None,
        typer.Option(help="Revision to go back to; what later ones added is lost. base: all of it"),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Bring the database's schema to the revision that this version needs.

    Uses MIGRATION_DATABASE_URL, of the tables' owner; else DATABASE_URL, else the running local
    stack's. Ends by giving the service's roles what they may have, see `transfers roles`.
    """
    from runtime.migrations import HEAD, downgrade, head_revision  # noqa: PLC0415
    from runtime.migrations import migrate as upgrade  # noqa: PLC0415

    if revision is not None and downgrade_to is not None:
        raise CommandFailed("--revision goes up and --downgrade-to goes down: give one of them.")
    url = migration_url(data_dir)
    with clear_startup_failures():
        if downgrade_to is None:
            upgrade(url, revision=revision or HEAD)
        else:
            downgrade(url, downgrade_to)
    reached = downgrade_to or revision or head_revision()
    print_line(f"The database is at revision {reached}.", console=messages())
