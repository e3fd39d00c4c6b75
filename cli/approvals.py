"""``transfers approvals``: what waits for somebody's approval."""

from typing import Final

from cli.bound_documents import show_waiting
from cli.calls import Listing
from cli.groups import Commands
from domain.states import TransferStage

_HELP: Final = "Find the transfers that wait for approval; `transfers approve` and `reject` decide."

app = Commands(no_args_is_help=True, help=_HELP)


@app.callback()
def _group() -> None:
    """Keep the group a group although it has one command."""


@app.command("list", epilog="Example: transfers approvals list --json")
def list_waiting(
    *,
    listing: Listing,
) -> None:
    """List the transfers that wait for approval, newest first."""
    listing.show_page("/v1/transfers", show_waiting, stage=TransferStage.AWAITING_APPROVAL)
