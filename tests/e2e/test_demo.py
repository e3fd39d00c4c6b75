"""`transfers demo` and `transfers dev`, each with a stack of its own."""

import asyncio
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from runtime.ports import LOOPBACK, free_port
from runtime.stack_files import read_stack_file, throwaway_data_dir
from tests.support.command import Command, environment_with
from tests.support.processes import alive

DEMO_SECONDS = 120
PORTS = ("--api-port", "--postgres-port", "--temporal-port", "--temporal-ui-port")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with throwaway_data_dir() as folder:
        yield folder


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", *arguments),
        env=environment_with({}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def read_until(process: asyncio.subprocess.Process, text: str) -> str:
    """Read what a process prints, up to a line that holds a text."""
    assert process.stdout is not None
    read = ""
    async with asyncio.timeout(DEMO_SECONDS):
        while text not in read:
            line = (await process.stdout.readline()).decode()
            assert line, f"it ended before {text!r}: {read}"
            read += line
    return read


def parts_in(output: str) -> list[int]:
    return [int(pid) for pid in re.findall(r"\(pid (\d+)", output)]


async def paste(curl: str) -> str:
    """Do what a curl command says: with curl where it is installed."""
    if shutil.which("curl") is not None:
        pasted = await asyncio.create_subprocess_shell(curl, stdout=asyncio.subprocess.PIPE)
        answer, _ = await pasted.communicate()
        return answer.decode()
    words = iter(shlex.split(curl.removeprefix("curl -sS ")))
    url, options = next(words), list(zip(words, words, strict=True))
    headers = [text.split(": ", 1) for option, text in options if option == "-H"]
    [body] = [text for option, text in options if option == "-d"]
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.post(url, headers=dict(headers), content=body)).text


async def test_the_demo_shows_what_it_says_and_leaves_nothing_behind() -> None:
    process = await start("demo")
    async with asyncio.timeout(DEMO_SECONDS):
        output, _ = await process.communicate()
    said = output.decode()
    assert process.returncode == 0, said
    for statement in (
        "50 requests with one Idempotency-Key: 1 transfer, 50 equal answers (49 marked as replays)",
        "422 insufficient_funds: ",
        "SIGKILL to the worker (pid ",
        "All 60 have succeeded",
        "Statement of Ada",
        "All 7 invariants hold.",
        "`make run` starts a stack that stays",
        "Stopped and removed",
    ):
        assert statement in said
    assert re.search(r"http://127\.0\.0\.1:\d+/docs", said)
    assert re.search(r"http://127\.0\.0\.1:\d+/namespaces/default/workflows/\S+", said)
    assert len(parts_in(said)) >= 6
    assert alive(parts_in(said)) == []


async def test_an_interrupted_demo_leaves_nothing_behind() -> None:
    process = await start("demo")
    said = await read_until(process, "postgres is ready")
    process.send_signal(signal.SIGINT)
    rest, _ = await process.communicate()
    assert process.returncode == 130
    assert "Interrupted; everything is stopped and removed." in rest.decode()
    assert "Traceback" not in rest.decode()
    assert alive(parts_in(said)) == []


async def test_dev_runs_the_stack_that_its_own_words_describe(data_dir: Path) -> None:
    options = [argument for port in PORTS for argument in (port, "0")]
    process = await start("dev", "--data-dir", str(data_dir), *options)
    try:
        said = await read_until(process, "transfers verify")
        info = read_stack_file(data_dir)
        assert info is not None
        for url in (f"{info.api_url}/docs", info.console_url, info.temporal_ui_url):
            assert url in said
        [curl] = re.findall(r"^ +(curl .+)$", said, flags=re.MULTILINE)
        assert '"name":"Ada"' in await paste(curl)
        command = Command()
        users = await command.printed("users", "list", "--data-dir", data_dir, "--json")
        assert [user["name"] for user in users.document["data"]] == ["Ada"]
        keys = await command.printed("keys", "list", "--data-dir", data_dir)
        assert "local-operator" in keys.output
        await command.printed("migrate", "--data-dir", data_dir)
        await command.printed("verify", "--data-dir", data_dir)
        second = await command.refused("dev", "--data-dir", data_dir)
        assert "already runs" in second
    finally:
        process.send_signal(signal.SIGTERM)
        rest, _ = await process.communicate()
    assert process.returncode == 0, rest.decode()
    assert alive(info.pids.values()) == []
    assert read_stack_file(data_dir) is None


async def test_dev_names_a_port_that_is_taken(data_dir: Path) -> None:
    port = free_port()
    server = await asyncio.start_server(lambda _reader, _writer: None, LOOPBACK, port)
    async with server:
        said = await Command().refused("dev", "--data-dir", data_dir, "--api-port", port)
    assert f"{LOOPBACK}:{port}" in said
    assert "--api-port" in said
