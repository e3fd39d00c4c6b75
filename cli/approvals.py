"""``transfers approvals``: what waits for somebody's approval."""

from typing import Final

from cli.bound_documents import show_waiting
from cli.calls import Call
from cli.groups import Commands
from cli.options import Cursor, PageSize
from domain.limits import PAGE_SIZE_DEFAULT
from domain.states import TransferStage

_HELP: Final = "Find the transfers that wait for approval; `transfers approve` and `reject` decide."

app = Commands(no_args_is_help=True, help=_HELP)


@app.callback()
def _group() -> None:
    """Keep the group a group although it has one command."""


@app.command("list", epilog="Example: transfers approvals list --json")
def list_waiting(
    *,
    page_size: PageSize = PAGE_SIZE_DEFAULT,
    cursor: Cursor = None,
    call: Call,
) -> None:
    """List the transfers that wait for approval, newest first."""
    call.show(
        lambda api: api.get(
            "/v1/transfers", stage=TransferStage.AWAITING_APPROVAL, limit=page_size, cursor=cursor
        ),
        show_waiting,
    )
