"""A fork of what has the libraries loaded is what Python's own start makes of a program."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.generate.project import ROOT
from tests.support import forks
from tests.support.owner import connect
from tests.support.process import MAIN, Running, environment
from tests.support.programs import free_port

ITSELF = """
import json, os, signal, sys
ours = [name for name in sys.modules if name.startswith("personal_")]
streams = [(s.encoding, s.errors, s.line_buffering, s.newlines) for s in
           (sys.stdin, sys.stdout, sys.stderr)]
handlers = [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
signals = [line for line in open("/proc/self/status") if line.startswith(("SigIgn", "SigBlk"))]
path = [os.path.realpath(part) if part else part for part in sys.path]
print(json.dumps([sys.argv, path, os.getcwd(), dict(os.environ), str(sys.flags), __name__, ours,
    sys.orig_argv, streams, handlers, signals, os.getppid(), os.getpgrp(),
    globals().get("__file__"), sorted(os.listdir("/proc/self/fd")), sys.stdin.read()]))
"""
SCRIPTS = {
    "all that it sees": ITSELF,
    "an exit with a number": "import sys; print('said'); sys.exit(7)",
    "an exit with a sentence": "import sys; sys.exit('No.')",
    "an exit without": "raise SystemExit",
    "an error": "def fail():\n    raise ValueError('é')\n\n\nfail()\n",
    "Ctrl+C": "import signal; signal.raise_signal(signal.SIGINT)",
    "its own death": "import os, signal; print('said', flush=True); os.kill(os.getpid(), 15)",
    "what is left for the end": (
        "import atexit, threading; atexit.register(print, 'last')\n"
        "threading.Timer(0.1, print, ['a thread']).start(); print('first')"
    ),
    "no reader": "import os, sys; os.dup2(os.open('/dev/full', os.O_WRONLY), 1); print('said')",
}


@pytest.mark.parametrize("how", ["-c", "-m", "script"])
@pytest.mark.parametrize("what", SCRIPTS)
def test_a_program_does_the_same(tmp_path: Path, what: str, how: str) -> None:
    (tmp_path / "program.py").write_text(SCRIPTS[what], "utf-8")
    program = {"-c": ["-c", SCRIPTS[what]], "-m": ["-m", "program"], "script": ["program.py"]}[how]
    settings = {"MCP_PORT": "1", "PYTHONPATH": f"{tmp_path}:elsewhere", "PYTHONIOENCODING": "utf-8"}
    options: dict[str, Any] = {
        "cwd": tmp_path,
        "env": {**environment(tmp_path), **settings},
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "stdin": subprocess.PIPE,
    }

    ends = []
    for start in (subprocess.Popen, forks.Popen):
        with start([sys.executable, *program, "-c", "é"], **options) as process:
            ends.append([*process.communicate(b"a line\r\n", 30), process.returncode])

    assert ends[0] == ends[1]


def test_a_fork_is_a_child_of_the_tests_and_takes_every_signal() -> None:
    sleep = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        process = forks.Popen(sleep, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with process:
            process.stdout.readline()
            program = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            process.send_signal(number)

            assert process.wait(10) == -number
        assert forks.KEEPER.name.encode() in program, "it was a fork"
        assert not Path(f"/proc/{process.pid}").exists()


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_the_keeper_ends_with_the_tests_that_use_it(tmp_path: Path, how: str) -> None:
    program = f"""
import os, sys
from tests.support import forks
print(forks.run([sys.executable, "-c", "import os; print(os.getppid())"]).stdout.strip())
print(forks._keeper()._process.pid, flush=True)
{"os.kill(os.getpid(), 9)" if how == "killed" else ""}
"""

    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None
        parent, keeper = map(int, tests.stdout)
        ended = os.pidfd_open(keeper) if Path(f"/proc/{keeper}").exists() else None

    assert parent == tests.pid
    if ended is not None:
        assert select.select([ended], [], [], 10)[0], "it has ended"
        os.close(ended)


@pytest.mark.parametrize("early", ["a setting of FastMCP's", "one in a file", "another home"])
def test_what_the_libraries_read_while_they_load_has_a_start_of_its_own(
    tmp_path: Path, early: str
) -> None:
    settings = {
        "a setting of FastMCP's": {"FASTMCP_LOG_LEVEL": "DEBUG"},
        "another home": {"HOME": str(tmp_path)},
    }
    if early == "one in a file":
        (tmp_path / ".env").write_text("fastmcp_log_level=DEBUG\n")
    program = "import sys; print('fastmcp' in sys.modules)"
    begun = {**environment(tmp_path), **settings.get(early, {})}

    done = forks.run([sys.executable, "-c", program], cwd=tmp_path, env=begun)
    usual = forks.run([sys.executable, "-c", program], cwd=ROOT, env=environment(tmp_path))

    assert (done.stdout, usual.stdout) == ("False\n", "True\n")


def test_the_server_itself_starts_serves_and_ends_as_its_fork_does(project: Path) -> None:
    (project / ".env").write_text("MCP_PASSWORD='a password of some length'\n")
    port, ends = free_port(), []
    for start in (subprocess.Popen, forks.Popen):
        server = Running(project, start=start, MCP_PORT=str(port))
        names = connect(server.url, "a password of some length").post(
            {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        )
        ends.append((server.stop(), names.json(), lines(server)))

    assert ends[0] == ends[1]
    assert ends[0][0] == 0


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ([], {"MCP_PORT": "many"}),
        (["password"], {"MCP_PASSWORD": "a password of some length"}),
        (["clients", "claude-code"], {}),
        (["connections"], {}),
        (["unknown"], {}),
        (["--help"], {}),
    ],
    ids=str,
)
def test_a_command_itself_says_what_its_fork_says(
    project: Path, arguments: list[str], settings: dict[str, str]
) -> None:
    begun = {
        "args": [sys.executable, "-c", MAIN, *arguments],
        "cwd": project,
        "env": environment(project, **{"MCP_PORT": str(free_port()), **settings}),
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }

    ends = []
    for start in (subprocess.Popen, forks.Popen):
        with start(**begun) as process:
            ends.append([*process.communicate(timeout=30), process.returncode])

    assert ends[0] == ends[1]
    assert ends[0][0] or ends[0][1]


def lines(server: Running) -> list[str]:
    """Returns and removes the log, without times and ids."""
    log = server.log
    server.log_file.unlink()
    return [re.sub(r"grant=\w+", "grant=", line[20:]) for line in log.splitlines()]
