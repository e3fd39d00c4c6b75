"""A base backup, an archive of its log, and a way back to a point between: the standard tools.

The commands are those of ``docs/backup.md``.
"""

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from runtime.embedded_postgres import EmbeddedPostgres
from runtime.local_stack import LocalStack
from tests.support.waiting import until

RESTORE_POINT = "middle"
BACKUP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class PointInTime:
    """Backups of a local stack's PostgreSQL."""

    stack: LocalStack
    folder: Path

    @property
    def server(self) -> EmbeddedPostgres:
        server = self.stack._parts["postgres"]  # noqa: SLF001 - its programs and its superuser
        assert isinstance(server, EmbeddedPostgres)
        return server

    @property
    def archive(self) -> Path:
        return self.server.home.folder / "archive"

    @property
    def base(self) -> Path:
        return self.folder / "base"

    async def begin_archiving(self) -> None:
        """Let the server keep each file of its log in the archive; it is restarted for that."""
        self.archive.mkdir()
        self._hand_over(self.archive)
        await self._execute("ALTER SYSTEM SET archive_mode = 'on'")
        await self._execute(f"ALTER SYSTEM SET archive_command = 'cp %p {self.archive}/%f'")
        await self.stack.stop_part("postgres")
        await self.stack.start_part("postgres")

    async def back_up(self) -> None:
        """Take a base backup while the server works."""
        process = await asyncio.create_subprocess_exec(
            str(self.server.home.programs / "pg_basebackup"),
            *("--dbname", self.server.superuser_url, "--pgdata", str(self.base)),
            *("--checkpoint=fast", "--wal-method=stream"),
        )
        async with asyncio.timeout(BACKUP_SECONDS):
            assert await process.wait() == 0

    async def mark(self) -> None:
        """Name this moment, to come back to it."""
        await self._execute(f"SELECT pg_create_restore_point('{RESTORE_POINT}')")

    async def finish_archiving(self) -> None:
        """Wait until all of the log up to now is in the archive."""
        name = await self._execute("SELECT pg_walfile_name(pg_switch_wal())")
        file = self.archive / name

        async def is_there() -> bool:
            archived = await self._execute("SELECT last_archived_wal FROM pg_stat_archiver")
            return file.exists() and archived >= name

        await until(is_there)

    async def restore(self) -> None:
        """Put the server back to the marked moment; what came after is in no table any more."""
        await self.stack.stop_part("postgres")
        data = self.server.home.data
        data.rename(data.with_name("data.lost"))
        shutil.copytree(self.base, data, symlinks=True)
        settings = {
            "restore_command": f"cp {self.archive}/%f %p",
            "recovery_target_name": RESTORE_POINT,
            "recovery_target_action": "promote",
            # Nobody is to read before it is there.
            "hot_standby": "off",
        }
        with (data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        (data / "recovery.signal").touch()
        for path in (data, *data.rglob("*")):
            self._hand_over(path)
        data.chmod(0o700)
        await self.stack.start_part("postgres")

    def _hand_over(self, path: Path) -> None:
        account = self.server.home.account
        if account is not None:
            os.chown(path, account.uid, account.gid)

    async def _execute(self, statement: str) -> str:
        async with await psycopg.AsyncConnection.connect(
            self.server.superuser_url, autocommit=True
        ) as connection:
            cursor = await connection.execute(sql.SQL(statement))
            row = await cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else ""
