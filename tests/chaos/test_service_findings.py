"""What the service finds or says itself, the proof of a run names as well."""

import pytest

from persistence.verification import Violation as Broken
from services.seal_verification import SealProof
from services.verification import Check, VerificationReport
from tests.chaos.campaign import found_by_service
from tests.chaos.checker import Trouble
from tests.chaos.logs import is_unexpected


def proof(*broken: Broken, seals: tuple[Broken, ...] = ()) -> VerificationReport:
    """Make up what ``transfers verify`` finds."""
    sealed = SealProof(1, 2, 0, 1, "ff", None, seals, 0)
    return VerificationReport((Check(2, "balances", "They fit.", 2, broken),), sealed)


def test_what_the_proof_of_the_service_finds_is_named() -> None:
    broken = Broken("account 1", "has 5: its entries sum to 4")
    assert found_by_service(proof(), []) == []
    for found in (proof(broken), proof(seals=(broken,))):
        [violation] = found_by_service(found, [])
        assert violation.trouble is Trouble.INVARIANT
        assert violation.message == f"{broken.subject} {broken.message}"


def test_errors_in_the_logs_are_named() -> None:
    [violation] = found_by_service(proof(), ["api-1: unexpected_error"])
    assert violation.trouble is Trouble.ERROR


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "unexpected_error", "level": "error", "logger": "api"}',
        '{"event": "Failed completing", "level": "error", "logger": "temporalio.worker"}',
        (
            '{"event": "Completing activity as failed", "level": "warning",'
            ' "exception": "Traceback\\n  File\\nKeyError: 1"}'
        ),
        "Traceback (most recent call last):",
    ],
)
def test_a_line_that_nobody_foresaw_is_known(line: str) -> None:
    assert is_unexpected(line)


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "request", "level": "warning", "logger": "api", "status": 503}',
        '{"event": "retried", "level": "error", "logger": "temporalio.core"}',
        (
            '{"event": "Completing activity as failed", "level": "warning",'
            ' "exception": "Traceback\\ndomain.errors.DatabaseUnavailable: away"}'
        ),
        (
            '{"event": "Completing activity as failed", "level": "warning",'
            ' "exception": "Traceback\\nasyncio.exceptions.CancelledError: Activity cancelled"}'
        ),
        "The database cannot be reached.",
    ],
)
def test_a_line_that_tells_of_a_server_that_is_away_is_none(line: str) -> None:
    assert not is_unexpected(line)
