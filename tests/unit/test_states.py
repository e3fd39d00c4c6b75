import pytest

from domain.errors import IllegalTransition
from domain.states import (
    TRANSITIONS,
    ProcessState,
    TransferStage,
    require_transition,
    state_of,
)

ALLOWED = {
    ("ACCEPTED", "SCHEDULED"),
    ("ACCEPTED", "AWAITING_APPROVAL"),
    ("ACCEPTED", "RESERVED"),
    ("ACCEPTED", "FAILED"),
    ("SCHEDULED", "AWAITING_APPROVAL"),
    ("SCHEDULED", "RESERVED"),
    ("SCHEDULED", "FAILED"),
    ("AWAITING_APPROVAL", "RESERVED"),
    ("AWAITING_APPROVAL", "FAILED"),
    ("RESERVED", "POSTED"),
    ("RESERVED", "FAILED"),
    ("POSTED", "COMPLETED"),
}


@pytest.mark.parametrize("current", TransferStage)
@pytest.mark.parametrize("target", TransferStage)
def test_only_the_tables_changes_are_allowed(current: TransferStage, target: TransferStage) -> None:
    if (current.value, target.value) in ALLOWED:
        require_transition(current, target)
    else:
        with pytest.raises(IllegalTransition, match=f"{current} cannot go to {target}"):
            require_transition(current, target)


def test_every_stage_has_its_state_and_its_place_in_the_table() -> None:
    assert {stage.value: state_of(stage).value for stage in TransferStage} == {
        "ACCEPTED": "PROCESSING",
        "SCHEDULED": "PROCESSING",
        "AWAITING_APPROVAL": "PROCESSING",
        "RESERVED": "PROCESSING",
        "POSTED": "PROCESSING",
        "COMPLETED": "SUCCESS",
        "FAILED": "FAILED",
    }
    assert TRANSITIONS.keys() == set(TransferStage)


@pytest.mark.parametrize("stage", TransferStage)
def test_a_stage_is_final_exactly_where_nothing_follows(stage: TransferStage) -> None:
    assert (not TRANSITIONS[stage]) == (state_of(stage) is not ProcessState.PROCESSING)


def test_what_is_posted_can_only_be_completed() -> None:
    assert TRANSITIONS[TransferStage.POSTED] == {TransferStage.COMPLETED}
