"""Payloads of Temporal's histories in clear, for those who may see them."""

import base64
import binascii
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidTag
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from domain.access import Principal, Scope
from domain.errors import PayloadNotReadable
from domain.limits import CODEC_SESSION_SECONDS
from workflows.payload_codec import NONCE_BYTES, derived_cipher, is_encrypted, tenant_of
from workflows.payload_keys import PayloadKeyRing, PayloadUnreadable

SESSION_PURPOSE: Final = b"durable-transfers codec session 1"


class PayloadDesk:
    """Encrypts and decrypts payloads for people and for Temporal's tools.

    Parameters
    ----------
    codec
        What the workers use; ``None`` where payloads are not encrypted, and pass as they are.
    """

    def __init__(self, codec: PayloadCodec | None) -> None:
        self._codec = codec

    async def decode(self, principal: Principal, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt payloads.

        Raises
        ------
        ScopeMissing
            The key may not read transfers; or one is another tenant's, or names none, and the key
            is no operator's.
        PayloadNotReadable
            One was altered, or its key is not here.
        """
        for payload in payloads:
            if is_encrypted(payload):
                _require_reader(principal, payload)
        if self._codec is None:
            return list(payloads)
        try:
            return await self._codec.decode(payloads)
        except PayloadUnreadable as error:
            raise PayloadNotReadable(str(error)) from error

    async def encode(self, principal: Principal, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt payloads that somebody sends to a workflow by hand.

        Raises
        ------
        ScopeMissing
            The key is no operator's.
        """
        principal.require([Scope.OPERATIONS_WRITE])
        return list(payloads) if self._codec is None else await self._codec.encode(payloads)


class CodecSessions:
    """What a browser keeps once somebody has logged in for the codec endpoint.

    Notes
    -----
    The API key itself, sealed together with the time until when it counts: nothing is stored here,
    each process can read it, and a key that is revoked is refused at once.
    """

    def __init__(self, ring: PayloadKeyRing) -> None:
        self._ring = ring

    def seal(self, api_key: str, *, now: datetime | None = None) -> str:
        """Make a session of an API key."""
        ends_at = (now or datetime.now(UTC)) + timedelta(seconds=CODEC_SESSION_SECONDS)
        nonce, key_id = os.urandom(NONCE_BYTES), self._ring.current
        content = json.dumps([api_key, ends_at.timestamp()]).encode()
        cipher = derived_cipher(self._ring.secret(key_id), SESSION_PURPOSE)
        sealed = nonce + cipher.encrypt(nonce, content, key_id.encode())
        return f"{key_id}:{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, session: str) -> str | None:
        """Give a session's API key; ``None`` where it has ended or was never one of ours."""
        key_id, _, encoded = session.partition(":")
        try:
            sealed = base64.urlsafe_b64decode(encoded)
            cipher = derived_cipher(self._ring.secret(key_id), SESSION_PURPOSE)
            content = cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], key_id.encode())
        except (binascii.Error, ValueError, InvalidTag, PayloadUnreadable):
            return None
        api_key, ends_at = json.loads(content)
        return str(api_key) if datetime.now(UTC).timestamp() < ends_at else None


def _require_reader(principal: Principal, payload: Payload) -> None:
    principal.require([Scope.TRANSFERS_READ])
    if tenant_of(payload) != principal.tenant_id:
        principal.require([Scope.OPERATIONS_READ])
