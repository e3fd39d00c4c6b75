"""One of several processes of an API, as its supervisor starts it.

Called as ``python -m runtime.api_process SLOT NUMBER LOAD RATES LIFELINE LISTENER [LISTENER ...]``:
its slot in the shared load, its number among the processes, then numbers of open files. The
lifeline is a socket to the supervisor: this process says on it, in a line of JSON, that it is ready
or what keeps it from starting, accepts connections when it is told to, and drains when the other
end is closed, for then nobody supervises it any more.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Any, Final, NoReturn

import structlog
import uvloop

from runtime.cores import stay_on_core
from runtime.http_server import Place
from runtime.leaving import leave
from runtime.logs import configure_logs
from runtime.server import ApiRun
from runtime.settings import Settings
from runtime.shared_load import SharedLoad
from runtime.shared_memory import SharedMemory
from runtime.startup import startup_problem

READY: Final = "ready"
PROBLEM: Final = "problem"
ACCEPT: Final = b"a"


def main(arguments: list[str]) -> NoReturn:
    """Serve until the supervisor asks to finish, or is gone."""
    # The terminal's Ctrl-C reaches all processes; the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    slot, number, load, rates, *files = map(int, arguments)
    settings = Settings().of_process(slot)
    configure_logs(settings.log_level)
    if settings.api_pin_to_cores:
        stay_on_core(number)
    lifeline, *listeners = (socket.socket(fileno=file) for file in files)
    try:
        uvloop.run(
            _serve(
                settings, Place(SharedLoad(load), slot, SharedMemory(rates)), lifeline, listeners
            )
        )
    except Exception as error:  # noqa: BLE001 - said or logged, whatever it is
        problem = startup_problem(error, temporal_address=settings.temporal_address)
        if problem is None:
            structlog.get_logger("api").error("api_process_failed", exc_info=error)
        else:
            _say(lifeline, {PROBLEM: problem})
        leave(1)
    leave(0)


async def _serve(
    settings: Settings, place: Place, lifeline: socket.socket, listeners: list[socket.socket]
) -> None:
    loop, may_accept = asyncio.get_running_loop(), asyncio.Event()

    async def on_ready() -> None:
        _say(lifeline, {READY: os.getpid()})
        await may_accept.wait()

    process = ApiRun(settings, listeners, on_ready=on_ready, place=place)

    def heed() -> None:
        heard = b""
        with suppress(OSError):
            heard = lifeline.recv(len(ACCEPT))
        if heard:
            may_accept.set()
        else:
            loop.remove_reader(lifeline)
            process.stop()

    loop.add_reader(lifeline, heed)
    # Again and again with the same meaning: who stops a service may signal each of its processes.
    loop.add_signal_handler(signal.SIGTERM, process.stop)
    await process.run()


def _say(lifeline: socket.socket, message: dict[str, Any]) -> None:
    try:
        lifeline.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        return  # the supervisor is gone, and the lifeline ends this process


if __name__ == "__main__":
    main(sys.argv[1:])
