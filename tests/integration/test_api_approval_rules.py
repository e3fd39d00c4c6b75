"""Approval rules: put in force, read, retired."""

from typing import Any

import pytest

from domain.limits import (
    AMOUNT_MAXIMUM_MINOR,
    APPROVAL_SECONDS_DEFAULT,
    APPROVAL_SECONDS_MAXIMUM,
    APPROVERS_MAXIMUM,
)
from tests.support.api import Client, Json, problem_of


async def retire(tenant: Client, rule: Json) -> Json:
    response = await tenant.call("POST", f"/approval-rules/{rule['id']}/retire")
    assert response.status_code == 200, response.text
    retired: Json = response.json()
    return retired


async def test_a_rule_is_put_in_force_and_read(tenant: Client) -> None:
    body = {"currency": "EUR", "threshold": 10_000}
    response = await tenant.call("POST", "/approval-rules", json=body)
    rule = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/approval-rules/{rule['id']}"
    assert rule == {
        "id": rule["id"],
        "currency": "EUR",
        "threshold": 10_000,
        "approvers": 1,
        "deadline_seconds": APPROVAL_SECONDS_DEFAULT,
        "created_at": rule["created_at"],
        "created_by": str(tenant.record.id),
        "retired_at": None,
        "retired_by": None,
    }
    assert await tenant.get(f"/approval-rules/{rule['id']}") == rule


async def test_one_rule_is_in_force_for_a_currency_and_threshold(tenant: Client) -> None:
    rule = await tenant.rule(100)
    for approvers in (1, 2):
        body = {"currency": "EUR", "threshold": 100, "approvers": approvers}
        response = await tenant.call("POST", "/approval-rules", json=body)
        problem_of(response, 409, "approval_rule_taken")
    await tenant.rule(100, "USD")
    await tenant.rule(101)
    await retire(tenant, rule)
    assert (await tenant.rule(100, approvers=2))["approvers"] == 2


async def test_a_retired_rule_stays_on_record(tenant: Client) -> None:
    first, second = await tenant.rule(100), await tenant.rule(200)
    retired = await retire(tenant, first)
    assert retired == {
        **first,
        "retired_at": retired["retired_at"],
        "retired_by": str(tenant.record.id),
    }
    assert retired["retired_at"] > first["created_at"]
    assert await retire(tenant, first) == retired
    assert (await tenant.get("/approval-rules"))["data"] == [second, retired]
    assert (await tenant.get("/approval-rules", in_force="true"))["data"] == [second]
    assert (await tenant.get("/approval-rules", in_force="false"))["data"] == [retired]


async def test_rules_are_listed_in_pages_newest_first(tenant: Client) -> None:
    rules = [await tenant.rule(threshold) for threshold in range(5)]
    pages = [page async for page in tenant.walk("/approval-rules", limit=2)]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [rule for page in pages for rule in page] == rules[::-1]


async def test_a_rule_that_is_not_there_is_not_found(tenant: Client) -> None:
    for reference in ("nothing", "0199d5c0-7a1e-7c3b-9c5e-3f6a1b2c4d5e"):
        path = f"/approval-rules/{reference}"
        problem_of(await tenant.call("GET", path), 404, "approval_rule_not_found")
        problem_of(await tenant.call("POST", f"{path}/retire"), 404, "approval_rule_not_found")


@pytest.mark.parametrize(
    "fields",
    [
        {"threshold": -1},
        {"threshold": 1.5},
        {"threshold": True},
        {"threshold": AMOUNT_MAXIMUM_MINOR + 1},
        {"currency": "EURO"},
        {"approvers": 0},
        {"approvers": APPROVERS_MAXIMUM + 1},
        {"approvers": "1"},
        {"deadline_seconds": 0},
        {"deadline_seconds": APPROVAL_SECONDS_MAXIMUM + 1},
    ],
)
async def test_a_rule_that_cannot_be_is_refused_by_its_field(
    tenant: Client, fields: dict[str, Any]
) -> None:
    body = {"currency": "EUR", "threshold": 1, **fields}
    problem = problem_of(
        await tenant.call("POST", "/approval-rules", json=body), 422, "validation_failed"
    )
    assert [error["field"] for error in problem["errors"]] == list(fields)


async def test_the_bounds_of_a_rule_are_its_own(tenant: Client) -> None:
    await tenant.rule(0, approvers=APPROVERS_MAXIMUM, deadline_seconds=APPROVAL_SECONDS_MAXIMUM)
    largest = await tenant.rule(AMOUNT_MAXIMUM_MINOR, deadline_seconds=1)
    assert largest["threshold"] == AMOUNT_MAXIMUM_MINOR
