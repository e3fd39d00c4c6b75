"""Every route takes exactly the scope that OpenAPI says it takes."""

import re
import uuid
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from domain.access import Scope
from domain.limits import REQUEST_BODY_BYTES_MAXIMUM
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.rows import rows_of_tenant
from tests.support.stack import Stack
from tests.support.tenants import TenantMaker

PUBLIC = {"/healthz", "/readyz", "/metrics"}
"""What is answered without a key: nothing of a tenant's."""

KEY_SCHEME = "API key"

WRONG_BODIES = {
    "malformed": b"{",
    "no text": b'"\xff"',
    "too large": b" " * (REQUEST_BODY_BYTES_MAXIMUM + 1),
}


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API, as OpenAPI has it."""

    method: str
    path: str
    scopes: tuple[str, ...] | None

    async def call(
        self, client: Client, *, named: str | None = None, content: bytes = b"", **headers: str
    ) -> Any:
        """Call it for something that is not there, without a body unless one is given."""
        path = re.sub(r"{\w+}", named or str(uuid.uuid4()), self.path)
        sent = {"Idempotency-Key": new_key(), "Content-Type": "application/json", **headers}
        return await client.http.request(self.method, path, headers=sent, content=content)


@pytest.fixture(scope="module")
async def document(stack: Stack) -> Json:
    async with httpx.AsyncClient(base_url=stack.api_url, trust_env=False) as http:
        found: Json = (await http.get("/openapi.json")).json()
        return found


@pytest.fixture(scope="module")
def routes(document: Json) -> list[Route]:
    return [
        Route(method.upper(), path, _scopes(operation))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def _scopes(operation: Json) -> tuple[str, ...] | None:
    for way in operation.get("security", ()):
        if KEY_SCHEME in way:
            return tuple(way[KEY_SCHEME])
    return None


def test_each_route_says_its_one_scope_or_is_public(routes: list[Route]) -> None:
    assert {route.path for route in routes if route.scopes is None} == PUBLIC
    known = {scope.value for scope in Scope}
    for route in routes:
        if route.scopes is not None:
            assert len(route.scopes) == 1, route
            assert known.issuperset(route.scopes)


def test_without_an_issuer_openapi_names_api_keys_alone(document: Json) -> None:
    assert list(document["components"]["securitySchemes"]) == [KEY_SCHEME]


@pytest.mark.parametrize("scope", sorted(Scope))
async def test_a_key_with_all_other_scopes_is_refused_and_one_with_it_is_not(
    make_tenant: TenantMaker, stack: Stack, routes: list[Route], scope: Scope
) -> None:
    asking = [route for route in routes if route.scopes == (scope,)]
    lacking = await make_tenant(scopes=set(Scope) - {scope})
    having = await make_tenant(scopes={scope})
    before = await rows_of_tenant(stack.database_url, lacking.tenant_id)
    for route in asking:
        for content in (b"", b"{"):
            answer = await route.call(lacking, content=content)
            problem = problem_of(answer, 403, "scope_missing")
            assert scope in problem["detail"]
        answer = await route.call(having)
        assert answer.status_code not in {401, 403}, (route, answer.text)
    assert await rows_of_tenant(stack.database_url, lacking.tenant_id) == before


async def test_without_a_key_only_what_is_public_is_answered(
    tenant: Client, routes: list[Route]
) -> None:
    del tenant.http.headers["Authorization"]
    for route in routes:
        answer = await route.call(tenant)
        if route.path in PUBLIC:
            assert answer.status_code == 200
        else:
            problem_of(answer, 401, "unauthenticated")


@pytest.mark.parametrize("key", [None, "Bearer trf_wrong"])
@pytest.mark.parametrize("content", WRONG_BODIES.values(), ids=WRONG_BODIES)
async def test_who_has_no_right_key_is_told_nothing_else_whatever_they_send(
    tenant: Client, routes: list[Route], key: str | None, content: bytes
) -> None:
    del tenant.http.headers["Authorization"]
    sent = {} if key is None else {"Authorization": key}
    guarded = [route for route in routes if route.path not in PUBLIC]
    assert {"POST", "PATCH", "PUT"} <= {route.method for route in guarded}
    for route in guarded:
        answer = await route.call(tenant, named="no-id", content=content, **sent)
        problem_of(answer, 401, "unauthenticated")


async def test_every_route_of_the_application_stands_in_openapi(
    tenant: Client, routes: list[Route]
) -> None:
    """What is not shown would not be walked here."""
    shown = {route.path for route in routes}
    assert {path for path in shown if path.startswith(("/v1/", "/codec/"))} | PUBLIC == shown
    for path in ("/v1", "/v1/keys", "/console-that-is-not", "/v1/operators"):
        problem_of(await tenant.http.get(path), 404, "not_found")
