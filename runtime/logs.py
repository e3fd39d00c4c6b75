"""Logs as one JSON object a line, to standard error."""

import logging
import re
import sys
from typing import Any, Final

import structlog
from opentelemetry import trace

_ROW_DETAIL: Final = re.compile(
    r"DETAIL:.*?(?=\n(?:CONTEXT:|HINT:|\[SQL|\nThe above|\nDuring handling|Traceback )|\Z)",
    re.DOTALL,
)
OWN_LOGGERS: Final = ("api", "issuer", "metrics", "temporal", "tracing", "transfers", "worker")


def configure_logs(level: str) -> None:
    """Send this process's logs, libraries' too, to standard error as JSON.

    Notes
    -----
    Libraries say nothing below INFO: Temporal's SDK writes whole payloads at DEBUG, with what
    clients have said of themselves.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_trace,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.format_exc_info,
            _without_rows,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _without_rows,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(handlers=[handler], level=max(number, logging.INFO), force=True)
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(number)


def _with_trace(
    _logger: Any, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    """Name the trace that a line belongs to, where there is one."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def _without_rows(
    _logger: Any, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    """Leave out what PostgreSQL tells of rows: the names and descriptions in them."""
    if isinstance(told := event.get("exception"), str):
        event["exception"] = _ROW_DETAIL.sub("DETAIL: left out", told)
    return event
