"""Keys that checkpoints are signed with, their files, and signed checkpoints."""

import base64
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from domain.checkpoints import Checkpoint, CheckpointInvalid, checkpoint_from

PRIVATE_MODE: Final = 0o600
FILE_BYTES_MAXIMUM: Final = 64 * 1024


def make_key(path: Path) -> str:
    """Make a private key in a new file that only its owner may read; give the public key as PEM.

    Raises
    ------
    CheckpointInvalid
        The file is there already, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        # An old key is never written over: what it signed needs its public half.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CheckpointInvalid(
            f"The key cannot be written to {path}: {error.strerror}."
        ) from error
    return public_pem(key)


def read_checkpoint_key(path: Path | None) -> Ed25519PrivateKey | None:
    """Read a private key, where a file of one is named.

    Raises
    ------
    CheckpointInvalid
        It cannot be read, others may read it, or it is no Ed25519 key.
    """
    if path is None:
        return None
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointInvalid(f"The key {path} cannot be read: {error.strerror}.") from error
    if mode & 0o077:
        raise CheckpointInvalid(f"The key {path} may be read by others: chmod 600 {path}.")
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CheckpointInvalid(f"{path} is no private key in PEM.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CheckpointInvalid(f"{path} is no Ed25519 key.")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key.

    Raises
    ------
    CheckpointInvalid
        It cannot be read, or is no Ed25519 key.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise CheckpointInvalid(f"The key {path} cannot be read: {error.strerror}.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CheckpointInvalid(f"{path} is no public key in PEM.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise CheckpointInvalid(f"{path} is no Ed25519 key.")
    return key


def public_pem(key: Ed25519PrivateKey) -> str:
    """Give the public half of a key as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read the document of a checkpoint's file.

    Raises
    ------
    CheckpointInvalid
        It cannot be read, or is no JSON object.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAXIMUM:
            raise CheckpointInvalid(f"{path} is too large for a checkpoint.")
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointInvalid(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise CheckpointInvalid(f"{path} is not JSON.") from error
    if not isinstance(document, dict):
        raise CheckpointInvalid(f"{path} is no JSON object.")
    return document


def checked_checkpoint(document: Mapping[str, Any], key: Ed25519PublicKey) -> Checkpoint:
    """Give the checkpoint of a document, if its signature is by a key.

    Raises
    ------
    CheckpointInvalid
        It is not well formed, not signed, or signed by another key or over something else.
    """
    checkpoint = checkpoint_from(document)
    signature = document.get("signature")
    if not isinstance(signature, str):
        raise CheckpointInvalid("The checkpoint is not signed.")
    try:
        key.verify(base64.b64decode(signature, validate=True), checkpoint.signed_bytes())
    except (InvalidSignature, ValueError) as error:
        raise CheckpointInvalid(
            "The signature is not right: the checkpoint was altered, or another key signed it."
        ) from error
    return checkpoint
