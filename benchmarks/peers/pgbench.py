"""The physical limit of the database: pgbench's TPC-B, and a transfer as one bare transaction."""

import asyncio
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.figures import Latency, Load
from benchmarks.load.closed_loop import LoadGeneratorError
from benchmarks.stack import ACCOUNT_ID_PREFIX, ACCOUNTS, CURRENCY, BenchStack
from runtime.ports import LOOPBACK
from runtime.postgres_data import ROLE, load_passwords

CLIENTS: Final = 8
THREADS: Final = 2
SCALE: Final = 10
LOGGED_SHARE: Final = 0.1
"""Of the transactions, whose latency pgbench writes down."""
MICROSECONDS_FIELD: Final = 2
TPCB_DATABASE: Final = "bench_tpcb"
BARE_TRANSFER: Final = Path(__file__).with_name("bare_transfer.sql")

_DONE: Final = re.compile(r"number of transactions actually processed: (\d+)")
_FAILED: Final = re.compile(r"number of failed transactions: (\d+)")
_RATE: Final = re.compile(r"tps = ([\d.]+)")


class Pgbench:
    """Runs pgbench's own transaction, or a script, with a few clients.

    Parameters
    ----------
    script
        A file to run instead of TPC-B, with what it is told by ``-D``.
    """

    def __init__(self, bench: BenchStack, database: str, *script: str) -> None:
        self._bench = bench
        self._database = database
        self._script = script

    @classmethod
    async def tpcb(cls, bench: BenchStack) -> "Pgbench":
        """Make TPC-B's tables in a database of their own.

        Raises
        ------
        LoadGeneratorError
            pgbench failed.
        """
        await bench.create_database(TPCB_DATABASE)
        made = cls(bench, TPCB_DATABASE)
        await made._run("--initialize", f"--scale={SCALE}", "--quiet")
        return made

    @classmethod
    def bare_transfer(cls, bench: BenchStack) -> "Pgbench":
        """Write in one transaction what a transfer writes, on the service's own tables."""
        told = {
            "tenant": f"'{bench.tenant_id}'::uuid",
            "prefix": f"'{ACCOUNT_ID_PREFIX}'",
            "currency": f"'{CURRENCY}'",
            "accounts": str(ACCOUNTS),
        }
        # Set into the text: pgbench would pass what it is told as parameters of unknown types.
        text = BARE_TRANSFER.read_text()
        for name in ("tenant", "prefix", "currency"):
            text = text.replace(f":{name}", told.pop(name))
        script = bench.folder / BARE_TRANSFER.name
        script.write_text(text)
        options = [f"--define={name}={value}" for name, value in told.items()]
        return cls(bench, "transfers", f"--file={script}", *options)

    async def __call__(self, seconds: float) -> Load:
        """Run it for a while.

        Raises
        ------
        LoadGeneratorError
            pgbench failed.
        """
        prefix = self._bench.folder / "pgbench"
        output = await self._run(
            *("--protocol=prepared", f"--client={CLIENTS}", f"--jobs={THREADS}", "--no-vacuum"),
            *("--log", f"--log-prefix={prefix}", f"--sampling-rate={LOGGED_SHARE}"),
            *(f"--time={max(1, round(seconds))}", *self._script),
        )
        milliseconds: list[float] = []
        for log in prefix.parent.glob("pgbench.*"):
            milliseconds += latencies_from(log.read_text())
            log.unlink()
        return load_from(output, milliseconds)

    async def _run(self, *options: str) -> str:
        home = self._bench.home
        process = await asyncio.create_subprocess_exec(
            *(str(home.programs / "pgbench"), "--host", LOOPBACK, "--username", ROLE),
            *("--port", str(self._bench.postgres_port), *options, self._database),
            env={**os.environ, "PGPASSWORD": load_passwords(home)[ROLE]},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        text = output.decode(errors="replace")
        if process.returncode:
            raise LoadGeneratorError(f"pgbench failed:\n{text}")
        return text


def latencies_from(log: str) -> list[float]:
    """Read the latencies that pgbench wrote down, in milliseconds."""
    return [int(line.split()[MICROSECONDS_FIELD]) / 1000 for line in log.splitlines()]


def load_from(output: str, milliseconds: Sequence[float]) -> Load:
    """Read what pgbench printed.

    Raises
    ------
    LoadGeneratorError
        There is no result in it.
    """
    done, rate, failed = (pattern.search(output) for pattern in (_DONE, _RATE, _FAILED))
    if done is None or rate is None:
        raise LoadGeneratorError(f"pgbench gave no result:\n{output}")
    return Load(
        done=int(done[1]),
        failed=int(failed[1]) if failed else 0,
        counted=int(done[1]),
        seconds=int(done[1]) / float(rate[1]),
        latency=Latency.of(milliseconds),
        statuses={},
    )
