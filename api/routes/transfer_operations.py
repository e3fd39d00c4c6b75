"""What is done to transfers after their creation: holds, cancels, reversals and approvals."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Body, Response

from api.auth import TransfersApprover, TransfersReader, TransfersWriter, guarded_router
from api.context import ApiContext, Context
from api.operation_schemas import CancelBody, CaptureBody, DecisionBody, DecisionView, ExtendBody
from api.parameters import PAGE_SIZE, Cursor, IdempotencyKey, PageSize, TransferInPath, WaitSeconds
from api.responses import answer, answer_page, problems
from api.routes.transfers import submission_response
from api.schemas import ListView
from api.transfer_schemas import ReversalCreate
from api.transfer_views import TransferView
from domain.operations import Operation, OperationOrder

router = guarded_router("/v1/transfers/{transfer}", "transfers")

_DOCUMENTED: Final[dict[int | str, dict[str, Any]]] = {
    int(HTTPStatus.ACCEPTED): {"model": TransferView, "description": "Still under way"},
    **problems(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
}


@router.post("/capture", response_model=TransferView, responses=_DOCUMENTED)
async def capture_transfer(
    *,
    transfer: TransferInPath,
    context: Context,
    principal: TransfersWriter,
    idempotency_key: IdempotencyKey,
    wait_seconds: WaitSeconds,
    body: Annotated[CaptureBody | None, Body()] = None,
) -> Response:
    """Move what a hold with manual capture holds: all of it, or an amount.

    A capture without an amount takes all that is left and is the last one. One with an amount
    leaves the hold open, unless it is sent with ``final`` true or takes the last of it; the last
    one releases what is left.
    """
    order = (body or CaptureBody()).to_order(
        Operation.CAPTURE, principal, transfer, idempotency_key
    )
    return await _operate(context, order, wait_seconds)


@router.post("/extend", response_model=TransferView, responses=_DOCUMENTED)
async def extend_transfer(
    *,
    transfer: TransferInPath,
    body: ExtendBody,
    context: Context,
    principal: TransfersWriter,
    idempotency_key: IdempotencyKey,
    wait_seconds: WaitSeconds,
) -> Response:
    """Let a hold stand until a later time, at most 31 days ahead."""
    order = body.to_order(Operation.EXTEND, principal, transfer, idempotency_key)
    return await _operate(context, order, wait_seconds)


@router.post("/cancel", response_model=TransferView, responses=_DOCUMENTED)
async def cancel_transfer(
    *,
    transfer: TransferInPath,
    context: Context,
    principal: TransfersWriter,
    idempotency_key: IdempotencyKey,
    wait_seconds: WaitSeconds,
    body: Annotated[CancelBody | None, Body()] = None,
) -> Response:
    """Give up a transfer of which nothing has moved: it becomes FAILED with ``cancelled``."""
    order = (body or CancelBody()).to_order(Operation.CANCEL, principal, transfer, idempotency_key)
    return await _operate(context, order, wait_seconds)


@router.post("/approve", response_model=TransferView, responses=_DOCUMENTED)
async def approve_transfer(
    *,
    transfer: TransferInPath,
    context: Context,
    principal: TransfersApprover,
    idempotency_key: IdempotencyKey,
    wait_seconds: WaitSeconds,
    body: Annotated[DecisionBody | None, Body()] = None,
) -> Response:
    """Approve a transfer that awaits it, with another key than the one that made it."""
    order = (body or DecisionBody()).to_order(
        Operation.APPROVE, principal, transfer, idempotency_key
    )
    return await _operate(context, order, wait_seconds)


@router.post("/reject", response_model=TransferView, responses=_DOCUMENTED)
async def reject_transfer(
    *,
    transfer: TransferInPath,
    context: Context,
    principal: TransfersApprover,
    idempotency_key: IdempotencyKey,
    wait_seconds: WaitSeconds,
    body: Annotated[DecisionBody | None, Body()] = None,
) -> Response:
    """Reject a transfer that awaits its approval: it becomes FAILED with ``rejected``."""
    order = (body or DecisionBody()).to_order(
        Operation.REJECT, principal, transfer, idempotency_key
    )
    return await _operate(context, order, wait_seconds)


@router.get(
    "/approvals",
    response_model=ListView[DecisionView],
    responses=problems(HTTPStatus.NOT_FOUND),
)
async def list_approvals(
    *,
    transfer: TransferInPath,
    context: Context,
    principal: TransfersReader,
    cursor: Cursor,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read who approved or rejected a transfer, oldest first."""
    page = await context.operations.decisions(
        principal.tenant_id, transfer, after=cursor, limit=page_size
    )
    return answer_page(page, DecisionView.of)


@router.post(
    "/reversals",
    status_code=HTTPStatus.CREATED,
    response_model=TransferView,
    responses=_DOCUMENTED,
)
async def reverse_transfer(
    *,
    transfer: TransferInPath,
    context: Context,
    principal: TransfersWriter,
    idempotency_key: IdempotencyKey,
    wait_seconds: WaitSeconds,
    body: Annotated[ReversalCreate | None, Body()] = None,
) -> Response:
    """Take money back along a transfer: a new transfer of type REVERSAL, in full or in part.

    Repeatable until the whole is reversed; never more, however many come at once.
    """
    submission = await context.intake.submit_reversal(
        principal.tenant_id,
        (body or ReversalCreate()).to_request(idempotency_key, transfer),
        requested_by=principal.api_key_id,
        actor=principal.actor,
        wait_seconds=wait_seconds,
    )
    return submission_response(submission)


@router.get(
    "/reversals", response_model=ListView[TransferView], responses=problems(HTTPStatus.NOT_FOUND)
)
async def list_reversals(
    *,
    transfer: TransferInPath,
    context: Context,
    principal: TransfersReader,
    cursor: Cursor,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read the reversals of a transfer, failed ones included, oldest first."""
    await context.intake.find(principal.tenant_id, transfer)
    page = await context.transactions.reversals(
        principal.tenant_id, transfer, after=cursor, limit=page_size
    )
    return answer_page(page, TransferView.of)


async def _operate(context: ApiContext, order: OperationOrder, wait_seconds: float) -> Response:
    done = await context.operations.submit(order, wait_seconds=wait_seconds)
    headers = {"Location": f"/v1/transfers/{done.transfer.id}"}
    if done.is_replay:
        headers["Idempotency-Replayed"] = "true"
    status = HTTPStatus.OK if done.is_done else HTTPStatus.ACCEPTED
    return answer(TransferView.of(done.transfer), status, headers)
