"""``transfers demo``: the product shown in a minute, faults included."""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.console import output, print_line, print_table
from cli.failures import CommandFailed, needing_embedded_servers
from cli.verify import print_report
from runtime.api_client import ApiProblem, ApiUnavailable
from runtime.stack_files import StackInfo, throwaway_data_dir

if TYPE_CHECKING:
    from runtime.demo_wallets import StatementLine
    from services.verification import Check

EXIT_INTERRUPTED: Final = 130
_LOG_PLACE: Final = ". Its log is"
"""What a part's crash is reported with beyond the fact; in the demo the crash is meant."""


def demo(
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the stack up afterwards, until Ctrl-C.")
    ] = False,
) -> None:
    """Start a throw-away stack, move money through faults, prove the ledger, stop.

    Nothing is left behind: the stack runs on free ports and a temporary folder.
    """
    # The embedded servers are an extra that production does not install.
    with needing_embedded_servers():
        from runtime.demo import run_demo  # noqa: PLC0415
        from runtime.demo_wallets import DemoFailed  # noqa: PLC0415

    audience = _Terminal()
    with throwaway_data_dir() as data_dir:
        try:
            asyncio.run(run_demo(data_dir, audience, keep=keep))
        except (ApiProblem, ApiUnavailable, DemoFailed) as error:
            raise CommandFailed(f"The demo found something wrong: {error}.") from error
        except asyncio.CancelledError:
            if not audience.has_ended:
                print_line("Interrupted; everything is stopped and removed.")
                raise SystemExit(EXIT_INTERRUPTED) from None
    print_line(f"Stopped and removed, after {audience.seconds:.0f} s.")


class _Terminal:
    """Shows the demo to a person at a terminal."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._steps = 0
        self.has_ended = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def step(self, title: str) -> None:
        self._steps += 1
        output().print(f"\n[bold cyan]{self._steps}. {title}[/]", highlight=False)

    def note(self, line: str) -> None:
        print_line(f"   {self.seconds:5.1f} s  {line.partition(_LOG_PLACE)[0]}")

    def links(self, info: StackInfo) -> None:
        self.note(f"API documentation, while this runs: {info.api_url}/docs")
        self.note(f"Temporal's UI, while this runs: {info.temporal_ui_url}")

    def statement(self, name: str, lines: "Sequence[StatementLine]") -> None:
        print_table(
            ("#", "Description", "Amount", "Balance"),
            [(str(line.sequence), line.description, line.amount, line.balance) for line in lines],
            title=f"Statement of {name}",
        )

    def proved(self, checks: "Sequence[Check]") -> None:
        print_report(checks)

    def ending(self, info: StackInfo, *, keep: bool) -> None:
        self.has_ended = True
        if not keep:
            print_line("The links above end with the stack.")
            output().print("[bold green]Done.[/] `make run` starts a stack that stays.\n")
            return
        output().print("\n[bold green]Done.[/] The stack stays up until Ctrl-C:")
        for url in (f"{info.api_url}/docs", info.console_url, info.temporal_ui_url):
            print_line(f"  {url}")
        print_line(f"  API key: {info.api_key}")
