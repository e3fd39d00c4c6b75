"""The FastAPI application."""

from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api.admission import Admission, AdmissionLimits
from api.console.app import add_console
from api.context import ApiContext
from api.middleware import BodyLimit, Observation
from api.problems import install_problem_handlers
from api.routes import (
    account_limits,
    accounts,
    approval_rules,
    audit_log,
    evidence,
    operators,
    service,
    standing_orders,
    statements,
    transfer_batches,
    transfer_operations,
    transfers,
    users,
)

DESCRIPTION: Final = """Moves money between wallet accounts, durably and once.

Amounts are integers of minor units. Every request that moves money carries an `Idempotency-Key`;
the same request with the same key gets the one outcome, for ever. Errors are problem documents
with a stable `code`.
"""


def create_app(context: ApiContext, limits: AdmissionLimits) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    context
        What routes work with; whoever opened it closes it, when the last request is answered.
    limits
        How much is taken in at once.
    """
    # The pages of the documentation come with their assets, so that they work offline.
    app = FastAPIOffline(
        title="Durable transfers",
        description=DESCRIPTION,
        version=version("durable-transfers"),
        redoc_url=None,
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
        audit_log,
        evidence,
        operators,
        service,
    ):
        app.include_router(module.router)
    add_console(app)
    app.add_middleware(BodyLimit)
    # Only the observation is further out: refusals are counted, and have an id to be asked about.
    app.add_middleware(Admission, limits=limits)
    app.add_middleware(Observation)
    return app
