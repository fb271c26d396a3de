"""What the tests do to a PostgreSQL besides asking it: passwords, TLS, restarts, silence."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from tests.support.programs import freeze, need, postgres, thaw


class Postgres:
    """A PostgreSQL of its own, seen as its owner."""

    def __init__(self, url: str) -> None:
        self.url, self.port = url, urlsplit(url).port
        self.data = Path(self.sql("SHOW data_directory")[0][0])

    def sql(self, statement: str, *values: Any) -> list[Any]:
        async def ask() -> list[Any]:
            connection = await asyncpg.connect(self.url)
            try:
                if values or statement.lstrip().upper().startswith(("SELECT", "SHOW")):
                    return list(await connection.fetch(statement, *values))
                await connection.execute(statement)
                return []
            finally:
                await connection.close()

        return asyncio.run(ask())

    def url_of(self, user: str, password: str = "", options: str = "") -> str:
        who = f"{user}:{password}" if password else user
        return f"postgresql://{who}@127.0.0.1:{self.port}/postgres{options}"

    def ask_for_passwords(self, *users: str) -> None:
        rules = self.data / "pg_hba.conf"
        lines = [f"host all {user} 127.0.0.1/32 scram-sha-256\n" for user in users]
        rules.write_text("".join(lines) + rules.read_text())
        self.sql("SELECT pg_reload_conf()")

    def offer_tls(self, certificate: Path) -> None:
        """Speaks TLS from now on; the file also holds the key."""
        for name in ("server.key", "server.crt"):
            shutil.copy(certificate, self.data / name)
            (self.data / name).chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(self.data / name, "postgres")
        self.sql("ALTER SYSTEM SET ssl = on")
        self.sql("SELECT pg_reload_conf()")

    def sessions(self, *users: str) -> list[Any]:
        """Returns the sessions of some users: process, state, statement."""
        return self.sql(
            "SELECT pid, state, query FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND usename = ANY ($1)",
            list(users),
        )

    def end_sessions(self, *users: str) -> int:
        return len(
            self.sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND usename = ANY ($1)",
                list(users),
            )
        )

    def control(self, *arguments: str) -> None:
        program = Path(need("initdb")).parent / "pg_ctl"
        user: dict[str, Any] = {"user": "postgres", "group": "postgres"}
        subprocess.run(
            [str(program), "-D", str(self.data), "-w", "-l", str(self.data / "log"), *arguments],
            cwd=self.data,
            check=True,
            capture_output=True,
            **(user if os.geteuid() == 0 else {}),
        )

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Lets the server and all its sessions hang; connections are still taken."""
        frozen = freeze(int((self.data / "postmaster.pid").read_text().split()[0]))
        try:
            yield
        finally:
            thaw(frozen)


@contextmanager
def database() -> Iterator[Postgres]:
    """Starts a PostgreSQL of its own."""
    with postgres() as url:
        yield Postgres(url)
