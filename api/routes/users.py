"""Users."""

from http import HTTPStatus
from typing import Annotated

from fastapi import Query, Response

from api.account_schemas import UserCreate, UserView
from api.auth import UsersReader, UsersWriter, guarded_router
from api.context import Context
from api.fields import ExternalId
from api.parameters import PAGE_SIZE, Cursor, PageSize, UserInPath
from api.responses import answer, answer_page, problems
from api.schemas import ListView

router = guarded_router("/v1/users", "users")


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=UserView,
    responses=problems(HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT),
)
async def create_user(body: UserCreate, context: Context, principal: UsersWriter) -> Response:
    """Record a user. `external_id` is unique in the tenant."""
    user = await context.accounts.create_user(
        principal.tenant_id,
        name=body.name,
        external_id=body.external_id,
        metadata=body.metadata,
        actor=principal.actor,
    )
    return answer(UserView.of(user), HTTPStatus.CREATED, {"Location": f"/v1/users/{user.id}"})


@router.get("/{user}", response_model=UserView, responses=problems(HTTPStatus.NOT_FOUND))
async def get_user(user: UserInPath, context: Context, principal: UsersReader) -> Response:
    """Read a user."""
    return answer(UserView.of(await context.accounts.get_user(principal.tenant_id, user)))


@router.get("", response_model=ListView[UserView], responses=problems())
async def list_users(
    context: Context,
    principal: UsersReader,
    cursor: Cursor,
    external_id: Annotated[ExternalId | None, Query()] = None,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read users, newest first."""
    page = await context.accounts.list_users(
        principal.tenant_id, external_id=external_id, after=cursor, limit=page_size
    )
    return answer_page(page, UserView.of)
