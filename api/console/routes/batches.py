"""Batches, with their progress."""

from typing import Annotated

from fastapi import Query, Request, Response

from api.console.pages import LIVE_SECONDS, PREFIX, PROGRESS_SECONDS, done, page
from api.console.routing import console_router
from api.console.visitors import Form, TransfersEditor, TransfersVisitor
from api.context import Context
from api.parameters import PAGE_SIZE, BatchInPath, Cursor
from domain.batches import RowStatus
from domain.errors import FieldProblem, ValidationFailed

router = console_router()

POSITION_DIGITS_MAXIMUM = 9


@router.get("/batches")
async def batch_list(
    request: Request, context: Context, visitor: TransfersVisitor, cursor: Cursor
) -> Response:
    """Show batches, newest first."""
    batches = await context.batches.page(visitor.tenant_id, after=cursor, limit=PAGE_SIZE)
    return page(
        request,
        visitor,
        "batches.html",
        live_seconds=LIVE_SECONDS if cursor is None else None,
        batches=batches,
        is_first=cursor is None,
    )


@router.get("/batches/{batch}")
async def batch_page(
    *,
    request: Request,
    context: Context,
    visitor: TransfersVisitor,
    batch: BatchInPath,
    status: Annotated[RowStatus | None, Query()] = None,
    after: Annotated[str, Query()] = "0",
) -> Response:
    """Show a batch, how far it is, and its rows."""
    if not (after.isascii() and after.isdigit() and len(after) <= POSITION_DIGITS_MAXIMUM):
        raise ValidationFailed([FieldProblem("after", "position", "must be a row's position")])
    found = await context.batches.get(visitor.tenant_id, batch)
    rows = await context.batches.rows(
        found, [status] if status else [], after=int(after), limit=PAGE_SIZE
    )
    return page(
        request,
        visitor,
        "batch.html",
        live_seconds=None if found.is_final else PROGRESS_SECONDS,
        batch=found,
        codes=await context.batches.codes(found) if found.is_final else {},
        rows=rows,
        status=status,
        statuses=list(RowStatus),
        is_first=after == "0",
    )


@router.post("/batches/{batch}/cancel")
async def cancel_batch(
    request: Request, context: Context, visitor: TransfersEditor, batch: BatchInPath, _form: Form
) -> Response:
    """Ask a batch to stop between two chunks."""
    found = await context.batch_intake.cancel(visitor.tenant_id, batch)
    return done(
        request,
        f"{PREFIX}/batches/{found.id}",
        "The batch stops after the chunk that is being posted; what is posted stays posted.",
    )
