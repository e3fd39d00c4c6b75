"""What ``transfers top`` shows, laid out for a terminal of any width."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.documents import amount_text
from cli.stuck_documents import age_text
from runtime.api_client import Document
from runtime.scrapes import Interval, Scrape

TRANSFERS_ROUTE: Final = "/v1/transfers"
ACCEPTED: Final = ("201", "202")
CODES_SHOWN: Final = 6
QUANTILES: Final = (0.5, 0.99)

_GOOD: Final = "green"
_BAD: Final = "bold red"


@dataclass(frozen=True, slots=True)
class Sight:
    """What was read for one view.

    Parameters
    ----------
    stuck
        The first of what is stuck; ``None`` where the key may not see it.
    """

    interval: Interval
    stuck: Sequence[Document] | None
    has_more_stuck: bool


def view_of(url: str, sight: Sight, *, trouble: str | None = None) -> RenderableType:
    """Lay a view out.

    Parameters
    ----------
    trouble
        Why what is shown is old, where it is.
    """
    interval = sight.interval
    parts: list[RenderableType] = [
        Text(f"{url}  {time.strftime('%H:%M:%S')}  over {interval.seconds:.1f} s"),
        Columns(
            [
                _panel("Rates", _rates(interval)),
                _panel("Latency", _latencies(interval)),
                _panel("In flight", _in_flight(interval.after)),
                _panel("Held", _held(interval.after)),
                _panel("Health", _health(interval.after)),
                _panel("Ledger", _ledger(interval.after)),
            ],
            equal=True,
        ),
        _stuck(sight),
    ]
    if trouble is not None:
        parts.insert(1, Text(f"Not up to date: {trouble}", style=_BAD))
    return Group(*parts)


def _panel(title: str, rows: Iterable[tuple[str, str | Text]]) -> Panel:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for row in rows:
        table.add_row(*row)
    return Panel(table, title=title, title_align="left")


def _rates(interval: Interval) -> Iterable[tuple[str, str | Text]]:
    by_status = interval.per_second_by(
        "status", "transfers_http_requests_total", method="POST", route=TRANSFERS_ROUTE
    )
    accepted = sum(by_status.get(status, 0.0) for status in ACCEPTED)
    by_state = interval.per_second_by("state", "transfers_outcomes_total")
    yield "requests", _rate(interval.per_second("transfers_http_requests_total"))
    yield "accepted", _rate(accepted)
    yield "succeeded", _rate(by_state.get("SUCCESS", 0.0))
    yield "failed", _rate(by_state.get("FAILED", 0.0))
    codes = interval.per_second_by("code", "transfers_outcomes_total", state="FAILED")
    for code, rate in sorted(codes.items(), key=lambda each: -each[1])[:CODES_SHOWN]:
        yield f"  {code}", _rate(rate)
    shed = interval.per_second("transfers_requests_shed_total")
    yield "overloaded", _marked(_rate(shed), is_bad=shed > 0)


def _latencies(interval: Interval) -> Iterable[tuple[str, str | Text]]:
    for name, metric, labels in (
        (
            "POST transfer",
            "transfers_http_request_seconds",
            {"method": "POST", "route": TRANSFERS_ROUTE},
        ),
        ("all requests", "transfers_http_request_seconds", {}),
        ("transfer's life", "transfers_duration_seconds", {}),
    ):
        median, last = interval.quantiles(metric, QUANTILES, **labels)
        yield f"{name} p50", _seconds(median)
        yield f"{name} p99", _seconds(last)


def _in_flight(now: Scrape) -> Iterable[tuple[str, str | Text]]:
    overdue = now.by("stage", "transfers_overdue")
    oldest = now.by("stage", "transfers_processing_oldest_seconds")
    for stage, count in sorted(now.by("stage", "transfers_processing").items()):
        if count:
            text = f"{int(count):,}  {age_text(int(oldest[stage]))}"
            late = int(overdue[stage])
            yield stage, _marked(text + (f"  {late:,} late" if late else ""), is_bad=late > 0)
    yield "batches", f"{int(now.total('transfers_batches_processing')):,}"
    yield "their rows", f"{int(now.total('transfers_batch_rows_pending')):,}"


def _held(now: Scrape) -> Iterable[tuple[str, str | Text]]:
    holds = now.by("currency", "transfers_open_holds")
    for currency, held in sorted(now.by("currency", "transfers_held_minor_units").items()):
        if holds[currency]:
            yield f"{int(holds[currency]):,} holds", amount_text(int(held), currency)
    if not any(holds.values()):
        yield "nothing", ""


def _health(now: Scrape) -> Iterable[tuple[str, str | Text]]:
    for name, metric in (
        ("PostgreSQL", "transfers_database_up"),
        ("Temporal", "transfers_temporal_up"),
    ):
        is_up = now.total(metric) > 0
        yield name, _marked("up" if is_up else "away", is_bad=not is_up)
    pollers = int(now.total("transfers_task_queue_pollers"))
    yield "workers", _marked(str(pollers), is_bad=pollers == 0)
    stuck = int(now.total("transfers_stuck"))
    yield "stuck", _marked(f"{stuck:,}", is_bad=stuck > 0)


def _ledger(now: Scrape) -> Iterable[tuple[str, str | Text]]:
    proved = now.by("invariant", "transfers_ledger_proved_timestamp_seconds")
    if not proved:
        yield "not proved here", ""
        return
    violations = int(now.total("transfers_ledger_violations"))
    yield "violations", _marked(f"{violations:,}", is_bad=violations > 0)
    first = min(proved.values())
    yield "oldest proof", age_text(int(time.time() - first)) if first else "none yet"
    yield "unsealed entries", f"{int(now.total('transfers_ledger_unsealed_entries')):,}"


def _stuck(sight: Sight) -> RenderableType:
    if sight.stuck is None:
        return Text("What is stuck is shown to keys with operations:read.")
    if not sight.stuck:
        return Text("Nothing is stuck.", style=_GOOD)
    table = Table(title="Stuck", title_justify="left", header_style="bold", expand=True)
    for column in ("Id", "Age", "Cause"):
        table.add_column(column, no_wrap=True)
    table.add_column("Held", justify="right")
    table.add_column("Last error", ratio=1, overflow="ellipsis", no_wrap=True)
    for item in sight.stuck:
        currency = item["currency"]
        table.add_row(
            item["id"],
            age_text(item["age_seconds"]),
            item["cause"],
            "" if currency is None else amount_text(item["held_amount"], currency),
            Text(item["last_error"] or ""),
        )
    return Group(table, Text("There are more: transfers stuck")) if sight.has_more_stuck else table


def _rate(value: float) -> str:
    return f"{value:,.1f}/s"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:,.0f} ms" if value < 1 else f"{value:,.1f} s"


def _marked(text: str, *, is_bad: bool) -> Text:
    return Text(text, style=_BAD if is_bad else _GOOD)
