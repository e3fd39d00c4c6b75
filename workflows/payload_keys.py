"""The keys that payloads in Temporal are encrypted with, read and checked.

Settings read them, also in commands that encrypt nothing: no cryptography is loaded here.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

KEY_BYTES: Final = 32
"""AES-256."""

KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,40}")
KEY_FORM: Final = "id:base64 of 32 random bytes"


class PayloadKeysWrong(ValueError):
    """The keys are not of the form that they must have; the message shows none of them."""


class PayloadUnreadable(Exception):
    """A payload cannot be decrypted here, or not in its place."""


class PayloadKeyMissing(PayloadUnreadable):
    """A payload was encrypted with a key that this process does not have."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"The payload was encrypted with the key {key_id!r}, which this process does not have:"
            " add it to PAYLOAD_KEYS."
        )


@dataclass(frozen=True, slots=True)
class PayloadKey:
    """One key with its name."""

    id: str
    secret: bytes = field(repr=False)


class PayloadKeyRing:
    """The keys of a process: the first encrypts, all decrypt.

    Parameters
    ----------
    keys
        At least one, with different ids.
    """

    def __init__(self, keys: Sequence[PayloadKey]) -> None:
        self.current = keys[0].id
        self._secrets = {key.id: key.secret for key in keys}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read keys, divided by commas, spaces or line ends.

        Parameters
        ----------
        text
            Each key as ``id:base64``. Lines that begin with ``#`` are left out.

        Raises
        ------
        PayloadKeysWrong
            A key has not that form, or two have one id, or there is none.
        """
        lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
        keys = [_parse_key(part) for part in re.split(r"[,\s]+", " ".join(lines)) if part]
        if not keys:
            raise PayloadKeysWrong(f"there is no key; each has the form {KEY_FORM}")
        if len({key.id for key in keys}) < len(keys):
            raise PayloadKeysWrong("two keys have the same id")
        return cls(keys)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read keys from a file, as ``parse`` does.

        Raises
        ------
        PayloadKeysWrong
            The file cannot be read, or is not right.
        """
        try:
            return cls.parse(path.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
            raise PayloadKeysWrong(f"{path} cannot be read: {reason}") from error

    def secret(self, key_id: str) -> bytes:
        """Give a key.

        Raises
        ------
        PayloadKeyMissing
            There is no such key here.
        """
        secret = self._secrets.get(key_id)
        if secret is None:
            raise PayloadKeyMissing(key_id)
        return secret


def _parse_key(text: str) -> PayloadKey:
    key_id, separator, encoded = text.partition(":")
    if not separator or not KEY_ID.fullmatch(key_id):
        raise PayloadKeysWrong(
            f"a key has not the form {KEY_FORM}, with an id of letters, digits, '.', '_' and '-'"
        )
    try:
        secret = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise PayloadKeysWrong(f"the key {key_id!r} is not in base64") from None
    if len(secret) != KEY_BYTES:
        raise PayloadKeysWrong(
            f"the key {key_id!r} has {len(secret)} bytes and must have {KEY_BYTES}: "
            "openssl rand -base64 32"
        )
    return PayloadKey(key_id, secret)
