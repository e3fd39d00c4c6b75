"""The composition root: what a process is made of."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import structlog
from temporalio.client import Client, Interceptor
from temporalio.worker import Worker

from api.batch_intake import BatchIntake
from api.console.desk import ConsoleDesk
from api.context import ApiContext, Readiness
from api.evidence.desk import EvidenceDesk
from api.operator_desk import OperatorDesk
from api.payload_desk import CodecSessions, PayloadDesk
from api.rates import RateLimits, RateTable
from api.standing_order_desk import StandingOrderDesk
from api.statements.desk import StatementDesk
from api.transfer_intake import TransferIntake
from api.transfer_operations import TransferOperations
from domain.errors import DatabaseUnavailable
from domain.transfers import Transfer
from persistence.connection_limits import DatabaseLimits
from persistence.database import Database
from runtime.checkpoint_keys import read_checkpoint_key
from runtime.dependencies import look_at
from runtime.issuer import open_issuer
from runtime.loading import settle_memory
from runtime.metrics import count_outcome, count_rows, serve_metrics
from runtime.migrations import require_current_schema, schema_problem
from runtime.settings import Settings
from runtime.step_context import StepContext
from runtime.temporal import (
    TASK_QUEUE,
    connect_to,
    is_reachable,
    make_worker,
    set_up_temporal,
)
from runtime.temporal_access import TemporalAccess
from runtime.temporal_runtime import make_runtime
from runtime.tracing import tracing
from runtime.worker_versions import deployment_of
from services.access import AccessService
from services.accounts import AccountService
from services.approval_rules import ApprovalRuleService
from services.audit import AuditService
from services.authentication import AuthenticationService
from services.balances import BalanceService
from services.batch_posting import BatchPostingService
from services.batches import BatchService
from services.console_sessions import ConsoleSessionService
from services.endings import EndingService
from services.evidence import EvidenceService
from services.figures import FigureService
from services.idempotency import IdempotencyService
from services.ledger import LedgerService
from services.ledger_proofs import LedgerProofService
from services.ledger_seals import SealService
from services.limits import LimitService
from services.operations import OperationService
from services.operator_actions import OperatorActionService
from services.outcomes import OutcomeBoard
from services.overview import OverviewService
from services.reservations import ReservationService
from services.standing_order_runs import StandingOrderRunService
from services.standing_orders import StandingOrderService
from services.statements import StatementService
from services.stuck import StuckService
from services.transactions import TransactionService
from services.transfer_details import TransferDetailService
from services.transfer_requests import TransferRequestService
from workflows.batch_gateway import BatchGateway
from workflows.gateway import TransferGateway
from workflows.history import HistoryReader
from workflows.operations_gateway import OperationsGateway
from workflows.standing_order_schedules import StandingOrderSchedules

CONNECTIONS: Final = DatabaseLimits().connections
"""Database connections that a process holds at most, whatever it runs."""

THREAD_SWITCH_SECONDS: Final = 0.0005
"""After this long a busy thread lets another one of its process run; Python's default is ten times
as long. A batch's rows are decided in a thread while the event loop feeds PostgreSQL, which stood
idle each time that the loop waited for its turn."""


@dataclass(frozen=True, slots=True)
class Services:
    """The services over one database."""

    database: Database
    access: AccessService
    audit: AuditService
    accounts: AccountService
    balances: BalanceService
    ledger: LedgerService
    requests: TransferRequestService
    statements: StatementService
    transactions: TransactionService
    operations: OperationService
    approval_rules: ApprovalRuleService
    limits: LimitService
    standing_orders: StandingOrderService
    standing_order_runs: StandingOrderRunService
    batches: BatchService
    batch_posting: BatchPostingService
    figures: FigureService
    seals: SealService
    proofs: LedgerProofService


def make_services(
    database: Database, publish: Callable[[Transfer], None] = lambda _transfer: None
) -> Services:
    """Put the services together.

    Parameters
    ----------
    publish
        Told of each transfer once a step of it is committed.
    """
    idempotency = IdempotencyService()
    balances = BalanceService(database)
    ledger = LedgerService(database)
    endings = EndingService(balances)
    return Services(
        database=database,
        access=AccessService(database),
        audit=AuditService(database),
        accounts=AccountService(database),
        balances=balances,
        ledger=ledger,
        requests=TransferRequestService(database, idempotency),
        statements=StatementService(database),
        transactions=TransactionService(
            database,
            reservations=ReservationService(idempotency),
            balances=balances,
            ledger=ledger,
            endings=endings,
            publish=publish,
        ),
        operations=OperationService(
            database,
            idempotency=idempotency,
            balances=balances,
            ledger=ledger,
            endings=endings,
            publish=publish,
        ),
        approval_rules=ApprovalRuleService(database),
        limits=LimitService(database),
        standing_orders=StandingOrderService(database),
        standing_order_runs=StandingOrderRunService(database),
        batches=BatchService(database),
        batch_posting=BatchPostingService(database, count=count_rows),
        figures=FigureService(database),
        seals=SealService(database),
        proofs=LedgerProofService(database),
    )


@asynccontextmanager
async def open_services(
    database_url: str,
    *,
    publish: Callable[[Transfer], None] | None = None,
    limits: DatabaseLimits | None = None,
) -> AsyncIterator[Services]:
    """Give services over a database, and close its connections afterwards.

    Raises
    ------
    StaleSchemaError
        The database is at another revision than this code.
    DatabaseUnavailable
        No connection.
    """
    database = Database.at(database_url, limits)
    try:
        await require_current_schema(database)
        yield make_services(database, publish) if publish else make_services(database)
    finally:
        await database.close()


@asynccontextmanager
async def open_api(
    settings: Settings, *, rates: RateTable, on_failure: Callable[[], None]
) -> AsyncIterator[ApiContext]:
    """Give what the API's process works with, a worker beside it included.

    Parameters
    ----------
    rates
        Where the process counts against rate limits.
    on_failure
        Called where the worker fails for good: the process is to end, and to be started again.

    Raises
    ------
    StaleSchemaError, DatabaseUnavailable, TemporalUnavailable
        The process cannot start.
    Exception
        At the end, what the worker failed of.
    """
    outcomes = OutcomeBoard()
    async with (
        tracing(settings, "api") as interceptors,
        open_services(
            settings.connection_url,
            publish=_counted(outcomes.publish),
            limits=settings.database_limits,
        ) as services,
        open_issuer(settings) as issuer,
    ):
        client = await _client(settings, interceptors)
        await set_up_temporal(client)
        gateway = TransferGateway(client, task_queue=TASK_QUEUE)
        intake = TransferIntake(
            requests=services.requests,
            transactions=services.transactions,
            gateway=gateway,
            outcomes=outcomes,
        )
        batch_gateway = BatchGateway(client, task_queue=TASK_QUEUE)
        control = OperationsGateway(client, task_queue=TASK_QUEUE)
        stuck = StuckService(services.database, control)
        history = HistoryReader(client)
        context = ApiContext(
            authentication=AuthenticationService(services.database, issuer.verify),
            rates=RateLimits(rates, failed_logins_per_minute=settings.api_failed_logins_per_minute),
            access=services.access,
            audit=services.audit,
            accounts=services.accounts,
            balances=services.balances,
            ledger=services.ledger,
            statements=StatementDesk(services.statements),
            transactions=services.transactions,
            intake=intake,
            operations=TransferOperations(
                operations=services.operations,
                transactions=services.transactions,
                intake=intake,
                gateway=gateway,
            ),
            approval_rules=services.approval_rules,
            limits=services.limits,
            gateway=gateway,
            standing_orders=StandingOrderDesk(
                orders=services.standing_orders,
                runs=services.standing_order_runs,
                schedules=StandingOrderSchedules(client, task_queue=TASK_QUEUE),
            ),
            figures=services.figures,
            batches=services.batches,
            batch_intake=BatchIntake(batches=services.batches, gateway=batch_gateway),
            console=ConsoleDesk(
                sessions=ConsoleSessionService(services.database),
                overview=OverviewService(services.database),
                details=TransferDetailService(services.database),
                history=history,
                issuer_login=issuer.login,
            ),
            stuck=stuck,
            evidence=EvidenceDesk(EvidenceService(services.database), history),
            operator_desk=OperatorDesk(
                stuck=stuck,
                actions=OperatorActionService(services.database),
                transactions=services.transactions,
                operations=services.operations,
                batch_posting=services.batch_posting,
                gateway=gateway,
                control=control,
            ),
            seals=services.seals,
            proofs=services.proofs,
            checkpoint_key=read_checkpoint_key(settings.checkpoint_key_file),
            readiness=lambda: _readiness(services.database, client),
            dependencies=lambda: look_at(services.database, client, task_queue=TASK_QUEUE),
            workflow_url=lambda workflow_id, run_id: workflow_url(settings, workflow_id, run_id),
            payloads=PayloadDesk(client.data_converter.payload_codec),
            codec_sessions=CodecSessions(ring) if (ring := settings.payload_key_ring) else None,
            temporal_ui_url=settings.temporal_ui_url,
        )
        if not settings.run_worker_in_api:
            yield context
            return
        async with _running(_worker(settings, client, services, gateway), on_failure):
            yield context


async def work_until_stopped(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT.

    Raises
    ------
    StaleSchemaError, DatabaseUnavailable, TemporalUnavailable
        The process cannot start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    serve_metrics(settings)
    async with (
        tracing(settings, "worker") as interceptors,
        open_services(
            settings.connection_url, publish=count_outcome, limits=settings.database_limits
        ) as services,
    ):
        client = await _client(settings, interceptors)
        await set_up_temporal(client)
        gateway = TransferGateway(client, task_queue=TASK_QUEUE)
        async with _worker(settings, client, services, gateway):
            settle_memory()
            structlog.get_logger("worker").info("worker_ready", task_queue=TASK_QUEUE)
            await stop.wait()
            structlog.get_logger("worker").info("worker_stopping")
    structlog.get_logger("worker").info("worker_stopped")


def _counted(publish: Callable[[Transfer], None]) -> Callable[[Transfer], None]:
    def counted(transfer: Transfer) -> None:
        count_outcome(transfer)
        publish(transfer)

    return counted


async def _client(settings: Settings, interceptors: Sequence[Interceptor]) -> Client:
    return await connect_to(
        TemporalAccess.of(settings),
        interceptors=[StepContext(), *interceptors],
        runtime=make_runtime(settings.temporal_metrics_address),
    )


def workflow_url(settings: Settings, workflow_id: str, run_id: str) -> str | None:
    """Give the address of a workflow's page in Temporal's UI; ``None`` where the UI is unknown."""
    if settings.temporal_ui_url is None:
        return None
    return (
        f"{settings.temporal_ui_url.rstrip('/')}/namespaces/{quote(settings.temporal_namespace)}"
        f"/workflows/{quote(workflow_id, safe='')}/{run_id}/history"
    )


def _worker(
    settings: Settings, client: Client, services: Services, gateway: TransferGateway
) -> Worker:
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    return make_worker(
        client,
        transactions=services.transactions,
        operations=services.operations,
        standing_orders=services.standing_orders,
        standing_order_runs=services.standing_order_runs,
        batches=services.batches,
        batch_posting=services.batch_posting,
        database=services.database,
        gateway=gateway,
        deployment=deployment_of(settings),
    )


async def _readiness(database: Database, client: Client) -> Readiness:
    problems: list[str] = []
    try:
        problem = await schema_problem(database)
        if problem is not None:
            problems.append(problem)
    except DatabaseUnavailable as error:
        problems.append(error.message)
    if not await is_reachable(client):
        problems.append("Temporal cannot be reached just now.")
    return Readiness(tuple(problems))


@asynccontextmanager
async def _running(worker: Worker, on_failure: Callable[[], None]) -> AsyncIterator[None]:
    """Run a worker beside the API; what it fails of is raised at the end of the block."""
    running = asyncio.create_task(worker.run())

    def on_end(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            structlog.get_logger("worker").error("worker_failed", exc_info=task.exception())
            on_failure()

    running.add_done_callback(on_end)
    try:
        yield
    finally:
        await worker.shutdown()
        await running
