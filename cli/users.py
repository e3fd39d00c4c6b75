"""``transfers users``: the owners of accounts."""

from typing import Annotated

import typer

from cli.calls import api_place, call_and_print
from cli.documents import show_user, show_users
from cli.options import (
    ApiKey,
    ApiUrl,
    AsJson,
    Cursor,
    DataDir,
    MetadataJson,
    PageSize,
    parse_metadata,
)
from domain.limits import PAGE_SIZE_DEFAULT
from runtime.settings import DEFAULT_DATA_DIR

app = typer.Typer(no_args_is_help=True, help="Record and list users, the owners of accounts.")


@app.command(epilog="Example: transfers users create Ada --external-id ada")
def create(
    name: Annotated[str, typer.Argument(help="What people call the user.")],
    *,
    external_id: Annotated[
        str | None, typer.Option(help="Your own id of the user, unique in your organisation.")
    ] = None,
    metadata: MetadataJson = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Record a user."""
    body = {"name": name, "external_id": external_id, "metadata": parse_metadata(metadata) or {}}
    place = api_place(api_url, api_key, data_dir)
    call_and_print(place, lambda api: api.post("/v1/users", body), show_user, as_json=as_json)


@app.command("list", epilog="Example: transfers users list --external-id ada --json")
def list_users(
    *,
    external_id: Annotated[str | None, typer.Option(help="Only the user with this id.")] = None,
    page_size: PageSize = PAGE_SIZE_DEFAULT,
    cursor: Cursor = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List users, newest first."""
    call_and_print(
        api_place(api_url, api_key, data_dir),
        lambda api: api.get("/v1/users", external_id=external_id, limit=page_size, cursor=cursor),
        show_users,
        as_json=as_json,
    )
