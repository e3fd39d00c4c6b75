"""The import: accounts and transfers from files, through the API, once however often it is run."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Final, Protocol

from runtime.api_client import (
    Answer,
    ApiClient,
    ApiProblem,
    ApiUnavailable,
    Document,
    RetryPolicy,
)
from runtime.import_files import (
    AccountFile,
    AccountRow,
    ImportFileError,
    RejectsFile,
    TransferFile,
    TransferRow,
)
from runtime.ordered_tasks import OrderedTasks

CONCURRENCY_DEFAULT: Final = 16
CONCURRENCY_MAXIMUM: Final = 200
RETRIES: Final = RetryPolicy(max_seconds=120.0, max_delay_seconds=5.0)
"""How long an import bears with an API that is away, for each request."""

PREFER: Final = "wait=30"
PROCESSING_SECONDS_MAXIMUM: Final = 300.0
"""How long one transfer may stay in PROCESSING before the import stops there."""

REJECTING_STATUSES: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
"""Answers that speak of the one row. Any other would be the same for every row: it ends the run."""


class ImportStopped(Exception):
    """An import cannot go on; run again, it goes on where this one ended."""


@dataclass(slots=True)
class ImportReport:
    """What an import has done so far.

    Parameters
    ----------
    succeeded
        Rows that moved money now.
    replayed
        Rows whose money an earlier request had moved: nothing moved now.
    failed
        Rows that moved no money, by the code of the reason.
    """

    users_created: int = 0
    accounts_created: int = 0
    succeeded: int = 0
    replayed: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        """Rows that moved no money."""
        return self.failed.total()

    @property
    def rows(self) -> int:
        """Rows with an outcome."""
        return self.succeeded + self.replayed + self.rejected

    def document(self) -> Document:
        """Give the report as JSON has it."""
        return {
            "rows": self.rows,
            "succeeded": self.succeeded,
            "replayed": self.replayed,
            "rejected": self.rejected,
            "failed": dict(self.failed.most_common()),
            "users_created": self.users_created,
            "accounts_created": self.accounts_created,
        }


class ImportWatcher(Protocol):
    """Is told how far an import is."""

    def began(self, what: str, total: int) -> None:
        """Take note of a part that begins, with so many rows."""

    def advanced(self, rows: int = 1) -> None:
        """Take note of rows that are done."""


class Importer:
    """Carries out one import.

    Parameters
    ----------
    api
        Repeats what could not be answered; every request here may be sent twice.
    concurrency
        Requests in flight at most.
    rejects
        Takes the rows that moved no money.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        concurrency: int,
        watcher: ImportWatcher,
        rejects: RejectsFile | None = None,
    ) -> None:
        self.api = api
        self._concurrency = concurrency
        self.watcher = watcher
        self.rejects = rejects
        self._users: dict[str, str] = {}
        self._account_ids: dict[str, str] = {}
        self.report = ImportReport()

    async def run(self, accounts: AccountFile, transfers: TransferFile) -> ImportReport:
        """Open the accounts that are missing, then make the transfers.

        Raises
        ------
        ImportFileError
            A file is not of the format, or an account cannot be as its row says. Files are read to
            their end before anything is done.
        ImportStopped
            The API is away for too long or refuses every row. Rows before are done.
        """
        account_count, transfer_count = sum(1 for _row in accounts.accounts()), transfers.count()
        try:
            self.watcher.began("accounts", account_count)
            await self._open_accounts(accounts)
            self.watcher.began("transfers", transfer_count)
            await self.make_transfers(transfers)
        except ExceptionGroup as errors:
            raise _reason(errors) from errors
        return self.report

    async def _open_accounts(self, accounts: AccountFile) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = OrderedTasks(group, at_once=self._concurrency)
            for row in accounts.accounts():
                names = {f"user {row.user_external_id}", f"account {row.external_id}"}
                await tasks.add(names, partial(self._open_account, row))

    async def _open_account(self, row: AccountRow) -> None:
        try:
            user_id = self._users.get(row.user_external_id) or await self._ensure_user(row)
            self._users[row.user_external_id] = user_id
            account = await self._ensure_account(row, user_id)
        except ApiProblem as problem:
            if problem.status not in REJECTING_STATUSES:
                raise
            raise ImportFileError(f"{row.place}: {problem}") from problem
        for name in (row.reference, account["id"], account["account_number"]):
            self._account_ids[name] = account["id"]
        self.watcher.advanced()

    async def _ensure_user(self, row: AccountRow) -> str:
        body = {"name": row.user_name, "external_id": row.user_external_id}
        user, is_new = await self._ensure("/v1/users", body)
        self.report.users_created += is_new
        return str(user["id"])

    async def _ensure_account(self, row: AccountRow, user_id: str) -> Document:
        body = {
            "user_id": user_id,
            "currency": row.currency,
            "external_id": row.external_id,
            "overdraft_limit": row.overdraft_limit_minor,
        }
        account, is_new = await self._ensure("/v1/accounts", body)
        self.report.accounts_created += is_new
        for name, wanted in (("currency", row.currency), ("user_id", user_id)):
            if account[name] != wanted:
                raise ImportFileError(
                    f"{row.place}: account {row.external_id} exists with {name} {account[name]}, "
                    f"and the row says {wanted}."
                )
        return account

    async def _ensure(self, path: str, body: Document) -> tuple[Document, bool]:
        """Make an object, or find it by its external id; tell whether it is new."""
        try:
            return (await self.api.post(path, body)).document, True
        except ApiProblem as problem:
            if problem.code != "external_id_taken":
                raise
            found = await self.api.first(path, external_id=body["external_id"])
            if found is None:
                raise
            return found, False

    async def make_transfers(self, transfers: TransferFile) -> None:
        """Make the transfers of a file, one request each."""
        async with asyncio.TaskGroup() as group:
            tasks = OrderedTasks(group, at_once=self._concurrency)
            for row in transfers.transfers():
                names = {name for name in (row.source, row.destination) if name is not None}
                accounts = {await self._account_id(name) for name in names}
                await tasks.add(accounts, partial(self._make_transfer, row))

    async def _account_id(self, name: str) -> str:
        """Tell which account a row means: two rows may name one account in two ways."""
        if name not in self._account_ids:
            try:
                account_id = str((await self.api.account(name))["id"])
            except ApiProblem as problem:
                if problem.code != "account_not_found":
                    raise
                account_id = name
            self._account_ids[name] = account_id
        return self._account_ids[name]

    async def _make_transfer(self, row: TransferRow) -> None:
        try:
            first = await self.api.transfer(row.body(), key=row.key, prefer=PREFER)
            if first.status == HTTPStatus.ACCEPTED:
                await self._await_outcome(row, first)
        except ApiProblem as problem:
            if problem.status not in REJECTING_STATUSES:
                raise
            self._reject(row, problem)
        else:
            if first.is_replay:
                self.report.replayed += 1
            else:
                self.report.succeeded += 1
        self.watcher.advanced()

    async def _await_outcome(self, row: TransferRow, answer: Answer) -> None:
        """Wait until a transfer is final, for the account's next row builds on it."""
        transfer_id = answer.document["id"]
        deadline = asyncio.get_running_loop().time() + PROCESSING_SECONDS_MAXIMUM
        while answer.status == HTTPStatus.ACCEPTED:
            if asyncio.get_running_loop().time() > deadline:
                raise ImportStopped(
                    f"transfer {transfer_id} (key {row.key}) is still PROCESSING after "
                    f"{PROCESSING_SECONDS_MAXIMUM:g} s: `transfers show {transfer_id} --workflow` "
                    "tells what it waits for"
                )
            answer = await self.api.transfer(row.body(), key=row.key, prefer=PREFER)

    def _reject(self, row: TransferRow, problem: ApiProblem) -> None:
        self.report.failed[problem.code] += 1
        if self.rejects is not None:
            self.rejects.add(row, code=problem.code, detail=problem.detail)


def _reason(errors: ExceptionGroup[Exception]) -> Exception:
    """Give the one reason why an import ends: the others are cancelled because of it."""
    first = errors.exceptions[0]
    if isinstance(first, ApiProblem | ApiUnavailable):
        return ImportStopped(str(first))
    return first
