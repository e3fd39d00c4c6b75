from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from cli.failures import needing_embedded_servers
from cli.main import main, make_app
from runtime.local_errors import MissingServerError

COMMANDS = (
    *("demo", "dev", "api", "worker", "migrate", "verify", "send", "show", "list", "import"),
    *("capture", "extend", "cancel", "reverse", "approve", "reject", "audit"),
    *("stuck", "top", "evidence"),
)
SEND = ("send", "--to", "x", "--amount", "1", "--currency", "EUR")
GROUPS = {
    "keys": ("create", "list", "rotate", "limit", "revoke"),
    "checkpoints": ("keygen", "export", "verify"),
    "users": ("create", "list"),
    "accounts": ("create", "list", "statement", "freeze", "unfreeze", "close"),
    "approvals": ("list",),
    "rules": ("create", "list", "retire"),
    "limits": ("show", "set", "clear"),
    "orders": ("create", "list", "show", "runs", "pause", "resume", "cancel"),
    "operate": ("show", "retry", "pause", "resume", "cancel", "resolve", "restart"),
    "batches": ("create", "show", "list", "rows", "result", "cancel"),
}


def _paths() -> Iterator[tuple[str, ...]]:
    yield from ((command,) for command in COMMANDS)
    yield from ((group, command) for group, commands in GROUPS.items() for command in commands)


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    return make_app()


@pytest.mark.parametrize("path", list(_paths()), ids=" ".join)
def test_every_command_explains_itself_with_an_example(
    app: typer.Typer, path: tuple[str, ...]
) -> None:
    answer = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert answer.exit_code == 0, answer.output
    example = f"transfers {' '.join(path)}"
    assert any("Example: " in line and example in line for line in answer.output.splitlines())


def test_the_help_lists_every_command(app: typer.Typer) -> None:
    answer = CliRunner().invoke(app, ["--help"])
    assert all(f" {name} " in answer.output for name in (*COMMANDS, *GROUPS))


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("transfers 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["send", "--amount", "12.50", "--currency", "EUR", "--to", "x"], "give --amount 1250."),
        (["send", "--amount", "1", "--currency", "EUR"], "Give --from, --to or both"),
        (
            ["send", "--to", "x", "--amount", "1", "--currency", "EUR", "--async", "--wait", "5"],
            "--async does not wait, and --wait does",
        ),
        (["send", "--to", "x"], "Give --amount and --currency, or --legs"),
        (["send", "--to", "x", "--legs", "/dev/null"], "leave out the other options"),
        (
            [
                *[
                    "send",
                    "--to",
                    "x",
                    "--amount",
                    "1",
                    "--currency",
                    "EUR",
                    "--hold",
                    "--expires-in",
                    "soon",
                ]
            ],
            "--expires-in takes a duration such as 90s",
        ),
        (["capture", "x", "--amount", "1.5"], "--amount takes a whole number of minor units"),
        (["users", "create", "Ada", "--metadata", "{"], "--metadata is not JSON"),
        (
            ["orders", "create", "--to", "x", "--amount", "1", "--currency", "EUR"],
            "Give --every, or --cron with --time-zone",
        ),
        (
            [
                *("orders", "create", "--to", "x", "--amount", "1", "--currency", "EUR"),
                *("--every", "60", "--time-zone", "UTC"),
            ],
            "Give --every, or --cron with --time-zone",
        ),
        (["migrate", "--revision", "a", "--downgrade-to", "b"], "give one of them"),
        (
            [
                "keys",
                "create",
                "--tenant",
                "a",
                "--name",
                "b",
                "--operator",
                "--scope",
                "users:read",
            ],
            "leave out --scope",
        ),
        (["limits", "set", "x"], "Give --per-transfer, --per-day or --per-month"),
        (["limits", "set", "x", "--per-day", "1.5"], "--per-day takes a whole number"),
        (["keys", "create", "--tenant", " ", "--name", "b"], "--tenant must have 1 to 200"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert printed.out == ""
    assert printed.err.startswith("Error: ")
    assert message in printed.err


def test_a_missing_extra_is_told_with_how_to_install_it() -> None:
    with (
        pytest.raises(MissingServerError, match=r"psutil brings it.*durable-transfers\[embedded\]"),
        needing_embedded_servers(),
    ):
        raise ModuleNotFoundError(name="psutil")
    with pytest.raises(ModuleNotFoundError), needing_embedded_servers():
        raise ModuleNotFoundError(name="own_module")
