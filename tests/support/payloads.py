"""Clients of Temporal that encrypt, for tests."""

import base64
import os

from temporalio.client import Client

from runtime.payloads import encrypting
from runtime.temporal import connect_to
from runtime.temporal_access import TemporalAccess
from tests.support.temporal import TemporalServer
from workflows.payload_keys import KEY_BYTES, PayloadKeyRing


def new_payload_key(key_id: str) -> str:
    """Make a key, as it stands in PAYLOAD_KEYS."""
    return f"{key_id}:{base64.b64encode(os.urandom(KEY_BYTES)).decode()}"


def ring_of(*keys: str) -> PayloadKeyRing:
    return PayloadKeyRing.parse(",".join(keys))


async def connect_with_keys(temporal: TemporalServer, *keys: str) -> Client:
    """Connect with an encrypting client; the first key encrypts."""
    converter = encrypting(ring_of(*keys))
    return await connect_to(
        TemporalAccess(address=temporal.address, namespace=temporal.namespace, converter=converter)
    )
