"""Who may do what: tenants, API keys and scopes."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from domain.audit import Actor
from domain.errors import ScopeMissing
from domain.ids import ApiKeyId, TenantId


class Scope(StrEnum):
    """One permission of an API key."""

    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    ACCOUNTS_READ = "accounts:read"
    ACCOUNTS_WRITE = "accounts:write"
    TRANSFERS_READ = "transfers:read"
    TRANSFERS_WRITE = "transfers:write"
    TRANSFERS_APPROVE = "transfers:approve"
    """Approve and reject what others have made."""
    RULES_WRITE = "rules:write"
    """Set the tenant's approval rules and the limits of its accounts."""
    AUDIT_READ = "audit:read"
    """Read who changed what."""
    KEYS_WRITE = "keys:write"
    """Make, list, rotate and revoke the tenant's API keys."""
    OPERATIONS_READ = "operations:read"
    OPERATIONS_WRITE = "operations:write"


OPERATOR_SCOPES: Final = frozenset({Scope.OPERATIONS_READ, Scope.OPERATIONS_WRITE})
CLIENT_SCOPES: Final = frozenset(Scope) - OPERATOR_SCOPES
CHECKER_SCOPES: Final = frozenset({Scope.TRANSFERS_APPROVE, Scope.RULES_WRITE})
ADMINISTRATOR_SCOPES: Final = frozenset({Scope.AUDIT_READ, Scope.KEYS_WRITE})
DEFAULT_SCOPES: Final = CLIENT_SCOPES - CHECKER_SCOPES - ADMINISTRATOR_SCOPES
"""What a key may do where nobody says what. A key that approves or sets rules is made on purpose:
every key that can make transfers could else approve those of every other. So is one that looks
after others."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organisation that calls the API. Every row belongs to one."""

    id: TenantId
    name: str


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many requests somebody may send.

    Parameters
    ----------
    per_second
        In the long run, 1 to ``REQUESTS_PER_SECOND_MAXIMUM``.
    burst
        At once, after a pause; within the same bounds.
    """

    per_second: int
    burst: int


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as it is stored: its hash is all that is kept of the secret.

    Parameters
    ----------
    expires_at
        From when on it is refused; ``None`` for never.
    rotated_at
        When it got its present secret, where that is not its first.
    previous_expires_at
        Until when the secret before that is taken too.
    rate
        Its own rate limit; ``None`` for the one of all keys.
    issuer, subject
        Of somebody whom an issuer vouches for: such a key has no secret.
    """

    id: ApiKeyId
    tenant_id: TenantId
    tenant_name: str
    name: str
    prefix: str
    scopes: frozenset[Scope]
    created_at: datetime
    revoked_at: datetime | None
    expires_at: datetime | None = None
    rotated_at: datetime | None = None
    previous_expires_at: datetime | None = None
    rate: RateLimit | None = None
    issuer: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """What a key is to be."""

    name: str
    scopes: frozenset[Scope]
    expires_at: datetime | None = None
    rate: RateLimit | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What is on record of a key that is good just now.

    Parameters
    ----------
    secret_hash
        Of the secret that it was found by, which may be the one before the last rotation.
    """

    tenant_id: TenantId
    api_key_id: ApiKeyId
    name: str
    scopes: frozenset[Scope]
    secret_hash: bytes = field(repr=False)
    rate: RateLimit | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request comes from.

    Parameters
    ----------
    api_key_id
        Of a subject of an issuer, the id of the row that stands for it among the keys.
    actor
        The same for the audit log: with a name, and where the request came from.
    rate
        As ``ApiKey.rate``.
    """

    tenant_id: TenantId
    api_key_id: ApiKeyId
    scopes: frozenset[Scope]
    actor: Actor
    rate: RateLimit | None = None

    def require(self, scopes: Collection[str]) -> None:
        """Refuse a caller who lacks a scope.

        Raises
        ------
        ScopeMissing
            The key lacks one.
        """
        for scope in scopes:
            if scope not in self.scopes:
                raise ScopeMissing(scope)
