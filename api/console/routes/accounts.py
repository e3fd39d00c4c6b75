"""Accounts: the list, and one with its balance over time and its ledger."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Annotated, Final

from fastapi import Query, Request, Response

from api.console.charts import balance_chart
from api.console.pages import LIVE_SECONDS, PREFIX, done, page
from api.console.reasons import reason_of
from api.console.routing import console_router
from api.console.visitors import AccountsEditor, AccountsVisitor, Form
from api.context import Context
from api.parameters import PAGE_SIZE, SEQUENCE_DIGITS_MAXIMUM, AccountInPath, Cursor
from api.statements.sending import StatementResponse
from domain.accounts import Account, AccountReference, AccountStatus
from domain.errors import AccountNotFound, FieldProblem, ValidationFailed
from domain.pages import Page
from domain.statements import StatementFormat, StatementPeriod
from persistence.accounts import AccountFilter
from persistence.ledger import EntryFilter

router = console_router()


class ChartRange(StrEnum):
    """How many of an account's newest entries its chart shows."""

    LATEST = "200"
    MORE = "5000"
    ALL = "all"

    @property
    def entries(self) -> int | None:
        """The number, or ``None`` for all."""
        return None if self is ChartRange.ALL else int(self)


@router.get("/accounts")
async def account_list(
    *,
    request: Request,
    context: Context,
    visitor: AccountsVisitor,
    cursor: Cursor,
    q: Annotated[str, Query()] = "",
    status: Annotated[str, Query()] = "",
    currency: Annotated[str, Query()] = "",
) -> Response:
    """Show accounts, newest first, or the one that is named."""
    accounts: Page[Account] = Page([], None)
    if q.strip():
        try:
            reference = AccountReference.parse(q.strip())
            accounts = Page(
                [await context.accounts.get_account(visitor.tenant_id, reference)], None
            )
        except (ValueError, AccountNotFound):
            accounts = Page([], None)
    else:
        wanted = AccountFilter(
            currency=currency.strip().upper() or None,
            status=AccountStatus(status) if status in set(AccountStatus) else None,
        )
        accounts = await context.accounts.list_accounts(
            visitor.tenant_id, wanted, after=cursor, limit=PAGE_SIZE
        )
    return page(
        request,
        visitor,
        "accounts.html",
        live_seconds=LIVE_SECONDS if cursor is None else None,
        accounts=accounts,
        labels=await context.console.details.label_accounts(
            visitor.tenant_id, {account.id for account in accounts.items}
        ),
        q=q.strip(),
        status=status,
        currency=currency.strip(),
        statuses=list(AccountStatus),
        is_first=cursor is None,
    )


@router.get("/accounts/{account}")
async def account_page(
    *,
    request: Request,
    context: Context,
    visitor: AccountsVisitor,
    account: AccountInPath,
    shown: Annotated[ChartRange, Query(alias="chart")] = ChartRange.LATEST,
    before: Annotated[str | None, Query()] = None,
) -> Response:
    """Show an account, its balance over time, and its ledger."""
    found = await context.accounts.get_account(visitor.tenant_id, account)
    entries = await context.ledger.entries_of_account(
        found.tenant_id, found.id, EntryFilter(), after=_sequence(before), limit=PAGE_SIZE
    )
    history = await context.ledger.balance_history(found, entries=shown.entries)
    return page(
        request,
        visitor,
        "account.html",
        live_seconds=LIVE_SECONDS if before is None else None,
        account=found,
        label=(
            await context.console.details.label_accounts(visitor.tenant_id, {found.id})
        ).accounts[found.id],
        entries=entries,
        chart=balance_chart(history, until=datetime.now(UTC)),
        shown=shown,
        ranges=list(ChartRange),
        formats=list(StatementFormat),
        is_first=before is None,
    )


@router.get("/accounts/{account}/statement")
async def statement(
    *,
    context: Context,
    visitor: AccountsVisitor,
    account: AccountInPath,
    from_: Annotated[str, Query(alias="from")] = "",
    to: Annotated[str, Query()] = "",
    format_: Annotated[StatementFormat, Query(alias="format")] = StatementFormat.PDF,
) -> Response:
    """Give a statement to be kept; days are those of UTC, the last one included."""
    first, last = _day("from", from_), _day("to", to)
    period = StatementPeriod(from_at=first, to_at=None if last is None else last + _DAY)
    return StatementResponse(
        format_,
        partial(context.statements.make, visitor.tenant_id, account, period, format_),
    )


@router.post("/accounts/{account}/freeze")
async def freeze_account(
    request: Request, context: Context, visitor: AccountsEditor, account: AccountInPath, form: Form
) -> Response:
    """Stop all money of an account."""
    found = await context.accounts.freeze(
        visitor.tenant_id, account, actor=visitor.principal.actor, reason=reason_of(form)
    )
    return done(request, f"{PREFIX}/accounts/{found.id}", "Frozen: no money moves in or out.")


@router.post("/accounts/{account}/unfreeze")
async def unfreeze_account(
    request: Request, context: Context, visitor: AccountsEditor, account: AccountInPath, form: Form
) -> Response:
    """Let the money of an account move again."""
    found = await context.accounts.unfreeze(
        visitor.tenant_id, account, actor=visitor.principal.actor, reason=reason_of(form)
    )
    return done(request, f"{PREFIX}/accounts/{found.id}", "Active again: money can move.")


_DAY: Final = timedelta(days=1)


def _day(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        problem = FieldProblem(name, "date", "must be a day, such as 2026-01-31")
        raise ValidationFailed([problem]) from None


def _sequence(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= SEQUENCE_DIGITS_MAXIMUM):
        raise ValidationFailed([FieldProblem("before", "sequence", "must be an entry's sequence")])
    return int(text)
