"""What goes wrong, drawn from a seed: processes, servers, connections and workflows."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import psutil
from temporalio.client import Client as TemporalClient
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from runtime.local_errors import LocalStackError
from runtime.temporal import connect
from tests.chaos.clients import CLIENTS as CLIENTS_COUNT
from tests.chaos.clients import Crowd
from tests.chaos.history import History
from tests.chaos.links import Link
from tests.chaos.site import CLIENTS, COMING_BACK_SECONDS, POSTGRES, TEMPORAL, Site
from tests.chaos.town import seeded
from tests.support.waiting import until

AWAY_SECONDS: Final = (0.2, 2.0)
"""How long what is paused, cut or stopped stays so."""

PAUSE_SECONDS: Final = (0.2, 1.5)
"""Between two faults of one lane."""

DELAY_SECONDS: Final = (0.02, 0.3)
WORKFLOWS_AT_ONCE: Final = 3
EVERYTHING: Final = "everything"
OPEN_WORKFLOWS: Final = (
    "(WorkflowType = 'TransferWorkflow' OR WorkflowType = 'TransferBatchWorkflow')"
    " AND ExecutionStatus = 'Running'"
)


CLASSES: Final[Mapping[str, frozenset[str]]] = {
    "processes": frozenset({"kill", "pause", "restart", "immediate shutdown", "backend kill"}),
    "connections": frozenset({"cut", "silence", "lost answers", "delay"}),
    "workflows": frozenset({"cancel", "terminate"}),
}
"""Kinds of faults by what they are of."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to go wrong."""

    kind: str
    target: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.target}".strip()


class Nemesis:
    """Breaks parts of a site, one after the other on each of two lanes, and mends them.

    Parameters
    ----------
    tenant_id
        Whose workflows it may end.
    report
        Takes a line for each fault.
    """

    def __init__(
        self,
        site: Site,
        crowd: Crowd,
        history: History,
        *,
        tenant_id: str,
        seed: int,
        report: Callable[[str], None],
    ) -> None:
        self._site = site
        self._crowd = crowd
        self._history = history
        self._tenant_id = tenant_id
        self._seed = seed
        self._report = report
        self._deeds: Mapping[str, Callable[[str, random.Random], Awaitable[None]]] = {
            "kill": self._kill,
            "pause": self._pause,
            "restart": self._restart,
            "immediate shutdown": self._shut_down_at_once,
            "backend kill": self._kill_backend,
            "cut": self._cut,
            "silence": self._silence,
            "lost answers": self._lose_answers,
            "delay": self._delay,
            "cancel": self._cancel,
            "terminate": self._terminate,
        }

    async def run(self, is_over: asyncio.Event) -> None:
        """Break things until it is over; then all is mended and runs."""
        lanes = {"processes": self.process_faults(), "connections": self.connection_faults()}
        async with asyncio.TaskGroup() as tasks:
            for name, faults in lanes.items():
                tasks.create_task(self._lane(faults, seeded(self._seed, name), is_over))
        await self.mend()

    async def mend(self) -> None:
        """Mend all connections, and wait until every part runs and the whole is ready."""
        for link in self._site.links.values():
            link.mend()
        for part in self._site.parts:
            self._site.send_signal(part, signal.SIGCONT)
            await self._site.start_part(part)
        await self._site.await_successors({})

    async def await_traffic(self) -> None:
        """Wait until half of the clients wait for an answer, once some have had theirs."""
        acknowledged = self._acknowledged() + CLIENTS_COUNT

        async def is_busy() -> bool:
            is_further = self._acknowledged() >= acknowledged
            return is_further and 2 * len(self._crowd.in_flight) >= CLIENTS_COUNT

        await until(is_busy, timeout_seconds=COMING_BACK_SECONDS)

    async def inject(self, fault: Fault, rng: random.Random) -> None:
        """Let one thing go wrong, and mend it."""
        self._history.faults[fault.kind] += 1
        self._report(str(fault))
        await self._deeds[fault.kind](fault.target, rng)

    def process_faults(self) -> list[Fault]:
        """Give every fault of processes and servers."""
        commands = self._site.commands
        servers = [POSTGRES, TEMPORAL]
        return [
            *(Fault("kill", part) for part in (*commands, *servers, EVERYTHING)),
            *(Fault("pause", part) for part in (*commands, *servers)),
            *(Fault("restart", part) for part in (commands[0], commands[-1], *servers)),
            Fault("immediate shutdown", POSTGRES),
            Fault("backend kill", POSTGRES),
        ]

    def connection_faults(self) -> list[Fault]:
        """Give every fault of connections and workflows."""
        plan = self._site.plan
        return [
            *(Fault("cut", server) for server in (POSTGRES, TEMPORAL, CLIENTS)),
            *(Fault("silence", server) for server in (POSTGRES, TEMPORAL, CLIENTS)),
            *(Fault("lost answers", server) for server in (POSTGRES, TEMPORAL, CLIENTS)),
            *(Fault("delay", server) for server in (POSTGRES, TEMPORAL, CLIENTS)),
            *[Fault("cancel"), Fault("terminate")] * (plan.apis + 1),
        ]

    def _acknowledged(self) -> int:
        return sum(not record.is_open for record in self._history.records.values())

    async def _lane(
        self, faults: Sequence[Fault], rng: random.Random, is_over: asyncio.Event
    ) -> None:
        for fault in _decks(faults, rng):
            with suppress(TimeoutError):
                async with asyncio.timeout(rng.uniform(*PAUSE_SECONDS)):
                    await is_over.wait()
            if is_over.is_set():
                return
            await self.inject(fault, rng)

    async def _kill(self, target: str, _rng: random.Random) -> None:
        parts = [*self._site.parts] if target == EVERYTHING else [target]
        ended = {part: self._site.parts[part].pid for part in parts}
        for part in parts:
            self._site.send_signal(part, signal.SIGKILL)
        await self._await_others(ended)

    async def _pause(self, target: str, rng: random.Random) -> None:
        self._site.send_signal(target, signal.SIGSTOP)
        try:
            await asyncio.sleep(rng.uniform(*AWAY_SECONDS))
        finally:
            self._site.send_signal(target, signal.SIGCONT)

    async def _restart(self, target: str, rng: random.Random) -> None:
        await self._site.stop_part(target)
        await asyncio.sleep(rng.uniform(*AWAY_SECONDS))
        while True:
            # It may not become ready while connections are cut.
            with suppress(LocalStackError):
                await self._site.start_part(target)
                return

    async def _shut_down_at_once(self, target: str, _rng: random.Random) -> None:
        """Do what ``pg_ctl stop -m immediate`` does."""
        ended = {target: self._site.parts[target].pid}
        with suppress(ProcessLookupError):
            os.kill(ended[target], signal.SIGQUIT)
        await self._await_others(ended)

    async def _kill_backend(self, target: str, rng: random.Random) -> None:
        """Kill one session of PostgreSQL: the server ends all others, and recovers."""
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            sessions = psutil.Process(self._site.parts[target].pid).children()
            rng.choice(sessions).kill()

    async def _cut(self, target: str, rng: random.Random) -> None:
        await self._on_link(target, rng, Link.cut)

    async def _silence(self, target: str, rng: random.Random) -> None:
        await self._on_link(target, rng, Link.silence)

    async def _lose_answers(self, target: str, rng: random.Random) -> None:
        """Let requests through and no answers, then break the connections."""

        def harm(link: Link) -> None:
            link.silence(answers_only=True)

        await self._on_link(target, rng, harm, last=Link.cut)

    async def _delay(self, target: str, rng: random.Random) -> None:
        delay_seconds = rng.uniform(*DELAY_SECONDS)
        await self._on_link(target, rng, lambda link: link.slow(delay_seconds))

    async def _on_link(
        self,
        target: str,
        rng: random.Random,
        harm: Callable[[Link], None],
        *,
        last: Callable[[Link], None] | None = None,
    ) -> None:
        """Harm one connection of some process or the clients for a while."""
        links = [link for ends, link in self._site.links.items() if target in ends]
        link = rng.choice(links)
        harm(link)
        try:
            await asyncio.sleep(rng.uniform(*AWAY_SECONDS))
            if last is not None:
                last(link)
        finally:
            link.mend()

    async def _cancel(self, _target: str, rng: random.Random) -> None:
        await self._end_workflows(rng, lambda handle: handle.cancel())

    async def _terminate(self, _target: str, rng: random.Random) -> None:
        await self._end_workflows(rng, lambda handle: handle.terminate("chaos"))

    async def _end_workflows(
        self,
        rng: random.Random,
        end: Callable[[WorkflowHandle[object, object]], Awaitable[None]],
    ) -> None:
        """End some open workflows, those of transfers that clients just wait for among them."""
        # Temporal may be away just now.
        with suppress(RPCError, RuntimeError, TimeoutError):
            async with asyncio.timeout(COMING_BACK_SECONDS):
                temporal = self._site.temporal
                client = await connect(temporal.address, temporal.namespace)
                for workflow_id in await self._choice_of_workflows(client, rng):
                    # Before the call: its outcome may not come back.
                    self._history.disturbed.add(workflow_id)
                    with suppress(RPCError):
                        await end(client.get_workflow_handle(workflow_id))

    async def _choice_of_workflows(
        self, client: TemporalClient, rng: random.Random
    ) -> Sequence[str]:
        waited_for = [f"{self._tenant_id}:{key}" for key in self._crowd.in_flight]
        found = [each.id async for each in client.list_workflows(OPEN_WORKFLOWS, limit=50)]
        candidates = sorted({*waited_for, *found})
        return rng.sample(candidates, min(len(candidates), WORKFLOWS_AT_ONCE))

    async def _await_others(self, ended: Mapping[str, int]) -> None:
        """Wait until killed parts run again; whether the whole is ready is not asked for."""

        async def are_others() -> bool:
            return all(self._site.parts[part].pid != pid for part, pid in ended.items())

        await until(are_others, timeout_seconds=COMING_BACK_SECONDS)


def _decks(faults: Sequence[Fault], rng: random.Random) -> Iterator[Fault]:
    """Give each fault once in a random order, and all again, for ever."""
    while True:
        yield from rng.sample(faults, len(faults))
