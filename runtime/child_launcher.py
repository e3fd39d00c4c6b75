"""A tiny program that drops to an account, asks to die with its parent, and becomes a command.

Called as ``python -I -S child_launcher.py PARENT_PID DEATH_SIGNAL UID GID COMMAND [ARGUMENT ...]``,
with ``-`` for UID and GID to stay as it is. A program of its own rather than a ``preexec_fn``: the
supervisor has threads, and Python code between fork and exec of such a process can deadlock.
It needs the standard library alone, and reads it while it still has its parent's rights.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
KEEP = "-"


def main(arguments: list[str]) -> None:
    """Become the command; never returns."""
    parent_pid, death_signal, uid, gid, *command = arguments
    if uid != KEEP:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    # After the change of user, which clears it.
    _die_with(int(parent_pid), int(death_signal))
    # Python ignores some signals, and a shell may have had us ignore SIGINT: exec hands that on.
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606  # the command is the supervisor's own, no shell


def _die_with(parent_pid: int, death_signal: int) -> None:
    # Other systems have no such request: there, children outlive a killed supervisor.
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # The parent may have died before the request was made.
    if os.getppid() != parent_pid:
        sys.exit(f"the supervisor {parent_pid} is gone")


if __name__ == "__main__":
    main(sys.argv[1:])
