"""Account statements as JSON, CSV and PDF."""

from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Header, Query, Response

from api.auth import AccountsReader, guarded_router
from api.context import Context
from api.fields import Moment
from api.parameters import AccountInPath
from api.responses import problems
from api.statements.sending import MEDIA_TYPES, StatementResponse
from api.statements.views import StatementView
from domain.statements import StatementFormat, StatementPeriod

router = guarded_router("/v1/accounts", "accounts")

_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    int(HTTPStatus.OK): {
        "description": "The statement. JSON has all amounts as integers of minor units.",
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/pdf": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.get(
    "/{account}/statement",
    response_model=StatementView,
    responses=_ANSWERS | problems(HTTPStatus.NOT_FOUND),
)
async def get_statement(
    *,
    account: AccountInPath,
    context: Context,
    principal: AccountsReader,
    from_: Annotated[
        Moment | None,
        Query(
            alias="from",
            description="Entries recorded (`created_at`) at or after; from the account's opening "
            "where it is left out.",
        ),
    ] = None,
    to: Annotated[
        Moment | None,
        Query(description="Entries recorded before; up to now where it is left out."),
    ] = None,
    format_: Annotated[
        StatementFormat | None,
        Query(alias="format", description="Goes before the header Accept; json by default."),
    ] = None,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """Give an account's statement: balances before and after, and each entry in between.

    The period goes by when entries were recorded, in the order of their sequence, so that the
    running balance on each line is the ledger's own, and what closes one period opens the next. The
    list of entries and `balance?as_of=` go by `effective_at`, when money counts, which each line
    shows as well.

    All of it is of one moment, whatever is posted meanwhile. JSON and CSV can have 500,000 entries,
    PDF 250,000; more is 422 `statement_too_long`.
    """
    period = StatementPeriod(from_at=from_, to_at=to)
    statement_format = format_ or accepted_format(accept)
    return StatementResponse(
        statement_format,
        partial(context.statements.make, principal.tenant_id, account, period, statement_format),
    )


def accepted_format(accept: str | None) -> StatementFormat:
    """Choose by the header Accept (RFC 9110): the first of the best liked; JSON for any other."""
    best, best_quality = StatementFormat.JSON, 0.0
    formats = {media_type: each for each, media_type in MEDIA_TYPES.items()}
    for part in (accept or "").split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        found, quality = formats.get(media_type), _quality(parameters)
        if found is not None and quality > best_quality:
            best, best_quality = found, quality
    return best


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
