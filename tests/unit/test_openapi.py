"""What OpenAPI says of the API: what FastAPI alone would get wrong."""

import json
from typing import Any

import pytest

from api.admission import AdmissionLimits
from api.app import create_app
from domain.limits import AMOUNT_MAXIMUM_MINOR


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    # Routes are described without what they work with.
    app = create_app(None, AdmissionLimits(transfers=1, others=1))  # type: ignore[arg-type]
    return app.openapi()


def operations(description: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        operation for methods in description["paths"].values() for operation in methods.values()
    ]


def test_every_reference_leads_somewhere(description: dict[str, Any]) -> None:
    text = json.dumps(description)
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= description["components"]["schemas"].keys()
    assert "$defs" not in text


def test_problems_are_announced_as_what_they_are_sent_as(description: dict[str, Any]) -> None:
    for operation in operations(description):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"]


def test_whatever_takes_a_body_can_refuse_it(description: dict[str, Any]) -> None:
    with_body = [each for each in operations(description) if "requestBody" in each]
    assert with_body
    assert all({"400", "413", "422"} <= each["responses"].keys() for each in with_body)


def test_keys_are_announced_as_required(description: dict[str, Any]) -> None:
    found = [
        parameter
        for operation in operations(description)
        for parameter in operation.get("parameters", ())
        if parameter["name"].lower() == "idempotency-key"
    ]
    assert found
    assert {(each["name"], each["required"]) for each in found} == {("Idempotency-Key", True)}


def test_the_largest_amount_is_exact(description: dict[str, Any]) -> None:
    [integer, _digits] = description["components"]["schemas"]["TransferCreate"]["properties"][
        "amount"
    ]["anyOf"]
    assert (integer["minimum"], integer["maximum"]) == (1, AMOUNT_MAXIMUM_MINOR)
    assert type(integer["maximum"]) is int
