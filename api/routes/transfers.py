"""Transfers."""

from http import HTTPStatus
from typing import Annotated

from fastapi import Query, Response

from api.account_schemas import EntryView
from api.auth import TransfersReader, TransfersWriter, guarded_router
from api.context import Context
from api.fields import Moment
from api.parameters import (
    PAGE_SIZE,
    AccountInQuery,
    Cursor,
    IdempotencyKey,
    PageSize,
    SequenceCursor,
    TransferInPath,
    WaitSeconds,
)
from api.problems import failed_transfer_response
from api.responses import answer, answer_page, problems
from api.schemas import ListView
from api.transfer_intake import Submission
from api.transfer_schemas import TransferBody
from api.transfer_views import EventView, TransferView, WorkflowView
from domain.states import ProcessState, TransferStage
from domain.transfers import CaptureMode, TransferType
from persistence.transfers import TransferFilter

router = guarded_router("/v1/transfers", "transfers")


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=TransferView,
    responses={
        int(HTTPStatus.ACCEPTED): {"model": TransferView, "description": "Still PROCESSING"},
        **problems(HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    },
)
async def create_transfer(
    body: TransferBody,
    context: Context,
    principal: TransfersWriter,
    idempotency_key: IdempotencyKey,
    wait_seconds: WaitSeconds,
) -> Response:
    """Move money, once for each Idempotency-Key.

    Answers 201 with the transfer in SUCCESS, or RESERVED where the capture is manual; 202 where it
    is still PROCESSING after the wait, scheduled, or awaiting its approval; 422 with its code where
    it FAILED. The same request with the same key gets the same answer.
    """
    submission = await context.intake.submit(
        principal.tenant_id,
        body.to_request(idempotency_key),
        requested_by=principal.api_key_id,
        actor=principal.actor,
        wait_seconds=wait_seconds,
    )
    return submission_response(submission)


@router.get("", response_model=ListView[TransferView], responses=problems(HTTPStatus.NOT_FOUND))
async def list_transfers(
    *,
    context: Context,
    principal: TransfersReader,
    cursor: Cursor,
    state: Annotated[ProcessState | None, Query()] = None,
    stage: Annotated[TransferStage | None, Query()] = None,
    type_: Annotated[TransferType | None, Query(alias="type")] = None,
    account: AccountInQuery,
    idempotency_key: Annotated[str | None, Query(pattern="^[!-~]{1,200}$")] = None,
    created_from: Annotated[Moment | None, Query()] = None,
    created_to: Annotated[Moment | None, Query()] = None,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read transfers, newest first. Times include their start and exclude their end."""
    account_id = None
    if account is not None:
        account_id = (await context.accounts.get_account(principal.tenant_id, account)).id
    wanted = TransferFilter(
        state=state,
        stage=stage,
        type=type_,
        account_id=account_id,
        idempotency_key=idempotency_key,
        created_from=created_from,
        created_to=created_to,
    )
    page = await context.transactions.page(
        principal.tenant_id, wanted, after=cursor, limit=page_size
    )
    return answer_page(page, TransferView.of)


@router.get("/{transfer}", response_model=TransferView, responses=problems(HTTPStatus.NOT_FOUND))
async def get_transfer(
    transfer: TransferInPath, context: Context, principal: TransfersReader
) -> Response:
    """Read a transfer, also one that was only just accepted."""
    return answer(TransferView.of(await context.intake.find(principal.tenant_id, transfer)))


@router.get(
    "/{transfer}/events",
    response_model=ListView[EventView],
    responses=problems(HTTPStatus.NOT_FOUND),
)
async def list_events(
    *,
    transfer: TransferInPath,
    context: Context,
    principal: TransfersReader,
    cursor: SequenceCursor,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read the log of a transfer's stages, oldest first."""
    await context.intake.find(principal.tenant_id, transfer)
    page = await context.transactions.events_page(
        principal.tenant_id, transfer, after=cursor or 0, limit=page_size
    )
    return answer_page(page, EventView.of)


@router.get(
    "/{transfer}/entries",
    response_model=ListView[EntryView],
    responses=problems(HTTPStatus.NOT_FOUND),
)
async def list_entries(
    *,
    transfer: TransferInPath,
    context: Context,
    principal: TransfersReader,
    cursor: Cursor,
    page_size: PageSize = PAGE_SIZE,
) -> Response:
    """Read the ledger entries of a transfer, debits first; none unless it has posted."""
    await context.intake.find(principal.tenant_id, transfer)
    page = await context.ledger.entries_of_transfer(
        principal.tenant_id, transfer, after=cursor, limit=page_size
    )
    return answer_page(page, EntryView.of)


@router.get(
    "/{transfer}/workflow", response_model=WorkflowView, responses=problems(HTTPStatus.NOT_FOUND)
)
async def get_workflow(
    transfer: TransferInPath, context: Context, principal: TransfersReader
) -> Response:
    """Look at a transfer's workflow, live from Temporal."""
    found = await context.intake.find(principal.tenant_id, transfer)
    live = await context.gateway.live(found.workflow_id)
    url = context.workflow_url(found.workflow_id, live.run_id) if live else None
    return answer(WorkflowView.of(found.workflow_id, live, url))


def submission_response(submission: Submission) -> Response:
    """Answer with the outcome of a transfer, or the promise of it."""
    transfer = submission.transfer
    headers = {"Location": f"/v1/transfers/{transfer.id}"}
    if submission.is_replay:
        headers["Idempotency-Replayed"] = "true"
    if transfer.state is ProcessState.FAILED:
        return failed_transfer_response(transfer, headers)
    is_done = transfer.state is ProcessState.SUCCESS or (
        transfer.stage is TransferStage.RESERVED and transfer.capture is CaptureMode.MANUAL
    )
    status = HTTPStatus.CREATED if is_done else HTTPStatus.ACCEPTED
    return answer(TransferView.of(transfer), status, headers)
