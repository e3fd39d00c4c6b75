"""The commands of the README and of the life of a transfer do what these say, as written."""

import asyncio
import os
import re
import sysconfig
from pathlib import Path

import pytest

from tests.support.stack import Stack
from tests.support.tenants import TenantMaker

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "docs" / "life-cycle.md")
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL)
]
MAKE_BLOCKS = [block for block in BLOCKS if block.startswith("make ")]
SHELL_BLOCKS = [block for block in BLOCKS if not block.startswith("make ")]
COMMAND_SECONDS = 120


async def run(script: str, **environment: str) -> tuple[int, str]:
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euo",
        "pipefail",
        "-c",
        script,
        cwd=ROOT,
        env={**os.environ, "PATH": path, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(COMMAND_SECONDS):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def test_the_readme_shows_make_and_shell_commands() -> None:
    assert {"make demo\n", "make run\n"} <= set(MAKE_BLOCKS)
    assert any("transfers send" in block for block in SHELL_BLOCKS)


@pytest.mark.parametrize("block", MAKE_BLOCKS)
async def test_a_make_command_of_the_readme_is_a_target(block: str) -> None:
    # What they do is tested by `test_demo`, `test_cli` and by running the tests and checks.
    for line in block.splitlines():
        code, output = await run(f"make --dry-run {line.removeprefix('make ')}")
        assert code == 0, output


async def test_the_shell_commands_of_both_pages_work_in_their_order(
    stack: Stack, make_tenant: TenantMaker
) -> None:
    tenant = await make_tenant()

    code, output = await run(
        "\n".join(SHELL_BLOCKS),
        TRANSFERS_API_URL=stack.api_url,
        TRANSFERS_API_KEY=tenant.api_key,
        DATABASE_URL=stack.service_url,
        TEMPORAL_ADDRESS=stack.temporal_address,
        TEMPORAL_NAMESPACE=stack.temporal_namespace,
    )

    assert code == 0, output
    balances = {
        account["balance"]["posted"]
        for account in (await tenant.get("/accounts"))["data"]
        if account["kind"] == "CUSTOMER"
    }
    # 100.00 deposited, 12.50 moved once although sent twice, 0.50 moved back.
    assert balances == {10_000 - 1_250 + 50, 1_250 - 50}


def test_every_make_target_explains_itself() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)[0].split())
    explained = set(re.findall(r"^([a-z-]+):.*## ", makefile, flags=re.MULTILINE))
    assert targets == explained
