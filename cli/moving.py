"""Requests that happen once for their key: how commands send them, and what they say of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from cli.calls import Call
from cli.console import messages, print_line
from cli.failures import CommandFailed
from cli.options import Key, RespondAsync, Wait
from cli.transfer_documents import show_transfer
from runtime.api_client import RetryPolicy
from services.identifiers import new_uuid

SEND_RETRIES: Final = RetryPolicy(max_seconds=10.0)
"""The key makes it safe to repeat a request of unknown outcome; a person waits no longer."""


@dataclass(frozen=True, kw_only=True)
class Sending(Call):
    """Options of commands that send what must happen once."""

    key: Key = None
    wait: Wait = None
    respond_async: RespondAsync = False

    def post_once(self, path: str, body: Mapping[str, Any]) -> None:
        """Send a request with its key, and print the transfer that comes of it.

        Raises
        ------
        CommandFailed
            To wait and not to wait were both asked for.
        """
        prefer, key = self._prefer(), key_or_new(self.key, "outcome")
        answer = self.show(
            lambda api: api.post_once(path, body, key=key, prefer=prefer),
            show_transfer,
            retries=SEND_RETRIES,
        )
        if answer.status == HTTPStatus.ACCEPTED:
            text = f"Still processing. Look again with: transfers show {answer.document['id']}"
            print_line(text, console=messages())

    def _prefer(self) -> str | None:
        """Say how long to wait as the API reads it; its own default where nothing is asked for."""
        if self.respond_async and self.wait is not None:
            raise CommandFailed("--async does not wait, and --wait does: give one of them.")
        if self.respond_async:
            return "respond-async"
        return None if self.wait is None else f"wait={self.wait}"


def key_or_new(key: str | None, makes: str) -> str:
    """Give the key, or a new one that is printed before anything is sent.

    Parameters
    ----------
    makes
        What the same key gets again.
    """
    if key is not None:
        return key
    new = str(new_uuid())
    # Before anything is sent, so that it is known whatever happens next.
    text = f"Idempotency key: {new} (repeat with --key to get the same {makes})"
    print_line(text, console=messages())
    return new
