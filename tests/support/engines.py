"""A Redis and a PostgreSQL that a test can stop, start again and freeze; what they hold stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.support import programs


class Engine(Protocol):
    """A store's server on a port of its own; `answer` is the one to the question for the store."""

    url: str
    answer: str

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def freeze(self) -> None:
        """Lets it answer nothing more; connections to it are still taken."""

    def thaw(self) -> None: ...


class Redis:
    """A Redis that writes every change to disk before it answers."""

    answer = "redis"

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, programs.free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {"port": self._port, "bind": "127.0.0.1", "dir": self._folder, "save": "''"}
        options |= {"appendonly": "yes", "appendfsync": "always"}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._process = subprocess.Popen(
            [programs.need("redis-server"), *words], stdout=subprocess.DEVNULL
        )
        programs.wait_for(self._port)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(10)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class Postgres:
    """A PostgreSQL with an empty database."""

    answer = "postgres"

    def __init__(self, folder: Path) -> None:
        self._tools = Path(programs.need("initdb")).parent
        self._folder, self._data, self._port = folder, folder / "data", programs.free_port()
        self.url = f"postgresql://owner@127.0.0.1:{self._port}/postgres"
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(folder, "postgres")
        options = ("-U", "owner", "-A", "trust", "-E", "UTF8", "--no-sync")
        programs.as_postgres(folder, self._tools / "initdb", "-D", self._data, *options)
        self._frozen: list[int] = []

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c fsync=off -p {self._port} -k {self._folder}"
        self._control("-w", "-l", self._data / "log", "-o", options, "start")

    def stop(self) -> None:
        self.thaw()
        if (self._data / "postmaster.pid").exists():
            self._control("-m", "fast", "stop")

    def freeze(self) -> None:
        first = int((self._data / "postmaster.pid").read_text().split("\n")[0])
        self._frozen = programs.freeze(first)

    def thaw(self) -> None:
        programs.thaw(self._frozen)
        self._frozen = []

    def _control(self, *arguments: object) -> None:
        programs.as_postgres(self._folder, self._tools / "pg_ctl", "-D", self._data, *arguments)


@contextmanager
def started(kind: type[Redis] | type[Postgres]) -> Iterator[Engine]:
    """Starts an empty one; yields it and ends it however the test ends."""
    with tempfile.TemporaryDirectory(prefix="store-", ignore_cleanup_errors=True) as folder:
        engine: Engine = kind(Path(folder))
        engine.start()
        try:
            yield engine
        finally:
            engine.stop()
