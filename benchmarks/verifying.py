"""How long `verify.py` takes in front of a healthy server, from its start to its report.

The server is a project with the default answers on this machine, with a password that costs what
one costs; the program signs in with it, so that no check is left out. A round trip through a tunnel
comes on top of each request, and `uv run` before the start.
"""

from __future__ import annotations

import compileall
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import WALL, Goal, Row, Scale, in_turns, row
from tests.generate.project import copy, snapshot
from tests.support.process import Running, environment
from tests.support.programs import free_port

PASSWORD = "a password that opens nothing else"


def rows(scale: Scale) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), str(free_port())
        url = f"http://localhost:{port}"
        (folder / "template").mkdir()
        project = folder / "my-server"
        copy(snapshot(folder / "template"), project)
        compileall.compile_dir(project, quiet=1)
        server = Running(
            project,
            start=subprocess.Popen,
            MCP_PORT=port,
            MCP_PUBLIC_URL=url,
            MCP_PASSWORD=PASSWORD,
        )

        def run() -> float:
            command = [sys.executable, "verify.py", url]
            began = WALL()
            done = subprocess.run(  # noqa: S603
                command,
                cwd=project,
                env=environment(project, MCP_PASSWORD=PASSWORD),
                capture_output=True,
                text=True,
            )
            took = WALL() - began
            assert done.returncode == 0, done.stdout + done.stderr
            return took

        try:
            (took,) = in_turns(scale, run)
        finally:
            server.kill()
    yield row("verifying", "verify.py on a healthy server", "a limit", took, Goal(most=6), "s")
