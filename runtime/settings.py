"""Settings of every process, read once from the environment.

Lower layers receive plain values; only the composition root sees this object.
"""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.limits import (
    API_WORKERS_MAXIMUM,
    DATABASE_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS,
    DATABASE_LOCK_TIMEOUT_SECONDS,
    DATABASE_STATEMENT_TIMEOUT_SECONDS,
    DATABASE_TIMEOUT_SECONDS_MAXIMUM,
    DATABASE_TRANSACTION_TIMEOUT_SECONDS,
    IN_FLIGHT_MAXIMUM,
    REQUESTS_IN_FLIGHT_DEFAULT,
    TRANSFERS_IN_FLIGHT_DEFAULT,
)
from persistence.connection_limits import DatabaseLimits

DEFAULT_DATA_DIR = Path(".local")

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
Seconds = Annotated[float, Field(ge=0.1, le=DATABASE_TIMEOUT_SECONDS_MAXIMUM)]


class Settings(BaseSettings):
    """What a process needs to know about its surroundings.

    Notes
    -----
    Each field is read from the environment variable of its name in capitals. ``.env`` is not read:
    the surroundings of a process are given by whoever starts it.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

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
    run_worker_in_api: bool = Field(
        default=True, description="run a worker in the API's process: the fast path needs it"
    )
    log_level: str = "INFO"

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
