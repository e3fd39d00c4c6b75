"""What commands print: data on standard output, everything else on standard error."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

PIPED_WIDTH: Final = 240
"""Columns where no terminal says how wide it is: rows of a table stay on one line, for grep."""

AMOUNT_COLUMNS: Final = frozenset({"amount", "posted", "held", "available", "balance", "count"})


def output() -> Console:
    """Give the console of standard output."""
    return _console(stderr=False)


def messages() -> Console:
    """Give the console of standard error."""
    return _console(stderr=True)


def print_line(text: str, *, console: Console | None = None) -> None:
    """Print a line exactly as it is: nothing is wrapped, coloured or read as markup."""
    (console or output()).print(text, soft_wrap=True, markup=False, highlight=False)


def print_json(document: Any) -> None:
    """Print a document as JSON."""
    print_line(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def print_error(message: str) -> None:
    """Say what went wrong."""
    console = messages()
    console.print("[bold red]Error:[/]", end=" ")
    print_line(message, console=console)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Print rows under headings; amounts to the right, nothing cut off."""
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        is_amount = column.split()[0].lower() in AMOUNT_COLUMNS
        table.add_column(column, justify="right" if is_amount else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    output().print(table, markup=False, highlight=False)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = max(console.width, PIPED_WIDTH)
    return console
