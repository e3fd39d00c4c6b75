"""The FastAPI application."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from api.admission import Admission, AdmissionLimits
from api.auth import ISSUER_SCHEME
from api.codec_door import CodecDoor
from api.console.app import add_console
from api.context import ApiContext
from api.middleware import BodyLimit, Observation
from api.openapi import correct_description
from api.problems import install_problem_handlers
from api.routes import (
    account_limits,
    accounts,
    api_keys,
    approval_rules,
    audit_log,
    codec,
    evidence,
    ledger_proofs,
    operators,
    service,
    standing_orders,
    statements,
    transfer_batches,
    transfer_operations,
    transfers,
    users,
)
from api.tracing import Tracing
from services.issuer_keys import DISCOVERY_PATH

DESCRIPTION: Final = """Moves money between wallet accounts, durably and once.

Amounts are integers of minor units. Every request that moves money carries an `Idempotency-Key`;
the same request with the same key gets the one outcome, for ever. Errors are problem documents
with a stable `code`.
"""


CORS_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
CORS_REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Prefer",
    "X-Request-ID",
)
CORS_ANSWER_HEADERS: Final = (
    "Idempotency-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
)


@dataclass(frozen=True, slots=True)
class HttpSurface:
    """What browsers, and readers of the documentation, are told.

    Parameters
    ----------
    cors_origins
        Origins whose pages may call the API from a browser; none by default.
    issuer
        The OpenID Connect issuer whose tokens are taken, if any.
    """

    cors_origins: tuple[str, ...] = ()
    issuer: str | None = None


def create_app(
    context: ApiContext, limits: AdmissionLimits, surface: HttpSurface | None = None
) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    context
        What routes work with; whoever opened it closes it, when the last request is answered.
    limits
        How much is taken in at once.
    surface
        What browsers and readers of the documentation are told.
    """
    surface = surface or HttpSurface()
    # The pages of the documentation come with their assets, so that they work offline.
    app = FastAPIOffline(
        title="Durable transfers",
        description=DESCRIPTION,
        version=version("durable-transfers"),
        redoc_url=None,
        # Its own spans would have paths and queries as they were sent; ``Tracing`` has patterns.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.state.context = context
    install_problem_handlers(app)
    for module in (
        users,
        accounts,
        statements,
        transfers,
        transfer_operations,
        transfer_batches,
        standing_orders,
        approval_rules,
        account_limits,
        codec,
        audit_log,
        api_keys,
        evidence,
        operators,
        ledger_proofs,
        service,
    ):
        app.include_router(module.router)
    correct_description(app)
    add_console(app)
    app.add_middleware(BodyLimit)
    # Only the observation is further out: refusals are counted, and have an id to be asked about.
    app.add_middleware(Admission, limits=limits)
    if surface.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=surface.cors_origins,
            allow_methods=CORS_METHODS,
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_ANSWER_HEADERS,
        )
    # Further out than that, for its own pages' origin is no other's.
    app.add_middleware(CodecDoor, context=context)
    app.add_middleware(Observation)
    # Outermost, so that what is logged names the trace.
    app.add_middleware(Tracing)
    _name_issuer(app, surface.issuer)
    return app


def _name_issuer(app: FastAPI, issuer: str | None) -> None:
    """Have OpenAPI say where the issuer is, or that there are API keys alone."""
    make_schema = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = make_schema()
            schemes = schema["components"]["securitySchemes"]
            if issuer is not None:
                schemes[ISSUER_SCHEME]["openIdConnectUrl"] = f"{issuer.rstrip('/')}{DISCOVERY_PATH}"
            else:
                del schemes[ISSUER_SCHEME]
                _forget(schema, ISSUER_SCHEME)
        return make_schema()

    app.openapi = openapi  # type: ignore[method-assign]


def _forget(schema: dict[str, Any], scheme: str) -> None:
    for operations in schema["paths"].values():
        for operation in operations.values():
            ways = operation.get("security", [])
            ways[:] = [way for way in ways if scheme not in way]
