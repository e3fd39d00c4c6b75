"""Bodies about API keys."""

from datetime import datetime, timedelta
from typing import Annotated, Self, TypeAlias
from uuid import UUID

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from api.fields import Moment, Name
from api.schemas import ChangeBody
from domain.access import DEFAULT_SCOPES, ApiKey, NewApiKey, RateLimit, Scope
from domain.limits import (
    KEY_OVERLAP_SECONDS_DEFAULT,
    KEY_OVERLAP_SECONDS_MAXIMUM,
    REQUESTS_PER_SECOND_MAXIMUM,
)

Requests: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=REQUESTS_PER_SECOND_MAXIMUM)]


class ApiKeyCreate(ChangeBody):
    """A key to be made."""

    name: Name = Field(description="What it is for.")
    scopes: list[Scope] = Field(
        default_factory=lambda: sorted(DEFAULT_SCOPES),
        min_length=1,
        max_length=len(Scope),
        description="What it may do: nothing that the key of this request may not.",
    )
    expires_at: Moment | None = None
    requests_per_second: Requests | None = Field(
        default=None, description="Its own rate limit, no higher than that of the asking key."
    )
    requests_burst: Requests | None = Field(
        default=None, description="How many at once; given with requests_per_second."
    )

    @model_validator(mode="after")
    def _whole_rate(self) -> Self:
        if (self.requests_per_second is None) != (self.requests_burst is None):
            raise PydanticCustomError(
                "missing", "requests_per_second and requests_burst are given together"
            )
        return self

    def to_new_key(self) -> NewApiKey:
        """Say it in the domain's words."""
        rate = None
        if self.requests_per_second is not None and self.requests_burst is not None:
            rate = RateLimit(self.requests_per_second, self.requests_burst)
        return NewApiKey(self.name, frozenset(self.scopes), self.expires_at, rate)


class ApiKeyRotation(ChangeBody):
    """How a key is to get another secret."""

    overlap_seconds: Annotated[int, Field(strict=True, ge=0, le=KEY_OVERLAP_SECONDS_MAXIMUM)] = (
        Field(
            default=KEY_OVERLAP_SECONDS_DEFAULT,
            description="How long the present secret is taken too. 1 day by default.",
        )
    )

    @property
    def overlap(self) -> timedelta:
        """How long the present secret is taken too."""
        return timedelta(seconds=self.overlap_seconds)


class ApiKeyView(BaseModel):
    """A key, without its secret."""

    id: UUID
    name: str
    prefix: str = Field(description="What its secret begins with.")
    scopes: list[Scope] = Field(description="Of a subject, none: its tokens say what it may do.")
    created_at: datetime
    expires_at: datetime | None
    rotated_at: datetime | None
    previous_expires_at: datetime | None = Field(
        description="Until when the secret before the rotation is taken."
    )
    revoked_at: datetime | None
    requests_per_second: int | None = Field(description="null: the limit of all keys")
    requests_burst: int | None
    issuer: str | None = Field(description="Of a subject whose tokens are taken: who signs them.")

    @staticmethod
    def of(key: ApiKey) -> "ApiKeyView":
        """Show a key."""
        return ApiKeyView.model_validate(_shown(key))


class NewApiKeyView(ApiKeyView):
    """A key with its secret, shown this once."""

    key: str = Field(description="The secret. It cannot be read again.")

    @staticmethod
    def with_secret(key: ApiKey, secret: str) -> "NewApiKeyView":
        """Show a key that was just made or rotated."""
        return NewApiKeyView.model_validate(_shown(key) | {"key": secret})


def _shown(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "rotated_at": key.rotated_at,
        "previous_expires_at": key.previous_expires_at,
        "revoked_at": key.revoked_at,
        "requests_per_second": key.rate.per_second if key.rate else None,
        "requests_burst": key.rate.burst if key.rate else None,
        "issuer": key.issuer,
    }
