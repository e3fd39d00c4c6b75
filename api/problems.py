"""Errors as problem documents of RFC 9457. The one place that knows an error's HTTP status."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from structlog.contextvars import get_contextvars

from api.schemas import Problem, ProblemField
from api.transfer_schemas import ONE_LEG, SEVERAL_LEGS
from api.transfer_views import TransferView
from domain.errors import (
    AccountAlreadyClosed,
    AccountNotEmpty,
    AccountNotFound,
    ApiKeyOver,
    ApprovalRuleTaken,
    BatchFailure,
    BatchFinished,
    CaptureExceedsHold,
    CurrencyMismatch,
    DomainError,
    ExpiryNotLater,
    ExternalIdTaken,
    IdempotencyKeyReused,
    LedgerRuleViolated,
    MakerCannotApprove,
    NotFound,
    OperationConflict,
    OverdraftLimitInUse,
    PayloadNotReadable,
    RateNotHeld,
    SameAccount,
    ScheduleRefused,
    ScopeMissing,
    ScopeNotHeld,
    ServiceUnavailable,
    StandingOrderOver,
    StatementTooLong,
    SystemAccountProtected,
    TooManyRequests,
    TransferNotFound,
    TransferRefusal,
    TransferUnfinished,
    Unauthenticated,
    ValidationFailed,
)
from domain.limits import IDEMPOTENCY_KEY_LENGTH_MAXIMUM
from domain.transfers import Transfer
from workflows.gateway import OperationRefused

_OPTIONAL: Final = ("errors", "transfer", "request_id")
PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
PROBLEM_TYPE_PREFIX: Final = "urn:transfers:problem:"
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")

_STATUS_OF: Final[Sequence[tuple[type[DomainError], HTTPStatus]]] = (
    (Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (ScopeMissing, HTTPStatus.FORBIDDEN),
    (NotFound, HTTPStatus.NOT_FOUND),
    (ValidationFailed, HTTPStatus.UNPROCESSABLE_ENTITY),
    (PayloadNotReadable, HTTPStatus.UNPROCESSABLE_ENTITY),
    (SameAccount, HTTPStatus.UNPROCESSABLE_ENTITY),
    (CurrencyMismatch, HTTPStatus.UNPROCESSABLE_ENTITY),
    (IdempotencyKeyReused, HTTPStatus.UNPROCESSABLE_ENTITY),
    (TransferRefusal, HTTPStatus.UNPROCESSABLE_ENTITY),
    (CaptureExceedsHold, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ExpiryNotLater, HTTPStatus.UNPROCESSABLE_ENTITY),
    (MakerCannotApprove, HTTPStatus.FORBIDDEN),
    (OperationConflict, HTTPStatus.CONFLICT),
    (ApprovalRuleTaken, HTTPStatus.CONFLICT),
    (StatementTooLong, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ScheduleRefused, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ExternalIdTaken, HTTPStatus.CONFLICT),
    (AccountAlreadyClosed, HTTPStatus.CONFLICT),
    (AccountNotEmpty, HTTPStatus.CONFLICT),
    (BatchFinished, HTTPStatus.CONFLICT),
    (BatchFailure, HTTPStatus.UNPROCESSABLE_ENTITY),
    (TransferUnfinished, HTTPStatus.CONFLICT),
    (ScopeNotHeld, HTTPStatus.FORBIDDEN),
    (RateNotHeld, HTTPStatus.FORBIDDEN),
    (ApiKeyOver, HTTPStatus.CONFLICT),
    (TooManyRequests, HTTPStatus.TOO_MANY_REQUESTS),
    (OverdraftLimitInUse, HTTPStatus.CONFLICT),
    (SystemAccountProtected, HTTPStatus.CONFLICT),
    (StandingOrderOver, HTTPStatus.CONFLICT),
    (LedgerRuleViolated, HTTPStatus.CONFLICT),
    (ServiceUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)

# Of errors that come back from where a workflow carried an operation out, as their codes alone.
_STATUS_OF_CODE: Final[Mapping[str, HTTPStatus]] = {
    TransferNotFound.code: HTTPStatus.NOT_FOUND,
    MakerCannotApprove.code: HTTPStatus.FORBIDDEN,
    **{kind.code: HTTPStatus.CONFLICT for kind in OperationConflict.__subclasses__()},
}

_CODE_OF_STATUS: Final[Mapping[int, str]] = {
    HTTPStatus.BAD_REQUEST: "malformed_json",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
}


def problem_response(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[ProblemField] | None = None,
    transfer: Transfer | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with a problem document."""
    problem = Problem(
        type=PROBLEM_TYPE_PREFIX + code,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        errors=list(errors) if errors is not None else None,
        transfer=TransferView.of(transfer) if transfer else None,
        # The outcome of a transfer is the same to the last byte, whichever request asks for it.
        request_id=None if transfer else get_contextvars().get("request_id"),
    )
    absent = {field for field in _OPTIONAL if getattr(problem, field) is None}
    return Response(
        problem.model_dump_json(exclude=absent),
        status_code=status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers=dict(headers or {}),
    )


def failed_transfer_response(transfer: Transfer, headers: Mapping[str, str]) -> Response:
    """Answer with the problem that a recorded transfer failed of."""
    if transfer.failure is None:
        raise ValueError(f"transfer {transfer.id} has not failed")
    return problem_response(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        transfer.failure.code,
        transfer.failure.message,
        transfer=transfer,
        headers=headers,
    )


def status_of(error: DomainError) -> HTTPStatus:
    """Tell the HTTP status of an error of the domain."""
    if isinstance(error, AccountNotFound) and error.field is not None:
        # Named in a body: the request's own path was found.
        return HTTPStatus.UNPROCESSABLE_ENTITY
    for kind, status in _STATUS_OF:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def retry_after(error: ServiceUnavailable) -> Mapping[str, str]:
    """Give the header that says when to send the same request again."""
    return {"Retry-After": str(int(error.retry_after.total_seconds()))}


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of an app a problem document."""
    app.add_exception_handler(DomainError, _on_domain_error)
    app.add_exception_handler(OperationRefused, _on_operation_refused)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


async def _on_domain_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, DomainError):
        raise TypeError from error
    status = status_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, ServiceUnavailable):
        headers |= retry_after(error)
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(ceil(error.retry_after_seconds))
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="transfers"'
    errors = None
    if isinstance(error, ValidationFailed):
        errors = [
            ProblemField(field=p.field, code=p.code, message=p.message) for p in error.problems
        ]
    return problem_response(status, error.code, error.message, errors=errors, headers=headers)


async def _on_operation_refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, OperationRefused):
        raise TypeError from error
    code = error.failure.code
    status = _STATUS_OF_CODE.get(code, HTTPStatus.UNPROCESSABLE_ENTITY)
    return problem_response(status, code, error.failure.message)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError from error
    found = error.errors()
    if any(problem["type"] == "json_invalid" for problem in found):
        return problem_response(
            HTTPStatus.BAD_REQUEST, "malformed_json", "The body is not valid JSON."
        )
    if any(problem["loc"] == ("header", IDEMPOTENCY_KEY) for problem in found):
        return _bad_key(request.headers.get(IDEMPOTENCY_KEY))
    errors = [_problem_field(problem) for problem in found]
    detail = "; ".join(f"{problem.field}: {problem.message}" for problem in errors)
    return problem_response(
        HTTPStatus.UNPROCESSABLE_ENTITY, ValidationFailed.code, detail, errors=errors
    )


def _bad_key(key: str | None) -> Response:
    """Refuse a request that cannot be told from others, whatever else is wrong with it."""
    if not key:
        code, detail = "missing", f"Send the header {IDEMPOTENCY_KEY}, a new one for each transfer."
    else:
        maximum = IDEMPOTENCY_KEY_LENGTH_MAXIMUM
        code, detail = (
            "invalid",
            f"{IDEMPOTENCY_KEY} must be 1 to {maximum} visible ASCII characters.",
        )
    return problem_response(HTTPStatus.BAD_REQUEST, f"idempotency_key_{code}", detail)


def _problem_field(problem: Mapping[str, Any]) -> ProblemField:
    """Name the field as the client wrote it: without the part of the request it stands in."""
    location = [str(part) for part in problem["loc"] if part not in {ONE_LEG, SEVERAL_LEGS}]
    return ProblemField(
        field=".".join(location[1:]) or location[0],
        code=problem["type"],
        message=problem["msg"],
    )


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError from error
    details = {
        HTTPStatus.BAD_REQUEST: "The body is not valid JSON.",
        HTTPStatus.NOT_FOUND: f"There is nothing at {request.url.path}.",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.url.path} does not take {request.method}.",
    }
    status = HTTPStatus(error.status_code)
    headers = error.headers
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(_methods_of(request))}
    return problem_response(
        status,
        _CODE_OF_STATUS.get(status, "http_error"),
        details.get(status, str(error.detail)),
        headers=headers,
    )


def _methods_of(request: Request) -> list[str]:
    """Tell what a path takes: the framework knows of one of its routes alone."""
    asked = {"type": "http", "path": request.scope["path"], "headers": [], "root_path": ""}
    routes = request.app.routes
    return [
        method
        for method in METHODS
        if any(route.matches({**asked, "method": method})[0] is Match.FULL for route in routes)
    ]


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    """End a request whose client left while it sent the body; nobody reads the answer."""
    return problem_response(
        HTTPStatus.BAD_REQUEST, "body_incomplete", "The connection ended within the body."
    )


def unexpected_response() -> Response:
    """Answer where something went wrong that nobody foresaw."""
    return problem_response(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        DomainError.code,
        "Something went wrong here. The same request may be sent again with the same key.",
    )
