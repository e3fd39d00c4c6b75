"""The service itself: health, readiness, metrics."""

import os
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import BaseModel

from api.business_metrics import BusinessMetrics
from api.context import Context
from api.ledger_metrics import LedgerMetrics
from api.problems import problem_response
from api.responses import answer, problems
from api.stuck_metrics import StuckMetrics

MULTIPROCESS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which several processes add up their metrics; read by prometheus_client."""

_BUSINESS: Final = BusinessMetrics()
_STUCK: Final = StuckMetrics()
_LEDGER: Final = LedgerMetrics()

router = APIRouter(tags=["service"])

_UNAVAILABLE: Final = int(HTTPStatus.SERVICE_UNAVAILABLE)
_NOT_READY: Final[dict[int | str, dict[str, Any]]] = {_UNAVAILABLE: problems()[_UNAVAILABLE]}
_METRICS: Final[dict[int | str, dict[str, Any]]] = {
    int(HTTPStatus.OK): {"content": {"text/plain": {"schema": {"type": "string"}}}}
}


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


@router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """Tell that the process is alive; asks no other server."""
    return answer(Health())


@router.get("/readyz", response_model=Health, responses=_NOT_READY)
async def readyz(context: Context) -> Response:
    """Tell whether requests can be served: database at the right revision, Temporal reachable."""
    readiness = await context.readiness()
    if readiness.problems:
        return problem_response(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "not_ready",
            "; ".join(readiness.problems),
            headers={"Retry-After": "1"},
        )
    return answer(Health())


@router.get("/metrics", response_class=Response, responses=_METRICS)
async def metrics(context: Context) -> Response:
    """Give the metrics in the text format of Prometheus.

    Of all processes together where several serve the API, else of this one. What is under way and
    what is known of the ledger comes from the database, and is a few seconds old; what is stuck,
    half a minute.
    """
    _STUCK.refresh(context.stuck)
    await _BUSINESS.refresh(context.figures, context.dependencies)
    await _LEDGER.refresh(context.proofs)
    registry = REGISTRY
    if MULTIPROCESS_VARIABLE in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
