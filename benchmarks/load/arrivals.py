"""Sends requests at times that are fixed beforehand, whether or not earlier ones are answered.

A latency counts from the time at which its request was due. A server that stalls therefore shows in
all requests that were due meanwhile, and not only in those that some client had just sent.
"""

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, cast

import httptools
import uvloop

CONNECTIONS_MAXIMUM: Final = 1_000
"""Requests that are due while so many are open wait here, and their latency counts on."""
LEAD_SECONDS: Final = 0.2
NO_ANSWER: Final = 0
"""In place of a status: the connection broke, or nothing came in time."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to send.

    Parameters
    ----------
    per_second
        Arrivals, evenly spaced.
    drain_seconds
        How long answers are waited for after the last arrival.
    requests
        One after the other; their number is the number of arrivals.
    """

    host: str
    port: int
    per_second: float
    drain_seconds: float
    requests: Sequence[str]


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back, in the order of the arrivals.

    Parameters
    ----------
    statuses
        ``NO_ANSWER`` for those without one.
    milliseconds
        From when each request was due to its answer; to the end for those without one.
    late_ms
        The most that the generator itself was late in sending.
    cpu_seconds
        What the generator used.
    """

    statuses: list[int]
    milliseconds: list[float]
    late_ms: float
    cpu_seconds: float


class _Connection(asyncio.Protocol):
    """One connection, with at most one request on it."""

    def __init__(self, arrivals: "Arrivals") -> None:
        self._arrivals = arrivals
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._number: int | None = None

    def send(self, number: int, request: bytes) -> None:
        """Send one request."""
        self._number = number
        if self._transport is None or self._transport.is_closing():
            self._end(NO_ANSWER)
        else:
            self._transport.write(request)

    def close(self) -> None:
        """Let go of it."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        # uvloop's transports have the methods, but not the base class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """See the end of an answer; called by the parser."""
        status, keeps = self._parser.get_status_code(), self._parser.should_keep_alive()
        self._parser = httptools.HttpResponseParser(self)
        self._end(status)
        if keeps:
            self._arrivals.free(self)
        else:
            self.close()

    def connection_lost(self, _error: Exception | None) -> None:
        """Note the end of it."""
        self._end(NO_ANSWER)
        self._arrivals.lost(self)

    def _end(self, status: int) -> None:
        number, self._number = self._number, None
        if number is not None:
            self._arrivals.answered(number, status)


class Arrivals:
    """Sends the requests of a task at their times."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._requests = [request.encode() for request in task.requests]
        self._statuses = [NO_ANSWER] * len(self._requests)
        self._due = [0.0] * len(self._requests)
        self._ended = [0.0] * len(self._requests)
        self._open = 0
        self._waiting: deque[int] = deque()
        self._free: deque[_Connection] = deque()
        self._all: set[_Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._left = len(self._requests)
        self._done = asyncio.Event()
        self._late_seconds = 0.0
        self._loop = asyncio.get_running_loop()

    async def run(self) -> Answers:
        """Send everything, wait for the answers, and give them."""
        used_before = time.process_time()
        start = self._loop.time() + LEAD_SECONDS
        for number in range(len(self._requests)):
            due = start + number / self._task.per_second
            self._due[number] = due
            # Also where it is late already, so that answers are read in between.
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            self._late_seconds = max(self._late_seconds, self._loop.time() - due)
            self._dispatch(number)
        try:
            async with asyncio.timeout(self._task.drain_seconds):
                await self._done.wait()
        except TimeoutError:
            # What is still open has no answer.
            pass
        end = self._loop.time()
        for connection in self._all:
            connection.close()
        return Answers(
            statuses=self._statuses,
            milliseconds=[
                round(((ended or end) - due) * 1000, 2)
                for due, ended in zip(self._due, self._ended, strict=True)
            ],
            late_ms=self._late_seconds * 1000,
            cpu_seconds=time.process_time() - used_before,
        )

    def answered(self, number: int, status: int) -> None:
        """Note the end of a request."""
        self._statuses[number] = status
        self._ended[number] = self._loop.time()
        self._left -= 1
        if not self._left:
            self._done.set()

    def free(self, connection: _Connection) -> None:
        """Take a connection back, for the request that waits longest."""
        if self._waiting:
            number = self._waiting.popleft()
            connection.send(number, self._requests[number])
        else:
            # The newest first: those that are not needed age.
            self._free.append(connection)

    def lost(self, connection: _Connection) -> None:
        """Forget a connection."""
        self._all.discard(connection)
        self._open -= 1
        if connection in self._free:
            self._free.remove(connection)
        if self._waiting:
            self._connect(self._waiting.popleft())

    def _dispatch(self, number: int) -> None:
        if self._free:
            self._free.pop().send(number, self._requests[number])
        elif self._open < CONNECTIONS_MAXIMUM:
            self._connect(number)
        else:
            self._waiting.append(number)

    def _connect(self, number: int) -> None:
        self._open += 1
        opening = asyncio.ensure_future(self._open_for(number))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open_for(self, number: int) -> None:
        try:
            _, connection = await self._loop.create_connection(
                lambda: _Connection(self), self._task.host, self._task.port
            )
        except OSError:
            self._open -= 1
            self.answered(number, NO_ANSWER)
            return
        self._all.add(connection)
        connection.send(number, self._requests[number])


async def arrive(task: Task) -> Answers:
    """Carry out a task."""
    return await Arrivals(task).run()


def main() -> None:
    """Read a task from the standard input, carry it out, write the answers."""
    answers = uvloop.run(arrive(Task(**json.load(sys.stdin))))
    json.dump(asdict(answers), sys.stdout)


if __name__ == "__main__":
    main()
