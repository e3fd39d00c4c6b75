"""How the keys of an issuer are kept, whatever the issuer says."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from domain.errors import IssuerUnavailable
from services.issuer_keys import DISCOVERY_PATH, IssuerKeys
from tests.support.issuer import Issuer, curve_key

URL = "https://login.example"


class Far:
    """An issuer that is read without a network, and counts."""

    def __init__(self, *names: str) -> None:
        self.issuer = Issuer(URL, {name: curve_key() for name in names})
        self.documents = self.issuer.documents()
        self.calls = 0

    async def __call__(self, url: str) -> Mapping[str, Any]:
        self.calls += 1
        await asyncio.sleep(0)
        document: Mapping[str, Any] = self.documents[url.removeprefix(URL)]
        return document


async def test_many_who_come_at_once_wait_for_one_fetch() -> None:
    far = Far("first")
    keys = IssuerKeys(URL, far)
    found = await asyncio.gather(*(keys.find("first") for _ in range(50)))
    assert {key.key_id for key in found if key} == {"first"}
    assert far.calls == 2  # where the keys are, and the keys


async def test_a_named_place_is_not_looked_for() -> None:
    far = Far("first")
    keys = IssuerKeys(URL, far, jwks_url=f"{URL}/keys")
    assert await keys.find("first") is not None
    assert far.calls == 1


async def test_names_that_nobody_knows_are_not_asked_for_again_and_again() -> None:
    far = Far("first")
    keys = IssuerKeys(URL, far)
    for number in range(50):
        assert await keys.find(f"unknown-{number}") is None
    assert far.calls == 2


@pytest.mark.parametrize(
    "said", [{}, {"keys": []}, {"keys": "x"}, {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}], ids=str
)
async def test_an_issuer_without_usable_keys_makes_tokens_wait(said: dict[str, Any]) -> None:
    far = Far()
    far.documents["/keys"] = said
    found = None
    with suppress(IssuerUnavailable):
        found = await IssuerKeys(URL, far).find("first")
    assert found is None


async def test_another_issuers_document_is_not_believed() -> None:
    far = Far("first")
    far.documents[DISCOVERY_PATH] = {"issuer": "https://evil.example", "jwks_uri": f"{URL}/keys"}
    with pytest.raises(IssuerUnavailable):
        await IssuerKeys(URL, far).find("first")
