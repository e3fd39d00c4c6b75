"""``transfers approvals``: what waits for somebody's approval."""

from typing import Final

import typer

from cli.bound_documents import show_waiting
from cli.calls import api_place, call_and_print
from cli.options import ApiKey, ApiUrl, AsJson, Cursor, DataDir, PageSize
from domain.limits import PAGE_SIZE_DEFAULT
from domain.states import TransferStage
from runtime.settings import DEFAULT_DATA_DIR

_HELP: Final = "Find the transfers that wait for approval; `transfers approve` and `reject` decide."

app = typer.Typer(no_args_is_help=True, help=_HELP)


@app.callback()
def _group() -> None:
    """Keep the group a group although it has one command."""


@app.command("list", epilog="Example: transfers approvals list --json")
def list_waiting(
    *,
    page_size: PageSize = PAGE_SIZE_DEFAULT,
    cursor: Cursor = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List the transfers that wait for approval, newest first."""
    call_and_print(
        api_place(api_url, api_key, data_dir),
        lambda api: api.get(
            "/v1/transfers", stage=TransferStage.AWAITING_APPROVAL, limit=page_size, cursor=cursor
        ),
        show_waiting,
        as_json=as_json,
    )
