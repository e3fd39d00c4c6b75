"""How a process reaches Temporal: the place, TLS, an API key, and how payloads are written."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from temporalio.converter import DataConverter
from temporalio.service import TLSConfig

from runtime.payloads import DATA_CONVERTER, encrypting
from runtime.settings import Settings


class TemporalFileUnreadable(Exception):
    """A certificate or a key that a setting names cannot be read."""

    def __init__(self, setting: str, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be read: {reason} ({setting}).")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporalAccess:
    """What it takes to reach one namespace.

    Parameters
    ----------
    address
        ``host:port`` of the front end.
    tls
        What to trust and to show; ``False`` for a connection in clear.
    api_key
        Sent with every call, as Temporal Cloud asks for.
    converter
        How payloads are written.
    """

    address: str
    namespace: str
    tls: TLSConfig | bool = False
    api_key: str | None = field(default=None, repr=False)
    converter: DataConverter = field(default=DATA_CONVERTER, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read what the settings say, files included.

        Raises
        ------
        TemporalFileUnreadable
            A file of TEMPORAL_TLS_CA, TEMPORAL_TLS_CERT or TEMPORAL_TLS_KEY cannot be read.
        """
        api_key = settings.temporal_api_key
        return cls(
            address=settings.temporal_address,
            namespace=settings.temporal_namespace,
            tls=_tls(settings),
            api_key=api_key.get_secret_value() if api_key else None,
            converter=converter_of(settings),
        )


def converter_of(settings: Settings) -> DataConverter:
    """Give the converter of payloads: an encrypting one where there are keys."""
    ring = settings.payload_key_ring
    if ring is None:
        return DATA_CONVERTER
    return encrypting(ring, is_required=settings.payload_encryption_required)


def _tls(settings: Settings) -> TLSConfig | bool:
    if not settings.is_temporal_tls:
        return False
    return TLSConfig(
        server_root_ca_cert=_read("TEMPORAL_TLS_CA", settings.temporal_tls_ca),
        domain=settings.temporal_tls_server_name,
        client_cert=_read("TEMPORAL_TLS_CERT", settings.temporal_tls_cert),
        client_private_key=_read("TEMPORAL_TLS_KEY", settings.temporal_tls_key),
    )


def _read(setting: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise TemporalFileUnreadable(setting, path, error.strerror or "no such file") from error
