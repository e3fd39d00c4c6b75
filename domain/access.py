"""Who may do what: tenants, API keys and scopes."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

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
    OPERATIONS_READ = "operations:read"
    OPERATIONS_WRITE = "operations:write"


OPERATOR_SCOPES: Final = frozenset({Scope.OPERATIONS_READ, Scope.OPERATIONS_WRITE})
CLIENT_SCOPES: Final = frozenset(Scope) - OPERATOR_SCOPES
CHECKER_SCOPES: Final = frozenset({Scope.TRANSFERS_APPROVE, Scope.RULES_WRITE})
DEFAULT_SCOPES: Final = CLIENT_SCOPES - CHECKER_SCOPES
"""What a key may do where nobody says what. A key that approves or sets rules is made on purpose:
every key that can make transfers could else approve those of every other."""


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
class Principal:
    """Who a request comes from."""

    tenant_id: TenantId
    api_key_id: ApiKeyId
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        """Refuse a caller without a scope.

        Raises
        ------
        ScopeMissing
            The key does not have the scope.
        """
        if scope not in self.scopes:
            raise ScopeMissing(scope)
