"""One run of a standing order, started by its schedule."""

from datetime import datetime, timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)

with workflow.unsafe.imports_passed_through():
    from activities.contracts import TransferInput
    from activities.standing_order_contracts import (
        RunOutcome,
        StandingOrderKey,
        StandingOrderRunKey,
        StandingOrdersReport,
        StandingOrderSteps,
    )
    from domain.errors import NotScheduled
    from domain.ids import TenantId
    from domain.ids import workflow_id as workflow_id_of
    from workflows.search_attributes import search_attributes_of
    from workflows.transfer import WORKFLOW_TASK_TIMEOUT, TransferWorkflow

SCHEDULED_START: Final = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
"""Set by Temporal to the time that the schedule gave, whenever the workflow really starts."""

ATTEMPT_TIMEOUT: Final = timedelta(seconds=20)
RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5)
)

RECONCILIATION_TIMEOUT: Final = timedelta(minutes=5)
RECONCILIATION_HEARTBEAT_TIMEOUT: Final = timedelta(seconds=15)
"""After this long without a sign of life, another worker begins anew."""

RECONCILIATION_ATTEMPTS: Final = 3
"""The schedule's next run tries again anyway."""


@workflow.defn(name="StandingOrderWorkflow")
class StandingOrderWorkflow:
    """Makes the transfer of one scheduled time, and waits for its outcome.

    Notes
    -----
    The transfer's key is ``<order>:<scheduled time>``, so that however often a time is started,
    there is one transfer. It is a workflow of its own, which goes on where this one is stopped.
    """

    @workflow.run
    async def run(self, order: StandingOrderKey) -> RunOutcome:
        """Make the run and return its outcome."""
        run = StandingOrderRunKey(order.order_id, _scheduled_at(order))
        prepared = await workflow.execute_activity_method(
            StandingOrderSteps.prepare_standing_order_run,
            run,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            retry_policy=RETRIES,
        )
        if prepared.transfer is None:
            return prepared.outcome
        await _transfer(prepared.transfer)
        return await workflow.execute_activity_method(
            StandingOrderSteps.settle_standing_order_run,
            run,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            retry_policy=RETRIES,
        )


@workflow.defn(name="StandingOrderReconciliationWorkflow")
class StandingOrderReconciliationWorkflow:
    """Brings the schedules of standing orders in line with the orders."""

    @workflow.run
    async def run(self) -> StandingOrdersReport:
        """Compare all orders with their schedules once."""
        return await workflow.execute_activity_method(
            StandingOrderSteps.reconcile_standing_orders,
            start_to_close_timeout=RECONCILIATION_TIMEOUT,
            heartbeat_timeout=RECONCILIATION_HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(maximum_attempts=RECONCILIATION_ATTEMPTS),
        )


def _scheduled_at(order: StandingOrderKey) -> datetime:
    moment = workflow.info().typed_search_attributes.get(SCHEDULED_START)
    if moment is None:
        error = NotScheduled(str(order.order_id), "any time: no schedule started it")
        raise ApplicationError(error.message, type=error.code, non_retryable=True)
    return moment


async def _transfer(order: TransferInput) -> None:
    """Start the transfer's workflow, or find it started, and wait for its end where that is told.

    Notes
    -----
    What became of the transfer is for the database to say. A workflow that another run of the
    same time has started tells this one nothing.
    """
    try:
        await workflow.execute_child_workflow(
            TransferWorkflow.run,
            order,
            id=workflow_id_of(TenantId(order.tenant_id), order.idempotency_key),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            task_timeout=WORKFLOW_TASK_TIMEOUT,
            search_attributes=search_attributes_of(order),
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("transfer_already_started")
    except ChildWorkflowError:
        workflow.logger.info("transfer_without_outcome")
