"""``transfers keys``: API keys, directly in the database."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar

import typer

from cli.console import messages, print_json, print_line, print_table
from cli.failures import CommandFailed, clear_startup_failures
from cli.groups import Commands
from cli.options import AsJson, DataDir, Reason, parse_duration
from cli.surroundings import cli_actor, settings_or_stack
from domain.access import DEFAULT_SCOPES, ApiKey, RateLimit, Scope
from domain.limits import (
    KEY_OVERLAP_SECONDS_MAXIMUM,
    NAME_LENGTH_MAXIMUM,
    REQUESTS_PER_SECOND_MAXIMUM,
)
from runtime.settings import DEFAULT_DATA_DIR

if TYPE_CHECKING:
    from services.access import AccessService

Result = TypeVar("Result")

_KEY: Final = "0199d5c0-7a1e-7c3b-9c5e-3f6a1b2c4d5e"
KeyId: TypeAlias = Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it.")]
Rate: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1, max=REQUESTS_PER_SECOND_MAXIMUM, help="Requests a second, of this key alone."
    ),
]
Burst: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1, max=REQUESTS_PER_SECOND_MAXIMUM, help="Requests at once; twice the rate by default."
    ),
]

app = Commands(
    no_args_is_help=True, help="Make, list, rotate, limit and revoke API keys in the database."
)


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
    expires_in: Annotated[
        str | None, typer.Option(help="How long it is good: 12h, 90d. Left out: for ever.")
    ] = None,
    rate: Rate = None,
    burst: Burst = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make an API key. It is shown once: only its hash is kept."""
    scopes = _scopes(scope, operator=operator)
    for option, text in (("--tenant", tenant), ("--name", name)):
        if not 1 <= len(text.strip()) <= NAME_LENGTH_MAXIMUM:
            raise CommandFailed(f"{option} must have 1 to {NAME_LENGTH_MAXIMUM} characters.")
    limit = _rate(rate, burst)
    expires_at = None
    if expires_in is not None:
        seconds = parse_duration(expires_in, option="--expires-in")
        expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
    key, secret = _with_access(
        data_dir,
        lambda access: access.create_key(
            tenant_name=tenant,
            name=name,
            scopes=scopes,
            expires_at=expires_at,
            rate=limit,
            actor=cli_actor(),
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
        ("Id", "Tenant", "Name", "Begins with", "Scopes", "Created", "Expires", "Revoked"),
        [
            (
                str(key.id),
                key.tenant_name,
                key.name,
                key.prefix,
                " ".join(sorted(key.scopes)),
                f"{key.created_at:%Y-%m-%d %H:%M}",
                f"{key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "",
                f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "",
            )
            for key in keys
        ],
    )


@app.command(epilog=f"Example: transfers keys rotate {_KEY} --overlap 24h")
def rotate(
    key_id: KeyId,
    *,
    overlap: Annotated[
        str, typer.Option(help="How long the present secret is taken too: 0, 30m, 24h, 7d.")
    ] = "24h",
    reason: Reason = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Give an API key another secret; it stays the same key. The secret is shown once."""
    seconds = parse_duration(overlap, option="--overlap")
    if seconds > KEY_OVERLAP_SECONDS_MAXIMUM:
        raise CommandFailed(f"--overlap is at most {KEY_OVERLAP_SECONDS_MAXIMUM // 86_400}d.")
    key, secret = _with_access(
        data_dir,
        lambda access: access.rotate_key(
            key_id, overlap=timedelta(seconds=seconds), actor=cli_actor(), reason=reason
        ),
    )
    if as_json:
        print_json(_document(key) | {"key": secret})
        return
    print_line(
        f"Key {key.id} of {key.tenant_name}, its new secret shown this once; the one before ends "
        f"at {key.previous_expires_at:%Y-%m-%d %H:%M:%S} UTC.",
        console=messages(),
    )
    print_line(secret)


@app.command("limit", epilog=f"Example: transfers keys limit {_KEY} --rate 50 --burst 100")
def limit_key(
    key_id: KeyId,
    *,
    rate: Rate = None,
    burst: Burst = None,
    reason: Reason = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Give an API key a rate limit of its own; without options, the limit of all keys again."""
    limit = _rate(rate, burst)
    key = _with_access(
        data_dir,
        lambda access: access.limit_key(key_id, limit, actor=cli_actor(), reason=reason),
    )
    if as_json:
        print_json(_document(key))
        return
    told = (
        f"{limit.per_second} requests a second, {limit.burst} at once" if limit else "as all keys"
    )
    print_line(f"Key {key.id} ({key.name} of {key.tenant_name}): {told}.", console=messages())


@app.command(epilog="Example: transfers keys revoke 0199d5c0-7a1e-7c3b-9c5e-3f6a1b2c4d5e")
def revoke(
    key_id: KeyId,
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


def _rate(rate: int | None, burst: int | None) -> RateLimit | None:
    if rate is None:
        if burst is not None:
            raise CommandFailed("--burst needs --rate.")
        return None
    return RateLimit(rate, burst or min(2 * rate, REQUESTS_PER_SECOND_MAXIMUM))


def _document(key: ApiKey) -> dict[str, Any]:
    return {
        "id": str(key.id),
        "tenant": key.tenant_name,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at.isoformat(),
        "expires_at": _time(key.expires_at),
        "rotated_at": _time(key.rotated_at),
        "previous_expires_at": _time(key.previous_expires_at),
        "revoked_at": _time(key.revoked_at),
        "requests_per_second": key.rate.per_second if key.rate else None,
        "requests_burst": key.rate.burst if key.rate else None,
        "issuer": key.issuer,
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _with_access(data_dir: Path, call: Callable[["AccessService"], Awaitable[Result]]) -> Result:
    # Loads SQLAlchemy, which the help of this command does without.
    from runtime.composition import open_services  # noqa: PLC0415

    url = settings_or_stack(data_dir).connection_url

    async def run() -> Result:
        async with open_services(url) as services:
            return await call(services.access)

    with clear_startup_failures():
        return asyncio.run(run())
