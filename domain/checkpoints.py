"""Checkpoints: what somebody outside of the database keeps of a seal, to hold the ledger to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from domain.errors import DomainError
from domain.ledger_seals import HASH_BYTES, Seal

CHECKPOINT_FORMAT: Final = "durable-transfers/checkpoint/1"
_FIELDS: Final = ("ledger", "seal", "hash", "position", "sealed_at", "created_at")
_NUMBER_MAXIMUM: Final = 2**63 - 1


class CheckpointInvalid(DomainError):
    """A checkpoint or a key that is not what it must be."""

    code = "checkpoint_invalid"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A seal, as it was at a time.

    Parameters
    ----------
    ledger_hash
        Hash of the ledger's first seal, which tells one ledger from another.
    position
        Entries that the seal and all before it cover.
    """

    ledger_hash: bytes
    seal_number: int
    seal_hash: bytes
    position: int
    sealed_at: datetime
    created_at: datetime

    @staticmethod
    def of(first: Seal, seal: Seal, *, created_at: datetime) -> "Checkpoint":
        """Make a checkpoint of a seal and the ledger's first one."""
        return Checkpoint(
            ledger_hash=first.hash,
            seal_number=seal.content.number,
            seal_hash=seal.hash,
            position=seal.content.position,
            sealed_at=seal.content.sealed_at,
            created_at=created_at,
        )

    def fields(self) -> dict[str, Any]:
        """Give its fields as they stand in a file, without the signature."""
        return {
            "format": CHECKPOINT_FORMAT,
            "ledger": self.ledger_hash.hex(),
            "seal": self.seal_number,
            "hash": self.seal_hash.hex(),
            "position": self.position,
            "sealed_at": self.sealed_at.isoformat(),
            "created_at": self.created_at.isoformat(),
        }

    def signed_bytes(self) -> bytes:
        """Give what a signature is over: the fields as compact JSON, names in order, in UTF-8."""
        return json.dumps(self.fields(), sort_keys=True, separators=(",", ":")).encode()


def checkpoint_from(fields: Mapping[str, Any]) -> Checkpoint:
    """Read a checkpoint from the fields of a file.

    Raises
    ------
    CheckpointInvalid
        It has another format, or a field is missing or not well formed.
    """
    if fields.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointInvalid(f"The file is no checkpoint of the format {CHECKPOINT_FORMAT}.")
    try:
        ledger, seal, seal_hash, position, sealed_at, created_at = (
            fields[name] for name in _FIELDS
        )
        checkpoint = Checkpoint(
            ledger_hash=bytes.fromhex(ledger),
            seal_number=_counted(seal),
            seal_hash=bytes.fromhex(seal_hash),
            position=_counted(position),
            sealed_at=datetime.fromisoformat(sealed_at),
            created_at=datetime.fromisoformat(created_at),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointInvalid(f"The checkpoint is not well formed: {error!r}.") from error
    if len(checkpoint.ledger_hash) != HASH_BYTES or len(checkpoint.seal_hash) != HASH_BYTES:
        raise CheckpointInvalid("The checkpoint's hashes have not the length of SHA-256.")
    return checkpoint


def _counted(number: Any) -> int:
    if type(number) is not int or not 1 <= number <= _NUMBER_MAXIMUM:
        raise ValueError(number)
    return number
