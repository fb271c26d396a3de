"""A server as a process of its own: started, looked at from outside, and surely stopped."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.load import Request, Unexpected, drive, message
from benchmarks.servers import BARE, EMPTY, OPEN, PASSWORD, provider
from tests.generate.project import copy, snapshot
from tests.support.process import MAIN
from tests.support.programs import free_port

ROOT = Path(__file__).parents[1]
START_SECONDS, STOP_SECONDS = 60, 15
PR_SET_PDEATHSIG = 1
CPU_CLOCK_OF_PROCESS = 2  # as clock_getcpuclockid(3) puts a number together


class Served:
    """A server that answers, in a `with` block that ends it.

    Args:
        command: What follows the name of the interpreter.
        port: Where it serves.
        folder: Its working directory; what it says is in `<folder>.log`.
        path: Where it finds modules.
        first: What it answers with 200 as soon as it can.
        prepared: Called in the new process before the server begins, as to set a limit.
        settings: Goes into its environment, in which nothing else begins with MCP_ or FASTMCP_.
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        folder: Path,
        *,
        path: Sequence[Path],
        first: Request,
        prepared: Callable[[], object] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port
        self.log_file = folder.with_suffix(".log")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MCP_", "FASTMCP_"))}
        places = {"PYTHONPATH": os.pathsep.join(map(str, path)), "NO_COLOR": "1"}
        offline = {"FASTMCP_CHECK_FOR_UPDATES": "off"}
        with self.log_file.open("ab") as log:
            began = time.perf_counter()
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, *command],
                cwd=folder,
                env=kept | places | offline | dict(settings or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=partial(_begin, os.getpid(), prepared),
            )
        try:
            self._wait(first)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.perf_counter() - began
        """From the start of the process to its first answer."""
        self.start_cpu_seconds = self.cpu()

    def cpu(self) -> float:
        """Returns how many seconds of the processor it took, all its threads together."""
        return time.clock_gettime(~self.process.pid << 3 | CPU_CLOCK_OF_PROCESS)

    def resident(self) -> float:
        """Returns the memory in MiB that it holds, libraries that others hold too included."""
        return self._kibibytes("VmRSS") / 1024

    def peak(self) -> float:
        """Returns the most memory in MiB that it ever held."""
        return self._kibibytes("VmHWM") / 1024

    def stop(self) -> None:
        """Ends it: asked first, then forced."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait(self, first: Request) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            if answers(self.port, first):
                return
            time.sleep(0.002)
        raise AssertionError(f"the server does not answer:\n{self.log_file.read_text()}")

    def _kibibytes(self, name: str) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def serve(kind: str, folder: Path, **options: Any) -> Served:
    """Starts one of `servers.py`, whose state is in a folder; the folder may be used again.

    Raises:
        AssertionError: It does not answer; what it said is the message.
    """
    folder.mkdir(exist_ok=True)
    port = port_of(folder)
    access = None if kind in (BARE, OPEN, EMPTY) else token(folder)
    first = message(port, "ping", token=access, status=404 if kind == EMPTY else 200)
    command = ["-m", "benchmarks.servers", kind, str(port), str(folder)]
    return Served(command, port, folder, path=[ROOT, ROOT / "template/src"], first=first, **options)


def serve_rendered(project: Path, **options: Any) -> Served:
    """Starts a rendered project as its owner does; it may be started again.

    Raises:
        AssertionError: It does not answer; what it said is the message.
    """
    state = project / ".oauth-state"
    port = port_of(state)
    address = {"MCP_PORT": str(port), "MCP_PUBLIC_URL": f"http://localhost:{port}"}
    settings = {"MCP_PASSWORD": PASSWORD, **address, **options.pop("settings", {})}
    first = message(port, "ping", token=token(state))
    path = [project / "src"]
    return Served(["-c", MAIN], port, project, path=path, first=first, settings=settings, **options)


def rendered(folder: Path) -> Path:
    """Renders the template with its defaults, as it is now; returns the project."""
    (folder / "template").mkdir()
    project = folder / "my-server"
    copy(snapshot(folder / "template"), project)
    return project


def list_notes(project: Path) -> dict[str, Any]:
    """Returns the parameters of a call that lists the notes of a rendered project."""
    answers = json.loads((project / "src/personal_server/answers.json").read_text())
    return {"name": f"{answers['tool_prefix']}_list_notes", "arguments": {}}


def port_of(folder: Path) -> int:
    """Returns the port of a state, whose tokens hold for one address; free when first asked."""
    noted = folder.with_suffix(".port")
    if not noted.exists():
        noted.write_text(str(free_port()))
    return int(noted.read_text())


def token(folder: Path) -> str:
    """Returns an access token of the server whose state is in a folder, running or not."""
    noted = folder.with_suffix(".token")
    if not noted.exists():
        noted.write_text(asyncio.run(_issued(port_of(folder), folder)))
    return noted.read_text()


async def _issued(port: int, folder: Path) -> str:
    async with provider(port, folder).service.for_a_command() as service:
        _, access = await service.grants.issue_token("measuring", read_only=False, seconds=86400)
    return str(access)


def answers(port: int, first: Request) -> bool:
    """Tells whether a server gives a request the answer that it is to have."""
    try:
        return drive(port, [first], connections=1) > 0
    except (OSError, Unexpected):
        return False


def _begin(parent: int, prepared: Callable[[], object] | None) -> None:
    """Lets a new process end with whoever started it, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    if prepared is not None:
        prepared()
