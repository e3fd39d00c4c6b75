"""``transfers keys``: API keys, directly in the database."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cli.console import messages, print_json, print_line, print_table
from cli.failures import CommandFailed, clear_startup_failures
from cli.options import AsJson, DataDir, Reason
from cli.surroundings import cli_actor, settings_or_stack
from domain.access import DEFAULT_SCOPES, ApiKey, Scope
from domain.limits import NAME_LENGTH_MAXIMUM
from runtime.settings import DEFAULT_DATA_DIR

if TYPE_CHECKING:
    from services.access import AccessService

Result = TypeVar("Result")

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys in the database.")


@app.command(epilog="Example: transfers keys create --tenant acme --name till-1")
def create(
    *,
    tenant: Annotated[str, typer.Option(help="Organisation; made where it is new.")],
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help="What the key may do; repeat it for more. Default: all of a client, but to "
            "approve transfers and to set rules and limits."
        ),
    ] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="Give all scopes, the operators' among them.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make an API key. It is shown once: only its hash is kept."""
    scopes = _scopes(scope, operator=operator)
    for option, text in (("--tenant", tenant), ("--name", name)):
        if not 1 <= len(text.strip()) <= NAME_LENGTH_MAXIMUM:
            raise CommandFailed(f"{option} must have 1 to {NAME_LENGTH_MAXIMUM} characters.")
    key, secret = _with_access(
        data_dir,
        lambda access: access.create_key(
            tenant_name=tenant, name=name, scopes=scopes, actor=cli_actor()
        ),
    )
    if as_json:
        print_json(_document(key) | {"key": secret})
        return
    print_line(
        f"Key {key.id} of {tenant}, shown this once; it may: {', '.join(sorted(scopes))}",
        console=messages(),
    )
    print_line(secret)


@app.command("list", epilog="Example: transfers keys list --tenant acme")
def list_keys(
    *,
    tenant: Annotated[str | None, typer.Option(help="Only this organisation's.")] = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List API keys, revoked ones too, oldest first."""
    keys = _with_access(data_dir, lambda access: access.list_keys(tenant))
    if as_json:
        print_json({"data": [_document(key) for key in keys]})
        return
    print_table(
        ("Id", "Tenant", "Name", "Begins with", "Scopes", "Created", "Revoked"),
        [
            (
                str(key.id),
                key.tenant_name,
                key.name,
                key.prefix,
                " ".join(sorted(key.scopes)),
                f"{key.created_at:%Y-%m-%d %H:%M}",
                f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "",
            )
            for key in keys
        ],
    )


@app.command(epilog="Example: transfers keys revoke 0199d5c0-7a1e-7c3b-9c5e-3f6a1b2c4d5e")
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it.")],
    *,
    reason: Reason = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Revoke an API key, for ever, from the next request on."""
    key = _with_access(
        data_dir, lambda access: access.revoke_key(key_id, actor=cli_actor(), reason=reason)
    )
    if as_json:
        print_json(_document(key))
        return
    print_line(f"Key {key.id} ({key.name} of {key.tenant_name}) is revoked.", console=messages())


def _scopes(chosen: list[Scope] | None, *, operator: bool) -> frozenset[Scope]:
    if operator and chosen:
        raise CommandFailed("--operator gives all scopes: leave out --scope.")
    if operator:
        return frozenset(Scope)
    return frozenset(chosen) if chosen else DEFAULT_SCOPES


def _document(key: ApiKey) -> dict[str, Any]:
    return {
        "id": str(key.id),
        "tenant": key.tenant_name,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at.isoformat(),
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }


def _with_access(data_dir: Path, call: Callable[["AccessService"], Awaitable[Result]]) -> Result:
    # Loads SQLAlchemy, which the help of this command does without.
    from runtime.composition import open_services  # noqa: PLC0415

    url = settings_or_stack(data_dir).database_url.get_secret_value()

    async def run() -> Result:
        async with open_services(url) as services:
            return await call(services.access)

    with clear_startup_failures():
        return asyncio.run(run())
