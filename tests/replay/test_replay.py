"""Workflows go through the histories of their earlier runs without a difference."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.contracts import (
    BatchKey,
    BatchProgress,
    BatchSteps,
    FailureDetails,
    ReconciliationReport,
    StopInput,
    TransferInput,
    TransferProgress,
    TransferSteps,
)
from activities.ledger_contracts import (
    LedgerCareReport,
    ProofResult,
    ResolutionResult,
    SealingResult,
)
from activities.standing_order_contracts import (
    RunOutcome,
    StandingOrderKey,
    StandingOrderRunKey,
    StandingOrdersReport,
    StandingOrderSteps,
)
from runtime.temporal import WORKFLOWS
from tests.replay.record import CHECKSUMS, SCENARIOS, keep_history, path_of
from tests.replay.record import HISTORIES as FOLDER
from workflows.transfer import DURABLE_ATTEMPT_TIMEOUT

HISTORIES = sorted(FOLDER.glob("*.json"))
RUNNERS = {"unsandboxed": UnsandboxedWorkflowRunner, "sandboxed": SandboxedWorkflowRunner}


def listed() -> Mapping[str, str]:
    """Give the checksums of all histories that were ever recorded, by the files' names."""
    lines = (FOLDER / CHECKSUMS).read_text().splitlines()
    return {name: checksum for checksum, name in (line.split("  ") for line in lines)}


def name_of(kind: type) -> str:
    """Give the name under which Temporal knows a workflow."""
    name = workflow._Definition.must_from_class(kind).name  # noqa: SLF001 - it has no public way
    assert name is not None
    return name


def history(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text())


def test_there_are_histories_of_every_way_a_transfer_can_go() -> None:
    assert {path_of(scenario) for scenario in SCENARIOS} <= set(HISTORIES)
    assert {path.stem for path in HISTORIES} >= {
        f"batch-{name}" for name in ("posted", "retried", "continued", "cancelled", "signalled")
    }


def test_there_are_histories_of_every_way_a_standing_order_can_go() -> None:
    assert {path.stem for path in HISTORIES} >= {
        f"standing-order-{name}"
        for name in ("made", "skipped", "found", "terminated", "reconciled")
    } | {"reconciliation", "ledger-care"}


def test_each_history_that_was_ever_recorded_is_there_as_it_was() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in HISTORIES}
    assert found == listed()


def test_each_workflow_that_workers_run_has_histories() -> None:
    recorded = {
        history(path).events[0].workflow_execution_started_event_attributes.workflow_type.name
        for path in HISTORIES
    }
    assert {name_of(kind) for kind in WORKFLOWS} == recorded


def test_a_history_recorded_again_is_a_further_version(tmp_path: Path) -> None:
    names = [keep_history(tmp_path, "transfer-fast", text).name for text in ("1", "2", "3")]
    assert names == ["transfer-fast.json", "transfer-fast.2.json", "transfer-fast.3.json"]
    assert [(tmp_path / name).read_text() for name in names] == ["1", "2", "3"]
    assert len((tmp_path / CHECKSUMS).read_text().splitlines()) == len(names)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_workflow_replays(path: Path, runner: str) -> None:
    replayer = Replayer(workflows=WORKFLOWS, workflow_runner=RUNNERS[runner]())

    result = await replayer.replay_workflow(history(path), raise_on_replay_failure=False)

    assert result.replay_failure is None


@workflow.defn(name="TransferWorkflow")
class ChangedWorkflow:
    """A workflow that does something else first, as no new version may."""

    @workflow.run
    async def run(self, order: TransferInput) -> TransferProgress:
        return await workflow.execute_activity_method(
            TransferSteps.reserve_funds, order, start_to_close_timeout=DURABLE_ATTEMPT_TIMEOUT
        )


@workflow.defn(name="StandingOrderWorkflow")
class ChangedStandingOrder:
    """One that settles a run without preparing it."""

    @workflow.run
    async def run(self, order: StandingOrderKey) -> RunOutcome:
        return await workflow.execute_activity_method(
            StandingOrderSteps.settle_standing_order_run,
            StandingOrderRunKey(order.order_id, workflow.now()),
            start_to_close_timeout=DURABLE_ATTEMPT_TIMEOUT,
        )


@workflow.defn(name="StandingOrderReconciliationWorkflow")
class ChangedReconciliation:
    """One that does nothing."""

    @workflow.run
    async def run(self) -> StandingOrdersReport:
        return StandingOrdersReport(0, 0, 0, 0)


@workflow.defn(name="ReconciliationWorkflow")
class ChangedTransferReconciliation:
    """One that does nothing."""

    @workflow.run
    async def run(self) -> ReconciliationReport:
        return ReconciliationReport(0, 0)


@workflow.defn(name="LedgerCareWorkflow")
class ChangedLedgerCare:
    """One that does nothing."""

    @workflow.run
    async def run(self) -> LedgerCareReport:
        return LedgerCareReport(
            SealingResult(0, 0, 0), ResolutionResult(0, 0, 0), ProofResult(0, 0)
        )


@workflow.defn(name="TransferBatchWorkflow")
class ChangedBatch:
    """One that stops a batch before anything of it is posted."""

    @workflow.run
    async def run(self, batch: BatchKey) -> BatchProgress:
        return await workflow.execute_activity_method(
            BatchSteps.stop_batch,
            StopInput(batch, FailureDetails("changed", "by the test")),
            start_to_close_timeout=DURABLE_ATTEMPT_TIMEOUT,
        )


CHANGED = (
    ChangedWorkflow,
    ChangedBatch,
    ChangedStandingOrder,
    ChangedReconciliation,
    ChangedTransferReconciliation,
    ChangedLedgerCare,
)


def test_each_workflow_that_workers_run_is_changed_here() -> None:
    assert {name_of(kind) for kind in CHANGED} == {name_of(kind) for kind in WORKFLOWS}


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_changed_workflow_is_found_out(path: Path) -> None:
    replayer = Replayer(workflows=CHANGED, workflow_runner=UnsandboxedWorkflowRunner())

    result = await replayer.replay_workflow(history(path), raise_on_replay_failure=False)

    assert result.replay_failure is not None
