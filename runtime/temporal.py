"""A process's connection to Temporal, its worker, and what Temporal needs to be set up."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import (
    Client,
    Interceptor,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)
from temporalio.runtime import Runtime
from temporalio.service import RetryConfig, RPCError, RPCStatusCode, TLSConfig
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
    WorkflowRunner,
)

from activities.batches import BatchActivities
from activities.ledger import LedgerCareActivities
from activities.reconciliation import ReconciliationActivities
from activities.resting import RestingActivities
from activities.standing_orders import StandingOrderActivities
from activities.transfers import TransferActivities
from domain.errors import TemporalUnavailable
from persistence.database import Database
from runtime.temporal_access import TemporalAccess
from services.batch_posting import BatchPostingService
from services.batches import BatchService
from services.idle_workflows import IdleWorkflowService
from services.ledger_proofs import LedgerProofService
from services.ledger_seals import SealService
from services.operations import OperationService
from services.orphan_holds import OrphanHoldService
from services.samples import SampleService
from services.standing_order_runs import StandingOrderRunService
from services.standing_orders import StandingOrderService
from services.stuck import StuckService
from services.transactions import TransactionService
from workflows.batch_gateway import BatchGateway
from workflows.cancelling import WorkflowCanceller
from workflows.gateway import TransferGateway
from workflows.ledger_care import LedgerCareWorkflow
from workflows.operations_gateway import OperationsGateway
from workflows.reconciliation import ReconciliationWorkflow
from workflows.search_attributes import SEARCH_ATTRIBUTE_NAMES
from workflows.standing_order import (
    StandingOrderReconciliationWorkflow,
    StandingOrderWorkflow,
)
from workflows.standing_order_schedules import StandingOrderSchedules
from workflows.transfer import TransferWorkflow
from workflows.transfer_batch import TransferBatchWorkflow

TASK_QUEUE: Final = "transfers"
CONNECT_SECONDS: Final = 30.0
CONNECT_PAUSE_SECONDS: Final = 0.5
CALL_RETRIES: Final = RetryConfig(max_interval_millis=500, max_elapsed_time_millis=2_000)
"""How long a call is repeated before its failure is told: shorter than by default (10 s), since a
request in flight keeps others out. Its client repeats it, as the server does a worker's task."""

TRUST_WORDS: Final = ("certificate", "Certificate", "HandshakeFailure", "InvalidContentType")
"""What the client's reports of a failed TLS handshake say."""

NO_CERTIFICATE_HINT: Final = (
    "no client certificate was shown; where the server asks for one, "
    "TEMPORAL_TLS_CERT and TEMPORAL_TLS_KEY name it"
)

REGISTRATION_SECONDS: Final = 30.0
HEALTH_TIMEOUT: Final = timedelta(seconds=2)

WORKFLOW_TASK_SLOTS: Final = 100
ACTIVITY_SLOTS: Final = 10
LOCAL_ACTIVITY_SLOTS: Final = 20

GRACEFUL_SHUTDOWN: Final = timedelta(seconds=10)
"""What a stopping worker gives its running activities."""

WORKFLOWS: Final[Sequence[type]] = (
    TransferWorkflow,
    TransferBatchWorkflow,
    ReconciliationWorkflow,
    LedgerCareWorkflow,
    StandingOrderWorkflow,
    StandingOrderReconciliationWorkflow,
)
"""All that a worker runs."""

RECONCILIATION_ID: Final = "reconcile-transfers"
RECONCILIATION_INTERVAL: Final = timedelta(seconds=10)
LEDGER_CARE_ID: Final = "care-for-ledger"
LEDGER_CARE_INTERVAL: Final = timedelta(seconds=10)
STANDING_ORDER_RECONCILIATION_ID: Final = "reconcile-standing-orders"
STANDING_ORDER_RECONCILIATION_INTERVAL: Final = timedelta(seconds=30)


async def connect(address: str, namespace: str) -> Client:
    """Connect to a Temporal without TLS or keys, as ``connect_to`` does."""
    return await connect_to(TemporalAccess(address=address, namespace=namespace))


async def connect_to(
    access: TemporalAccess,
    *,
    interceptors: Sequence[Interceptor] = (),
    runtime: Runtime | None = None,
) -> Client:
    """Connect to Temporal, and wait a while for it where it is just starting.

    Parameters
    ----------
    interceptors
        Of the client, and of the worker that is made with it.
    runtime
        The SDK's own, as ``make_runtime`` gives it; its default by default.

    Raises
    ------
    TemporalUnavailable
        It did not answer within ``CONNECT_SECONDS``, or no connection that both sides trust came
        about; its cause tells more.
    """
    deadline = asyncio.get_running_loop().time() + CONNECT_SECONDS
    while True:
        try:
            return await Client.connect(
                access.address,
                namespace=access.namespace,
                data_converter=access.converter,
                interceptors=interceptors,
                runtime=runtime,
                retry_config=CALL_RETRIES,
                tls=access.tls,
                api_key=access.api_key,
            )
        except RuntimeError as error:
            if asyncio.get_running_loop().time() > deadline or _is_about_trust(error):
                raise TemporalUnavailable from _with_hint(error, access)
        await asyncio.sleep(CONNECT_PAUSE_SECONDS)


def _is_about_trust(error: RuntimeError) -> bool:
    """Tell whether a connection failed of certificates, which waiting does not mend."""
    return any(word in str(error) for word in TRUST_WORDS)


def _with_hint(error: RuntimeError, access: TemporalAccess) -> RuntimeError:
    """Name what a server may miss that hangs up on TLS: how that reads is left to chance."""
    if not isinstance(access.tls, TLSConfig) or access.tls.client_cert is not None:
        return error
    return RuntimeError(f"{error} ({NO_CERTIFICATE_HINT})")


async def is_reachable(client: Client) -> bool:
    """Tell whether Temporal answers within ``HEALTH_TIMEOUT``."""
    with suppress(RPCError, TimeoutError):
        # Again where it fails: the server ends connections by their age, also under a call.
        async with asyncio.timeout(HEALTH_TIMEOUT.total_seconds()):
            return await client.service_client.check_health(retry=True)
    return False


def make_worker(
    client: Client,
    *,
    transactions: TransactionService,
    operations: OperationService,
    standing_orders: StandingOrderService,
    standing_order_runs: StandingOrderRunService,
    batches: BatchService,
    batch_posting: BatchPostingService,
    database: Database,
    gateway: TransferGateway,
    task_queue: str = TASK_QUEUE,
    workflow_runner: WorkflowRunner | None = None,
    deployment: WorkerDeploymentConfig | None = None,
) -> Worker:
    """Make a worker for all workflows and activities.

    Parameters
    ----------
    workflow_runner
        Without a sandbox by default: workflow modules import only contracts and the domain, which
        import-linter holds, and the sandbox costs some milliseconds a workflow.
    deployment
        The version that the worker is of; none by default. See docs/deployment.md.
    """
    transfers = TransferActivities(transactions)
    resting = RestingActivities(transactions, operations)
    orders = StandingOrderActivities(
        orders=standing_orders,
        runs=standing_order_runs,
        transactions=transactions,
        schedules=StandingOrderSchedules(client, task_queue=task_queue),
        closed_status=gateway.closed_status,
        carry_on=gateway.carry_on,
    )
    batch_steps = BatchActivities(batch_posting)
    stuck = StuckService(database, OperationsGateway(client, task_queue=task_queue))
    proofs = LedgerProofService(database)
    reconciliation = ReconciliationActivities(
        transactions,
        batches,
        batch_posting,
        closed_status=gateway.closed_status,
        open_workflow_ids=gateway.open_workflow_ids,
        batch_workflows=BatchGateway(client, task_queue=task_queue),
        carry_on=gateway.carry_on,
        take_sample=SampleService(database, stuck, proofs).take,
    )
    care = LedgerCareActivities(
        seals=SealService(database),
        proofs=proofs,
        orphan_holds=OrphanHoldService(database),
        idle_workflows=IdleWorkflowService(
            database,
            transactions,
            closed_status=gateway.closed_status,
            open_workflow_ids=gateway.open_workflow_ids,
            open_batch_workflow_ids=gateway.open_batch_workflow_ids,
            cancel=WorkflowCanceller(client).cancel,
        ),
    )
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=[
            transfers.reserve_funds,
            transfers.post_entries,
            transfers.finalise,
            transfers.compensate,
            resting.schedule,
            resting.expire,
            resting.carry_out_operation,
            batch_steps.post_batch_chunks,
            batch_steps.stop_batch,
            reconciliation.resolve_abandoned_transfers,
            care.seal_ledger,
            care.resolve_leftovers,
            care.prove_ledger_slices,
            orders.prepare_standing_order_run,
            orders.settle_standing_order_run,
            orders.reconcile_standing_orders,
        ],
        workflow_runner=workflow_runner or UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=WORKFLOW_TASK_SLOTS,
        max_concurrent_activities=ACTIVITY_SLOTS,
        max_concurrent_local_activities=LOCAL_ACTIVITY_SLOTS,
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
        deployment_config=deployment,
        # What the SDK calls debugging: workflow code runs on the loop's own thread. See
        # docs/decisions/0011-workflows-on-the-loop.md.
        debug_mode=True,
    )


async def set_up_temporal(client: Client) -> None:
    """Register what transfers need in Temporal: search attributes and the reconciliations.

    Notes
    -----
    Safe to repeat, also from many processes at once. Where the namespace does not let this client
    register search attributes, they must be there: it is logged, and starts would fail.
    """
    try:
        await ensure_search_attributes(client, SEARCH_ATTRIBUTE_NAMES)
    except RPCError as error:
        if error.status not in {
            RPCStatusCode.PERMISSION_DENIED,
            RPCStatusCode.UNIMPLEMENTED,
            RPCStatusCode.ALREADY_EXISTS,
        }:
            raise
        structlog.get_logger("temporal").warning(
            "search_attributes_not_registered", names=SEARCH_ATTRIBUTE_NAMES, reason=error.message
        )
    await ensure_reconciliation(client)


async def ensure_search_attributes(client: Client, names: Sequence[str]) -> None:
    """Register the custom search attributes that are missing, as Keywords.

    Raises
    ------
    TemporalUnavailable
        The server does not take them into use within ``REGISTRATION_SECONDS``.

    Notes
    -----
    A server takes a moment until it knows what it registered, and refuses starts until then.
    """
    known = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    missing = [name for name in names if name not in known.custom_attributes]
    if not missing:
        return
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=client.namespace,
            search_attributes=dict.fromkeys(missing, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
        )
    )
    deadline = asyncio.get_running_loop().time() + REGISTRATION_SECONDS
    while not await _can_search(client, missing):
        if asyncio.get_running_loop().time() > deadline:
            raise TemporalUnavailable
        await asyncio.sleep(CONNECT_PAUSE_SECONDS)


async def _can_search(client: Client, names: Sequence[str]) -> bool:
    try:
        await client.count_workflows(" AND ".join(f"{name} = ''" for name in names))
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            return False
        raise
    return True


async def ensure_reconciliation(client: Client, *, task_queue: str = TASK_QUEUE) -> None:
    """Create the schedules of the reconciliations, unless they are there."""
    for schedule_id, workflow, interval in (
        (RECONCILIATION_ID, ReconciliationWorkflow.run, RECONCILIATION_INTERVAL),
        (LEDGER_CARE_ID, LedgerCareWorkflow.run, LEDGER_CARE_INTERVAL),
        (
            STANDING_ORDER_RECONCILIATION_ID,
            StandingOrderReconciliationWorkflow.run,
            STANDING_ORDER_RECONCILIATION_INTERVAL,
        ),
    ):
        schedule = Schedule(
            action=ScheduleActionStartWorkflow(workflow, id=schedule_id, task_queue=task_queue),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=interval)]),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=interval),
        )
        with suppress(ScheduleAlreadyRunningError):
            await client.create_schedule(schedule_id, schedule)
