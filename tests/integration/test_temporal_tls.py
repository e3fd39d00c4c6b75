"""TLS to Temporal by settings, with a front before the real server that speaks it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client as TemporalClient

from domain.errors import TemporalUnavailable
from runtime.composition import Services
from runtime.settings import Settings
from runtime.startup import startup_problem
from runtime.temporal import connect_to, is_reachable
from runtime.temporal_access import TemporalAccess
from tests.support.served import served_api
from tests.support.stack import Stack
from tests.support.temporal import TemporalServer
from tests.support.tls_proxy import Certificates, make_certificates, tls_proxy


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def front(temporal: TemporalServer, certificates: Certificates) -> AsyncIterator[str]:
    async with tls_proxy(temporal.address, certificates) as address:
        yield address


@pytest.fixture
async def strict_front(temporal: TemporalServer, certificates: Certificates) -> AsyncIterator[str]:
    async with tls_proxy(temporal.address, certificates, asks_for_client=True) as address:
        yield address


async def connected(temporal: TemporalServer, address: str, **tls: Path) -> TemporalClient:
    given: dict[str, Any] = {
        "database_url": "postgresql://nobody@nowhere/none",
        "temporal_address": address,
        "temporal_namespace": temporal.namespace,
        **tls,
    }
    return await connect_to(TemporalAccess.of(Settings(**given)))


async def why_not(temporal: TemporalServer, address: str, **tls: Path) -> str:
    with pytest.raises(TemporalUnavailable) as refusal:
        await connected(temporal, address, **tls)
    return str(startup_problem(refusal.value, temporal_address=address))


async def test_it_connects_to_a_server_whose_authority_it_is_told_to_trust(
    temporal: TemporalServer, front: str, certificates: Certificates
) -> None:
    assert await is_reachable(await connected(temporal, front, temporal_tls_ca=certificates.ca))


async def test_it_refuses_a_server_that_nobody_vouches_for(
    temporal: TemporalServer, front: str, tmp_path: Path
) -> None:
    others = make_certificates(tmp_path / "others")
    problem = await why_not(temporal, front, temporal_tls_ca=others.ca)
    assert front in problem
    assert "UnknownIssuer" in problem


async def test_mutual_tls_shows_its_certificate(
    temporal: TemporalServer, strict_front: str, certificates: Certificates
) -> None:
    client = await connected(
        temporal,
        strict_front,
        temporal_tls_ca=certificates.ca,
        temporal_tls_cert=certificates.client_certificate,
        temporal_tls_key=certificates.client_key,
    )
    assert await is_reachable(client)


async def test_without_its_certificate_it_is_refused_and_says_so(
    temporal: TemporalServer,
    strict_front: str,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The server only hangs up, as one does that is about to restart: that is waited for.
    monkeypatch.setattr("runtime.temporal.CONNECT_SECONDS", 0.0)
    problem = await why_not(temporal, strict_front, temporal_tls_ca=certificates.ca)
    assert strict_front in problem
    assert "TEMPORAL_TLS_CERT" in problem


async def test_an_api_moves_money_over_tls(
    stack: Stack, services: Services, strict_front: str, certificates: Certificates
) -> None:
    environment = {
        "TEMPORAL_ADDRESS": strict_front,
        "TEMPORAL_TLS_CA": str(certificates.ca),
        "TEMPORAL_TLS_CERT": str(certificates.client_certificate),
        "TEMPORAL_TLS_KEY": str(certificates.client_key),
    }
    async with (
        served_api(stack, services.access, **environment) as served,
        served.client() as client,
    ):
        account = await client.account(balance=5)
        assert await client.posted(account["id"]) == 5
