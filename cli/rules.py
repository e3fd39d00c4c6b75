"""``transfers rules``: above which amounts transfers wait for approval."""

from typing import Annotated
from urllib.parse import quote

import typer

from cli.bound_documents import show_rule, show_rules
from cli.calls import api_place, call_and_print
from cli.options import ApiKey, ApiUrl, AsJson, Cursor, DataDir, PageSize, Reason
from domain.limits import (
    APPROVAL_SECONDS_DEFAULT,
    APPROVAL_SECONDS_MAXIMUM,
    APPROVERS_MAXIMUM,
    PAGE_SIZE_DEFAULT,
)
from runtime.settings import DEFAULT_DATA_DIR

app = typer.Typer(no_args_is_help=True, help="Set above which amounts transfers wait for approval.")


@app.command(epilog="Example: transfers rules create --currency EUR --threshold 1000000")
def create(
    *,
    currency: Annotated[str, typer.Option(help="Code of ISO 4217, as in EUR.")],
    threshold: Annotated[
        int, typer.Option(min=0, help="Transfers of more than this wait; in minor units (cents).")
    ],
    approvers: Annotated[
        int, typer.Option(min=1, max=APPROVERS_MAXIMUM, help="How many keys must approve.")
    ] = 1,
    deadline: Annotated[
        int,
        typer.Option(
            min=1,
            max=APPROVAL_SECONDS_MAXIMUM,
            help="Seconds that a transfer waits before it fails.",
        ),
    ] = APPROVAL_SECONDS_DEFAULT,
    reason: Reason = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Let transfers above a threshold wait for approval, from now on."""
    body = {
        "currency": currency,
        "threshold": threshold,
        "approvers": approvers,
        "deadline_seconds": deadline,
        "reason": reason,
    }
    place = api_place(api_url, api_key, data_dir)
    call_and_print(
        place, lambda api: api.post("/v1/approval-rules", body), show_rule, as_json=as_json
    )


@app.command("list", epilog="Example: transfers rules list --in-force")
def list_rules(
    *,
    in_force: Annotated[
        bool | None,
        typer.Option("--in-force/--retired", help="Only those in force, or only retired ones."),
    ] = None,
    page_size: PageSize = PAGE_SIZE_DEFAULT,
    cursor: Cursor = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List rules, newest first, retired ones among them."""
    wanted = None if in_force is None else str(in_force).lower()
    call_and_print(
        api_place(api_url, api_key, data_dir),
        lambda api: api.get("/v1/approval-rules", in_force=wanted, limit=page_size, cursor=cursor),
        show_rules,
        as_json=as_json,
    )


@app.command(epilog="Example: transfers rules retire 0199d5c0-7a1e-7c3b-9c5e-3f6a1b2c4d5e")
def retire(
    rule_id: Annotated[str, typer.Argument(help="Id of the rule, as `rules list` shows it.")],
    *,
    reason: Reason = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Take a rule out of force; transfers that wait go on waiting."""
    path = f"/v1/approval-rules/{quote(rule_id, safe='')}/retire"
    place = api_place(api_url, api_key, data_dir)
    body = {"reason": reason}
    call_and_print(place, lambda api: api.post(path, body), show_rule, as_json=as_json)
