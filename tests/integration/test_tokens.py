"""Tokens of an issuer in place of keys, against an API that takes them."""

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from domain.access import Scope
from runtime.composition import Services
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.issuer import AUDIENCE, Issuer, curve_key, rsa_key, running_issuer
from tests.support.served import served_api
from tests.support.stack import Stack
from tests.support.waiting import until

KEY = "first"


@dataclass(frozen=True, slots=True)
class Site:
    """An API that takes an issuer's tokens, and a client with a key of all scopes."""

    issuer: Issuer
    admin: Client
    url: str

    async def status(self, token: str, path: str = "/users") -> int:
        return (await self.call(token, path)).status_code

    async def call(
        self, token: str, path: str = "/users", method: str = "GET", **body: object
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": new_key()}
        json_body = body or None
        return await self.admin.call(method, path, headers=headers, json=json_body)

    def token(self, key_id: str = KEY, **changes: object) -> str:
        return self.issuer.token(key_id, **{"tenant": self.admin.record.tenant_name, **changes})


@pytest.fixture(scope="module")
async def served(stack: Stack, services: Services) -> AsyncIterator[tuple[Issuer, str]]:
    with running_issuer() as issuer:
        issuer.keys[KEY] = rsa_key()
        environment = {"OIDC_ISSUER": issuer.url, "OIDC_AUDIENCE": AUDIENCE}
        async with served_api(stack, services.access, **environment) as api:
            yield issuer, api.url


@pytest.fixture
async def site(served: tuple[Issuer, str], services: Services) -> AsyncIterator[Site]:
    issuer, url = served
    async with AsyncExitStack() as clients:
        record, secret = await services.access.create_key(
            tenant_name=f"tenant-{new_key()}", name="admin", scopes=frozenset(Scope)
        )
        admin = await clients.enter_async_context(Client(url, secret, record))
        yield Site(issuer, admin, url)


async def test_a_token_does_what_its_scopes_say(site: Site) -> None:
    user = await site.admin.user()
    token = site.token(scope="users:read something:else")
    assert (await site.call(token)).json()["data"] == [user]
    problem_of(await site.call(token, "/accounts"), 403, "scope_missing")
    as_list = site.token(scope=["accounts:read"])
    assert await site.status(as_list, "/accounts") == 200
    assert await site.status(site.token(scope=None)) == 403


async def test_keys_are_taken_beside_tokens(site: Site) -> None:
    assert (await site.admin.call("GET", "/users")).status_code == 200


def claims_of(site: Site) -> Json:
    claims: Json = jwt.decode(site.token(), options={"verify_signature": False})
    return claims


def part(document: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def unsigned(site: Site) -> str:
    return f"{part({'alg': 'none', 'kid': KEY})}.{part(claims_of(site))}."


def confused(site: Site) -> str:
    public = site.issuer.keys[KEY].public_key()
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signer = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    text = f"{part({'alg': 'HS256', 'kid': KEY})}.{part(claims_of(site))}"
    signature = base64.urlsafe_b64encode(signer.sign(text.encode(), secret)).decode().rstrip("=")
    return f"{text}.{signature}"


def by_another(site: Site) -> str:
    return jwt.encode(claims_of(site), rsa_key(), "RS256", headers={"kid": KEY})


def changed(site: Site) -> str:
    head, _, signature = site.token().split(".")
    return ".".join((head, part(claims_of(site) | {"scope": "users:write"}), signature))


WRONG: dict[str, Callable[[Site], str]] = {
    "another audience": lambda site: site.token(aud="another"),
    "no audience": lambda site: site.token(aud=None),
    "another issuer": lambda site: site.token(iss="https://another"),
    "expired": lambda site: site.token(exp=int(time.time()) - 60),
    "without an end": lambda site: site.token(exp=None),
    "not yet": lambda site: site.token(nbf=int(time.time()) + 300),
    "issued later": lambda site: site.token(iat=int(time.time()) + 300),
    "unknown tenant": lambda site: site.token(tenant="nobody"),
    "no tenant": lambda site: site.token(tenant=None),
    "tenant as a list": lambda site: site.token(tenant=[site.admin.record.tenant_name]),
    "no subject": lambda site: site.token(sub=None),
    "empty subject": lambda site: site.token(sub=""),
    "long subject": lambda site: site.token(sub="x" * 201),
    "scopes as a number": lambda site: site.token(scope=1),
    "unsigned": unsigned,
    "signed with the public key as a secret": confused,
    "signed by another": by_another,
    "changed": changed,
    "cut off": lambda site: site.token()[:-10],
    "no token": lambda _site: "a.b.c",
    "no key named": lambda site: jwt.encode(claims_of(site), site.issuer.keys[KEY], "RS256"),
}


@pytest.mark.parametrize("which", WRONG)
async def test_a_token_that_is_not_right_is_refused(site: Site, which: str) -> None:
    assert await site.status(site.token()) == 200
    problem = problem_of(await site.call(WRONG[which](site)), 401, "unauthenticated")
    assert "ada" not in problem["detail"]


async def test_a_clock_may_be_a_little_off(site: Site) -> None:
    now = int(time.time())
    assert await site.status(site.token(iat=now + 10, exp=now - 10)) == 200


async def test_a_new_key_is_taken_and_one_that_is_taken_back_is_not(site: Site) -> None:
    issuer = site.issuer
    issuer.keys["second"] = curve_key()

    async def is_taken() -> bool:
        return await site.status(site.token("second")) == 200

    # Names that nobody knows do not make it ask again at once.
    await until(is_taken)
    fetched = len(issuer.fetches)
    for number in range(20):
        forged = jwt.encode(
            claims_of(site), rsa_key(), "RS256", headers={"kid": f"unknown-{number}"}
        )
        assert await site.status(forged) == 401
    assert len(issuer.fetches) <= fetched + 2
    del issuer.keys["second"]


async def test_what_is_known_is_taken_while_the_issuer_is_away(site: Site) -> None:
    assert await site.status(site.token()) == 200
    site.issuer.is_away = True
    try:
        assert await site.status(site.token()) == 200
    finally:
        site.issuer.is_away = False


async def test_without_any_keys_tokens_wait_and_api_keys_do_not(
    stack: Stack, services: Services
) -> None:
    with running_issuer() as issuer:
        issuer.keys[KEY] = rsa_key()
        issuer.is_away = True
        environment = {"OIDC_ISSUER": issuer.url, "OIDC_AUDIENCE": AUDIENCE}
        async with (
            served_api(stack, services.access, **environment) as served,
            served.client() as client,
        ):
            site = Site(issuer, client, served.url)
            response = await site.call(site.token())
            problem_of(response, 503, "issuer_unavailable")
            assert response.headers["retry-after"]
            assert (await client.call("GET", "/users")).status_code == 200


async def test_maker_and_checker_are_told_apart_by_their_subjects(site: Site) -> None:
    admin = site.admin
    source, destination = await admin.account(balance=1_000), await admin.account()
    await admin.rule(100)
    scopes = "transfers:write transfers:approve transfers:read"
    ada, bob = site.token(scope=scopes), site.token(scope=scopes, sub="bob")
    made = await site.call(
        ada,
        "/transfers",
        "POST",
        source=source["id"],
        destination=destination["id"],
        amount=200,
        currency="EUR",
    )
    waiting = made.json()
    assert waiting["stage"] == "AWAITING_APPROVAL"
    path = f"/transfers/{waiting['id']}/approve"
    problem_of(
        await site.call(site.token(scope=scopes), path, "POST", note="mine"),
        403,
        "maker_cannot_approve",
    )
    assert (await site.call(bob, path, "POST", note="seen")).status_code == 200
    (record,) = (
        await admin.get("/audit-log", action="transfer.approve", tenant_id=admin.tenant_id)
    )["data"]
    assert (record["actor"]["kind"], record["actor"]["name"]) == ("oidc", "bob")


async def test_a_subject_is_recorded_once_and_can_be_revoked_here(site: Site) -> None:
    for _ in range(3):
        assert await site.status(site.token(sub="carol")) == 200
    listed = (await site.admin.get("/api-keys"))["data"]
    (carol,) = [key for key in listed if key["name"] == "carol"]
    assert (carol["issuer"], carol["scopes"]) == (site.issuer.url, [])
    response = await site.admin.call("POST", f"/api-keys/{carol['id']}/rotate")
    problem_of(response, 409, "api_key_over")
    assert (await site.admin.call("POST", f"/api-keys/{carol['id']}/revoke")).status_code == 200
    problem_of(await site.call(site.token(sub="carol")), 401, "unauthenticated")
    assert await site.status(site.token()) == 200
    found = (await site.admin.get("/audit-log", subject_id=carol["id"]))["data"]
    assert [record["action"] for record in found] == ["api_key.revoke", "api_key.register"]


async def test_a_standing_order_can_be_made_with_a_token(site: Site) -> None:
    source, destination = await site.admin.account(), await site.admin.account()
    response = await site.call(
        site.token(scope="transfers:write"),
        "/standing-orders",
        "POST",
        source=source["id"],
        destination=destination["id"],
        amount=1,
        currency="EUR",
        schedule={"interval_seconds": 86_400},
    )
    assert response.status_code == 201, response.text


async def test_openapi_names_the_issuer_with_the_same_scopes(site: Site) -> None:
    document = (await site.admin.http.get("/openapi.json")).json()
    scheme = document["components"]["securitySchemes"]["OpenID Connect"]
    assert scheme["openIdConnectUrl"] == f"{site.issuer.url}/.well-known/openid-configuration"
    assert document["paths"]["/v1/users"]["get"]["security"] == [
        {"API key": ["users:read"]},
        {"OpenID Connect": ["users:read"]},
    ]
