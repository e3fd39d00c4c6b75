"""Who may do what: tenants, API keys and scopes."""

from dataclasses import dataclass
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
    OPERATIONS_READ = "operations:read"
    OPERATIONS_WRITE = "operations:write"


OPERATOR_SCOPES: Final = frozenset({Scope.OPERATIONS_READ, Scope.OPERATIONS_WRITE})
CLIENT_SCOPES: Final = frozenset(Scope) - OPERATOR_SCOPES
CHECKER_SCOPES: Final = frozenset({Scope.TRANSFERS_APPROVE, Scope.RULES_WRITE})
ADMINISTRATOR_SCOPES: Final = frozenset({Scope.AUDIT_READ})
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
class ApiKey:
    """An API key as it is stored: its hash is all that is kept of the secret."""

    id: ApiKeyId
    tenant_id: TenantId
    tenant_name: str
    name: str
    prefix: str
    scopes: frozenset[Scope]
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Grant:
    """What is on record of a key that is good just now."""

    tenant_id: TenantId
    api_key_id: ApiKeyId
    name: str
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request comes from.

    Parameters
    ----------
    actor
        The same for the audit log: with a name, and where the request came from.
    """

    tenant_id: TenantId
    api_key_id: ApiKeyId
    scopes: frozenset[Scope]
    actor: Actor

    def require(self, *any_of: Scope) -> None:
        """Refuse a caller who has none of some scopes.

        Raises
        ------
        ScopeMissing
            The key has none of them.
        """
        if self.scopes.isdisjoint(any_of):
            raise ScopeMissing(" or ".join(any_of))
