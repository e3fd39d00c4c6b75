import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from runtime.local_errors import AlreadyRunningError, PartFailedError, TooManyCrashesError
from runtime.local_stack import LocalStack, run_local_stack
from runtime.part_supervisor import RestartPolicy
from runtime.ports import PortTakenError, free_port
from runtime.postgres_home import moved_home
from runtime.stack_files import (
    BootstrapKeys,
    StackInfo,
    load_keys,
    read_stack_file,
    save_keys,
    throwaway_data_dir,
)
from runtime.stack_options import LocalStackOptions
from tests.support.processes import alive, eventually
from tests.support.stand_in import BROKEN_WORDS, KeyMaker, command, commands

PARTS = ("postgres", "temporal", "api", "worker")


class Running:
    """A stack of stand-ins with what it reported."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.lines: list[str] = []
        self.keys = KeyMaker()
        self.stack = LocalStack(
            LocalStackOptions.on_free_ports(data_dir),
            bootstrap=self.keys,
            report=self.lines.append,
            commands=commands(),
            environment={"FURTHER": "yes"},
        )

    def file(self) -> dict[str, object]:
        content = json.loads((self.data_dir / "stack.json").read_text())
        assert isinstance(content, dict)
        return content


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with throwaway_data_dir() as folder:
        yield folder


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Running]:
    """One stack for the tests that leave it as they find it: with all parts up."""
    with throwaway_data_dir() as folder:
        running = Running(folder)
        async with running.stack:
            yield running


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children(recursive=True)]


def sign(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE signed ()")


def is_signed(url: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT to_regclass('signed') IS NOT NULL").fetchone()
    return row == (True,)


def test_the_stack_file_says_where_everything_is_and_is_private(running: Running) -> None:
    info = running.stack.info
    assert running.file() == {
        "api_url": info.api_url,
        "console_url": f"{info.api_url}/console",
        "temporal_ui_url": info.temporal_ui_url,
        "temporal_address": info.temporal_address,
        "temporal_namespace": "default",
        "database_url": info.database_url,
        "api_key": "api-1",
        "operator_key": "operator-1",
        "pids": {name: info.pids[name] for name in PARTS},
    }
    assert stat.S_IMODE((running.data_dir / "stack.json").stat().st_mode) == 0o600
    assert read_stack_file(running.data_dir) == info
    assert "operator-1" not in repr(info)


def test_the_pids_are_those_of_the_real_processes(running: Running) -> None:
    programs = {
        name: psutil.Process(pid).cmdline() for name, pid in running.stack.info.pids.items()
    }
    assert programs["postgres"][0].endswith("/postgres")
    assert programs["temporal"][0].endswith("/temporal")
    assert programs["api"] == list(command("api"))
    assert programs["worker"] == list(command("worker"))


async def test_the_commands_learn_their_surroundings_from_the_environment(
    running: Running,
) -> None:
    info = running.stack.info
    async with httpx.AsyncClient(trust_env=False) as client:
        environment = (await client.get(f"{info.api_url}/environment")).json()
    expected = {
        "DATABASE_URL": info.database_url,
        "TEMPORAL_ADDRESS": info.temporal_address,
        "TEMPORAL_NAMESPACE": "default",
        "TEMPORAL_UI_URL": info.temporal_ui_url,
        "API_HOST": "127.0.0.1",
        "API_PORT": info.api_url.rpartition(":")[2],
        "API_WORKERS": "1",
        "FURTHER": "yes",
    }
    assert {name: environment[name] for name in expected} == expected


async def test_a_second_stack_on_the_same_folder_is_told_of_the_first(running: Running) -> None:
    second = Running(running.data_dir)
    told = rf"pid {os.getpid()}, {running.stack.info.api_url}\b"
    with pytest.raises(AlreadyRunningError, match=told):
        await second.stack.__aenter__()
    assert read_stack_file(running.data_dir) == running.stack.info


@pytest.mark.parametrize("name", PARTS)
async def test_a_part_that_crashes_is_reported_and_comes_back_in_place(
    running: Running, name: str
) -> None:
    before = running.stack.info
    os.kill(before.pids[name], signal.SIGKILL)
    await eventually(lambda: running.file()["pids"] != before.pids, f"a new {name}")
    after = running.stack.info
    assert {part for part in PARTS if after.pids[part] != before.pids[part]} == {name}
    assert after.database_url == before.database_url
    assert after.temporal_address == before.temporal_address
    said = [line for line in running.lines if line.startswith(f"{name} (pid {before.pids[name]})")]
    assert len(said) == 1
    assert "was killed by SIGKILL" in said[0]
    assert str(running.data_dir / "logs" / f"{name}.log") in said[0]


async def test_a_part_that_is_killed_on_purpose_stays_down_until_it_is_started(
    running: Running,
) -> None:
    first = running.stack.info.pids["worker"]
    await running.stack.kill_part("worker")
    await asyncio.sleep(0.5)
    assert alive([first]) == []
    assert running.stack.info.pids["worker"] == first
    await running.stack.start_part("worker")
    assert running.stack.info.pids["worker"] != first
    assert running.file()["pids"] == running.stack.info.pids
    await running.stack.stop_part("worker")
    await running.stack.start_part("worker")


async def test_a_second_start_finds_data_and_keys_again(data_dir: Path) -> None:
    first, second = Running(data_dir), Running(data_dir)
    async with first.stack as stack:
        sign(stack.info.database_url)
    async with second.stack as stack:
        assert is_signed(stack.info.database_url)
        assert (stack.info.api_key, stack.info.operator_key) == ("api-1", "operator-1")
    assert second.keys.calls == 0
    assert stat.S_IMODE((data_dir / "keys.json").stat().st_mode) == 0o600


def test_keys_are_not_those_of_another_database(data_dir: Path) -> None:
    keys = BootstrapKeys("api", "operator")
    save_keys(data_dir, 1, keys)
    assert load_keys(data_dir, 1) == keys
    assert load_keys(data_dir, 2) is None


async def test_a_clean_stop_leaves_no_process_and_no_stack_file(data_dir: Path) -> None:
    earlier = set(children())
    one = Running(data_dir)
    async with one.stack:
        assert len(set(children()) - earlier) >= len(PARTS)
    assert set(children()) <= earlier
    assert read_stack_file(data_dir) is None
    ended = [line.split()[0] for line in one.lines if line.endswith("has stopped")]
    assert set(ended[:2]) == {"api", "worker"}
    assert ended[2:] == ["temporal", "postgres"]


async def test_a_taken_port_is_named_before_anything_starts(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        options = LocalStackOptions(data_dir=data_dir, postgres_port=0, api_port=port)
        stack = LocalStack(options, bootstrap=KeyMaker(), commands=commands())
        with pytest.raises(PortTakenError, match=rf"api .*:{port} .*--api-port"):
            await stack.__aenter__()
    assert not (data_dir / "postgres" / "data").exists()


async def test_a_migration_that_fails_shows_its_log_and_stops_the_servers(data_dir: Path) -> None:
    earlier = set(children())
    stack = LocalStack(
        LocalStackOptions.on_free_ports(data_dir),
        bootstrap=KeyMaker(),
        commands=commands(migrate=command("broken")),
    )
    with pytest.raises(
        PartFailedError, match=rf"migrate ended with exit code 1.*\n.*{BROKEN_WORDS}"
    ):
        await stack.__aenter__()
    assert set(children()) <= earlier


async def test_a_part_that_crashes_again_and_again_ends_the_stack(data_dir: Path) -> None:
    earlier = set(children())
    lines: list[str] = []
    doomed = commands(worker=("/bin/sh", "-c", f"sleep 1.2; echo {BROKEN_WORDS}; exit 7"))
    stack = LocalStack(
        LocalStackOptions.on_free_ports(data_dir),
        bootstrap=KeyMaker(),
        report=lines.append,
        commands=doomed,
        restart_policy=RestartPolicy(max_crashes=2, first_delay_seconds=0.01),
    )
    with pytest.raises(TooManyCrashesError, match=r"worker crashed 2 times (.|\n)*exit code 7"):
        await run_local_stack(stack)
    assert any("exit code 7" in line and BROKEN_WORDS in line for line in lines)
    assert set(children()) <= earlier


class Supervisor:
    """A supervisor in a process of its own, as `transfers dev` is."""

    def __init__(self, process: asyncio.subprocess.Process, info: StackInfo) -> None:
        self.process = process
        self.info = info

    @classmethod
    async def start(cls, data_dir: Path) -> "Supervisor":
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.stand_in", "stack", str(data_dir)),
            stdout=asyncio.subprocess.DEVNULL,
        )
        await eventually(
            lambda: process.returncode is not None or wrote_file(process.pid, data_dir),
            "the stack is ready",
        )
        info = read_stack_file(data_dir)
        assert info is not None
        return cls(process, info)


def wrote_file(supervisor: int, data_dir: Path) -> bool:
    # A supervisor that was killed left its file behind.
    info = read_stack_file(data_dir)
    parts = {child.pid for child in psutil.Process(supervisor).children()}
    return info is not None and parts >= set(info.pids.values())


async def test_a_killed_supervisor_takes_its_parts_along_and_the_next_starts_at_once(
    data_dir: Path,
) -> None:
    first = await Supervisor.start(data_dir)
    sign(first.info.database_url)
    first.process.kill()
    await first.process.wait()
    second = await Supervisor.start(data_dir)
    assert is_signed(second.info.database_url)
    assert second.info.api_key == first.info.api_key
    await eventually(lambda: alive(first.info.pids.values()) == [], "the first one's parts end")
    log = (data_dir / "logs" / "postgres.log").read_text()
    assert log.count("database system is shut down") == 1
    assert "not properly shut down" not in log
    second.process.send_signal(signal.SIGTERM)
    assert await second.process.wait() == 0
    assert alive(second.info.pids.values()) == []
    assert read_stack_file(data_dir) is None


async def test_an_interrupt_while_it_starts_leaves_nothing_running(data_dir: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.stand_in", "stack", str(data_dir)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    pid_file = data_dir / "postgres" / "data" / "postmaster.pid"
    await eventually(pid_file.exists, "PostgreSQL is starting")
    server = int(pid_file.read_text().split()[0])
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0
    assert alive([server]) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes to another account")
async def test_as_root_a_closed_folder_keeps_all_but_the_data_of_postgres(
    data_dir: Path,
) -> None:
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    one = Running(closed / "local")
    async with one.stack:
        elsewhere = moved_home(closed / "local")
        assert elsewhere is not None
        assert any(str(elsewhere) in line for line in one.lines)
        assert (elsewhere / "data" / "PG_VERSION").exists()
        assert (closed / "local" / "temporal" / "temporal.db").exists()
    shutil.rmtree(elsewhere)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
