"""What goes into the log, and what must not."""

import json

import psycopg
import pytest
import structlog

from runtime.logs import configure_logs

ROW = (
    "new row violates check constraint\n"
    "DETAIL:  Failing row contains (1, a secret\npurpose, ada@example.org).\n"
    "CONTEXT:  SQL statement"
)


def raise_error() -> None:
    try:
        raise psycopg.errors.CheckViolation(ROW)
    except psycopg.Error as error:
        raise RuntimeError("the step failed") from error


def test_what_postgresql_tells_of_rows_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO")
    try:
        raise_error()
    except RuntimeError as error:
        structlog.get_logger("api").error("failed", exc_info=error)
    [line] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert "ada@example.org" not in line["exception"]
    assert "purpose" not in line["exception"]
    for text in ("CheckViolation", "DETAIL: left out", "CONTEXT:", "RuntimeError: the step failed"):
        assert text in line["exception"]
