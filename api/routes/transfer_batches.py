"""Batches of transfers."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response
from starlette.responses import StreamingResponse

from api.auth import TransfersReader, TransfersWriter, guarded_router
from api.batch_intake import BatchSubmission
from api.batch_reading import MalformedBody
from api.batch_results import result_pieces
from api.batch_schemas import (
    BatchCreate,
    BatchDetailView,
    BatchOptions,
    BatchRowView,
    BatchView,
)
from api.batch_spool import CSV, JSON, MEDIA_TYPES, NDJSON
from api.context import Context
from api.fields import Description
from api.parameters import (
    PAGE_SIZE,
    BatchInPath,
    Cursor,
    IdempotencyKey,
    PageSize,
    PositionCursor,
    PromptSeconds,
)
from api.problems import problem_response
from api.responses import answer, answer_page, problems
from api.schemas import ChangeBody, ListView
from domain.batches import ResultFormat, RowStatus, TransferBatch

router = guarded_router("/v1/transfer-batches", "transfer batches")

REJECTS_SHOWN: Final = 20
NOT_MOVED: Final = (RowStatus.FAILED, RowStatus.REJECTED)

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": BatchCreate.model_json_schema(ref_template="#/components/schemas/{model}")
            },
            NDJSON: {"schema": {"type": "string", "description": "One row as JSON a line."}},
            CSV: {"schema": {"type": "string", "description": "A header, then a row a line."}},
        },
    }
}


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    response_model=BatchView,
    responses={
        int(HTTPStatus.CREATED): {"model": BatchView, "description": "Every row has its outcome"},
        **problems(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        ),
    },
    openapi_extra=_BODY,
)
async def create_batch(
    *,
    request: Request,
    context: Context,
    principal: TransfersWriter,
    idempotency_key: IdempotencyKey,
    wait_seconds: PromptSeconds,
    atomic: Annotated[
        bool | None, Query(description="All rows or none; false where nothing says it.")
    ] = None,
    description: Annotated[Description | None, Query(description="What the batch is for.")] = None,
) -> Response:
    """Post many transfers, each with a key of its own, in the order of the rows.

    Answers 202 as soon as all rows are recorded, or 201 where every row has its outcome within
    `Prefer: wait=<seconds>`. A row that is not well formed refuses the whole batch. What a JSON
    body and the query both name must be the same.
    """
    media_type = request.headers.get("content-type", JSON).split(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        return problem_response(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "media_type_unsupported",
            f"Send the rows as one of {', '.join(MEDIA_TYPES)}.",
        )
    try:
        submission = await context.batch_intake.submit(
            principal,
            idempotency_key,
            request.stream(),
            media_type=media_type,
            options=BatchOptions.named(atomic=atomic, description=description),
            wait_seconds=wait_seconds,
        )
    except MalformedBody:
        return problem_response(
            HTTPStatus.BAD_REQUEST, "malformed_body", f"The body is not valid {media_type}."
        )
    return _outcome(submission)


@router.get("", response_model=ListView[BatchView], responses=problems())
async def list_batches(
    context: Context, principal: TransfersReader, cursor: Cursor, page_size: PageSize = PAGE_SIZE
) -> Response:
    """Read batches, newest first."""
    page = await context.batches.page(principal.tenant_id, after=cursor, limit=page_size)
    return answer_page(page, BatchView.of)


@router.get("/{batch}", response_model=BatchDetailView, responses=problems(HTTPStatus.NOT_FOUND))
async def get_batch(batch: BatchInPath, context: Context, principal: TransfersReader) -> Response:
    """Read a batch: how far it is, and which rows moved no money."""
    found = await context.batches.get(principal.tenant_id, batch)
    codes = await context.batches.codes(found)
    rejects = []
    if codes:
        page = await context.batches.rows(found, NOT_MOVED, after=0, limit=REJECTS_SHOWN)
        rejects = list(page.items)
    return answer(BatchDetailView.with_rejects(found, codes, rejects))


@router.get(
    "/{batch}/rows",
    response_model=ListView[BatchRowView],
    responses=problems(HTTPStatus.NOT_FOUND),
)
async def list_rows(
    *,
    batch: BatchInPath,
    context: Context,
    principal: TransfersReader,
    status: Annotated[list[RowStatus] | None, Query()] = None,
    cursor: PositionCursor,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read the rows of a batch in their order, of one status or several."""
    found = await context.batches.get(principal.tenant_id, batch)
    page = await context.batches.rows(found, status or (), after=cursor, limit=page_size)
    return answer_page(page, BatchRowView.of)


@router.get(
    "/{batch}/result",
    response_class=StreamingResponse,
    responses={
        int(HTTPStatus.OK): {"content": {CSV: {}, NDJSON: {}}, "description": "All rows"},
        **problems(HTTPStatus.NOT_FOUND),
    },
)
async def download_result(
    batch: BatchInPath,
    context: Context,
    principal: TransfersReader,
    format_: Annotated[ResultFormat, Query(alias="format")] = ResultFormat.CSV,
) -> Response:
    """Download all rows of a batch with what became of them, as far as it is."""
    found = await context.batches.get(principal.tenant_id, batch)
    pieces: AsyncIterator[str] = result_pieces(context.batches.result(found), format_)
    name = f"transfer-batch-{found.id}.{format_}"
    return StreamingResponse(
        pieces,
        media_type=CSV if format_ is ResultFormat.CSV else NDJSON,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.post(
    "/{batch}/cancel",
    response_model=BatchView,
    status_code=HTTPStatus.ACCEPTED,
    responses=problems(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def cancel_batch(
    batch: BatchInPath, context: Context, principal: TransfersWriter, body: ChangeBody | None = None
) -> Response:
    """Stop a batch between two chunks: what is posted stays, the other rows are cancelled."""
    cancelled = await context.batch_intake.cancel(
        principal.tenant_id, batch, actor=principal.actor, reason=ChangeBody.reason_of(body)
    )
    return answer(BatchView.of(cancelled), HTTPStatus.ACCEPTED, {"Location": _location(cancelled)})


def _outcome(submission: BatchSubmission) -> Response:
    batch = submission.batch
    headers = {"Location": _location(batch)}
    if submission.is_replay:
        headers["Idempotency-Replayed"] = "true"
    status = HTTPStatus.CREATED if batch.is_final else HTTPStatus.ACCEPTED
    return answer(BatchView.of(batch), status, headers)


def _location(batch: TransferBatch) -> str:
    return f"/v1/transfer-batches/{batch.id}"
