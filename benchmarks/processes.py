"""What processes use: CPU time over a process and all that it starts, and its peak memory."""

import resource
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

BYTES_IN_KIB: Final = 1024
MIB: Final = 2**20
COUNTED_TIMES: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""As the kernel orders them; those behind are parts of the first ones."""


def cpu_seconds(pid: int) -> float:
    """Give the CPU time that a process and its descendants have used; 0 where it is gone.

    Notes
    -----
    What a descendant used before it ended is counted with the one that waited for it, so that the
    sum never falls.
    """
    return sum(_cpu_of(process) for process in _tree(pid))


def ended_children_cpu_seconds() -> float:
    """Give the CPU time of this process's children that have ended, such as load generators."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def busy_cpu_seconds() -> float:
    """Give the CPU time that all processes of the machine have used, this one left out."""
    times = psutil.cpu_times()
    # What a virtual machine was denied counts as used: by its neighbours.
    everything = sum(times[: len(COUNTED_TIMES)]) - times.idle - getattr(times, "iowait", 0.0)
    own = psutil.Process().cpu_times()
    return float(everything - own.user - own.system)


def memory_mib(pid: int) -> float:
    """Give the memory of a process and its descendants.

    Notes
    -----
    For a process alone it is the highest that the kernel has noted. Where there are several, it is
    what they use now, memory that they share counted once.
    """
    processes = _tree(pid)
    if len(processes) == 1 and (peak := _peak_bytes(pid)):
        return peak / MIB
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / MIB


def cpu_of_each(pids: Mapping[str, int]) -> dict[str, float]:
    """Give the CPU time of each of the named processes with its descendants."""
    return {name: cpu_seconds(pid) for name, pid in pids.items()}


def _tree(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _cpu_of(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def _peak_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * BYTES_IN_KIB
    return 0
