"""Payloads in clear over HTTP, for those who may see them and for Temporal's own tools."""

import asyncio
import os
import sysconfig
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payloads
from temporalio.converter import WorkflowSerializationContext

from domain.access import CLIENT_SCOPES, Scope
from runtime.composition import Services
from runtime.embedded_temporal import EmbeddedTemporal
from runtime.stack_files import throwaway_data_dir
from tests.support.api import Client, new_key, problem_of
from tests.support.payloads import connect_with_keys, new_payload_key
from tests.support.served import ServedApi, served_api
from tests.support.stack import Stack
from tests.support.temporal import TemporalServer
from tests.support.tenants import TenantMaker

UI = "http://127.0.0.1:18734"
KEY = new_payload_key("k1")
DESCRIPTION = "for the flat in Elm Street"
Json = dict[str, Any]


@pytest.fixture(scope="module")
async def served(stack: Stack, services: Services) -> AsyncIterator[ServedApi]:
    # Without a worker: the run's other workers have no keys, and this one is only asked.
    environment = {"PAYLOAD_KEYS": KEY, "TEMPORAL_UI_URL": UI, "RUN_WORKER_IN_API": "false"}
    async with served_api(stack, services.access, **environment) as served:
        yield served


class Keys:
    """Clients of one served API."""

    def __init__(self, served: ServedApi, opened: AsyncExitStack) -> None:
        self._make = TenantMaker(served.url, served.access, opened)

    async def __call__(self, *scopes: Scope) -> Client:
        return await self._make(scopes=frozenset(scopes))


@pytest.fixture
async def keys(served: ServedApi) -> AsyncIterator[Keys]:
    async with AsyncExitStack() as opened:
        yield Keys(served, opened)


async def encrypted(temporal: TemporalServer, client: Client) -> Json:
    """Give a payload of a workflow of a client's tenant, as Temporal's tools send it."""
    temporal_client = await connect_with_keys(temporal, KEY)
    context = WorkflowSerializationContext(temporal.namespace, f"{client.tenant_id}:{new_key()}")
    converter = temporal_client.data_converter.with_context(context)
    return MessageToDict(Payloads(payloads=await converter.encode([{"told": DESCRIPTION}])))


async def decode(client: Client, body: Json, **arguments: Any) -> httpx.Response:
    return await client.http.post("/codec/decode", json=body, **arguments)


def told(response: httpx.Response) -> Json:
    assert response.status_code == 200, response.text
    [payload] = response.json()["payloads"]
    return payload  # type: ignore[no-any-return]


PLAIN: Json = {
    "metadata": {"encoding": b64encode(b"json/plain").decode()},
    "data": b64encode(f'{{"told":"{DESCRIPTION}"}}'.encode()).decode(),
}


async def test_a_tenants_key_decodes_its_own_payloads(temporal: TemporalServer, keys: Keys) -> None:
    client = await keys(Scope.TRANSFERS_READ)
    assert told(await decode(client, await encrypted(temporal, client))) == PLAIN


async def test_it_does_not_decode_those_of_another_tenant(
    temporal: TemporalServer, keys: Keys
) -> None:
    other = await keys(*CLIENT_SCOPES)
    body = await encrypted(temporal, await keys())
    problem = problem_of(await decode(other, body), 403, "scope_missing")
    assert "operations:read" in problem["detail"]


async def test_an_operators_key_decodes_those_of_all(temporal: TemporalServer, keys: Keys) -> None:
    operator = await keys(Scope.TRANSFERS_READ, Scope.OPERATIONS_READ)
    assert told(await decode(operator, await encrypted(temporal, await keys()))) == PLAIN


async def test_without_a_scope_or_a_key_nothing_is_decoded(
    temporal: TemporalServer, keys: Keys
) -> None:
    client = await keys(Scope.ACCOUNTS_READ)
    body = await encrypted(temporal, client)
    problem_of(await decode(client, body), 403, "scope_missing")
    client.http.headers.pop("Authorization")
    problem_of(await decode(client, body), 401, "unauthenticated")


async def test_what_is_not_encrypted_comes_back_as_it_was(keys: Keys) -> None:
    assert told(await decode(await keys(Scope.TRANSFERS_READ), {"payloads": [PLAIN]})) == PLAIN


async def test_what_was_altered_or_is_no_payload_is_refused(
    temporal: TemporalServer, keys: Keys
) -> None:
    operator = await keys(Scope.TRANSFERS_READ, Scope.OPERATIONS_READ)
    body = await encrypted(temporal, operator)
    body["payloads"][0]["data"] = b64encode(b"something else altogether").decode()
    problem_of(await decode(operator, body), 422, "payload_not_readable")
    problem_of(await decode(operator, {"payloads": [{"data": 1}]}), 422, "validation_failed")


async def test_operators_encode_and_what_they_encode_decodes(keys: Keys) -> None:
    operator = await keys(Scope.TRANSFERS_READ, Scope.OPERATIONS_READ, Scope.OPERATIONS_WRITE)
    body = {"payloads": [PLAIN]}
    encoded = told(await operator.http.post("/codec/encode", json=body))
    assert str(PLAIN["data"]) not in str(encoded)
    assert told(await decode(operator, {"payloads": [encoded]})) == PLAIN
    reader = await keys(*CLIENT_SCOPES)
    problem_of(await reader.http.post("/codec/encode", json=body), 403, "scope_missing")


async def test_pages_of_temporals_ui_may_call_it_and_no_others(served: ServedApi) -> None:
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-namespace,authorization",
    }
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as browser:
        allowed = await browser.options("/codec/decode", headers={"Origin": UI, **asked})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == UI
        assert allowed.headers["access-control-allow-credentials"] == "true"
        refused = await browser.options(
            "/codec/decode", headers={"Origin": "http://evil.example", **asked}
        )
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers
        elsewhere = await browser.get("/healthz", headers={"Origin": UI})
        assert "access-control-allow-origin" not in elsewhere.headers


async def test_one_logs_in_and_out_for_temporals_ui(
    served: ServedApi, temporal: TemporalServer, keys: Keys
) -> None:
    client = await keys(Scope.TRANSFERS_READ)
    body = await encrypted(temporal, client)
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as browser:
        assert "API key" in (await browser.get("/codec/login")).text
        wrong = await browser.post("/codec/login", data={"key": "trf_wrong"})
        assert (wrong.status_code, browser.cookies.jar.__len__()) == (401, 0)
        done = await browser.post("/codec/login", data={"key": client.api_key})
        assert (done.status_code, done.headers["location"]) == (303, UI)
        cookie = done.headers["set-cookie"]
        assert client.api_key not in cookie
        for part in ("HttpOnly", "Path=/codec", "SameSite=strict", "Max-Age=28800"):
            assert part in cookie
        shown = await browser.post("/codec/decode", json=body, headers={"Origin": UI})
        assert told(shown) == PLAIN
        await served.access.revoke_key(str(client.record.id))
        problem_of(await browser.post("/codec/decode", json=body), 401, "unauthenticated")
        await browser.post("/codec/logout")
        assert len(browser.cookies.jar) == 0


async def test_a_forged_session_is_none(served: ServedApi) -> None:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as browser:
        for forged in ("x", "k1:AAAA", "k2:AAAA", "k1:%%%"):
            headers = {"Cookie": f"transfers_codec={forged}"}
            answer = await browser.post("/codec/decode", json={"payloads": []}, headers=headers)
            problem_of(answer, 401, "unauthenticated")


async def test_without_keys_there_is_no_login(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.api_url, trust_env=False) as browser:
        problem_of(await browser.get("/codec/login"), 404, "not_found")


async def test_temporals_command_line_shows_payloads_through_it(
    served: ServedApi, temporal: TemporalServer, keys: Keys, tmp_path: Path
) -> None:
    operator = await keys(Scope.TRANSFERS_READ, Scope.OPERATIONS_READ)
    client = await connect_with_keys(temporal, KEY)
    workflow_id = f"{operator.tenant_id}:{new_key()}"
    handle = await client.start_workflow(
        "Waiting", {"told": DESCRIPTION}, id=workflow_id, task_queue="nobody-listens"
    )
    command = (
        *(str(Path(sysconfig.get_path("scripts")) / "temporal"), "workflow", "show", "--detailed"),
        *("--workflow-id", workflow_id, "--address", temporal.address),
        *("--namespace", temporal.namespace),
    )
    try:
        assert DESCRIPTION not in await printed(tmp_path, *command)
        through = ("--codec-endpoint", f"{served.url}/codec", "--codec-auth")
        shown = await printed(tmp_path, *command, *through, f"Bearer {operator.api_key}")
        assert DESCRIPTION in shown
    finally:
        await handle.terminate()


async def printed(home: Path, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"HOME": str(home), "PATH": os.defpath},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, messages = await process.communicate()
    assert process.returncode == 0, messages.decode()
    return output.decode()


async def test_the_embedded_ui_is_told_where_to_ask() -> None:
    endpoint = "http://127.0.0.1:18700/codec"
    with throwaway_data_dir() as folder:
        temporal = EmbeddedTemporal(folder, ui_codec_endpoint=endpoint)
        await temporal.start()
        try:
            async with httpx.AsyncClient(base_url=temporal.ui_url, trust_env=False) as browser:
                settings = (await browser.get("/api/v1/settings")).json()
            assert settings["Codec"]["Endpoint"] == endpoint
        finally:
            await temporal.stop()
