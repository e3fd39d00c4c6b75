"""What bodies of several kinds share: strict requests, lists and problems."""

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from api.fields import (
    Description,
    Metadata,
    Note,
)
from api.transfer_views import TransferView

Item = TypeVar("Item")


class RequestBody(BaseModel):
    """Base of what clients send: a field that is not known is an error, not silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ChangeBody(RequestBody):
    """Why something is changed. It stands in the audit log."""

    reason: Note | None = None

    @staticmethod
    def reason_of(body: "ChangeBody | None") -> str | None:
        """Give the reason, where there is one."""
        return body.reason if body else None


class Notes(RequestBody):
    """What a client may say of its own about a movement of money."""

    description: Description | None = None
    metadata: Metadata = Field(default_factory=dict)


class ListView(BaseModel, Generic[Item]):
    """A page of a list."""

    data: list[Item]
    next_cursor: str | None


class ProblemField(BaseModel):
    """One field of a request that is not as it should be."""

    field: str
    code: str
    message: str


class Problem(BaseModel):
    """An error, as RFC 9457 has it. ``code`` is stable; ``detail`` is for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemField] | None = None
    transfer: TransferView | None = None
    request_id: str | None = Field(default=None, description="As in the header X-Request-ID.")
