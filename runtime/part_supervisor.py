"""Keeps the parts of a local stack up: sees a crash, says it, starts the part again in place."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from runtime.local_errors import LocalStackError, TooManyCrashesError
from runtime.part import Part, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How often, and how fast, a part that crashes is started again.

    Parameters
    ----------
    max_crashes
        So many crashes within the window end the stack.
    window_seconds
        Crashes longer ago are forgotten.
    first_delay_seconds
        Pause before the first restart; doubled with each further crash in the window.
    max_delay_seconds
        The longest pause.
    """

    max_crashes: int = 5
    window_seconds: float = 60.0
    first_delay_seconds: float = 0.2
    max_delay_seconds: float = 5.0


class PartSupervisor:
    """Watches running parts.

    Parameters
    ----------
    policy
        When to give up.
    report
        Takes lines of progress.
    on_restart
        Called after a part has come back, with a new process.
    """

    def __init__(
        self, policy: RestartPolicy, report: Report, on_restart: Callable[[], None]
    ) -> None:
        self._policy = policy
        self._report = report
        self._on_restart = on_restart
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._crashes: defaultdict[str, deque[float]] = defaultdict(deque)
        self._gave_up = asyncio.Event()
        self._reason: BaseException | None = None

    def watch(self, part: Part) -> None:
        """Keep a part up that has just been started."""
        task = asyncio.create_task(self._keep_up(part))
        task.add_done_callback(self._note_end)
        self._watches[part.name] = task

    async def let_go(self, part: Part) -> None:
        """Stop keeping a part up, whatever is being done for it at the moment."""
        task = self._watches.pop(part.name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def wait_until_given_up(self) -> None:
        """Wait until a part cannot be kept up any more.

        Raises
        ------
        TooManyCrashesError
            It crashed too often.
        """
        await self._gave_up.wait()
        if self._reason is not None:
            raise self._reason

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._reason = error
            self._gave_up.set()

    async def _keep_up(self, part: Part) -> None:
        while True:
            pid, ending = part.pid, await part.wait()
            await self._bring_back(part, part.failure(f"(pid {pid}) {ending}"))

    async def _bring_back(self, part: Part, crash: LocalStackError) -> None:
        while True:
            self._report(str(crash))
            await asyncio.sleep(self._next_delay(part, crash))
            try:
                await part.start()
            except LocalStackError as error:
                crash = error
                continue
            self._report(f"{part.name} runs again (pid {part.pid})")
            self._on_restart()
            return

    def _next_delay(self, part: Part, crash: LocalStackError) -> float:
        policy, now, crashes = self._policy, time.monotonic(), self._crashes[part.name]
        crashes.append(now)
        while crashes[0] < now - policy.window_seconds:
            crashes.popleft()
        if len(crashes) >= policy.max_crashes:
            raise TooManyCrashesError(
                f"{part.name} crashed {len(crashes)} times within {policy.window_seconds:g} s; "
                f"the stack ends. The last time: {crash}"
            )
        delay = policy.first_delay_seconds * 2.0 ** (len(crashes) - 1)
        return min(delay, policy.max_delay_seconds)
