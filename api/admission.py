"""Back pressure: what a process takes in at once is limited, and the rest is refused cheaply."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from prometheus_client import Counter
from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import problem_response, retry_after
from domain.errors import Overloaded

ALWAYS_ADMITTED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""What tells of the service's own state: cheapest, and needed most, while it is overloaded."""

TRANSFERS_PATH: Final = "/v1/transfers"

_SHED: Final = Counter(
    "transfers_requests_shed_total", "Requests refused for too much load.", ["kind"]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionLimits:
    """How much a process takes in at once.

    Parameters
    ----------
    transfers
        Requests that move money.
    others
        All other requests; a limit of their own, so that operators can read while money queues up.
    """

    transfers: int
    others: int


class _Gate:
    """Counts the requests of one kind that are in flight."""

    def __init__(self, kind: str, maximum: int) -> None:
        self.maximum = maximum
        self.in_flight = 0
        self.shed = _SHED.labels(kind)


class Admission:
    """Answers 503 ``overloaded`` to what is over the limits, before anything is done for it.

    Notes
    -----
    Requests that wait would only wait longer: above capacity, the time of an answer is the number
    in flight divided by the rate. Refusing costs a fraction of a millisecond, and uses no key up.
    """

    def __init__(self, app: ASGIApp, limits: AdmissionLimits) -> None:
        self._app = app
        self._transfers = _Gate("transfer", limits.transfers)
        self._others = _Gate("other", limits.others)
        error = Overloaded()
        refusal = problem_response(
            HTTPStatus.SERVICE_UNAVAILABLE, error.code, error.message, headers=retry_after(error)
        )
        self._headers, self._body = refusal.raw_headers, bytes(refusal.body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["path"] in ALWAYS_ADMITTED:
            await self._app(scope, receive, send)
            return
        is_transfer = scope["method"] == "POST" and scope["path"].startswith(TRANSFERS_PATH)
        gate = self._transfers if is_transfer else self._others
        if gate.in_flight >= gate.maximum:
            gate.shed.inc()
            await self._refuse(send)
            return
        gate.in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            gate.in_flight -= 1

    async def _refuse(self, send: Send) -> None:
        status = int(HTTPStatus.SERVICE_UNAVAILABLE)
        await send({"type": "http.response.start", "status": status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})
