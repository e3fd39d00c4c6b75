"""Who changed what, when, from where and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from domain.ids import TenantId


class ActorKind(StrEnum):
    """What somebody who changes something is known by."""

    API_KEY = "api_key"
    OPERATOR = "operator"
    """Somebody at the operators' pages."""
    OIDC = "oidc"
    """A subject of the issuer whose tokens are taken."""
    CLI = "cli"
    """Somebody with a shell and the database's password."""
    SYSTEM = "system"
    """The service itself."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something.

    Parameters
    ----------
    id
        An API key's id, or as the kind has it.
    name
        What a person recognises them by. It stays in the log as it was at the time.
    source_address
        Network address that the request came from.
    """

    kind: ActorKind
    id: str | None
    name: str
    source_address: str | None = None
    request_id: str | None = None


SYSTEM_ACTOR: Final = Actor(ActorKind.SYSTEM, None, "transfers")


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody does, and why.

    Parameters
    ----------
    action
        What is done to what kind of thing, as in ``account.freeze``.
    """

    action: str
    actor: Actor = SYSTEM_ACTOR
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change, as the log has it.

    Parameters
    ----------
    tenant_id
        Whose thing was changed; ``None`` where it is no tenant's.
    action
        What was done to what kind of thing, as in ``account.freeze``.
    subject_type, subject_id
        What it was done to.
    details
        What changed, without names, descriptions or secrets.
    """

    id: int
    tenant_id: TenantId | None
    recorded_at: datetime
    actor: Actor
    action: str
    subject_type: str
    subject_id: str
    reason: str | None
    details: Mapping[str, Any] = field(default_factory=dict)
