"""Requests that happen once for their key: how commands send them, and what they say of them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from cli.calls import call_api, print_answer
from cli.console import messages, print_line
from cli.failures import CommandFailed
from cli.transfer_documents import show_transfer
from runtime.api_client import Answer, ApiPlace, RetryPolicy
from services.identifiers import new_uuid

SEND_RETRIES: Final = RetryPolicy(max_seconds=10.0)
"""The key makes it safe to repeat a request of unknown outcome; a person waits no longer."""


def prefer_of(wait_seconds: int | None, *, respond_async: bool) -> str | None:
    """Say how long to wait as the API reads it; its own default where nothing is asked for.

    Raises
    ------
    CommandFailed
        To wait and not to wait were both asked for.
    """
    if respond_async and wait_seconds is not None:
        raise CommandFailed("--async does not wait, and --wait does: give one of them.")
    if respond_async:
        return "respond-async"
    return None if wait_seconds is None else f"wait={wait_seconds}"


def post_once(
    place: ApiPlace,
    path: str,
    body: Mapping[str, Any],
    *,
    key: str | None,
    prefer: str | None,
    as_json: bool,
) -> None:
    """Send a request with its key, which is made up and printed where it is left out."""
    used_key = key or str(new_uuid())
    if key is None:
        # Before anything is sent, so that it is known whatever happens next.
        text = f"Idempotency key: {used_key} (repeat with --key to get the same outcome)"
        print_line(text, console=messages())
    answer = call_api(
        place,
        lambda api: api.post_once(path, body, key=used_key, prefer=prefer),
        as_json=as_json,
        retries=SEND_RETRIES,
    )
    print_answer(answer, show_transfer, as_json=as_json)
    _tell_what_is_left(answer)


def _tell_what_is_left(answer: Answer) -> None:
    if answer.status == HTTPStatus.ACCEPTED:
        text = f"Still processing. Look again with: transfers show {answer.document['id']}"
        print_line(text, console=messages())
