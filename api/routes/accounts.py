"""Accounts, their balances and their ledger."""

from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query, Response

from api.account_schemas import AccountChange, AccountCreate, AccountView, BalanceView, EntryView
from api.auth import AccountsReader, AccountsWriter, guarded_router
from api.context import Context
from api.fields import CurrencyCode, ExternalId, Moment
from api.parameters import PAGE_SIZE, AccountInPath, Cursor, PageSize, SequenceCursor
from api.responses import answer, answer_page, problems
from api.schemas import ChangeBody, ListView
from domain.accounts import AccountStatus
from domain.ids import UserId
from persistence.accounts import AccountFilter
from persistence.ledger import EntryFilter

router = guarded_router("/v1/accounts", "accounts")


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=AccountView,
    responses=problems(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def open_account(
    body: AccountCreate, context: Context, principal: AccountsWriter
) -> Response:
    """Open an account of one currency. The tenant's settlement account appears by itself."""
    account = await context.accounts.open_account(
        principal.tenant_id,
        user_id=UserId(body.user_id),
        currency=body.currency,
        external_id=body.external_id,
        overdraft_limit_minor=body.overdraft_limit,
        metadata=body.metadata,
        actor=principal.actor,
    )
    return answer(
        AccountView.of(account),
        HTTPStatus.CREATED,
        {"Location": f"/v1/accounts/{account.id}"},
    )


@router.get("", response_model=ListView[AccountView], responses=problems())
async def list_accounts(
    *,
    context: Context,
    principal: AccountsReader,
    cursor: Cursor,
    user_id: Annotated[UUID | None, Query()] = None,
    external_id: Annotated[ExternalId | None, Query()] = None,
    currency: Annotated[CurrencyCode | None, Query()] = None,
    status: Annotated[AccountStatus | None, Query()] = None,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read accounts, newest first, settlement accounts among them."""
    wanted = AccountFilter(
        user_id=UserId(user_id) if user_id else None,
        external_id=external_id,
        currency=currency,
        status=status,
    )
    page = await context.accounts.list_accounts(
        principal.tenant_id, wanted, after=cursor, limit=page_size
    )
    return answer_page(page, AccountView.of)


@router.get("/{account}", response_model=AccountView, responses=problems(HTTPStatus.NOT_FOUND))
async def get_account(
    account: AccountInPath, context: Context, principal: AccountsReader
) -> Response:
    """Read an account with its present balance."""
    return answer(AccountView.of(await context.accounts.get_account(principal.tenant_id, account)))


@router.patch(
    "/{account}",
    response_model=AccountView,
    responses=problems(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def change_account(
    account: AccountInPath, body: AccountChange, context: Context, principal: AccountsWriter
) -> Response:
    """ChangeBody the overdraft limit or replace the metadata; what is left out stays."""
    changed = await context.accounts.change_account(
        principal.tenant_id,
        account,
        overdraft_limit_minor=body.overdraft_limit,
        metadata=body.metadata,
        actor=principal.actor,
        reason=body.reason,
    )
    return answer(AccountView.of(changed))


@router.post(
    "/{account}/freeze",
    response_model=AccountView,
    responses=problems(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def freeze_account(
    account: AccountInPath,
    context: Context,
    principal: AccountsWriter,
    body: ChangeBody | None = None,
) -> Response:
    """Stop all money of an account. What is reserved and not yet posted will be released."""
    changed = await context.accounts.freeze(
        principal.tenant_id, account, actor=principal.actor, reason=ChangeBody.reason_of(body)
    )
    return answer(AccountView.of(changed))


@router.post(
    "/{account}/unfreeze",
    response_model=AccountView,
    responses=problems(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def unfreeze_account(
    account: AccountInPath,
    context: Context,
    principal: AccountsWriter,
    body: ChangeBody | None = None,
) -> Response:
    """Let the money of an account move again."""
    changed = await context.accounts.unfreeze(
        principal.tenant_id, account, actor=principal.actor, reason=ChangeBody.reason_of(body)
    )
    return answer(AccountView.of(changed))


@router.post(
    "/{account}/close",
    response_model=AccountView,
    responses=problems(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def close_account(
    account: AccountInPath,
    context: Context,
    principal: AccountsWriter,
    body: ChangeBody | None = None,
) -> Response:
    """Close an account for ever. It needs a zero balance and no holds."""
    changed = await context.accounts.close(
        principal.tenant_id, account, actor=principal.actor, reason=ChangeBody.reason_of(body)
    )
    return answer(AccountView.of(changed))


@router.get(
    "/{account}/balance", response_model=BalanceView, responses=problems(HTTPStatus.NOT_FOUND)
)
async def get_balance(
    account: AccountInPath,
    context: Context,
    principal: AccountsReader,
    as_of: Annotated[
        Moment | None,
        Query(description="Posted: entries effective until then. Held: holds open then."),
    ] = None,
) -> Response:
    """Read an account's balance, now or as of a time."""
    found = await context.accounts.get_account(principal.tenant_id, account)
    if as_of is None:
        return answer(BalanceView.of_account(found))
    return answer(BalanceView.of(await context.balances.as_of(found, as_of)))


@router.get(
    "/{account}/entries",
    response_model=ListView[EntryView],
    responses=problems(HTTPStatus.NOT_FOUND),
)
async def list_entries(
    *,
    account: AccountInPath,
    context: Context,
    principal: AccountsReader,
    order: Annotated[Literal["asc", "desc"], Query()] = "desc",
    from_: Annotated[
        Moment | None, Query(alias="from", description="Effective at or after.")
    ] = None,
    to: Annotated[Moment | None, Query(description="Effective before.")] = None,
    cursor: SequenceCursor,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read an account's ledger in the order of recording, newest first."""
    found = await context.accounts.get_account(principal.tenant_id, account)
    wanted = EntryFilter(effective_from=from_, effective_to=to, ascending=order == "asc")
    page = await context.ledger.entries_of_account(
        found.tenant_id, found.id, wanted, after=cursor, limit=page_size
    )
    return answer_page(page, EntryView.of)
