"""What each log line of an activity says about the transfer that it is a step of."""

from dataclasses import is_dataclass
from typing import Any, Final

import structlog
from temporalio import activity
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from activities.contracts import ReconciliationReport, TransferProgress, TransferSteps

COMPENSATION: Final = TransferSteps.compensate.__name__
NAMED: Final = ("tenant_id", "transfer_id", "batch_id")


class StepContext(ClientInterceptor, Interceptor):
    """Binds workflow, step, attempt, tenant and transfer to the logs of each activity.

    Tells of compensations and of what reconciliations have brought to an end, too.
    """

    def __init__(self) -> None:
        # The SDK would say the same in its messages.
        activity.logger.activity_info_on_message = False

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        """Put it before the activity."""
        return _Inbound(next)


class _Inbound(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's name
        info = activity.info()
        # For good: an activity has a task of its own, and the SDK tells of its failure behind this.
        structlog.contextvars.bind_contextvars(
            workflow_id=info.workflow_id,
            step=info.activity_type,
            attempt=info.attempt,
            **_named(input.args[0] if input.args else None),
        )
        result = await super().execute_activity(input)
        _tell(result, info.activity_type)
        return result


def _tell(result: Any, step: str) -> None:
    """Log what operators would want to know of a step that has done its work."""
    log = structlog.get_logger("transfers")
    if isinstance(result, TransferProgress) and step == COMPENSATION:
        code = result.failure.code if result.failure else None
        log.info("transfer_compensated", state=result.state, code=code)
    elif isinstance(result, ReconciliationReport) and (result.resolved or not result.is_complete):
        log.warning(
            "reconciled",
            examined=result.examined,
            resolved=result.resolved,
            is_complete=result.is_complete,
        )


def _named(argument: Any) -> dict[str, str]:
    if not is_dataclass(argument) or isinstance(argument, type):
        return {}
    return {name: str(value) for name in NAMED if (value := getattr(argument, name, None))}
