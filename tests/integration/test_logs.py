"""Logs tell what happened, and nothing that a client wrote or that opens a door."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.access import Scope
from runtime.composition import Services
from tests.support.api import Client, Json, new_key
from tests.support.batches import post_batch, row
from tests.support.issuer import AUDIENCE, rsa_key, running_issuer
from tests.support.served import served_api
from tests.support.stack import Stack

AMOUNT = 7_318_294_651


class Marks:
    """Texts that stand nowhere else."""

    def __init__(self) -> None:
        self.all: list[str] = [str(AMOUNT)]

    def __call__(self, kind: str) -> str:
        mark = f"{kind}-{secrets.token_hex(8)}"
        self.all.append(mark)
        return mark


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
async def test_logs_hold_no_secrets_and_nothing_personal(
    stack: Stack, services: Services, level: str
) -> None:
    mark = Marks()
    with running_issuer() as issuer:
        issuer.keys["key"] = rsa_key()
        environment = {
            "OIDC_ISSUER": issuer.url,
            "OIDC_AUDIENCE": AUDIENCE,
            "LOG_LEVEL": level,
        }
        async with (
            served_api(stack, services.access, **environment) as served,
            served.client() as client,
        ):
            await _use(client, mark)
            await _knock(client, mark)
            token = issuer.token("key", tenant=client.record.tenant_name, sub=mark("subject"))
            for sent in (token, token[:-4], f"trf_{mark('guess')}"):
                await client.call("GET", "/users", headers={"Authorization": f"Bearer {sent}"})
            mark.all += [client.api_key, client.api_key[10:], *token.split(".")[1:]]
            mark.all.append(stack.database_url.split(":")[2].split("@")[0])
            logs = [served.part.log_path, stack.logs / "worker.log", stack.logs / "api.log"]
            assert _lines_with(logs, "api_ready") != []
            for text in mark.all:
                assert _lines_with(logs, text) == [], text


def _lines_with(logs: list[Path], text: str) -> list[str]:
    return [
        line
        for log in logs
        for line in log.read_text(errors="replace").splitlines()
        if text in line
    ]


async def _use(client: Client, mark: Callable[[str], str]) -> None:
    """Do most of what can be done, with a mark wherever a client may write something."""
    external_id = mark("external")
    user = await client.user(mark("name"), external_id=external_id, metadata={mark("k"): mark("v")})
    await client.call("POST", "/users", json={"name": "twin", "external_id": external_id})
    source = await client.account(user_id=user["id"], balance=AMOUNT, external_id=mark("account"))
    destination = await client.account()
    sides: Json = {"source": source["id"], "destination": destination["id"]}
    said: Json = {"description": mark("description"), "metadata": {"a": mark("metadata")}}
    transfer = await client.transfer(amount=AMOUNT - 100, **sides, **said)
    await client.post_transfer(key=new_key(), amount=AMOUNT, currency="EUR", **sides, **said)
    await client.operate(transfer, "reversals", reason=mark("reversal"), amount=1)
    hold = await client.hold(amount=10, **sides)
    await client.operate(hold, "cancel", reason=mark("cancel"))
    reason: Json = {"reason": mark("reason")}
    for verb in ("freeze", "unfreeze"):
        await client.call("POST", f"/accounts/{source['id']}/{verb}", json=reason)
    rows = [row(1, description=mark("row"), **sides)]
    await post_batch(client, rows, description=mark("batch"))
    made = await client.call(
        "POST", "/api-keys", json={"name": mark("key"), "scopes": [Scope.USERS_READ]}
    )
    secret = made.json()["key"]
    await client.call("GET", "/users", headers={"Authorization": f"Bearer {secret}"})


async def _knock(client: Client, mark: Callable[[str], str]) -> None:
    """Send what is refused."""
    await client.http.post("/v1/users", content=f'{{"name": "{mark("broken")}'.encode())
    await client.call("POST", "/users", json={"nickname": mark("unknown")})
    await client.call("GET", "/users", params={"external_id": mark("query")})
    await client.call("GET", f"/accounts/ext:{mark('path')}")
    await client.call("GET", "/users", headers={"X-Request-ID": f"not valid {mark('request')}"})
