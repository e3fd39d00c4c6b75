"""``transfers import``: accounts and transfers from CSV files."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from cli.calls import Call, call_api
from cli.console import messages, print_json, print_line, print_table
from cli.failures import CommandFailed
from runtime.api_client import ApiPlace, open_api_client
from runtime.batch_importing import BatchImporter
from runtime.import_files import AccountFile, ImportFileError, RejectsFile, TransferFile
from runtime.importing import (
    CONCURRENCY_DEFAULT,
    CONCURRENCY_MAXIMUM,
    RETRIES,
    Importer,
    ImportReport,
    ImportStopped,
)

EXIT_REJECTED: Final = 1
EXIT_INTERRUPTED: Final = 130
SAY_AGAIN_SECONDS: Final = 5.0
_AGAIN: Final = "Run the same command again to go on: what is done is not done twice."


def import_files(
    accounts_csv: Annotated[
        Path, typer.Argument(metavar="ACCOUNTS.csv", help="The accounts that are needed.")
    ],
    transfers_csv: Annotated[
        Path, typer.Argument(metavar="TRANSFERS.csv", help="The transfers, in order.")
    ],
    *,
    concurrency: Annotated[
        int,
        typer.Option(
            min=1,
            max=CONCURRENCY_MAXIMUM,
            help="Requests in flight at most: for accounts, and with --one-by-one. Batches go one"
            " after the other.",
        ),
    ] = CONCURRENCY_DEFAULT,
    one_by_one: Annotated[
        bool,
        typer.Option(
            "--one-by-one", help="A request for each transfer, several in flight; no batches."
        ),
    ] = False,
    rejects: Annotated[
        Path | None,
        typer.Option(help="File to write the rows to that moved no money, with the reason."),
    ] = None,
    call: Call,
) -> None:
    """Import accounts and transfers from CSV files, once however often it is run.

    Columns of ACCOUNTS.csv: external_id, user_external_id, currency; optional: overdraft_limit
    (minor units), user_name. Users and accounts that exist are left as they are.

    Columns of TRANSFERS.csv: idempotency_key, amount (minor units), currency, and account (for
    DEPOSIT and WITHDRAWAL) or source and destination; optional: type (INTERNAL by default),
    effective_at, description. Accounts are named by UUID, account number or ext:ID. Other columns
    are ignored.

    Transfers go in batches of some thousands, one after the other, in the file's order; with
    --one-by-one several are in flight, but those of one account keep it. Exit code 0 where every
    row has moved its money, now or earlier.
    """
    try:
        accounts, transfers = AccountFile(accounts_csv), TransferFile(transfers_csv)
        place = call.place()
        # A wrong address or key is told at once; only later is it waited for.
        call_api(place, lambda api: api.get("/v1/accounts", limit=1), as_json=False)
        with _rejects_file(rejects, accounts, transfers) as rejects_file:
            kind = Importer if one_by_one else BatchImporter
            report = _run(place, accounts, transfers, concurrency, rejects_file, kind=kind)
    except ImportFileError as error:
        raise CommandFailed(str(error)) from error
    if call.as_json:
        print_json(report.document())
    else:
        _print_report(report, rejects)
    if report.rejected:
        raise SystemExit(EXIT_REJECTED)


class _ProgressBar:
    """Shows each part of an import as a bar on standard error."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._said_at = -SAY_AGAIN_SECONDS

    def began(self, what: str, total: int) -> None:
        self._task = self._progress.add_task(what, total=total)

    def advanced(self, rows: int = 1) -> None:
        if self._task is not None:
            self._progress.advance(self._task, rows)

    def retried(self, failure: Exception) -> None:
        # Many requests in flight fail of the same thing.
        if time.monotonic() - self._said_at >= SAY_AGAIN_SECONDS:
            self._said_at = time.monotonic()
            print_line(f"Trying again: {failure}", console=self._progress.console)


def _run(
    place: ApiPlace,
    accounts: AccountFile,
    transfers: TransferFile,
    concurrency: int,
    rejects: RejectsFile | None,
    *,
    kind: type[Importer],
) -> ImportReport:
    done = ImportReport()

    async def run() -> ImportReport:
        nonlocal done
        with _progress() as progress:
            bar = _ProgressBar(progress)
            async with open_api_client(
                place, connections=concurrency, retries=RETRIES, on_retry=bar.retried
            ) as api:
                importer = kind(api, concurrency=concurrency, watcher=bar, rejects=rejects)
                done = importer.report
                return await importer.run(accounts, transfers)

    for file in (accounts, transfers):
        if file.ignored:
            text = f"{file.path}: columns that are not used: {', '.join(file.ignored)}"
            print_line(text, console=messages())
    try:
        return asyncio.run(run())
    except ImportStopped as error:
        raise CommandFailed(f"Stopped after {done.rows} rows: {error}. {_AGAIN}") from error
    except KeyboardInterrupt:
        print_line(f"Stopped after {done.rows} rows. {_AGAIN}", console=messages())
        raise SystemExit(EXIT_INTERRUPTED) from None


@contextmanager
def _rejects_file(
    path: Path | None, accounts: AccountFile, transfers: TransferFile
) -> Iterator[RejectsFile | None]:
    if path is None:
        yield None
        return
    if path.resolve() in {accounts.path.resolve(), transfers.path.resolve()}:
        raise CommandFailed(f"--rejects {path} would overwrite a file that is to be imported.")
    try:
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise CommandFailed(f"--rejects {path} cannot be written: {error.strerror}.") from error
    with file:
        yield RejectsFile(file, transfers.columns)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=messages(),
    )


def _print_report(report: ImportReport, rejects: Path | None) -> None:
    rows = [
        ("moved now", f"{report.succeeded:,}"),
        ("moved earlier (replayed)", f"{report.replayed:,}"),
        ("rejected", f"{report.rejected:,}"),
        *((f"  {code}", f"{count:,}") for code, count in report.failed.most_common()),
        ("users made", f"{report.users_created:,}"),
        ("accounts made", f"{report.accounts_created:,}"),
    ]
    print_table(("Import", "Count"), rows)
    if report.rejected:
        where = f"{rejects} has them with their reasons" if rejects else "--rejects FILE keeps them"
        print_line(f"{report.rejected:,} rows moved no money: {where}.", console=messages())
