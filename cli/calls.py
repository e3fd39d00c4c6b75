"""How a command calls the API: which one, with which key, and what becomes of a refusal."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import urlsplit

from cli.console import messages, print_error, print_json, print_line
from cli.failures import CommandFailed
from cli.options import ApiKey, ApiUrl, AsJson, Cursor, DataDir, PageSize
from cli.surroundings import find_stack
from domain.limits import PAGE_SIZE_DEFAULT
from runtime.api_client import (
    NO_RETRIES,
    Answer,
    ApiClient,
    ApiPlace,
    ApiProblem,
    ApiUnavailable,
    RetryPolicy,
    open_api_client,
)
from runtime.settings import DEFAULT_DATA_DIR
from runtime.stack_files import STACK_FILE

Result = TypeVar("Result")

_OPTION_OF_FIELD: Final = MappingProxyType(
    {
        "source": "--from",
        "destination": "--to",
        "from": "--from",
        "to": "--to",
        "user_id": "--user",
        "schedule.interval_seconds": "--every",
        "schedule.cron": "--cron",
        "schedule.time_zone": "--time-zone",
        "start_at": "--start",
        "end_at": "--end",
        "Idempotency-Key": "--key",
    }
)


@dataclass(frozen=True, kw_only=True)
class Api:
    """Options of commands that call the API: which one, and with which key."""

    uses_operator_key: ClassVar[bool] = False
    """Of a local stack, the operators' key is taken where none is given."""

    api_url: ApiUrl = None
    api_key: ApiKey = None
    data_dir: DataDir = DEFAULT_DATA_DIR

    def place(self) -> ApiPlace:
        """Find the API and the key: what is given, else the running local stack's.

        Raises
        ------
        CommandFailed
            One of them is neither given nor known, or not well formed.
        """
        api_key = self.api_key
        if self.uses_operator_key and not (self.api_url or api_key):
            stack = find_stack(self.data_dir)
            api_key = stack.operator_key if stack else None
        return api_place(self.api_url, api_key, self.data_dir)

    @property
    def is_for_programs(self) -> bool:
        """Whether programs read what is printed."""
        return False

    def ask(
        self,
        request: Callable[[ApiClient], Awaitable[Result]],
        *,
        retries: RetryPolicy = NO_RETRIES,
    ) -> Result:
        """Call the API, as ``call_api`` does."""
        return call_api(self.place(), request, as_json=self.is_for_programs, retries=retries)


@dataclass(frozen=True, kw_only=True)
class Call(Api):
    """Options of commands that call the API and print its answer."""

    as_json: AsJson = False

    @property
    def is_for_programs(self) -> bool:
        """Whether programs read what is printed."""
        return self.as_json

    def show(
        self,
        request: Callable[[ApiClient], Awaitable[Answer]],
        show: Callable[[Answer], None],
        *,
        retries: RetryPolicy = NO_RETRIES,
    ) -> Answer:
        """Call the API, and print the answer: its document for programs, or for a person."""
        answer = self.ask(request, retries=retries)
        if self.as_json:
            print_line(answer.text)
        else:
            show(answer)
        return answer


@dataclass(frozen=True, kw_only=True)
class OperatorCall(Call):
    """The same, for operators."""

    uses_operator_key: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Listing(Call):
    """Options of commands that show one page of a list."""

    page_size: PageSize = PAGE_SIZE_DEFAULT
    cursor: Cursor = None

    def show_page(self, path: str, show: Callable[[Answer], None], **wanted: Any) -> None:
        """Read a page and print it.

        Parameters
        ----------
        wanted
            What the list is narrowed down to; ``None`` does not.
        """
        limits = {"limit": self.page_size, "cursor": self.cursor}
        self.show(lambda api: api.get(path, **wanted, **limits), show)


@dataclass(frozen=True, kw_only=True)
class OperatorListing(Listing):
    """The same, for operators."""

    uses_operator_key: ClassVar[bool] = True


def api_place(api_url: str | None, api_key: str | None, data_dir: Path) -> ApiPlace:
    """Find the API and the key: what is given, else the running local stack's.

    Raises
    ------
    CommandFailed
        One of them is neither given nor known, or not well formed.
    """
    if api_url and not api_key:
        # A local stack's key is not sent to another server.
        raise CommandFailed(
            f"An API key for {api_url} is missing: give --api-key, or set TRANSFERS_API_KEY."
        )
    stack = None if api_url else find_stack(data_dir)
    url = api_url or (stack.api_url if stack else None)
    key = api_key or (stack.api_key if stack else None)
    if url is None or key is None:
        raise CommandFailed(
            f"No local stack runs on {data_dir}. Start one with `transfers dev`, name its folder "
            "with --data-dir, or name an API with --api-url and --api-key (or TRANSFERS_API_URL "
            "and TRANSFERS_API_KEY)."
        )
    return ApiPlace(
        url=_checked_url(url),
        key=_checked_key(key),
        origin=f"{data_dir / STACK_FILE}" if stack else "--api-url",
    )


def call_api(
    place: ApiPlace,
    call: Callable[[ApiClient], Awaitable[Result]],
    *,
    as_json: bool,
    retries: RetryPolicy = NO_RETRIES,
) -> Result:
    """Call the API, and end the command clearly where it refuses or does not answer.

    Parameters
    ----------
    as_json
        Print a refusal's problem document to standard output as well.

    Raises
    ------
    CommandFailed
        Nothing answers.
    SystemExit
        The API refused, and it was said why.
    """

    async def run() -> Result:
        async with open_api_client(place, retries=retries) as client:
            return await call(client)

    try:
        return asyncio.run(run())
    except ApiUnavailable as error:
        raise unavailable(place, error) from error
    except ApiProblem as problem:
        if as_json:
            print_json(problem.document)
        print_problem(problem)
        raise SystemExit(1) from None


def unavailable(place: ApiPlace, error: ApiUnavailable) -> CommandFailed:
    """Say that an API does not answer, and who named it."""
    hint = ""
    if place.origin.endswith(STACK_FILE):
        hint = f" {place.origin} names it: does `transfers dev` still run?"
    return CommandFailed(f"{error}.{hint}")


def print_problem(problem: ApiProblem) -> None:
    """Say why the API refused: code, detail, and each field in the command's own words."""
    fields = problem.field_messages
    # Where fields are named, the detail only repeats them.
    print_error(problem.code if fields else f"{problem.code}: {problem.detail}")
    for field, message in fields:
        option = _OPTION_OF_FIELD.get(field, field)
        print_line(f"  {option}: {message}", console=messages())
    transfer = problem.document.get("transfer")
    if transfer is not None:
        text = f"  Transfer {transfer['id']} is recorded as {transfer['state']}."
        print_line(text, console=messages())


def _checked_url(url: str) -> str:
    parts = None
    with suppress(ValueError):
        parts = urlsplit(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise CommandFailed(f"{url!r} is no URL of an API; it has the form http://127.0.0.1:18700.")
    return url.rstrip("/")


def _checked_key(key: str) -> str:
    if not all("!" <= character <= "~" for character in key):
        raise CommandFailed("The API key holds characters that no key has: was it pasted whole?")
    return key
