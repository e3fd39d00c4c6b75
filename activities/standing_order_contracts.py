"""What the workflows of standing orders and their activities say to each other.

As in ``activities.contracts``: fields may be added with a default, never renamed.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from temporalio import activity

from activities.contracts import FailureDetails, TransferInput
from domain.standing_orders import RunState


@dataclass(frozen=True, slots=True)
class StandingOrderKey:
    """Which order a schedule belongs to."""

    order_id: UUID


@dataclass(frozen=True, slots=True)
class StandingOrderRunKey:
    """Which run of an order: the one of a time that its schedule gave."""

    order_id: UUID
    scheduled_at: datetime


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What the database says of a run.

    Parameters
    ----------
    failure
        Why it failed or was skipped.
    """

    state: RunState
    transfer_id: UUID | None = None
    failure: FailureDetails | None = None


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run on record.

    Parameters
    ----------
    transfer
        What it is to move; ``None`` where nothing (more) is to be done.
    """

    outcome: RunOutcome
    transfer: TransferInput | None = None


@dataclass(frozen=True, slots=True)
class StandingOrdersReport:
    """What one reconciliation of the orders with their schedules found and did.

    Parameters
    ----------
    orders
        Orders that are not over.
    aligned
        Schedules that were made, paused, resumed or removed.
    ended
        Orders whose end has passed.
    settled
        Runs that had lost their workflow, and got their outcome.
    """

    orders: int
    aligned: int
    ended: int
    settled: int


class StandingOrderSteps(ABC):
    """The steps of a run, and the reconciliation. Each repeats to the same result."""

    @activity.defn(name="prepare_standing_order_run")
    @abstractmethod
    async def prepare_standing_order_run(self, run: StandingOrderRunKey) -> PreparedRun:
        """Decide whether the run is made, and record that."""

    @activity.defn(name="settle_standing_order_run")
    @abstractmethod
    async def settle_standing_order_run(self, run: StandingOrderRunKey) -> RunOutcome:
        """Record what became of the run's transfer; fails while that is not known."""

    @activity.defn(name="reconcile_standing_orders")
    @abstractmethod
    async def reconcile_standing_orders(self) -> StandingOrdersReport:
        """Bring schedules in line with the orders, and settle runs that lost their workflow."""
