"""The evidence of a transfer: all that is on record of it, in one document."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Header, Query, Response

from api.auth import TransfersReader, guarded_router
from api.context import Context
from api.evidence.views import EvidenceView
from api.parameters import TransferInPath
from api.responses import answer, problems
from api.routes.statements import accepted_format
from domain.access import Scope
from domain.evidence import EvidenceFormat
from domain.statements import StatementFormat

router = guarded_router("/v1/transfers", "transfers")

_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    int(HTTPStatus.OK): {
        "description": "The document. JSON has all amounts as integers of minor units.",
        "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get(
    "/{transfer}/evidence",
    response_model=EvidenceView,
    responses=_ANSWERS | problems(HTTPStatus.NOT_FOUND),
)
async def get_evidence(
    *,
    transfer: TransferInPath,
    context: Context,
    principal: TransfersReader,
    format_: Annotated[
        EvidenceFormat | None,
        Query(alias="format", description="Goes before the header Accept; json by default."),
    ] = None,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """Give all that is on record of a transfer.

    Request, fingerprint, approvals and other operations, holds, entries, log of stages, audit,
    reversals, what Temporal still has of its attempts in all runs, and the proof that the entries
    are those that were sealed.

    With `operations:read` beside it, of any tenant's; else of the tenant's own.
    """
    sees_all = Scope.OPERATIONS_READ in principal.scopes
    view = await context.evidence.gather(
        transfer,
        tenant_id=None if sees_all else principal.tenant_id,
        for_operators=sees_all,
    )
    headers = {"Cache-Control": "private, no-store", "Vary": "Accept"}
    is_pdf = format_ is EvidenceFormat.PDF or (
        format_ is None and accepted_format(accept) is StatementFormat.PDF
    )
    if not is_pdf:
        return answer(view, headers=headers)
    name = f'attachment; filename="evidence-{transfer}.pdf"'
    return Response(
        await context.evidence.pdf(view),
        media_type="application/pdf",
        headers={**headers, "Content-Disposition": name},
    )
