"""The walk of an operator's action: plan, audit, effect."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import TransferInput
from activities.orders import input_of, operation_input_of
from domain.audit import Actor
from domain.errors import (
    AlreadyFailed,
    BatchCancelled,
    DomainError,
    OperationConflict,
    ServiceUnavailable,
    TemporalUnavailable,
)
from domain.ids import ApiKeyId, BatchId, TransferId
from domain.limits import OPERATOR_ACTION_ITEMS_MAXIMUM, OPERATOR_ACTIONS_AT_ONCE
from domain.operator_actions import ActionOutcome, ActionPlan, ActionResult, plan_of
from domain.stuck import Judgement, OperatorAction, StuckCause, StuckKind, WorkflowSight
from domain.transfers import Failure, Transfer
from persistence.stuck import StuckFilter, StuckOrder
from services.batch_posting import BatchPostingService
from services.operations import OperationService
from services.operator_actions import OperatorActionService, cancel_order, order_again
from services.stuck import StuckService
from services.transactions import TransactionService
from workflows.gateway import OperationRefused, TransferGateway, WorkflowClosed
from workflows.operations_gateway import OperationsGateway

CANCEL_SECONDS: Final = 3.0
"""How long a workflow is given to carry a cancel out before the database is asked directly."""


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """What an operator asks for, and why.

    Parameters
    ----------
    kind
        What it is to be done with; ``None`` for whatever has the id.
    is_preview
        Tell what would happen, and change nothing.
    """

    action: OperatorAction
    reason: str
    actor: Actor
    requested_by: ApiKeyId
    kind: StuckKind | None = None
    is_preview: bool = False


_UNANSWERING: Final = frozenset({StuckCause.WORKFLOW_TASK_FAILING, StuckCause.NO_WORKER})
"""Causes for which a workflow would not answer."""

Effect: TypeAlias = Callable[[Judgement, ActionRequest], Awaitable[ActionPlan]]


class OperatorDesk:
    """Carries out what operators ask for.

    Notes
    -----
    An action is judged by what database and Temporal say now. Its audit row is committed before
    anything is done, for Temporal forgets the reason. Every effect on money is a step of the
    saga, decided under the lock of the transfer or batch, so that an action may be repeated, may
    run beside the workflow and beside another action, and never moves money twice.
    """

    def __init__(
        self,
        *,
        stuck: StuckService,
        actions: OperatorActionService,
        transactions: TransactionService,
        operations: OperationService,
        batch_posting: BatchPostingService,
        gateway: TransferGateway,
        control: OperationsGateway,
    ) -> None:
        self._stuck = stuck
        self._actions = actions
        self._transactions = transactions
        self._operations = operations
        self._batch_posting = batch_posting
        self._gateway = gateway
        self._control = control
        self._effects: Final[Mapping[OperatorAction, Effect]] = {
            OperatorAction.RETRY: self._retry,
            OperatorAction.PAUSE: self._pause,
            OperatorAction.RESUME: self._resume,
            OperatorAction.CANCEL: self._cancel,
            OperatorAction.RESOLVE: self._resolve,
            OperatorAction.RESTART: self._restart,
        }

    async def act(self, item_id: UUID, request: ActionRequest) -> ActionResult:
        """Do one thing with a transfer or batch, or an order's run, or tell what it would do.

        Parameters
        ----------
        item_id
            Of a standing order, its oldest run that is under way is meant.

        Raises
        ------
        TransferNotFound
            No tenant has such a thing.
        DatabaseUnavailable, TemporalUnavailable
            Whether it was done is not known; the same action may be sent again.
        """
        found = await self._stuck.find(item_id, request.kind)
        plan = plan_of(found, request.action)
        if plan.outcome is ActionOutcome.WOULD_BE_DONE and not request.is_preview:
            await self._actions.record(found, request.action, request.reason, request.actor)
            plan = await self._done(found, request)
        return ActionResult(item_id, request.action, plan, found)

    async def act_on_all(
        self, item_ids: Sequence[UUID], request: ActionRequest
    ) -> list[ActionResult]:
        """Do one thing with several, some at a time; none keeps another from it."""
        turns = asyncio.Semaphore(OPERATOR_ACTIONS_AT_ONCE)

        async def one(item_id: UUID) -> ActionResult:
            async with turns:
                try:
                    return await self.act(item_id, request)
                except DomainError as error:
                    return ActionResult(item_id, request.action, _plan_of_error(error))

        return await asyncio.gather(*(one(each) for each in dict.fromkeys(item_ids)))

    async def selection(
        self, wanted: StuckFilter, cause: StuckCause | None
    ) -> tuple[list[UUID], bool]:
        """Choose of what is stuck, oldest first, and tell whether there are more."""
        page = await self._stuck.page(
            wanted,
            StuckOrder.AGE,
            cause=cause,
            after=None,
            limit=OPERATOR_ACTION_ITEMS_MAXIMUM,
        )
        return [item.candidate.id for item in page.items], page.next_position is not None

    async def _done(self, found: Judgement, request: ActionRequest) -> ActionPlan:
        try:
            return await self._effects[request.action](found, request)
        except OperationRefused as refused:
            return _refused(refused.failure.code, refused.failure.message)
        except OperationConflict as conflict:
            return _refused(conflict.code, conflict.message)

    async def _retry(self, found: Judgement, _request: ActionRequest) -> ActionPlan:
        count = await self._control.retry(_sight(found))
        return _counted(count, "tried again at once")

    async def _pause(self, found: Judgement, request: ActionRequest) -> ActionPlan:
        count = await self._control.pause(_sight(found), request.reason)
        return _counted(count, "paused")

    async def _resume(self, found: Judgement, request: ActionRequest) -> ActionPlan:
        count = await self._control.resume(_sight(found), request.reason)
        return _counted(count, "resumed")

    async def _cancel(self, found: Judgement, request: ActionRequest) -> ActionPlan:
        """Let the workflow cancel it; where that does not answer, let the database."""
        candidate, sight = found.candidate, _sight(found)
        if candidate.kind is StuckKind.BATCH:
            return await self._stop_batch(found, request.reason)
        if not candidate.is_recorded:
            await self._control.request_cancel(sight, request.reason)
            return ActionPlan(
                ActionOutcome.UNDER_WAY, "Its workflow is asked to give it up with its first step."
            )
        order = cancel_order(candidate, request.reason, request.requested_by, request.actor)
        is_done = False
        if sight.is_open and not sight.is_paused and found.cause not in _UNANSWERING:
            try:
                is_done = await self._gateway.operate(
                    sight.workflow_id, operation_input_of(order), wait_seconds=CANCEL_SECONDS
                )
            except WorkflowClosed:
                is_done = False
        transfer = await self._operations.carry_out(order)
        await (self._let_end if is_done else self._close)(sight.workflow_id, request.reason)
        return _ended(transfer)

    async def _stop_batch(self, found: Judgement, reason: str) -> ActionPlan:
        """Stop a batch in the database, as its workflow does; that then finds it at its end."""
        candidate = found.candidate
        batch = await self._batch_posting.stop(
            candidate.tenant_id, BatchId(candidate.id), Failure.of(BatchCancelled())
        )
        end = self._close if found.cause in _UNANSWERING else self._let_end
        await end(candidate.workflow_id, reason)
        counts = batch.counts
        return ActionPlan(
            ActionOutcome.DONE,
            f"It is {batch.stage}: rows posted {counts.succeeded}, cancelled {counts.cancelled}.",
        )

    async def _let_end(self, workflow_id: str, reason: str) -> None:
        """Wake what the workflow still waits for, so that it sees that its work has ended."""
        sight = await self._control.look(workflow_id)
        if sight.is_open:
            await self._control.resume(sight, reason)
            await self._control.retry(sight)

    async def _close(self, workflow_id: str, reason: str) -> None:
        """End the workflow of what has its outcome, whichever run of it is open."""
        sight = await self._control.look(workflow_id)
        if sight.is_open:
            await self._control.terminate(sight, reason)

    async def _resolve(self, found: Judgement, request: ActionRequest) -> ActionPlan:
        """End it in the database first: what the workflow still does then finds it ended."""
        candidate = found.candidate
        transfer = await self._transactions.compensate(
            candidate.tenant_id,
            TransferId(candidate.id),
            self._actions.resolution(request.reason),
        )
        await self._close(candidate.workflow_id, request.reason)
        return _ended(transfer)

    async def _restart(self, found: Judgement, _request: ActionRequest) -> ActionPlan:
        candidate = found.candidate
        transfer = await self._transactions.get(candidate.tenant_id, TransferId(candidate.id))
        if transfer.is_final:
            return ActionPlan(ActionOutcome.NOTHING_TO_DO, f"It is {transfer.stage}, for ever.")
        run_id = await self._control.restart(await self._first_order(transfer))
        return ActionPlan(ActionOutcome.DONE, f"Run {run_id} of its workflow goes on with it.")

    async def _first_order(self, transfer: Transfer) -> TransferInput:
        """Read what the workflow was started with; where that is lost, what is recorded of it."""
        try:
            return await self._gateway.order_of(transfer.workflow_id)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return input_of(order_again(transfer))


def _sight(found: Judgement) -> WorkflowSight:
    if found.sight is None:
        raise TemporalUnavailable
    return found.sight


def _counted(count: int, verb: str) -> ActionPlan:
    if not count:
        return ActionPlan(ActionOutcome.NOTHING_TO_DO, "It has moved on by itself meanwhile.")
    return ActionPlan(ActionOutcome.DONE, f"Pending: {count}, {verb}.")


def _ended(transfer: Transfer) -> ActionPlan:
    failure = transfer.failure
    how = f"FAILED with {failure.code}" if failure else transfer.state.value
    return ActionPlan(ActionOutcome.DONE, f"It is {how}.")


def _refused(code: str, message: str) -> ActionPlan:
    """Say what the database said: what has failed before needs no cancel."""
    if code == AlreadyFailed.code:
        return ActionPlan(ActionOutcome.NOTHING_TO_DO, message)
    return ActionPlan(ActionOutcome.REFUSED, message, code)


def _plan_of_error(error: DomainError) -> ActionPlan:
    is_unknown = isinstance(error, ServiceUnavailable)
    outcome = ActionOutcome.FAILED if is_unknown else ActionOutcome.REFUSED
    return ActionPlan(outcome, error.message, error.code)
