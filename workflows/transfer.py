"""The saga of one transfer."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.contracts import (
        CompensationInput,
        FailureDetails,
        TransferInput,
        TransferKey,
        TransferProgress,
        TransferSteps,
    )
    from domain.errors import TransferCancelled
    from domain.states import TransferStage
    from workflows.search_attributes import TRANSFER_STATE

Argument = TypeVar("Argument")

# The fast path runs inside the workflow task, where nobody sees its attempts and where it delays
# queries: few tries and a short total.
FAST_ATTEMPT_TIMEOUT: Final = timedelta(seconds=2)
FAST_TOTAL_TIMEOUT: Final = timedelta(seconds=3)
FAST_RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=50), maximum_interval=timedelta(milliseconds=50),
    maximum_attempts=2,
)  # fmt: skip

# The durable path never gives up; Temporal's UI shows its attempts and the last failure.
DURABLE_ATTEMPT_TIMEOUT: Final = timedelta(seconds=10)
DURABLE_RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5)
)


WORKFLOW_TASK_TIMEOUT: Final = timedelta(seconds=5)
"""After this, the task of a worker that died is given to another."""


class Refused(Exception):
    """A step was refused for good."""

    def __init__(self, failure: FailureDetails) -> None:
        self.failure = failure
        super().__init__(failure.message)


@workflow.defn(name="TransferWorkflow", failure_exception_types=[Refused])
class TransferWorkflow:
    """Reserves, posts and finalises one transfer; releases the reserve where that fails.

    Notes
    -----
    The workflow's ID is the idempotency key. What is true of the money stands in the database;
    the workflow only sees to it that the steps happen. It ends normally whatever the transfer's
    outcome is, also after a cancel.
    """

    @workflow.init
    def __init__(self, order: TransferInput) -> None:
        self._order = order
        self._progress: TransferProgress | None = None
        self._is_cancelled = False

    @workflow.run
    async def run(self, order: TransferInput) -> TransferProgress:
        """Carry the transfer out and return its outcome."""
        progress = await self._take(TransferSteps.reserve_funds, order)
        transfer = TransferKey(order.tenant_id, progress.transfer_id)
        if progress.stage is not TransferStage.FAILED:
            try:
                self._refuse_if_cancelled()
                await self._take(TransferSteps.post_entries, transfer)
                progress = await self._take(TransferSteps.finalise, transfer)
            except Refused as refused:
                progress = await self._take(
                    TransferSteps.compensate, CompensationInput(transfer, refused.failure)
                )
        workflow.upsert_search_attributes([TRANSFER_STATE.value_set(progress.state)])
        return progress

    @workflow.query
    def stage(self) -> str:
        """Tell how far the transfer has come."""
        return self._progress.stage if self._progress else TransferStage.ACCEPTED

    @workflow.query
    def outcome(self) -> TransferProgress | None:
        """Tell what the database said after the last step; nothing before the first."""
        return self._progress

    def _refuse_if_cancelled(self) -> None:
        if self._is_cancelled:
            cancelled = TransferCancelled()
            raise Refused(FailureDetails(cancelled.code, cancelled.message))

    async def _take(
        self,
        step: Callable[[Any, Argument], Coroutine[Any, Any, TransferProgress]],
        argument: Argument,
    ) -> TransferProgress:
        """Take a step to its end, and remember what it came to.

        Notes
        -----
        Shielded from cancellation: a step that was interrupted may have committed or not, and only
        its result tells. The cancel is remembered and heeded where the saga can still turn back.
        """
        attempt = asyncio.create_task(_attempt(step, argument))
        try:
            self._progress = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            self._is_cancelled = True
            self._progress = await attempt
        return self._progress


async def _attempt(
    step: Callable[[Any, Argument], Coroutine[Any, Any, TransferProgress]], argument: Argument
) -> TransferProgress:
    """Try a step on the fast path; what does not get through there goes on durably.

    Raises
    ------
    Refused
        The step is refused for good.
    """
    try:
        return await workflow.execute_local_activity_method(
            step,
            argument,
            start_to_close_timeout=FAST_ATTEMPT_TIMEOUT,
            schedule_to_close_timeout=FAST_TOTAL_TIMEOUT,
            retry_policy=FAST_RETRIES,
        )
    except FailureError as error:
        _raise_if_refused(error)
    try:
        return await workflow.execute_activity_method(
            step,
            argument,
            start_to_close_timeout=DURABLE_ATTEMPT_TIMEOUT,
            retry_policy=DURABLE_RETRIES,
        )
    except ActivityError as error:
        _raise_if_refused(error)
        raise


def _raise_if_refused(error: FailureError) -> None:
    # A local activity's failure comes as it is, a regular one's inside an ActivityError.
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ApplicationError) and cause.non_retryable and cause.type:
        raise Refused(FailureDetails(cause.type, cause.message)) from error
