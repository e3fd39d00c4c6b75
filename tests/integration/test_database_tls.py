"""TLS to PostgreSQL, by settings."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from pydantic import SecretStr

from domain.access import Scope
from domain.errors import DatabaseUnavailable
from persistence.database import Database
from runtime.composition import make_services
from runtime.settings import Settings
from runtime.startup import startup_problem
from services.authentication import AuthenticationService
from tests.support.command import Command
from tests.support.postgres import PostgresServer
from tests.support.tls import tls_postgres


@dataclass(frozen=True, slots=True)
class Place:
    """A database behind TLS, and the files of authorities."""

    url: str
    right_authority: Path
    other_authority: Path

    def settings(self, **changes: object) -> Settings:
        given = {
            "database_url": SecretStr(self.url),
            "database_ssl_mode": "verify-full",
            "database_ssl_root_certificate": self.right_authority,
        }
        return Settings.model_validate(given | changes)


@pytest.fixture(scope="module")
async def place(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("authorities")
    right, other = trustme.CA(), trustme.CA()
    for authority, name in ((right, "right.pem"), (other, "other.pem")):
        authority.cert_pem.write_to_path(folder / name)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    right.issue_cert("127.0.0.1").configure_cert(context)
    async with postgres.database() as url:
        service = urlsplit(postgres.as_service(url))
        assert service.port is not None
        async with tls_postgres(service.port, context) as port:
            login = f"{service.username}:{service.password}@127.0.0.1:{port}"
            yield Place(
                service._replace(netloc=login).geturl(), folder / "right.pem", folder / "other.pem"
            )


async def use(settings: Settings) -> None:
    """Use both ways to the database: units of work, and the single statements of transfers."""
    database = Database.at(settings.connection_url)
    try:
        access = make_services(database).access
        _, secret = await access.create_key(tenant_name="tls", name="test", scopes=frozenset(Scope))
        await AuthenticationService(database).authenticate(secret)
    finally:
        await database.close()


async def test_a_certificate_of_the_named_authority_is_taken(place: Place) -> None:
    await use(place.settings())


async def test_the_url_may_say_the_same(place: Place) -> None:
    url = f"{place.url}?sslmode=verify-full&sslrootcert={place.right_authority}"
    await use(Settings(database_url=SecretStr(url)))


@pytest.mark.parametrize("url_says", ["", "?sslmode=disable"])
async def test_a_certificate_of_another_authority_is_refused_whatever_the_url_says(
    place: Place, url_says: str
) -> None:
    settings = place.settings(
        database_url=SecretStr(place.url + url_says),
        database_ssl_root_certificate=place.other_authority,
    )
    with pytest.raises(DatabaseUnavailable) as refused:
        await use(settings)
    problem = startup_problem(refused.value, temporal_address="")
    assert problem is not None
    assert "certificate verify failed" in problem
    assert "PostgreSQL cannot be reached" in problem


async def test_a_certificate_of_another_host_is_refused(place: Place) -> None:
    other_host = place.url.replace("@127.0.0.1:", "@localhost:")
    with pytest.raises(DatabaseUnavailable) as refused:
        await use(place.settings(database_url=SecretStr(other_host)))
    assert "localhost" in (startup_problem(refused.value, temporal_address="") or "")


async def test_a_server_without_tls_is_refused(postgres: PostgresServer, place: Place) -> None:
    async with postgres.database() as url:
        plain = SecretStr(postgres.as_service(url))
        with pytest.raises(DatabaseUnavailable) as refused:
            await use(place.settings(database_url=plain))
    assert "SSL" in (startup_problem(refused.value, temporal_address="") or "")


async def test_commands_hold_to_it_too_and_say_what_is_wrong(place: Place) -> None:
    right = Command(
        DATABASE_URL=place.url,
        DATABASE_SSL_MODE="verify-full",
        DATABASE_SSL_ROOT_CERTIFICATE=str(place.right_authority),
    )
    await right.printed("keys", "list")
    wrong = Command(
        DATABASE_URL=place.url,
        DATABASE_SSL_MODE="verify-full",
        DATABASE_SSL_ROOT_CERTIFICATE=str(place.other_authority),
    )
    assert "certificate verify failed" in await wrong.refused("keys", "list")
