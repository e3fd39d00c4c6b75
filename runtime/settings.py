"""Settings of every process, read once from the environment.

Lower layers receive plain values; only the composition root sees this object.
"""

from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.limits import (
    API_WORKERS_MAXIMUM,
    DATABASE_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS,
    DATABASE_LOCK_TIMEOUT_SECONDS,
    DATABASE_STATEMENT_TIMEOUT_SECONDS,
    DATABASE_TIMEOUT_SECONDS_MAXIMUM,
    DATABASE_TRANSACTION_TIMEOUT_SECONDS,
    FAILED_LOGINS_MAXIMUM,
    FAILED_LOGINS_PER_MINUTE_DEFAULT,
    IN_FLIGHT_MAXIMUM,
    REQUESTS_IN_FLIGHT_DEFAULT,
    TRANSFERS_IN_FLIGHT_DEFAULT,
)
from persistence.connection_limits import DatabaseLimits
from workflows.payload_keys import PayloadKeyRing

DEFAULT_DATA_DIR = Path(".local")
PORT_MAXIMUM: Final = 65_535
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

DeploymentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
BuildId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
"""Part of a deployment's name in Temporal, as ``<deployment>.<build>``."""

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
Seconds = Annotated[float, Field(ge=0.1, le=DATABASE_TIMEOUT_SECONDS_MAXIMUM)]


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
    database_ssl_mode: SslMode | None = Field(
        default=None, description="verify-full outside of one machine; else what the URL says"
    )
    database_ssl_root_certificate: Path | None = Field(
        default=None, description="file of the authorities that may sign PostgreSQL's certificate"
    )
    database_statement_timeout_seconds: Seconds = DATABASE_STATEMENT_TIMEOUT_SECONDS
    database_lock_timeout_seconds: Seconds = DATABASE_LOCK_TIMEOUT_SECONDS
    database_idle_in_transaction_timeout_seconds: Seconds = (
        DATABASE_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS
    )
    database_transaction_timeout_seconds: Seconds = DATABASE_TRANSACTION_TIMEOUT_SECONDS
    temporal_address: str = Field(default="127.0.0.1:7233", description="host:port of Temporal")
    temporal_namespace: str = "default"
    temporal_ui_url: str | None = Field(
        default=None, description="base URL of Temporal's UI, for links"
    )
    temporal_tls: bool | None = Field(
        default=None,
        description="TLS to Temporal; by default where a certificate, CA or API key is given",
    )
    temporal_tls_ca: Path | None = Field(
        default=None, description="PEM file of what to trust; the system's roots by default"
    )
    temporal_tls_cert: Path | None = Field(default=None, description="PEM file, for mutual TLS")
    temporal_tls_key: Path | None = Field(default=None, description="PEM file, for mutual TLS")
    temporal_tls_server_name: str | None = Field(
        default=None, description="the name to find in the server's certificate"
    )
    temporal_api_key: SecretStr | None = Field(default=None, description="for Temporal Cloud")
    payload_keys: SecretStr | None = Field(
        default=None,
        description="keys that encrypt payloads in Temporal, id:base64; the first encrypts",
    )
    payload_keys_file: Path | None = Field(default=None, description="a file of them, instead")
    payload_encryption_required: bool = Field(
        default=False, description="refuse payloads that are not encrypted"
    )
    worker_deployment_name: DeploymentName | None = Field(
        default=None, description="with worker_build_id: workers are versioned"
    )
    worker_build_id: BuildId | None = None
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
    oidc_client_id: str | None = Field(
        default=None, description="as whom the issuer knows the console; people log in there then"
    )
    oidc_client_secret: SecretStr | None = Field(
        default=None, description="of that client, where the issuer has given it one"
    )
    oidc_login_scope: str = Field(
        default="openid", description="what the console asks the issuer for, with spaces between"
    )
    api_cors_origins: str = Field(
        default="",
        description="origins whose pages may call the API from a browser, with commas between",
    )
    run_worker_in_api: bool = Field(
        default=True, description="run a worker in the API's process: the fast path needs it"
    )
    checkpoint_key_file: Path | None = Field(
        default=None,
        description="private key that the API's checkpoints are signed with: a file of mode 0600",
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

    @property
    def connection_url(self) -> str:
        """URL of the database, with what is set of TLS in it."""
        return self.with_tls(self.database_url.get_secret_value())

    @property
    def database_limits(self) -> DatabaseLimits:
        """Bounds of a process's use of the database."""
        return DatabaseLimits(
            statement_timeout_seconds=self.database_statement_timeout_seconds,
            lock_timeout_seconds=self.database_lock_timeout_seconds,
            idle_in_transaction_timeout_seconds=self.database_idle_in_transaction_timeout_seconds,
            transaction_timeout_seconds=self.database_transaction_timeout_seconds,
        )

    def with_tls(self, database_url: str) -> str:
        """Add what is set of TLS to a database's URL; a setting goes before the URL's own."""
        root = self.database_ssl_root_certificate
        added = {
            **({"sslmode": self.database_ssl_mode} if self.database_ssl_mode else {}),
            **({"sslrootcert": str(root)} if root else {}),
        }
        parts = urlsplit(database_url)
        query = dict(parse_qsl(parts.query)) | added
        return parts._replace(query=urlencode(query)).geturl() if added else database_url

    @model_validator(mode="after")
    def _whole_issuer(self) -> Self:
        if (self.oidc_issuer is None) != (self.oidc_audience is None):
            raise ValueError("OIDC_ISSUER and OIDC_AUDIENCE are given together")
        if self.oidc_client_id is not None and self.oidc_issuer is None:
            raise ValueError("OIDC_CLIENT_ID goes with an OIDC_ISSUER")
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

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse settings that contradict each other, and keys that are not right."""
        if (self.temporal_tls_cert is None) != (self.temporal_tls_key is None):
            raise ValueError("TEMPORAL_TLS_CERT and TEMPORAL_TLS_KEY go together")
        if self.temporal_tls is False and self._names_tls_files:
            raise ValueError("TEMPORAL_TLS is false, and files for TLS are named")
        if self.temporal_tls is False and self.temporal_api_key is not None:
            raise ValueError("TEMPORAL_API_KEY would be sent in clear: TEMPORAL_TLS is false")
        if (self.worker_deployment_name is None) != (self.worker_build_id is None):
            raise ValueError("WORKER_DEPLOYMENT_NAME and WORKER_BUILD_ID go together")
        if self.payload_keys is not None and self.payload_keys_file is not None:
            raise ValueError("PAYLOAD_KEYS and PAYLOAD_KEYS_FILE: give one of them")
        ring = self.payload_key_ring
        if self.payload_encryption_required and ring is None:
            raise ValueError("PAYLOAD_ENCRYPTION_REQUIRED needs PAYLOAD_KEYS")
        return self

    @property
    def is_temporal_tls(self) -> bool:
        """Whether the connection to Temporal is encrypted."""
        if self.temporal_tls is not None:
            return self.temporal_tls
        return self._names_tls_files or self.temporal_api_key is not None

    @property
    def payload_key_ring(self) -> PayloadKeyRing | None:
        """The keys of payloads; ``None`` where these are not encrypted.

        Raises
        ------
        PayloadKeysWrong
            They are not right.
        """
        if self.payload_keys_file is not None:
            return PayloadKeyRing.read(self.payload_keys_file)
        if self.payload_keys is not None:
            return PayloadKeyRing.parse(self.payload_keys.get_secret_value())
        return None

    @property
    def _names_tls_files(self) -> bool:
        return any((self.temporal_tls_ca, self.temporal_tls_cert, self.temporal_tls_key))


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
