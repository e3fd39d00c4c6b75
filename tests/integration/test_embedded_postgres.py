import asyncio
import contextlib
import os
import shutil
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from runtime.embedded_postgres import EmbeddedPostgres
from runtime.local_errors import AlreadyRunningError, FolderError, PartFailedError
from runtime.ports import PortTakenError, free_port
from runtime.stack_files import throwaway_data_dir

only_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes to another account")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with throwaway_data_dir() as folder:
        yield folder


@pytest.fixture(scope="module")
async def postgres() -> AsyncIterator[EmbeddedPostgres]:
    """One server for the tests that leave it as they find it: running, and with its data."""
    with throwaway_data_dir() as folder:
        server = EmbeddedPostgres(folder)
        await server.start()
        yield server
        await server.stop()


async def fetch(url: str, statement: str) -> tuple[object, ...]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        row = await (await connection.execute(statement)).fetchone()
    assert row is not None
    return tuple(row)


async def execute(url: str, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement)


async def test_a_first_start_makes_a_database_that_its_own_role_owns(
    postgres: EmbeddedPostgres,
) -> None:
    found = await fetch(
        postgres.database_url,
        "SELECT current_user, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datlocale, "
        "rolsuper FROM pg_database, pg_roles WHERE datname = current_database() "
        "AND rolname = current_user",
    )
    assert found == ("transfers", "transfers", "UTF8", "C.UTF-8", False)


async def test_commits_are_durable_by_its_settings(postgres: EmbeddedPostgres) -> None:
    names = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")
    settings = ", ".join(f"current_setting('{name}')" for name in names)
    assert await fetch(postgres.database_url, f"SELECT {settings}") == ("on",) * 4


async def test_it_listens_on_loopback_alone_and_asks_for_the_password(
    postgres: EmbeddedPostgres,
) -> None:
    listening = [
        connection.laddr
        for connection in psutil.Process(postgres.pid).net_connections("all")
        if connection.status == psutil.CONN_LISTEN or isinstance(connection.laddr, str)
    ]
    assert listening == [("127.0.0.1", postgres.port)]
    for role, database in (("postgres", "postgres"), ("transfers", "transfers")):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(f"postgresql://{role}:wrong@127.0.0.1:{postgres.port}/{database}")


async def test_its_passwords_are_in_a_file_that_only_the_owner_reads(
    postgres: EmbeddedPostgres,
) -> None:
    credentials = postgres.home.credentials
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert credentials.stat().st_uid == os.geteuid()
    assert postgres.database_url.split(":")[2].split("@")[0] in credentials.read_text()


@only_as_root
def test_as_root_it_runs_as_nobody_without_further_groups(postgres: EmbeddedPostgres) -> None:
    assert psutil.Process(postgres.pid).username() == "nobody"
    status = Path(f"/proc/{postgres.pid}/status").read_text().splitlines()
    assert [line.split() for line in status if line.startswith("Groups:")] == [["Groups:"]]


async def test_committed_rows_outlive_every_way_to_stop_and_the_port_stays(
    postgres: EmbeddedPostgres,
) -> None:
    url, identifier = postgres.database_url, postgres.system_identifier
    await execute(url, "CREATE TABLE kept (way text)")
    await execute(url, "INSERT INTO kept VALUES ('restart')")
    await postgres.restart()
    await execute(url, "INSERT INTO kept VALUES ('immediate')")
    await postgres.stop(mode="immediate")
    await postgres.start()
    await execute(url, "INSERT INTO kept VALUES ('kill')")
    await postgres.kill()
    assert not postgres.running
    await postgres.start()
    found = await fetch(url, "SELECT array_agg(way ORDER BY ctid) FROM kept")
    assert found == (["restart", "immediate", "kill"],)
    assert postgres.system_identifier == identifier


async def test_it_starts_again_while_a_session_of_the_killed_server_still_computes(
    postgres: EmbeddedPostgres,
) -> None:
    busy = asyncio.create_task(
        fetch(postgres.database_url, "SELECT count(*) FROM generate_series(1, 8000000)")
    )
    await asyncio.sleep(0.3)
    await postgres.kill()
    await postgres.start()
    with contextlib.suppress(psycopg.OperationalError):
        await busy
    assert await fetch(postgres.database_url, "SELECT 1") == (1,)


async def test_a_second_server_on_the_same_data_is_refused_with_the_pid_of_the_first(
    postgres: EmbeddedPostgres,
) -> None:
    second = EmbeddedPostgres(postgres.home.folder.parent)
    with pytest.raises(AlreadyRunningError, match=rf"pid {postgres.pid}\b"):
        await second.start()


async def test_a_taken_port_is_named_with_the_option_that_moves_it(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"PostgreSQL .*:{port} .*--postgres-port"):
            await EmbeddedPostgres(data_dir, port=port).start()


async def test_a_pid_file_whose_number_is_now_another_process_is_no_obstacle(
    postgres: EmbeddedPostgres,
) -> None:
    await postgres.kill()
    pid_file = postgres.home.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    with pid_file.open("w") as file:
        file.write("\n".join([str(os.getpid()), *lines[1:]]))
    await postgres.start()
    assert await fetch(postgres.database_url, "SELECT 1") == (1,)


async def test_a_failed_start_shows_the_end_of_the_log_and_leaves_nothing_running(
    postgres: EmbeddedPostgres,
) -> None:
    await postgres.stop()
    control = postgres.home.data / "global" / "pg_control"
    hidden = control.rename(control.with_name("hidden"))
    with pytest.raises(PartFailedError, match="postgres ended with exit code") as failure:
        await postgres.start()
    hidden.rename(control)
    assert not postgres.running
    assert f"{control}" in str(failure.value)
    assert "received fast shutdown request" not in str(failure.value), "of an earlier run"
    await postgres.start()


async def test_data_whose_passwords_are_gone_is_left_alone(postgres: EmbeddedPostgres) -> None:
    await postgres.stop()
    credentials = postgres.home.credentials
    hidden = credentials.rename(credentials.with_name("hidden"))
    with pytest.raises(FolderError, match=r"credentials\.json is missing"):
        await EmbeddedPostgres(postgres.home.folder.parent).start()
    hidden.rename(credentials)
    await postgres.start()


@only_as_root
async def test_data_of_another_user_is_left_alone(data_dir: Path) -> None:
    folder = data_dir / "postgres"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(FolderError, match=rf"{folder} belongs to another user \(uid 65534\)"):
        await EmbeddedPostgres(data_dir).start()


@only_as_root
async def test_under_closed_folders_data_and_programs_go_where_the_account_can(
    postgres: EmbeddedPostgres, data_dir: Path
) -> None:
    closed, shared = data_dir / "closed", data_dir / "shared"
    closed.mkdir(mode=0o700)
    package = postgres.home.programs.parents[1]
    for folder in (package / "pginstall18", package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, closed / folder.relative_to(package.parent))
    lines: list[str] = []
    for start in ("first", "second"):
        server = EmbeddedPostgres(
            closed / "local",
            report=lines.append,
            package_folder=closed / package.name,
            shared_folder=shared,
        )
        await server.start()
        if start == "first":
            await execute(server.database_url, "CREATE TABLE kept ()")
        assert await fetch(server.database_url, "SELECT 'kept'::regclass IS NOT NULL") == (True,)
        await server.stop()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert any(str(shared) in line and str(closed) in line for line in lines)
    assert not (closed / "local" / "postgres").exists()
