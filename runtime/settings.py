"""Settings of every process, read once from the environment.

Lower layers receive plain values; only the composition root sees this object.
"""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.limits import (
    API_WORKERS_MAXIMUM,
    IN_FLIGHT_MAXIMUM,
    REQUESTS_IN_FLIGHT_DEFAULT,
    TRANSFERS_IN_FLIGHT_DEFAULT,
)
from workflows.payload_keys import PayloadKeyRing

DEFAULT_DATA_DIR = Path(".local")

DeploymentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
BuildId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
"""Part of a deployment's name in Temporal, as ``<deployment>.<build>``."""


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
    run_worker_in_api: bool = Field(
        default=True, description="run a worker in the API's process: the fast path needs it"
    )
    log_level: str = "INFO"

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
