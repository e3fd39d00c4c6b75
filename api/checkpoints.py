"""Signed checkpoints as documents."""

import base64
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.checkpoints import Checkpoint
from domain.errors import NothingSealed
from services.ledger_seals import SealService


async def newest_checkpoint(seals: SealService, key: Ed25519PrivateKey | None) -> dict[str, Any]:
    """Make a checkpoint of the newest seal, signed where there is a key.

    Raises
    ------
    NothingSealed
        There is no seal yet.
    DatabaseUnavailable
        No connection.
    """
    first, newest = await seals.get(1), await seals.newest()
    if first is None or newest is None:
        raise NothingSealed
    checkpoint = Checkpoint.of(first, newest, created_at=datetime.now(UTC).replace(microsecond=0))
    return signed_document(checkpoint, key)


def signed_document(checkpoint: Checkpoint, key: Ed25519PrivateKey | None) -> dict[str, Any]:
    """Give a checkpoint as its file has it."""
    signature = None
    if key is not None:
        signature = base64.b64encode(key.sign(checkpoint.signed_bytes())).decode()
    return {**checkpoint.fields(), "signature": signature}
