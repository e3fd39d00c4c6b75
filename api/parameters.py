"""Parameters that several routes take: references in the path, pages, and headers.

All are coroutines: FastAPI would run plain functions in threads, at the cost of a hop each.
"""

import re
from typing import Annotated, Final, TypeAlias
from uuid import UUID

from fastapi import Depends, Header, Path, Query

from api.fields import Note
from api.problems import IDEMPOTENCY_KEY
from domain.accounts import AccountReference
from domain.errors import (
    AccountNotFound,
    ApiKeyNotFound,
    ApprovalRuleNotFound,
    BatchNotFound,
    FieldProblem,
    TransferNotFound,
    UserNotFound,
    ValidationFailed,
)
from domain.ids import ApiKeyId, ApprovalRuleId, BatchId, TransferId, UserId, parse_uuid
from domain.limits import (
    BATCH_ROWS_MAXIMUM,
    IDEMPOTENCY_KEY_LENGTH_MAXIMUM,
    PAGE_SIZE_DEFAULT,
    PAGE_SIZE_MAXIMUM,
    WAIT_SECONDS_DEFAULT,
    WAIT_SECONDS_MAXIMUM,
)

_WAIT: Final = re.compile(r"wait\s*=\s*\"?(\d{1,9})\"?", re.IGNORECASE)
_RESPOND_ASYNC: Final = "respond-async"

PageSize: TypeAlias = Annotated[int, Query(alias="limit", ge=1, le=PAGE_SIZE_MAXIMUM)]
PAGE_SIZE: Final = PAGE_SIZE_DEFAULT

SEQUENCE_DIGITS_MAXIMUM: Final = 18
"""A sequence is a 64-bit integer."""


async def _account(
    account: Annotated[
        str, Path(description="An account's UUID, account number, or ext:<external_id>.")
    ],
) -> AccountReference:
    try:
        return AccountReference.parse(account)
    except ValueError:
        raise AccountNotFound(account) from None


async def _account_filter(
    account: Annotated[
        str | None, Query(description="Source or destination: UUID, account number or ext:…")
    ] = None,
) -> AccountReference | None:
    if account is None:
        return None
    try:
        return AccountReference.parse(account)
    except ValueError as error:
        raise ValidationFailed([FieldProblem("account", "account_reference", str(error))]) from None


async def _transfer_id(
    transfer: Annotated[str, Path(description="A transfer's UUID.")],
) -> TransferId:
    uuid = parse_uuid(transfer)
    if uuid is None:
        raise TransferNotFound(transfer)
    return TransferId(uuid)


async def _rule_id(rule: Annotated[str, Path(description="A rule's UUID.")]) -> ApprovalRuleId:
    uuid = parse_uuid(rule)
    if uuid is None:
        raise ApprovalRuleNotFound(rule)
    return ApprovalRuleId(uuid)


async def _key_id(key: Annotated[str, Path(description="A key's UUID.")]) -> ApiKeyId:
    uuid = parse_uuid(key)
    if uuid is None:
        raise ApiKeyNotFound(key)
    return ApiKeyId(uuid)


async def _user_id(user: Annotated[str, Path(description="A user's UUID.")]) -> UserId:
    uuid = parse_uuid(user)
    if uuid is None:
        raise UserNotFound(user)
    return UserId(uuid)


async def _cursor(
    cursor: Annotated[str | None, Query(json_schema_extra={"format": "uuid"})] = None,
) -> UUID | None:
    if cursor is None:
        return None
    uuid = parse_uuid(cursor)
    if uuid is None:
        raise bad_cursor()
    return uuid


def bad_cursor() -> ValidationFailed:
    """Refuse a cursor that no list gave."""
    return ValidationFailed(
        [FieldProblem("cursor", "cursor_form", "must be the next_cursor of the page before")]
    )


async def _idempotency_key(
    idempotency_key: Annotated[
        str,
        Header(
            alias=IDEMPOTENCY_KEY,
            pattern=f"^[!-~]{{1,{IDEMPOTENCY_KEY_LENGTH_MAXIMUM}}}$",
            description="One for each thing that is asked for; repeats carry the same.",
        ),
    ],
) -> str:
    return idempotency_key


def wait_seconds_of(prefer: str | None) -> int:
    """Read how long a caller wants to wait; what is not understood is ignored (RFC 7240)."""
    if prefer is None:
        return WAIT_SECONDS_DEFAULT
    asked = _WAIT.search(prefer)
    if asked is not None:
        return min(int(asked[1]), WAIT_SECONDS_MAXIMUM)
    return 0 if _RESPOND_ASYNC in prefer.lower() else WAIT_SECONDS_DEFAULT


async def _prompt_seconds(
    prefer: Annotated[
        str | None, Header(description="`wait=<seconds>` (at most 30); at once without it.")
    ] = None,
) -> int:
    return wait_seconds_of(prefer) if prefer else 0


async def _batch_id(batch: Annotated[str, Path(description="A batch's UUID.")]) -> BatchId:
    uuid = parse_uuid(batch)
    if uuid is None:
        raise BatchNotFound(batch)
    return BatchId(uuid)


async def _sequence_cursor(
    cursor: Annotated[
        str | None, Query(json_schema_extra={"pattern": f"^[0-9]{{1,{SEQUENCE_DIGITS_MAXIMUM}}}$"})
    ] = None,
) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= SEQUENCE_DIGITS_MAXIMUM):
        raise bad_cursor()
    return int(cursor)


async def _position_cursor(
    cursor: Annotated[str | None, Query(json_schema_extra={"pattern": "^[0-9]{1,9}$"})] = None,
) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and int(cursor[:9]) <= BATCH_ROWS_MAXIMUM):
        raise bad_cursor()
    return int(cursor[:9])


async def _wait_seconds(
    prefer: Annotated[
        str | None, Header(description="`wait=<seconds>` (at most 30) or `respond-async`.")
    ] = None,
) -> int:
    return wait_seconds_of(prefer)


ReasonInQuery: TypeAlias = Annotated[
    Note | None, Query(description="Why; it stands in the audit log.")
]
AccountInPath: TypeAlias = Annotated[AccountReference, Depends(_account)]
AccountInQuery: TypeAlias = Annotated[AccountReference | None, Depends(_account_filter)]
TransferInPath: TypeAlias = Annotated[TransferId, Depends(_transfer_id)]
RuleInPath: TypeAlias = Annotated[ApprovalRuleId, Depends(_rule_id)]
KeyInPath: TypeAlias = Annotated[ApiKeyId, Depends(_key_id)]
UserInPath: TypeAlias = Annotated[UserId, Depends(_user_id)]
Cursor: TypeAlias = Annotated[UUID | None, Depends(_cursor)]
IdempotencyKey: TypeAlias = Annotated[str, Depends(_idempotency_key)]
WaitSeconds: TypeAlias = Annotated[int, Depends(_wait_seconds)]
BatchInPath: TypeAlias = Annotated[BatchId, Depends(_batch_id)]
SequenceCursor: TypeAlias = Annotated[int | None, Depends(_sequence_cursor)]
PositionCursor: TypeAlias = Annotated[int, Depends(_position_cursor)]
PromptSeconds: TypeAlias = Annotated[int, Depends(_prompt_seconds)]
