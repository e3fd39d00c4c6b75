"""Sessions of the operators' console: who looks at which tenant, and what they may do there."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from domain.access import OPERATOR_SCOPES, ApiKey, Principal, Scope, Tenant
from domain.audit import Actor, ActorKind

READING_SCOPES: Final = frozenset(
    {Scope.USERS_READ, Scope.ACCOUNTS_READ, Scope.TRANSFERS_READ, Scope.AUDIT_READ}
)


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """A login that lasts.

    Parameters
    ----------
    key
        The API key that was logged in with; the session ends with it.
    granted
        What whoever logged in may do at home.
    viewed
        The tenant whose pages are shown: the key's own, or for an operator any.
    token_hash
        Of the token that it was found by.
    """

    key: ApiKey
    granted: frozenset[Scope]
    viewed: Tenant
    created_at: datetime
    token_hash: bytes = field(repr=False)

    @property
    def is_operator(self) -> bool:
        """Whether it may look at other tenants than the key's own."""
        return Scope.OPERATIONS_READ in self.granted

    @property
    def is_abroad(self) -> bool:
        """Whether it looks at another tenant than the key's own."""
        return self.viewed.id != self.key.tenant_id

    @property
    def scopes(self) -> frozenset[Scope]:
        """What may be done where the session looks.

        Notes
        -----
        In another tenant an operator reads and operates, and decides nothing that is the tenant's
        own: no approval, no freeze, no order.
        """
        if self.is_abroad:
            return self.granted & (READING_SCOPES | OPERATOR_SCOPES)
        return self.granted

    def principal(self, *, source_address: str | None, request_id: str | None) -> Principal:
        """Tell who one of its requests comes from, as services and the audit log know them."""
        return Principal(
            tenant_id=self.viewed.id,
            api_key_id=self.key.id,
            scopes=self.scopes,
            actor=Actor(
                ActorKind.OPERATOR, str(self.key.id), self.key.name, source_address, request_id
            ),
        )
