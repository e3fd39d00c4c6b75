"""What the settings say of Temporal fits together, or is refused with a reason."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.common import VersioningBehavior
from temporalio.service import TLSConfig

from runtime.payloads import DATA_CONVERTER
from runtime.settings import Settings
from runtime.temporal_access import TemporalAccess, TemporalFileUnreadable
from runtime.worker_versions import deployment_of
from tests.support.payloads import new_payload_key
from workflows.payload_codec import EncryptedPayloads

KEY = new_payload_key("k1")


def settings(**given: Any) -> Settings:
    return Settings(database_url="postgresql://u@h/d", **given)


def test_by_default_there_is_no_tls_no_encryption_and_no_version() -> None:
    access = TemporalAccess.of(settings())
    assert access.tls is False
    assert access.converter is DATA_CONVERTER
    assert deployment_of(settings()) is None


def test_files_and_an_api_key_switch_tls_on(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(b"pem")
    access = TemporalAccess.of(settings(temporal_tls_ca=ca, temporal_tls_server_name="temporal"))
    assert access.tls == TLSConfig(server_root_ca_cert=b"pem", domain="temporal")
    with_key = TemporalAccess.of(settings(temporal_api_key="secret"))
    assert with_key.tls == TLSConfig()
    assert "secret" not in repr(with_key)


def test_a_file_that_is_not_there_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(TemporalFileUnreadable, match=r"none\.pem.*TEMPORAL_TLS_CA"):
        TemporalAccess.of(settings(temporal_tls_ca=tmp_path / "none.pem"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"temporal_tls_cert": "c.pem"}, "go together"),
        ({"temporal_tls": False, "temporal_tls_ca": "c.pem"}, "TEMPORAL_TLS is false"),
        ({"temporal_tls": False, "temporal_api_key": "secret"}, "sent in clear"),
        ({"worker_build_id": "7"}, "go together"),
        ({"worker_build_id": "a b", "worker_deployment_name": "t"}, "pattern"),
        ({"payload_keys": "k1:AAAA"}, "must have 32"),
        ({"payload_keys": KEY, "payload_keys_file": "keys"}, "give one of them"),
        ({"payload_keys_file": "none"}, "cannot be read"),
        ({"payload_encryption_required": True}, "needs PAYLOAD_KEYS"),
    ],
)
def test_what_does_not_fit_together_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        settings(**given)


def test_keys_make_payloads_encrypted() -> None:
    converter = TemporalAccess.of(settings(payload_keys=KEY)).converter
    assert isinstance(converter.payload_codec, EncryptedPayloads)


def test_workflows_of_a_versioned_worker_move_with_the_version() -> None:
    deployment = deployment_of(settings(worker_deployment_name="transfers", worker_build_id="1.2"))
    assert deployment is not None
    assert deployment.use_worker_versioning
    assert deployment.version.to_canonical_string() == "transfers.1.2"
    assert deployment.default_versioning_behavior is VersioningBehavior.AUTO_UPGRADE
