"""Settings of every process, read once from the environment.

Lower layers receive plain values; only the composition root sees this object.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.limits import (
    API_WORKERS_MAXIMUM,
    IN_FLIGHT_MAXIMUM,
    REQUESTS_IN_FLIGHT_DEFAULT,
    TRANSFERS_IN_FLIGHT_DEFAULT,
)

DEFAULT_DATA_DIR = Path(".local")


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
    checkpoint_key_file: Path | None = Field(
        default=None,
        description="private key that the API's checkpoints are signed with: a file of mode 0600",
    )
    log_level: str = "INFO"
