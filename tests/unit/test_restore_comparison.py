"""When a restored database is said to be whole again."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from domain.ids import (
    BatchId,
    StandingOrderId,
    TenantId,
    batch_workflow_id,
    parse_batch_workflow_id,
    workflow_id,
)
from domain.standing_orders import (
    RunState,
    StandingOrderRun,
    parse_run_workflow_id,
    run_workflow_id,
)
from runtime.comparison import Comparison
from runtime.lost_batches import LostBatch
from runtime.lost_runs import LostRun

ID = UUID("01890000-0000-7000-8000-000000000001")
MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
BATCH = LostBatch(TenantId(ID), BatchId(ID), None, None, MOMENT)
LOST = LostRun(StandingOrderId(ID), MOMENT, None, None, MOMENT)
RECORDED = StandingOrderRun(
    StandingOrderId(ID), TenantId(ID), MOMENT, RunState.SKIPPED, None, None, MOMENT, MOMENT
)
LATER = replace(RECORDED, scheduled_at=MOMENT.replace(hour=13))


@pytest.mark.parametrize(
    ("found", "is_whole"),
    [
        (Comparison(), True),
        (Comparison(batches=[BATCH]), False),
        (Comparison(runs=[LOST]), False),
        (Comparison(runs=[LOST], recorded=[LATER]), False),
        (Comparison(runs=[LOST], recorded=[RECORDED]), True),
    ],
)
def test_nothing_is_whole_while_a_batch_or_a_run_is_lost(
    found: Comparison, *, is_whole: bool
) -> None:
    assert found.is_whole is is_whole


def test_batches_and_runs_are_known_by_their_workflows_names() -> None:
    tenant, batch, order = TenantId(ID), BatchId(UUID(int=7)), StandingOrderId(ID)
    assert parse_batch_workflow_id(batch_workflow_id(tenant, batch)) == (tenant, batch)
    assert parse_batch_workflow_id(workflow_id(tenant, f"{ID}/{ID}")) is None
    assert parse_run_workflow_id(run_workflow_id(order, MOMENT)) == (order, MOMENT)
    assert parse_run_workflow_id(f"standing-order/{ID}-soon") is None
