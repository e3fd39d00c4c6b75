"""The FastAPI application."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api.context import ApiContext
from api.middleware import BodyLimit, Observation
from api.problems import install_problem_handlers
from api.routes import accounts, service, transfers, users

DESCRIPTION: Final = """Moves money between wallet accounts, durably and once.

Amounts are integers of minor units. Every request that moves money carries an `Idempotency-Key`;
the same request with the same key gets the one outcome, for ever. Errors are problem documents
with a stable `code`.
"""


def create_app(context: Callable[[], AbstractAsyncContextManager[ApiContext]]) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    context
        Opened when the application starts and closed when it stops; gives what routes work with.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with context() as opened:
            app.state.context = opened
            yield

    # The pages of the documentation come with their assets, so that they work offline.
    app = FastAPIOffline(
        title="Durable transfers",
        description=DESCRIPTION,
        version=version("durable-transfers"),
        lifespan=lifespan,
        redoc_url=None,
    )
    install_problem_handlers(app)
    for module in (users, accounts, transfers, service):
        app.include_router(module.router)
    app.add_middleware(BodyLimit)
    app.add_middleware(Observation)
    return app
