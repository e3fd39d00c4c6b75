import httpx
import pytest

from tests.support.api import Client, problem_of
from tests.support.stack import Stack
from tests.support.waiting import until

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_and_readiness_need_no_key(stack: Stack, path: str) -> None:
    async with httpx.AsyncClient(base_url=stack.api_url, trust_env=False) as anybody:

        async def is_ok() -> bool:
            response = await anybody.get(path)
            # A server that is slow under other tests' load makes it unready, and is named.
            assert response.status_code == 200 or response.json()["code"] == "not_ready"
            return bool(response.json() == {"status": "ok"})

        await until(is_ok)


async def test_metrics_count_requests_by_route_and_not_by_path(tenant: Client) -> None:
    user = await tenant.user()
    await tenant.get(f"/users/{user['id']}")
    response = await tenant.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert 'transfers_http_requests_total{method="POST",route="/v1/users",status="201"}' in (
        response.text
    )
    assert 'route="/v1/users/{user}"' in response.text
    assert user["id"] not in response.text


async def test_the_documentation_names_every_route_and_its_problems(tenant: Client) -> None:
    assert (await tenant.http.get("/docs")).status_code == 200
    described = (await tenant.http.get("/openapi.json")).json()
    assert {
        "/v1/users",
        "/v1/users/{user}",
        "/v1/accounts",
        "/v1/accounts/{account}",
        "/v1/accounts/{account}/freeze",
        "/v1/accounts/{account}/unfreeze",
        "/v1/accounts/{account}/close",
        "/v1/accounts/{account}/balance",
        "/v1/accounts/{account}/entries",
        "/v1/transfers",
        "/v1/transfers/{transfer}",
        "/v1/transfers/{transfer}/events",
        "/v1/transfers/{transfer}/entries",
        "/v1/transfers/{transfer}/workflow",
    } <= described["paths"].keys()
    post = described["paths"]["/v1/transfers"]["post"]
    assert {"201", "202", "400", "401", "403", "413", "422", "503"} <= post["responses"].keys()
    assert "application/problem+json" in post["responses"]["422"]["content"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/users", "/v1/users/a/b", "/v1/../etc/passwd"])
@pytest.mark.parametrize("method", METHODS)
async def test_what_does_not_exist_is_a_problem_document(
    tenant: Client, path: str, method: str
) -> None:
    response = await tenant.http.request(method, path)
    problem = problem_of(response, 404, "not_found")
    assert problem["type"] == "urn:transfers:problem:not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/users", "GET, POST"),
        ("PUT", "/v1/transfers", "GET, POST"),
        ("DELETE", "/v1/transfers/x", "GET"),
        ("PUT", "/v1/accounts/x", "GET, PATCH"),
        ("POST", "/v1/accounts/x/limits", "DELETE, GET, PUT"),
        ("OPTIONS", "/v1/accounts/%00%FF/limits", "DELETE, GET, PUT"),
        ("GET", "/v1/accounts/x/freeze", "POST"),
        ("POST", "/v1/accounts/x/balance", "GET"),
        ("POST", "/healthz", "GET"),
    ],
)
async def test_a_wrong_method_is_a_problem_document_that_names_the_right_ones(
    tenant: Client, method: str, path: str, allowed: str
) -> None:
    response = await tenant.http.request(method, path)
    problem_of(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allowed


async def test_every_answer_has_an_id_to_be_asked_about(tenant: Client) -> None:
    responses = [await tenant.http.get(path) for path in ("/healthz", "/v1/users", "/nothing")]
    ids = {response.headers["x-request-id"] for response in responses}
    assert len(ids) == 3
