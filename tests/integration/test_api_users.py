import pytest

from tests.support.api import NOBODY, Client, problem_of
from tests.support.tenants import TenantMaker


async def test_a_user_is_answered_as_recorded_with_its_location(tenant: Client) -> None:
    metadata = {"tier": "gold", "limits": {"daily": 10**20}, "tags": ["a", None, True, 1.5]}
    body = {"name": "Ada Lovelace 🦉", "external_id": "crm:42", "metadata": metadata}
    response = await tenant.call("POST", "/users", json=body)
    assert response.status_code == 201
    user = response.json()
    assert user.keys() == {"id", "name", "external_id", "metadata", "created_at"}
    assert {name: user[name] for name in body} == body
    assert response.headers["location"] == f"/v1/users/{user['id']}"
    assert await tenant.get(f"/users/{user['id']}") == user


async def test_a_name_alone_makes_a_user(tenant: Client) -> None:
    user = await tenant.user("x" * 200)
    assert (user["external_id"], user["metadata"]) == (None, {})


async def test_an_external_id_belongs_to_one_user_of_a_tenant(
    tenant: Client, make_tenant: TenantMaker
) -> None:
    await tenant.user(external_id="same")
    again = await tenant.call("POST", "/users", json={"name": "B", "external_id": "same"})
    problem_of(again, 409, "external_id_taken")
    other = await make_tenant()
    assert (await other.user(external_id="same"))["external_id"] == "same"


@pytest.mark.parametrize("reference", [NOBODY, "nobody", "ext:crm", "%00", "1" * 16])
async def test_an_unknown_user_is_not_found(tenant: Client, reference: str) -> None:
    problem_of(await tenant.call("GET", f"/users/{reference}"), 404, "user_not_found")


async def test_users_are_listed_newest_first_and_found_by_external_id(tenant: Client) -> None:
    made = [await tenant.user(f"user {n}", external_id=f"u{n}") for n in range(3)]
    assert (await tenant.get("/users"))["data"] == made[::-1]
    assert (await tenant.get("/users", external_id="u1"))["data"] == [made[1]]
    assert await tenant.get("/users", external_id="u9") == {"data": [], "next_cursor": None}
