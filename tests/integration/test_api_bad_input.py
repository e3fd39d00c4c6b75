"""What is refused before anything is recorded: a problem with its code, and no row changes."""

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from domain.account_numbers import BODY_MAXIMUM, account_number_from
from runtime.composition import Services
from tests.support.api import NOBODY, Client, Json, new_key, problem_of
from tests.support.rows import rows_of_tenant
from tests.support.stack import Stack
from tests.support.tenants import TenantMaker

UNKNOWN_NUMBER = account_number_from(BODY_MAXIMUM)
JSON = {"Content-Type": "application/json"}
BODY_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Ground:
    """A tenant whose rows no test of this file may change."""

    client: Client
    names: dict[str, str]
    """What stands for ``{a}``, ``{b}`` and so on in a case's body."""


@pytest.fixture(scope="module")
async def ground(stack: Stack, services: Services) -> AsyncIterator[Ground]:
    async with AsyncExitStack() as clients:
        make_tenant = TenantMaker(stack.api_url, services.access, clients)
        client, other = await make_tenant(), await make_tenant()
        first = await client.account(external_id="a", balance=1_000)
        second = await client.account(external_id="b")
        dollars = await client.account("USD", external_id="dollars")
        settlement = (await client.get("/transfers", type="DEPOSIT"))["data"][0]["source"]
        foreign = await other.account(external_id="foreign")
        wrong_digits = first["account_number"][:-1] + str((int(first["account_number"]) + 1) % 10)
        yield Ground(
            client,
            {
                "a": first["id"],
                "a_number": first["account_number"],
                "b": second["id"],
                "dollars": dollars["id"],
                "settlement": settlement,
                "foreign": foreign["id"],
                "foreign_number": foreign["account_number"],
                "wrong_digits": wrong_digits,
                "user": first["user_id"],
                "compact": uuid.UUID(first["id"]).hex,
            },
        )


def short(value: Any) -> str:
    return str(value)[:30]


async def refused(ground: Ground, stack: Stack, send: Any, *, status: int, code: str) -> Json:
    """Require that a request is refused with a problem and changes nothing."""
    before = await rows_of_tenant(stack.database_url, ground.client.tenant_id)
    response: httpx.Response = await send
    problem = problem_of(response, status, code)
    assert await rows_of_tenant(stack.database_url, ground.client.tenant_id) == before
    return problem


def transfer_text(names: dict[str, str], **changes: str) -> str:
    """Write a right transfer's JSON with fields replaced by raw text; an empty one is left out."""
    fields = {
        "source": '"{a}"',
        "destination": '"{b}"',
        "amount": "1",
        "currency": '"EUR"',
        **changes,
    }
    text = "{" + ",".join(f'"{name}":{raw}' for name, raw in fields.items() if raw) + "}"
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text


def post(ground: Ground, path: str, content: Any, *, headers: dict[str, str] | None = None) -> Any:
    sent = {"Idempotency-Key": new_key(), **JSON, **(headers or {})}
    return ground.client.call("POST", path, content=content, headers=sent)


AMOUNTS: list[tuple[str, str]] = [
    *(
        (raw, "amount_type")
        for raw in [
            *("1.0", "1.5", "1e3", "1E0", "true", "false", "null", "[1]", "{}", "NaN", "Infinity"),
            *('"1.0"', '"1e3"', '"+1"', '"-1"', '" 1"', '"1 "', '"1,000"', '"1_000"', '"01"'),
            *('""', '"one"', '"0x10"', '"١٢"', '"\uff11"', '"1\\n"', '"1\\u0000"', '"NaN"'),
            '"' + "1" * 32 + '"',
            '"' + "1" * 5_000 + '"',
        ]
    ),
    *(
        (raw, "amount_range")
        for raw in ["0", '"0"', "-1", "-0", str(10**30 + 1), "9" * 31, f'"{"9" * 31}"', "1" * 4_000]
    ),
    ("", "missing"),
]


@pytest.mark.parametrize(("amount", "code"), AMOUNTS, ids=short)
async def test_an_amount_that_is_no_integer_within_bounds(
    ground: Ground, stack: Stack, amount: str, code: str
) -> None:
    content = transfer_text(ground.names, amount=amount)
    send = post(ground, "/transfers", content)
    problem = await refused(ground, stack, send, status=422, code="validation_failed")
    assert [(error["field"], error["code"]) for error in problem["errors"]] == [("amount", code)]


FIELDS: list[tuple[str, str, str]] = [
    *(
        ("currency", raw, "unknown_currency")
        for raw in ['"XYZ"', '"eur"', '"Eur"', '"EURO"', '"EUR "', '""', '"978"', '"XXX"', '"XAU"']
    ),
    ("currency", '"\uff25\uff35\uff32"', "unknown_currency"),
    ("currency", "978", "string_type"),
    ("currency", "null", "string_type"),
    ("currency", "", "missing"),
    *(
        ("source", raw, "account_reference")
        for raw in [
            *('"nonsense"', '""', '"ext:"', '"ext:a b"', '"ext:a/b"', '"ext:ü"', '"EXT:a"'),
            *('"ext:\\u0000"', '"ext:\\ud800"', '"\\ud800"', '"../../etc/passwd"', '"{compact}"'),
            *('"urn:uuid:{a}"', '"{{a}}"', '" {a}"', '"{wrong_digits}"', '"1"', '"{a_number}0"'),
            *("1", "true", "[]", '{"id":1}', f'"ext:{"x" * 201}"'),
        ]
    ),
    ("source", "null", "missing"),
    ("source", "", "missing"),
    ("source", '"{settlement}"', "settlement_account"),
    ("destination", '"{settlement}"', "settlement_account"),
    ("destination", "", "missing"),
    ("type", '"REVERSAL"', "literal_error"),
    ("type", '"internal"', "literal_error"),
    ("type", "null", "literal_error"),
    ("type", '"GIFT"', "literal_error"),
    ("description", '"a\\u0000b"', "control_character"),
    ("description", '"line\\nline"', "control_character"),
    ("description", '"\\u007f"', "control_character"),
    ("description", '"\\u0085"', "control_character"),
    ("description", '"\\ud800"', "string_unicode"),
    ("description", json.dumps("x" * 1_001), "string_too_long"),
    ("description", "1", "string_type"),
    ("metadata", "null", "dict_type"),
    ("metadata", "[]", "dict_type"),
    ("metadata", '"text"', "dict_type"),
    ("metadata", '{"a":NaN}', "metadata_number"),
    ("metadata", '{"a":[-Infinity]}', "metadata_number"),
    ("metadata", '{"a":1e400}', "metadata_number"),
    ("metadata", '{"a":' + "9" * 100 + "}", "metadata_number"),
    ("metadata", '{"a":"\\u0000"}', "metadata_text"),
    ("metadata", '{"a":{"\\u0000":1}}', "metadata_text"),
    ("metadata", '{"a":"\\udfff"}', "metadata_text"),
    ("metadata", '{"a":{"\\udc00":1}}', "metadata_text"),
    ("metadata", '{"a":{"b":{"c":{"d":{"e":{}}}}}}', "metadata_depth"),
    ("metadata", '{"a":' + "[" * 500 + "]" * 500 + "}", "metadata_depth"),
    ("metadata", json.dumps({str(n): n for n in range(51)}), "metadata_entries"),
    ("metadata", json.dumps({"a": "x" * (16 * 1024)}), "metadata_size"),
    *(
        ("effective_at", raw, "time_form")
        for raw in ['"now"', "1767225600", '"2026-01-01"', '"2026-02-30T00:00:00Z"', "true"]
    ),
    ("effective_at", '"2201-01-01T00:00:00Z"', "time_range"),
    ("unknown", "1", "extra_forbidden"),
    ("state", '"SUCCESS"', "extra_forbidden"),
    ("id", '"{b}"', "extra_forbidden"),
]


@pytest.mark.parametrize(("field", "raw", "code"), FIELDS, ids=short)
async def test_a_field_of_a_transfer_that_is_not_as_it_should_be(
    ground: Ground, stack: Stack, field: str, raw: str, code: str
) -> None:
    content = transfer_text(ground.names, **{field: raw})
    send = post(ground, "/transfers", content)
    problem = await refused(ground, stack, send, status=422, code="validation_failed")
    found = [(error["field"].split(".")[0], error["code"]) for error in problem["errors"]]
    assert found == [(field, code)]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"source": f'"{NOBODY}"'}, "account_not_found"),
        ({"destination": f'"{NOBODY}"'}, "account_not_found"),
        ({"source": f'"{UNKNOWN_NUMBER}"'}, "account_not_found"),
        ({"source": '"ext:nobody"'}, "account_not_found"),
        ({"source": '"ext:%2e%2e"'}, "account_not_found"),
        ({"source": '"ext:\'OR\\"1\\"=\\"1"'}, "account_not_found"),
        ({"source": '"{foreign}"'}, "account_not_found"),
        ({"destination": '"{foreign_number}"'}, "account_not_found"),
        ({"destination": '"ext:foreign"'}, "account_not_found"),
        ({"destination": '"{a}"'}, "same_account"),
        ({"destination": '"{a_number}"'}, "same_account"),
        ({"destination": '"ext:a"'}, "same_account"),
        ({"currency": '"USD"'}, "currency_mismatch"),
        ({"destination": '"{dollars}"'}, "currency_mismatch"),
        ({"source": '"{dollars}"'}, "currency_mismatch"),
        ({"type": '"DEPOSIT"', "source": "", "currency": '"USD"'}, "currency_mismatch"),
        ({"type": '"WITHDRAWAL"', "destination": "", "currency": '"BHD"'}, "currency_mismatch"),
        ({"type": '"DEPOSIT"'}, "validation_failed"),
        ({"type": '"DEPOSIT"', "destination": ""}, "validation_failed"),
        ({"type": '"WITHDRAWAL"'}, "validation_failed"),
        ({"type": '"WITHDRAWAL"', "source": ""}, "validation_failed"),
        ({"type": '"DEPOSIT"', "source": "", "destination": ""}, "validation_failed"),
    ],
)
async def test_accounts_that_do_not_fit_the_transfer(
    ground: Ground, stack: Stack, changes: dict[str, str], code: str
) -> None:
    send = post(ground, "/transfers", transfer_text(ground.names, **changes))
    await refused(ground, stack, send, status=422, code=code)


BODIES: list[tuple[bytes, int, str]] = [
    *(
        (body, 400, "malformed_json")
        for body in [
            *(b"{", b"{]", b"nonsense", b'{"amount":}', b"{'a': 1}", b'{"a":1}x', b"\xff\xfe"),
            b'{"amount":' + b"9" * 5_000 + b"}",
            b'{"metadata":{"a":' + b"1" * 5_000 + b"}}",
            b"[" * 30_000,
            b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        ]
    ),
    *(
        (body, 422, "validation_failed")
        for body in [b"", b"[]", b"[{}]", b'"text"', b"1", b"null", b"true", b"{}", b"NaN"]
    ),
]


@pytest.mark.parametrize(("body", "status", "code"), BODIES, ids=short)
@pytest.mark.parametrize("path", ["/transfers", "/accounts", "/users"])
async def test_a_body_that_is_no_object_of_json(
    ground: Ground, stack: Stack, path: str, body: bytes, status: int, code: str
) -> None:
    await refused(ground, stack, post(ground, path, body), status=status, code=code)


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""]
)
async def test_a_body_that_is_not_said_to_be_json(
    ground: Ground, stack: Stack, media_type: str
) -> None:
    content = transfer_text(ground.names)
    send = post(ground, "/transfers", content, headers={"Content-Type": media_type})
    await refused(ground, stack, send, status=422, code="validation_failed")


async def chunks(size_bytes: int) -> AsyncIterator[bytes]:
    """Send a body whose length nobody announced."""
    yield b'{"name":"'
    for _ in range(size_bytes // 1024):
        yield b"x" * 1024
    yield b'"}'


@pytest.mark.parametrize("size_bytes", [BODY_LIMIT_BYTES, 3_000_000])
@pytest.mark.parametrize("path", ["/transfers", "/users"])
async def test_a_huge_body_however_it_is_sent(
    ground: Ground, stack: Stack, path: str, size_bytes: int
) -> None:
    whole = b'{"name":"' + b"x" * size_bytes + b'"}'
    for content in (whole, chunks(size_bytes)):
        send = post(ground, path, content)
        await refused(ground, stack, send, status=413, code="body_too_large")


async def test_a_body_in_chunks_is_as_good_as_another(tenant: Client) -> None:
    text = json.dumps({"name": "x" * 100}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(text), 7):
            yield text[start : start + 7]

    response = await tenant.call("POST", "/users", content=pieces(), headers=JSON)
    assert response.status_code == 201


OTHERS: list[tuple[str, Json, str, str]] = [
    ("/users", {"name": ""}, "name", "string_too_short"),
    ("/users", {"name": "x" * 201}, "name", "string_too_long"),
    ("/users", {"name": "a\x00b"}, "name", "control_character"),
    ("/users", {"name": "a\tb"}, "name", "control_character"),
    ("/users", {"name": "\ud800"}, "name", "string_unicode"),
    ("/users", {"name": None}, "name", "string_type"),
    ("/users", {"name": ["a"]}, "name", "string_type"),
    ("/users", {"name": "a", "external_id": ""}, "external_id", "external_id_form"),
    ("/users", {"name": "a", "external_id": "a/b"}, "external_id", "external_id_form"),
    ("/users", {"name": "a", "external_id": "a b"}, "external_id", "external_id_form"),
    ("/users", {"name": "a", "external_id": "a\x00"}, "external_id", "external_id_form"),
    ("/users", {"name": "a", "external_id": "ü"}, "external_id", "external_id_form"),
    ("/users", {"name": "a", "external_id": "x" * 201}, "external_id", "external_id_form"),
    ("/users", {"name": "a", "metadata": {"a": "\x00"}}, "metadata", "metadata_text"),
    ("/users", {"name": "a", "id": NOBODY}, "id", "extra_forbidden"),
    ("/accounts", {"user_id": "me", "currency": "EUR"}, "user_id", "uuid_parsing"),
    ("/accounts", {"user_id": 1, "currency": "EUR"}, "user_id", "uuid_type"),
    ("/accounts", {"user_id": NOBODY, "currency": "eur"}, "currency", "unknown_currency"),
    ("/accounts", {"user_id": NOBODY, "currency": "XTS"}, "currency", "unknown_currency"),
    ("/accounts", {"user_id": NOBODY}, "currency", "missing"),
    ("/accounts", {"currency": "EUR"}, "user_id", "missing"),
    *(
        ("/accounts", {"user_id": NOBODY, "currency": "EUR", "overdraft_limit": limit}, *expected)
        for limit, expected in [
            (-1, ("overdraft_limit", "overdraft_limit_range")),
            (10**30 + 1, ("overdraft_limit", "overdraft_limit_range")),
            (1.0, ("overdraft_limit", "amount_type")),
            (True, ("overdraft_limit", "amount_type")),
            (None, ("overdraft_limit", "amount_type")),
            ("-1", ("overdraft_limit", "amount_type")),
        ]
    ),
    (
        "/accounts",
        {"user_id": NOBODY, "currency": "EUR", "kind": "SYSTEM"},
        "kind",
        "extra_forbidden",
    ),
    (
        "/accounts",
        {"user_id": NOBODY, "currency": "EUR", "balance": 9},
        "balance",
        "extra_forbidden",
    ),
]


@pytest.mark.parametrize(("path", "body", "field", "code"), OTHERS, ids=short)
async def test_a_field_of_a_user_or_account_that_is_not_as_it_should_be(
    ground: Ground, stack: Stack, path: str, body: Json, field: str, code: str
) -> None:
    send = post(ground, path, json.dumps(body))
    problem = await refused(ground, stack, send, status=422, code="validation_failed")
    assert [(error["field"], error["code"]) for error in problem["errors"]] == [(field, code)]


@pytest.mark.parametrize(
    "change",
    [
        {"overdraft_limit": -1},
        {"overdraft_limit": "1.5"},
        {"metadata": []},
        {"metadata": {"a": "\x00"}},
        {"status": "CLOSED"},
        {"currency": "USD"},
        {"external_id": "other"},
        [],
    ],
)
async def test_a_change_that_is_not_to_be_had(ground: Ground, stack: Stack, change: Any) -> None:
    path = f"/accounts/{ground.names['a']}"
    send = ground.client.call("PATCH", path, json=change)
    await refused(ground, stack, send, status=422, code="validation_failed")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Idempotency-Key": ""}, 400, "idempotency_key_missing"),
        ({"Idempotency-Key": "x" * 201}, 400, "idempotency_key_invalid"),
        ({"Authorization": "Bearer trf_wrong"}, 401, "unauthenticated"),
    ],
)
async def test_a_right_body_with_a_wrong_header(
    ground: Ground, stack: Stack, headers: dict[str, str], status: int, code: str
) -> None:
    send = post(ground, "/transfers", transfer_text(ground.names), headers=headers)
    await refused(ground, stack, send, status=status, code=code)


async def test_all_that_is_wrong_is_told_at_once(ground: Ground, stack: Stack) -> None:
    content = transfer_text(ground.names, amount="0", currency='"xx"', source='"x"', more="1")
    send = post(ground, "/transfers", content)
    problem = await refused(ground, stack, send, status=422, code="validation_failed")
    told = {error["field"] for error in problem["errors"]}
    assert told == {"amount", "currency", "source", "more"}
    assert all(error["field"] in problem["detail"] for error in problem["errors"])
