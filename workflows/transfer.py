"""The saga of one transfer."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.contracts import (
        CompensationInput,
        ExpiryInput,
        FailureDetails,
        OperationInput,
        RestingSteps,
        TransferInput,
        TransferKey,
        TransferProgress,
        TransferSteps,
    )
    from domain.errors import TransferCancelled, TransferNotFound
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

    Where it is asked to, it rests before or after the reserve: for its time, for approvals, for the
    captures of a hold. Updates move it on; a durable timer ends the rest.

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
        self._turn = asyncio.Lock()

    @workflow.run
    async def run(self, order: TransferInput) -> TransferProgress:
        """Carry the transfer out and return its outcome."""
        is_scheduled = order.terms is not None and order.terms.execute_at is not None
        first_step = RestingSteps.schedule if is_scheduled else TransferSteps.reserve_funds
        progress = await self._take(first_step, order)
        transfer = TransferKey(order.tenant_id, progress.transfer_id)
        if progress.stage is not TransferStage.FAILED:
            try:
                if not await self._rest(order, transfer):
                    self._refuse_if_cancelled()
                    await self._take(TransferSteps.post_entries, transfer)
                    await self._take(TransferSteps.finalise, transfer)
                progress = self._progress or progress
            except Refused as refused:
                compensated = await self._compensate(transfer, refused.failure)
                if compensated is None:
                    await workflow.wait_condition(workflow.all_handlers_finished)
                    workflow.continue_as_new(order)
                progress = compensated
        while not workflow.all_handlers_finished():
            with suppress(asyncio.CancelledError):
                await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.upsert_search_attributes([TRANSFER_STATE.value_set(progress.state)])
        return progress

    @workflow.update
    async def capture(self, operation: OperationInput) -> TransferProgress:
        """Move what is held, as a whole or in part."""
        return await self._operate(operation)

    @workflow.update
    async def extend(self, operation: OperationInput) -> TransferProgress:
        """Let the hold stand longer."""
        return await self._operate(operation)

    @workflow.update
    async def cancel(self, operation: OperationInput) -> TransferProgress:
        """Give the transfer up, unless it has posted."""
        return await self._operate(operation)

    @workflow.update
    async def approve(self, operation: OperationInput) -> TransferProgress:
        """Let the transfer go on, or count towards that."""
        return await self._operate(operation)

    @workflow.update
    async def reject(self, operation: OperationInput) -> TransferProgress:
        """Fail the transfer that waits for its approval."""
        return await self._operate(operation)

    @workflow.query
    def stage(self) -> str:
        """Tell how far the transfer has come."""
        return self._progress.stage if self._progress else TransferStage.ACCEPTED

    @workflow.query
    def outcome(self) -> TransferProgress | None:
        """Tell what the database said after the last step; nothing before the first."""
        return self._progress

    async def _compensate(
        self, transfer: TransferKey, failure: FailureDetails
    ) -> TransferProgress | None:
        """Bring the transfer to its right end; ``None`` where it is to be carried out anew.

        Notes
        -----
        A database that was restored to an earlier time may know nothing of what this history says
        was recorded. Then the order is carried out anew, under the same key and id.
        """
        try:
            return await self._take(TransferSteps.compensate, CompensationInput(transfer, failure))
        except Refused as refused:
            if self._is_cancelled or refused.failure.code != TransferNotFound.code:
                raise
            return None

    async def _rest(self, order: TransferInput, transfer: TransferKey) -> bool:
        """Stay while the transfer waits for its time or for somebody; see what its time brings.

        Returns
        -------
        bool
            Whether the transfer came to its end meanwhile.

        Raises
        ------
        Refused
            The workflow was cancelled.
        """
        has_rested = False
        try:
            while self._progress and (due_at := self._progress.waits_until):
                has_rested = True
                self._refuse_if_cancelled()
                if _is_history_long():
                    # The first step, taken again, tells what the transfer has become.
                    await workflow.wait_condition(workflow.all_handlers_finished)
                    workflow.continue_as_new(order)
                if not await self._has_moved_before(due_at):
                    async with self._turn:
                        await self._meet(due_at, order, transfer)
        except asyncio.CancelledError:
            self._is_cancelled = True
            self._refuse_if_cancelled()
        return has_rested and self.stage() in {TransferStage.COMPLETED, TransferStage.FAILED}

    async def _has_moved_before(self, due_at: datetime) -> bool:
        """Wait until an update changes what the transfer waits for, or until its time comes.

        Notes
        -----
        Updates that change nothing, such as refused ones, make the history longer as well.
        """
        try:
            await workflow.wait_condition(
                lambda: (
                    self._progress is None
                    or self._progress.waits_until != due_at
                    or _is_history_long()
                ),
                timeout=max(due_at - workflow.now(), timedelta()),
            )
        except TimeoutError:
            return False
        return True

    async def _meet(self, due_at: datetime, order: TransferInput, transfer: TransferKey) -> None:
        """Do what is due at a time, unless an update was first."""
        if self._progress is None or self._progress.waits_until != due_at:
            return
        if self._progress.stage is TransferStage.SCHEDULED:
            await self._take(TransferSteps.reserve_funds, order)
        else:
            await self._take(RestingSteps.expire, ExpiryInput(transfer, due_at))

    async def _operate(self, operation: OperationInput) -> TransferProgress:
        """Carry an update's operation out, one after the other.

        Raises
        ------
        ApplicationError
            It is refused; the type is the code.
        """
        await workflow.wait_condition(lambda: self._progress is not None)
        async with self._turn:
            try:
                return await self._take(RestingSteps.carry_out_operation, operation)
            except Refused as refused:
                raise ApplicationError(
                    refused.failure.message, type=refused.failure.code, non_retryable=True
                ) from refused

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


def _is_history_long() -> bool:
    return workflow.info().is_continue_as_new_suggested()


def _raise_if_refused(error: FailureError) -> None:
    # A local activity's failure comes as it is, a regular one's inside an ActivityError.
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ApplicationError) and cause.non_retryable and cause.type:
        raise Refused(FailureDetails(cause.type, cause.message)) from error
