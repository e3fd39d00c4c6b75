"""The ``transfers`` command."""

import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated, Final, NoReturn

import typer

from cli import (
    accounts,
    approvals,
    audit,
    batches,
    checkpoints,
    demo,
    dev,
    evidence,
    importing,
    keys,
    limits,
    operators,
    orders,
    restore,
    roles,
    rules,
    servers,
    top,
    transfer_operations,
    transfers,
    users,
    verify,
    versions,
)
from cli.console import print_error, print_line
from cli.failures import CommandFailed
from cli.groups import Commands
from domain.errors import DomainError
from runtime.leaving import leave
from runtime.local_errors import LocalStackError

EXIT_FAILED: Final = 1
_SERVERS: Final = "Servers"
_CLIENTS: Final = "Calls of the API"
_OPERATORS: Final = "Operators"
_COMMANDS: Final[Sequence[tuple[str, str, Callable[..., None], str]]] = (
    ("demo", _SERVERS, demo.demo, "transfers demo"),
    ("dev", _SERVERS, dev.dev, "transfers dev --data-dir .local --api-port 18700"),
    ("api", _SERVERS, servers.api, "DATABASE_URL=postgresql://... transfers api"),
    ("worker", _SERVERS, servers.worker, "DATABASE_URL=postgresql://... transfers worker"),
    ("migrate", _SERVERS, servers.migrate, "DATABASE_URL=postgresql://... transfers migrate"),
    ("roles", _SERVERS, roles.roles, "ADMIN_DATABASE_URL=postgresql://... transfers roles"),
    ("verify", _SERVERS, verify.verify, "transfers verify --json"),
    ("restore", _SERVERS, restore.restore, "transfers restore --repeat"),
    (
        "send",
        _CLIENTS,
        transfers.send,
        "transfers send --from ext:ada-eur --to ext:bob-eur --amount 1250 --currency EUR",
    ),
    ("show", _CLIENTS, transfers.show, "transfers show TRANSFER_ID --events --entries"),
    (
        "evidence",
        _CLIENTS,
        evidence.evidence,
        "transfers evidence TRANSFER_ID --format pdf --output evidence.pdf",
    ),
    ("list", _CLIENTS, transfers.list_transfers, "transfers list --state PROCESSING"),
    (
        "capture",
        _CLIENTS,
        transfer_operations.capture,
        "transfers capture TRANSFER_ID --amount 500 --final",
    ),
    (
        "extend",
        _CLIENTS,
        transfer_operations.extend,
        "transfers extend TRANSFER_ID --expires-at 2026-01-31T12:00:00Z",
    ),
    (
        "cancel",
        _CLIENTS,
        transfer_operations.cancel,
        'transfers cancel TRANSFER_ID --reason "out of stock"',
    ),
    (
        "reverse",
        _CLIENTS,
        transfer_operations.reverse,
        "transfers reverse TRANSFER_ID --amount 500",
    ),
    ("approve", _CLIENTS, transfer_operations.approve, "transfers approve TRANSFER_ID"),
    (
        "reject",
        _CLIENTS,
        transfer_operations.reject,
        'transfers reject TRANSFER_ID --note "not ours"',
    ),
    ("audit", _CLIENTS, audit.audit, "transfers audit --action account.freeze"),
    ("top", _OPERATORS, top.top, "transfers top --interval 5"),
    ("stuck", _OPERATORS, operators.stuck, "transfers stuck --cause activity_failing"),
    (
        "import",
        _CLIENTS,
        importing.import_files,
        "transfers import accounts.csv transfers.csv --rejects rejects.csv",
    ),
)
"""Name, panel of the help, function and example of each command that stands alone."""


def _print_version(asked: bool) -> None:  # noqa: FBT001 - as Typer calls it
    if asked:
        print_line(f"transfers {version('durable-transfers')}")
        raise typer.Exit


def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Move money between accounts, durably and once."""


def make_app() -> typer.Typer:
    """Put all commands together."""
    app = Commands(no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback(epilog="Begin with: transfers dev")(_root)
    for name, panel, command, example in _COMMANDS:
        app.command(name, rich_help_panel=panel, epilog=f"Example: {example}")(command)
    for name, panel, group in (
        ("keys", _SERVERS, keys.app),
        ("versions", _SERVERS, versions.app),
        ("checkpoints", _SERVERS, checkpoints.app),
        ("users", _CLIENTS, users.app),
        ("accounts", _CLIENTS, accounts.app),
        ("approvals", _CLIENTS, approvals.app),
        ("rules", _CLIENTS, rules.app),
        ("limits", _CLIENTS, limits.app),
        ("orders", _CLIENTS, orders.app),
        ("batches", _CLIENTS, batches.app),
        ("operate", _OPERATORS, operators.app),
    ):
        app.add_typer(group, name=name, rich_help_panel=panel)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run one command; expected failures are one clear message and exit code 1."""
    try:
        make_app()(arguments, prog_name="transfers")
    except (CommandFailed, LocalStackError) as error:
        print_error(str(error))
        raise SystemExit(EXIT_FAILED) from None
    except DomainError as error:
        print_error(f"{error.message} ({error.code})")
        raise SystemExit(EXIT_FAILED) from None


def run() -> NoReturn:
    """Run one command as a process."""
    code = 0
    try:
        main()
    except SystemExit as exiting:
        code = exiting.code if isinstance(exiting.code, int) else int(exiting.code is not None)
    except BaseException:  # noqa: BLE001 - what the interpreter itself would do
        traceback.print_exc()
        code = EXIT_FAILED
    leave(code)


if __name__ == "__main__":
    run()
