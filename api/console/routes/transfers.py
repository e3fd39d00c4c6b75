"""Transfers: the search, and one in detail."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from api.console.formats import short
from api.console.pages import HEADERS, LIVE_SECONDS, PREFIX, go, page, part
from api.console.routing import console_router
from api.console.search import STAGES_OFFERED, Search, read_search
from api.console.timeline import timeline_of
from api.console.visitors import OperatingVisitor, TransfersVisitor, Visitor
from api.console.workflow_view import records_of, view_workflow
from api.context import ApiContext, Context
from api.parameters import PAGE_SIZE, Cursor, TransferInPath
from api.responses import answer
from domain.access import Scope
from domain.audit import AuditRecord
from domain.errors import AccountNotFound, TemporalUnavailable, TransferNotFound
from domain.evidence import EvidenceFormat
from domain.ids import AccountId
from domain.pages import Page
from domain.states import ProcessState
from domain.transfers import Transfer, TransferType
from persistence.audit import AuditFilter

router = console_router()


@router.get("/transfers")
async def transfer_list(
    request: Request, context: Context, visitor: TransfersVisitor, cursor: Cursor
) -> Response:
    """Show transfers, newest first, or what a search finds."""
    search = read_search(request.query_params)
    if search.transfer_id is not None:
        found = await _transfer_or_account(context, visitor, search)
        if found is not None:
            return go(found)
    account_id, is_unknown = await _account_id(context, visitor, search)
    search = read_search(request.query_params, account_id=account_id)
    transfers: Page[Transfer] = Page([], None)
    if not is_unknown and not search.problems:
        transfers = await context.transactions.page(
            visitor.tenant_id, search.wanted, after=cursor, limit=PAGE_SIZE
        )
    return page(
        request,
        visitor,
        "transfers.html",
        live_seconds=LIVE_SECONDS if cursor is None else None,
        search=search,
        transfers=transfers,
        labels=await context.console.details.label(visitor.tenant_id, transfers.items),
        states=[*ProcessState, *STAGES_OFFERED],
        types=list(TransferType),
        is_first=cursor is None,
    )


@router.get("/transfers/{transfer}")
async def transfer_page(
    request: Request, context: Context, visitor: TransfersVisitor, transfer: TransferInPath
) -> Response:
    """Show a transfer with all that belongs to it."""
    try:
        details = await context.console.details.read(visitor.tenant_id, transfer)
    except TransferNotFound:
        # Temporal may have accepted what the database does not know of yet.
        accepted = await context.intake.find(visitor.tenant_id, transfer)
        return page(
            request,
            visitor,
            "transfer_accepted.html",
            live_seconds=LIVE_SECONDS,
            transfer=accepted,
            labels=await context.console.details.label(visitor.tenant_id, [accepted]),
        )
    return page(
        request,
        visitor,
        "transfer.html",
        live_seconds=None if details.transfer.is_final else LIVE_SECONDS,
        details=details,
        transfer=details.transfer,
        labels=details.labels,
        key_names={str(key): name for key, name in details.labels.api_keys.items()},
        timeline=timeline_of(details.events, await records_of(context, details.transfer)),
        audit=await _audit(context, visitor, details.transfer),
        evidence_formats=list(EvidenceFormat),
    )


@router.get("/transfers/{transfer}/workflow")
async def workflow_part(
    request: Request,
    context: Context,
    visitor: TransfersVisitor,
    transfer: TransferInPath,
    run: UUID | None = None,
) -> Response:
    """Show a transfer's workflow as Temporal sees it now, and what it keeps of one of its runs."""
    found = await context.intake.find(visitor.tenant_id, transfer)
    view, error = None, None
    try:
        view = await view_workflow(context, found, "" if run is None else str(run))
    except TemporalUnavailable as unavailable:
        error = unavailable.message
    return part(
        request,
        visitor,
        "workflow.html",
        title=f"Workflow of transfer {short(transfer)}",
        back=f"{PREFIX}/transfers/{transfer}",
        transfer=found,
        view=view,
        error=error,
    )


@router.get("/transfers/{transfer}/workflow/history")
async def raw_history(
    context: Context,
    visitor: OperatingVisitor,
    transfer: TransferInPath,
    run: UUID | None = None,
) -> Response:
    """Give a run's history as Temporal has it: for operators, as it names machines and queues."""
    found = await context.intake.find(visitor.tenant_id, transfer)
    text = await context.console.history.raw(found.workflow_id, "" if run is None else str(run))
    if text is None:
        raise TransferNotFound(str(transfer))
    name = f'attachment; filename="history-{transfer}.json"'
    headers = {**HEADERS, "Content-Disposition": name}
    return Response(text, media_type="application/json", headers=headers)


@router.get("/transfers/{transfer}/evidence")
async def evidence(
    context: Context,
    visitor: TransfersVisitor,
    transfer: TransferInPath,
    format_: Annotated[EvidenceFormat, Query(alias="format")] = EvidenceFormat.PDF,
) -> Response:
    """Give all that is on record of a transfer, in one document to be kept."""
    view = await context.evidence.gather(
        transfer,
        tenant_id=visitor.tenant_id,
        for_operators=Scope.OPERATIONS_READ in visitor.principal.scopes,
    )
    name = f'attachment; filename="evidence-{transfer}.{format_}"'
    headers = {"Cache-Control": "no-store", "Content-Disposition": name}
    if format_ is EvidenceFormat.JSON:
        return answer(view, headers=headers)
    return Response(await context.evidence.pdf(view), media_type="application/pdf", headers=headers)


async def _audit(
    context: ApiContext, visitor: Visitor, transfer: Transfer
) -> Sequence[AuditRecord]:
    """Read what was changed about a transfer by hand, where the visitor may see that."""
    if not visitor.may(Scope.AUDIT_READ, Scope.OPERATIONS_READ):
        return ()
    wanted = AuditFilter(
        tenant_id=visitor.tenant_id, subject_type="transfer", subject_id=str(transfer.id)
    )
    return (await context.audit.page(wanted, before=None, limit=PAGE_SIZE)).items


async def _transfer_or_account(context: ApiContext, visitor: Visitor, search: Search) -> str | None:
    """Find the page of what has the id that was asked for."""
    if search.transfer_id is None:
        return None
    try:
        transfer = await context.intake.find(visitor.tenant_id, search.transfer_id)
    except TransferNotFound:
        pass
    else:
        return f"{PREFIX}/transfers/{transfer.id}"
    account_id, _ = await _account_id(context, visitor, search)
    return None if account_id is None else f"{PREFIX}/accounts/{account_id}"


async def _account_id(
    context: ApiContext, visitor: Visitor, search: Search
) -> tuple[AccountId | None, bool]:
    """Find the account that was asked for; say whether one was asked for that is not there."""
    is_named = bool(search.fields["account"])
    if search.account is None:
        return None, is_named
    try:
        account = await context.accounts.get_account(visitor.tenant_id, search.account)
    except AccountNotFound:
        return None, is_named
    return account.id, False
