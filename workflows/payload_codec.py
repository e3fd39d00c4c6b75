"""Encryption of what stands in Temporal's histories: inputs, results, failures, memos, markers.

A payload is sealed with AES-256-GCM as a whole, its kind included. In clear stay the id of the key,
the tenant, so that the codec endpoint knows whose it is, and a hash of the workflow's ID. All three
are authenticated, and the key is derived for that workflow alone: nobody can alter a payload, or
put one of another workflow in its place.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

from domain.ids import BATCH_PREFIX, TenantId, parse_uuid
from workflows.payload_keys import KEY_BYTES, PayloadKeyRing, PayloadUnreadable

ENCODING: Final = b"binary/encrypted"
CIPHER: Final = b"AES-256-GCM"
NONCE_BYTES: Final = 12
PURPOSE: Final = b"durable-transfers payload 1\0"

ENCODING_FIELD: Final = "encoding"
CIPHER_FIELD: Final = "encryption-cipher"
KEY_FIELD: Final = "encryption-key-id"
TENANT_FIELD: Final = "tenant"
PLACE_FIELD: Final = "place"

SCHEDULED_TIME: Final = re.compile(r"-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
"""What Temporal appends to the ID of a workflow that a schedule starts."""

_UUID_LENGTH: Final = 36
_REMEMBERED: Final = 4_096
"""Workflows whose place and key a process remembers: more than run in it at once."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a payload belongs.

    Parameters
    ----------
    tenant
        The tenant that the workflow's ID names, in its text form; empty where it names none.
    workflow
        Hash of the workflow's ID; empty for a payload that was made for no workflow in particular.
    """

    tenant: bytes
    workflow: bytes


NO_PLACE: Final = Place(b"", b"")


class EncryptedPayloads(PayloadCodec, WithSerializationContext):
    """Encrypts what goes to Temporal, and decrypts what comes from there.

    Parameters
    ----------
    ring
        The keys.
    is_required
        Refuse payloads that are not encrypted. Without it they pass, so that encryption can be
        switched on while workflows run.
    place
        Where the payloads belong, once that is known.

    Notes
    -----
    All is done at once and on the loop's own thread: a payload takes some microseconds, and handing
    it to another thread would take longer.
    """

    def __init__(
        self, ring: PayloadKeyRing, *, is_required: bool = False, place: Place = NO_PLACE
    ) -> None:
        self._ring = ring
        self._is_required = is_required
        self._place = place

    def with_context(self, context: SerializationContext) -> "EncryptedPayloads":
        """Bind the codec to the workflow that a payload is of."""
        place = NO_PLACE
        if isinstance(context, WorkflowSerializationContext | ActivitySerializationContext):
            place = place_of(context.workflow_id or "")
        if place == self._place:
            return self
        return EncryptedPayloads(self._ring, is_required=self._is_required, place=place)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt payloads with the current key."""
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt payloads.

        Raises
        ------
        PayloadKeyMissing
            One needs a key that is not here. A workflow waits until it is, and goes on then.
        PayloadUnreadable
            One was altered, belongs to another workflow, or is not encrypted and has to be.
        """
        return [self._decrypt(payload) for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        key_id, place = self._ring.current, self._place
        nonce = os.urandom(NONCE_BYTES)
        cipher = derived_cipher(self._ring.secret(key_id), PURPOSE + place.workflow)
        sealed = cipher.encrypt(nonce, payload.SerializeToString(), _bound(key_id, place))
        return Payload(
            metadata={
                ENCODING_FIELD: ENCODING,
                CIPHER_FIELD: CIPHER,
                KEY_FIELD: key_id.encode(),
                TENANT_FIELD: place.tenant,
                PLACE_FIELD: place.workflow,
            },
            data=nonce + sealed,
        )

    def _decrypt(self, payload: Payload) -> Payload:
        metadata = payload.metadata
        if metadata.get(ENCODING_FIELD) != ENCODING:
            if self._is_required:
                raise PayloadUnreadable("The payload is not encrypted, and has to be here.")
            return payload
        place = Place(metadata.get(TENANT_FIELD, b""), metadata.get(PLACE_FIELD, b""))
        if place.workflow and self._place.workflow and place != self._place:
            raise PayloadUnreadable("The payload is another workflow's.")
        key_id = metadata.get(KEY_FIELD, b"").decode(errors="replace")
        cipher = derived_cipher(self._ring.secret(key_id), PURPOSE + place.workflow)
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, sealed, _bound(key_id, place)))
        except (InvalidTag, ValueError, DecodeError) as error:
            raise PayloadUnreadable("The payload was altered: it cannot be decrypted.") from error


@lru_cache(maxsize=_REMEMBERED)
def derived_cipher(secret: bytes, purpose: bytes) -> AESGCM:
    """Give the cipher of a key for one purpose, such as the payloads of one workflow.

    Notes
    -----
    No key encrypts by itself: AES-GCM with random nonces bears some 2^32 messages a key, which a
    busy service would reach within months, and no workflow ever does.
    """
    return AESGCM(HKDFExpand(algorithm=SHA256(), length=KEY_BYTES, info=purpose).derive(secret))


def tenant_of(payload: Payload) -> TenantId | None:
    """Tell whose an encrypted payload says it is; ``None`` where it names no tenant.

    Notes
    -----
    Authenticated by its decryption alone.
    """
    named = payload.metadata.get(TENANT_FIELD, b"").decode(errors="replace")
    tenant = parse_uuid(named)
    return None if tenant is None else TenantId(tenant)


def is_encrypted(payload: Payload) -> bool:
    """Tell whether a payload is one of ours."""
    return payload.metadata.get(ENCODING_FIELD) == ENCODING


@lru_cache(maxsize=_REMEMBERED)
def place_of(workflow_id: str) -> Place:
    """Give the place of a workflow's payloads.

    Notes
    -----
    The runs of a schedule share one: it encrypts its action's input once for all, and hands the
    result of each run to the next.
    """
    if not workflow_id:
        return NO_PLACE
    tenant = _tenant_in(workflow_id)
    if tenant is None:
        workflow_id = SCHEDULED_TIME.sub("", workflow_id)
    return Place(
        tenant=str(tenant).encode() if tenant else b"",
        workflow=hashlib.sha256(workflow_id.encode()).digest()[:16],
    )


def _tenant_in(workflow_id: str) -> UUID | None:
    named = workflow_id.removeprefix(BATCH_PREFIX)
    end = named[_UUID_LENGTH : _UUID_LENGTH + 1]
    if end != ("/" if workflow_id.startswith(BATCH_PREFIX) else ":"):
        return None
    return parse_uuid(named[:_UUID_LENGTH])


def _bound(key_id: str, place: Place) -> bytes:
    """Give what a payload is authenticated with; no part can hold the divider but the last."""
    return b"\0".join((PURPOSE, key_id.encode(), place.tenant, place.workflow))
