"""What operators read of the ledger's proofs and seals."""

from http import HTTPStatus

from fastapi import Response

from api.auth import OperationsReader, guarded_router
from api.checkpoints import newest_checkpoint
from api.context import Context
from api.ledger_schemas import CheckpointView, ProofsView
from api.responses import answer, problems

router = guarded_router("/v1/operations", "operations")


@router.get("/proofs", response_model=ProofsView, responses=problems())
async def get_proofs(context: Context, _principal: OperationsReader) -> Response:
    """Read when each invariant was last proved over the whole ledger, and what is off.

    Of all tenants: the ledger is one. Violations name ids and amounts.
    """
    return answer(ProofsView.of(await context.proofs.status()))


@router.get("/checkpoint", response_model=CheckpointView, responses=problems(HTTPStatus.NOT_FOUND))
async def get_checkpoint(context: Context, _principal: OperationsReader) -> Response:
    """Read a checkpoint of the newest seal: keep it where nobody of the database can change it."""
    document = await newest_checkpoint(context.seals, context.checkpoint_key)
    return answer(CheckpointView.model_validate(document))
