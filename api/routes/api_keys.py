"""API keys of the caller's own tenant."""

from http import HTTPStatus

from fastapi import Response

from api.api_key_schemas import ApiKeyCreate, ApiKeyRotation, ApiKeyView, NewApiKeyView
from api.auth import KeysWriter, guarded_router
from api.context import Context
from api.parameters import PAGE_SIZE, Cursor, KeyInPath, PageSize
from api.responses import answer, answer_page, problems
from api.schemas import ChangeBody, ListView

router = guarded_router("/v1/api-keys", "API keys")


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=NewApiKeyView,
    responses=problems(HTTPStatus.BAD_REQUEST),
)
async def create_key(body: ApiKeyCreate, context: Context, principal: KeysWriter) -> Response:
    """Make a key, which can do no more than the one of this request. Its secret is shown once.

    Sent again, the request makes another key: revoke the one whose secret was lost.
    """
    key, secret = await context.access.create_for(principal, body.to_new_key(), reason=body.reason)
    return answer(
        NewApiKeyView.with_secret(key, secret),
        HTTPStatus.CREATED,
        {"Location": f"/v1/api-keys/{key.id}"},
    )


@router.get("", response_model=ListView[ApiKeyView], responses=problems())
async def list_keys(
    context: Context, principal: KeysWriter, cursor: Cursor, page_size: PageSize = PAGE_SIZE
) -> Response:
    """Read the tenant's keys, newest first, revoked ones and subjects of the issuer among them."""
    page = await context.access.page(principal.tenant_id, after=cursor, limit=page_size)
    return answer_page(page, ApiKeyView.of)


@router.get("/{key}", response_model=ApiKeyView, responses=problems(HTTPStatus.NOT_FOUND))
async def get_key(key: KeyInPath, context: Context, principal: KeysWriter) -> Response:
    """Read a key."""
    return answer(ApiKeyView.of(await context.access.get(principal.tenant_id, key)))


@router.post(
    "/{key}/rotate",
    response_model=NewApiKeyView,
    responses=problems(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def rotate_key(
    key: KeyInPath, context: Context, principal: KeysWriter, body: ApiKeyRotation | None = None
) -> Response:
    """Give a key another secret; the present one is taken too until the overlap has passed.

    The key stays the same: its id, scopes and limits, and what it made it still cannot approve.
    """
    asked = body or ApiKeyRotation()
    rotated, secret = await context.access.rotate_key(
        str(key), overlap=asked.overlap, rotated_by=principal, reason=asked.reason
    )
    return answer(NewApiKeyView.with_secret(rotated, secret))


@router.post(
    "/{key}/revoke",
    response_model=ApiKeyView,
    responses=problems(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND),
)
async def revoke_key(
    key: KeyInPath, context: Context, principal: KeysWriter, body: ChangeBody | None = None
) -> Response:
    """Revoke a key with all its secrets, or a subject, for ever, from the next request on."""
    revoked = await context.access.revoke_key(
        str(key), revoked_by=principal, reason=ChangeBody.reason_of(body)
    )
    return answer(ApiKeyView.of(revoked))
