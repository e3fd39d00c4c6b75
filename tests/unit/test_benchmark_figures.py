"""What the benchmarks compute, draw from a seed, and read from others' programs."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.choices import Contention, Zipf, pairs_of, seeded
from benchmarks.figures import Latency, Load, Spread, percentile
from benchmarks.load import closed_loop
from benchmarks.load.closed_loop import LoadGeneratorError
from benchmarks.measuring import Measurement, Summary
from benchmarks.peers import pgbench
from benchmarks.peers.driver import closed_loop as closed_loop_of
from benchmarks.plan import Plan, Section
from benchmarks.quick import comparison, ratios_of
from benchmarks.report import BEGIN, END, figure, table, targets_table, write_into
from benchmarks.targets import ALONE_TO_FLOOR, CPU_TO_FLOOR, TO_FLOOR

WRK_OUTPUT = """Running 3s test @ http://127.0.0.1:1
  1 threads and 50 connections
RESULT {"seconds":3.000500,"counted":60,"statuses":{"201":90,"202":4,"503":6},"broken":2,\
"p50_ms":10.5,"p95_ms":20.0,"p99_ms":30.0,"p999_ms":31.0,"max_ms":32.0}
"""
PGBENCH_OUTPUT = """transaction type: <builtin: TPC-B (sort of)>
number of transactions actually processed: 2000
number of failed transactions: 3 (0.150%)
latency average = 1.6 ms
initial connection time = 20.1 ms
tps = 500.000000 (without initial connection time)
"""


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 1001)]

    assert percentile(values, 50) == 500
    assert percentile(values, 99.9) == 999
    assert percentile(values, 100) == 1000
    assert percentile([7.0], 0.1) == 7


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_there_is_no_percentile_of_nothing_or_beyond_all(
    values: list[float], percent: float
) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        percentile(values, percent)


def test_latencies_may_come_in_any_order() -> None:
    assert Latency.of([3, 1, 2]) == Latency(2, 3, 3, 3, 3)
    assert Latency.of([]) == Latency()


def test_a_spread_is_the_median_between_its_bounds() -> None:
    assert Spread.of([5, 1, 3]) == Spread(3, 1, 5)


def test_zipf_draws_the_kth_rank_as_often_as_one_in_k() -> None:
    zipf = Zipf(1000, seeded(7, "zipf"))
    drawn = Counter(zipf.draw() for _ in range(100_000))

    assert min(drawn) == 0
    assert max(drawn) < 1000
    # The weights sum to 7.485.
    assert drawn[0] / 100_000 == pytest.approx(1 / 7.485, rel=0.05)
    assert drawn[0] / drawn[9] == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize("contention", Contention)
def test_a_seed_gives_the_same_pairs_again_and_another_seed_others(contention: Contention) -> None:
    pairs = pairs_of(contention, accounts=100, seed=7, count=500)

    assert pairs == pairs_of(contention, accounts=100, seed=7, count=500)
    assert pairs != pairs_of(contention, accounts=100, seed=8, count=500)
    assert all(source != destination for source, destination in pairs)
    assert {account for pair in pairs for account in pair} <= set(range(100))


def test_contention_is_what_it_is_called() -> None:
    distinct = pairs_of(Contention.DISTINCT, accounts=100, seed=7, count=50)
    paid = pairs_of(Contention.HOT_DESTINATION, accounts=100, seed=7, count=500)
    paying = pairs_of(Contention.HOT_SOURCE, accounts=100, seed=7, count=500)

    assert len({account for pair in distinct for account in pair}) == 100
    assert len({destination for _, destination in paid}) == 1
    assert len({source for source, _ in paid}) == 99
    assert len({source for source, _ in paying}) == 1
    assert len({destination for _, destination in paying}) == 99


def test_the_result_of_wrk_is_read() -> None:
    load = closed_loop.load_from(WRK_OUTPUT)

    assert (load.done, load.failed, load.counted, load.seconds) == (90, 8, 60, 3.0005)
    assert load.latency == Latency(10.5, 20, 30, 31, 32)
    assert load.statuses == {"201": 90, "202": 4, "503": 6, "broken": 2}
    with pytest.raises(LoadGeneratorError, match="unable to connect"):
        closed_loop.load_from("unable to connect to 127.0.0.1:1")


def test_a_missing_wrk_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LoadGeneratorError, match="apt-get install wrk"):
        closed_loop.wrk_program()


def test_the_result_of_pgbench_is_read() -> None:
    log = "0 199 2241 0 1175850568 995598\n0 200 1000 0 1175850568 998079\n"
    load = pgbench.load_from(PGBENCH_OUTPUT, pgbench.latencies_from(log))

    assert (load.done, load.failed, load.per_second) == (2000, 3, 500)
    assert load.latency.p50_ms == 1
    assert load.latency.max_ms == 2.241
    with pytest.raises(LoadGeneratorError, match="gave no result"):
        pgbench.load_from("connection refused", [])


def summary(per_second: float, p50_ms: float) -> Summary:
    load = Load(
        done=round(per_second),
        failed=0,
        counted=round(per_second),
        seconds=1,
        latency=Latency(p50_ms, p50_ms, p50_ms, p50_ms, p50_ms),
        statuses={"201": 1},
    )
    return Summary.of([Measurement(load, {"api": 1.0}, {"api": 100.0}, 0.0)] * 2)


def test_a_summary_takes_medians_and_adds_up_counts() -> None:
    found = summary(100, 7)

    assert found.per_second == Spread(100, 100, 100)
    assert (found.done, found.statuses, found.memory_mib) == (200, {"201": 2}, {"api": 100})


def test_targets_are_ratios_of_one_run() -> None:
    summaries = {
        TO_FLOOR.of: summary(90, 70),
        TO_FLOOR.to: summary(100, 50),
        ALONE_TO_FLOOR.of: summary(50, 21),
        ALONE_TO_FLOOR.to: summary(100, 10),
    }

    rows = targets_table(summaries).splitlines()[2:]

    assert ["pass" in row for row in rows] == [True, False]
    assert ["MISS" in row for row in rows] == [False, True]
    assert ratios_of(summaries) == {
        str(TO_FLOOR): 0.9,
        str(ALONE_TO_FLOOR): 2.1,
        str(CPU_TO_FLOOR): 1,
    }


def test_ratios_are_held_against_recorded_ones() -> None:
    now = {str(TO_FLOOR): 0.4, str(ALONE_TO_FLOOR): 1.0}
    recorded = {"ratios": {str(TO_FLOOR): 0.8, str(ALONE_TO_FLOOR): 2.0}}

    lines = comparison(now, recorded).splitlines()

    assert "WORSE by a factor of 2.00" in lines[2]
    assert "better by a factor of 2.00" in lines[3]
    assert "WORSE" not in comparison(now, {})


def test_figures_have_as_many_digits_as_they_are_good_for() -> None:
    assert [figure(value) for value in (0.123, 1.234, 1234.5)] == ["0.12", "1.2", "1,234"]
    assert table(["a"], [["long"]]).splitlines() == ["| a    |", "| ---- |", "| long |"]


def test_the_report_replaces_what_stands_between_the_marks(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    write_into(document, "new")
    write_into(document, "newer")

    assert document.read_text() == f"before\n{BEGIN}\n\nnewer\n\n{END}\nafter\n"
    document.write_text("no marks")
    with pytest.raises(ValueError, match="does not have the marks"):
        write_into(document, "new")


def test_a_plan_can_be_a_part_of_all() -> None:
    plan = Plan.parse(["--only", "open-loop,growth", "--sizes", "10,20", "--ways", "floor"], "")

    assert plan.sections == {Section.OPEN_LOOP, Section.GROWTH}
    assert plan.sizes == (10, 20)
    assert plan.wants("floor / 1")
    assert not plan.wants("DBOS / 1")
    with pytest.raises(SystemExit):
        Plan.parse(["--only", "nothing"], "")


async def test_throughput_counts_from_when_all_clients_are_under_way() -> None:
    async def once() -> None:
        await asyncio.sleep(0.2)

    alone = await closed_loop_of(once, in_flight=1, seconds=0.5)
    many = await closed_loop_of(once, in_flight=10, seconds=0.5)

    assert (alone.done, alone.counted) == (2, 2)
    # Waves of ten each 0.2 s, over 1.5 and 0.5 s.
    assert many.done == pytest.approx(90, abs=10)
    assert many.counted == pytest.approx(25, abs=10)
    assert many.per_second == many.counted / 0.5
    assert (many.failed, many.seconds) == (0, 0.5)


async def test_failures_are_counted_apart() -> None:
    async def once() -> None:
        await asyncio.sleep(0.05)
        raise RuntimeError("refused")

    load = await closed_loop_of(once, in_flight=1, seconds=0.2)

    assert load.done == 0
    assert load.failed >= 2
