"""The service itself: health, readiness, metrics."""

from http import HTTPStatus

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from api.context import Context
from api.problems import problem_response
from api.responses import answer

router = APIRouter(tags=["service"])


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


@router.get("/healthz")
async def healthz() -> Response:
    """Tell that the process is alive; asks no other server."""
    return answer(Health())


@router.get("/readyz")
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


@router.get("/metrics")
async def metrics() -> Response:
    """Give the process's metrics in the text format of Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
