"""``transfers users``: the owners of accounts."""

from typing import Annotated

import typer

from cli.calls import Call, Listing
from cli.documents import show_user, show_users
from cli.groups import Commands
from cli.options import (
    MetadataJson,
    parse_metadata,
)

app = Commands(no_args_is_help=True, help="Record and list users, the owners of accounts.")


@app.command(epilog="Example: transfers users create Ada --external-id ada")
def create(
    name: Annotated[str, typer.Argument(help="What people call the user.")],
    *,
    external_id: Annotated[
        str | None, typer.Option(help="Your own id of the user, unique in your organisation.")
    ] = None,
    metadata: MetadataJson = None,
    call: Call,
) -> None:
    """Record a user."""
    body = {"name": name, "external_id": external_id, "metadata": parse_metadata(metadata) or {}}
    call.show(lambda api: api.post("/v1/users", body), show_user)


@app.command("list", epilog="Example: transfers users list --external-id ada --json")
def list_users(
    *,
    external_id: Annotated[str | None, typer.Option(help="Only the user with this id.")] = None,
    listing: Listing,
) -> None:
    """List users, newest first."""
    listing.show_page("/v1/users", show_users, external_id=external_id)
