"""Settings of every process, read once from the environment.

Lower layers receive plain values; only the composition root sees this object.
"""

from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.limits import (
    API_WORKERS_MAXIMUM,
    FAILED_LOGINS_MAXIMUM,
    FAILED_LOGINS_PER_MINUTE_DEFAULT,
    IN_FLIGHT_MAXIMUM,
    REQUESTS_IN_FLIGHT_DEFAULT,
    TRANSFERS_IN_FLIGHT_DEFAULT,
)

DEFAULT_DATA_DIR = Path(".local")
PORT_MAXIMUM: Final = 65_535
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Settings(BaseSettings):
    """What a process needs to know about its surroundings.

    Notes
    -----
    Each field is read from the environment variable of its name in capitals; an empty one counts as
    not set. ``.env`` is not read:
    the surroundings of a process are given by whoever starts it.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: SecretStr = Field(
        description="PostgreSQL URL: postgresql://user:password@host:port/database"
    )
    temporal_address: str = Field(default="127.0.0.1:7233", description="host:port of Temporal")
    temporal_namespace: str = "default"
    temporal_ui_url: str | None = Field(
        default=None, description="base URL of Temporal's UI, for links"
    )
    api_host: str = "127.0.0.1"
    api_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    api_workers: Annotated[int, Field(ge=1, le=API_WORKERS_MAXIMUM)] = 1
    api_pin_to_cores: bool = Field(
        default=False,
        description="keep each process of the API on a core: where it has the machine to itself",
    )
    api_transfers_in_flight_maximum: Annotated[int, Field(ge=1, le=IN_FLIGHT_MAXIMUM)] = (
        TRANSFERS_IN_FLIGHT_DEFAULT
    )
    api_requests_in_flight_maximum: Annotated[int, Field(ge=1, le=IN_FLIGHT_MAXIMUM)] = (
        REQUESTS_IN_FLIGHT_DEFAULT
    )
    api_failed_logins_per_minute: Annotated[int, Field(ge=1, le=FAILED_LOGINS_MAXIMUM)] = (
        FAILED_LOGINS_PER_MINUTE_DEFAULT
    )
    api_trusted_proxies: str = Field(
        default="",
        description="addresses and networks whose X-Forwarded-For is believed, with commas between",
    )
    oidc_issuer: str | None = Field(
        default=None, description="OpenID Connect issuer whose tokens are taken in place of keys"
    )
    oidc_audience: str | None = Field(
        default=None, description="what its tokens must be made for; needed with an issuer"
    )
    oidc_jwks_url: str | None = Field(
        default=None, description="place of its keys; from its discovery document by default"
    )
    oidc_tenant_claim: str = Field(default="tenant", description="claim with the tenant's name")
    oidc_scope_claim: str = Field(default="scope", description="claim with the scopes")
    api_cors_origins: str = Field(
        default="",
        description="origins whose pages may call the API from a browser, with commas between",
    )
    run_worker_in_api: bool = Field(
        default=True, description="run a worker in the API's process: the fast path needs it"
    )
    log_level: str = "INFO"
    otlp_endpoint: str | None = Field(
        default=None, description="collector of traces over HTTP: http://host:4318; none by default"
    )
    otlp_sample_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="share of traces that are kept where a request does not say"
    )
    worker_metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        default=None, description="port of api_host's address where a worker serves /metrics"
    )
    temporal_metrics_address: str | None = Field(
        default=None, description="host:port where the SDK serves its own metrics; none by default"
    )

    def of_process(self, slot: int) -> Self:
        """Give what one of several processes is told: each serves the SDK's metrics by itself.

        Parameters
        ----------
        slot
            No two that run at once have the same, a process and its successor neither; 0 to twice
            the processes.
        """
        if self.temporal_metrics_address is None:
            return self
        host, port = _place(self.temporal_metrics_address)
        return self.model_copy(update={"temporal_metrics_address": f"{host}:{port + slot}"})

    @model_validator(mode="after")
    def _whole_issuer(self) -> Self:
        if (self.oidc_issuer is None) != (self.oidc_audience is None):
            raise ValueError("OIDC_ISSUER and OIDC_AUDIENCE are given together")
        for url in (self.oidc_issuer, self.oidc_jwks_url):
            if url is not None and not _is_protected(url):
                raise ValueError("the issuer is called over https, or on this machine")
        return self

    @model_validator(mode="after")
    def _room_for_metrics(self) -> Self:
        if self.temporal_metrics_address is not None:
            slots = 1 if self.api_workers == 1 else 2 * self.api_workers
            _, port = _place(self.temporal_metrics_address)
            if not 0 < port <= PORT_MAXIMUM - slots + 1:
                raise ValueError(
                    f"TEMPORAL_METRICS_ADDRESS needs {slots} ports, from the one that it names on"
                )
        return self


def _place(address: str) -> tuple[str, int]:
    """Take an address of the form host:port apart."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"{address!r} is no host:port")
    return host, int(port)


def _is_protected(url: str) -> bool:
    """Tell whether nobody on the way can put keys of their own in."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
