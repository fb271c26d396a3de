"""Starts Python programs as forks of one process that has the libraries loaded.

A start that imports FastMCP takes more than a second; a fork of keeper.py some hundredths of it.
What is started is still a process of its own and a child of the tests: with its own number, exit
code and signals, with the arguments, the folder, the environment and the streams that were given,
and with no module of the template loaded. Each process of the tests has its own keeper, from the
first start to its end, however it ends.

What a fork could do otherwise is started as ever: other programs than this Python, flags of the
interpreter, a terminal, other users, and an environment that differs from the keeper's in more than
what is known to be read only later, which FASTMCP_ settings are not.

That both come to the same, in what a program sees and how it ends, tests/server/test_starts.py asks
of both, also of the server and its commands. Further starts without a keeper are: on a terminal
(test_serving.py, test_connect.py in tests/server), a script of the owner's (tests/auth/
test_quick_start.py), verify.py interrupted, out of a wheel, or measured (test_verify.py,
test_package.py, test_hostile.py in tests/verify), and what documents tell a person to run
(tests/update/test_adopting.py, tests/journeys).

Two things are not as they would be: strings hash alike in all forks of one keeper, and the
interpreter ends without taking its modules apart, after threads and exit handlers had their turn.
"""

from __future__ import annotations

import atexit
import ctypes
import inspect
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

KEEPER = Path(__file__).with_name("keeper.py")
SET_CHILD_SUBREAPER = 36
# Read by no library while it is imported.
FREE = (
    *("MCP_", "TESTS_", "PYTEST_", "PYTHONPATH", "PYTHONIOENCODING"),
    *("COLUMNS", "NO_COLOR", "SSL_CERT_FILE"),
)
EARLY = b"FASTMCP_"  # which FastMCP reads while it is imported, also in .env
# What a start asks for beside program, folder, environment, streams and session.
USUAL: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(("executable", "preexec_fn", "uid", "gid", "gids"), (None,)),
    **dict.fromkeys(("close_fds", "restore_signals"), (True,)),
    **dict.fromkeys(("shell", "pass_fds"), (False, ())),
    **dict.fromkeys(("umask", "process_group"), (-1, None)),
}


class Keeper:
    """The process of which the programs are forks."""

    def __init__(self) -> None:
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith((*FREE, EARLY.decode()))
        }
        ours, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, str(KEEPER), str(its.fileno())],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
            )
        self._calls, self._answers = ours, ours.makefile()
        atexit.register(self._end)

    def fork(self, call: dict[str, Any], streams: list[int]) -> int:
        """Returns the number of a new process, which is a child of this one."""
        _adopt(True)
        try:
            socket.send_fds(self._calls, [json.dumps(call).encode() + b"\n"], streams)
            child = self._answers.readline()
            assert self._answers.readline() == "\n", "the keeper has ended"
        finally:
            _adopt(False)
        return int(child)

    def _end(self) -> None:
        self._answers.close()
        self._calls.close()
        self._process.wait()


def _adopt(orphans: bool) -> None:
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, orphans, 0, 0, 0)


_keepers: dict[int, Keeper] = {}  # by the process that started it
_one_at_a_time = threading.Lock()


def _keeper() -> Keeper:
    if os.getpid() not in _keepers:
        _keepers[os.getpid()] = Keeper()
    return _keepers[os.getpid()]


class Popen(subprocess.Popen[Any]):
    """A process as subprocess.Popen makes it, by a fork where that comes to the same."""

    def _execute_child(self, *given: Any) -> None:
        start = super()._execute_child  # type: ignore[misc]
        asked = inspect.signature(start).bind(*given).arguments
        environment = {str(k): str(v) for k, v in (asked["env"] or os.environ).items()}
        streams = [asked[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        streams = [number if stream == -1 else stream for number, stream in enumerate(streams)]
        call = {
            "arguments": [os.fspath(part) for part in asked["args"]][1:],
            "folder": os.path.abspath(asked["cwd"] or "."),
            "environment": environment,
            "session": asked["start_new_session"],
        }
        with _one_at_a_time:
            keeper = _keeper() if _is_plain(asked) else None
            if keeper is None or not _needs_no_other_start(call, streams, keeper):
                start(*given)
                return
            self.pid = keeper.fork(call, streams)
        self._child_created = True
        ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(asked[name] for name in ends))  # type: ignore[attr-defined]


def run(
    arguments: list[str],
    *,
    input: str | None = None,
    timeout: float | None = None,
    check: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end as subprocess.run does; both its outputs are captured as text."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with Popen(arguments, **{**pipes, **options}) as process:
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(arguments, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def _is_plain(asked: dict[str, Any]) -> bool:
    """Tells whether a start asks for nothing that only an interpreter's own start can do."""
    first, how, *_ = [*map(str, asked["args"]), "", ""]
    flagged = how.startswith("-") and how not in {"-c", "-m"}
    return (
        sys.platform == "linux"
        and (first, bool(how), flagged) == (sys.executable, True, False)
        and all(asked[name] in usual for name, usual in USUAL.items())
    )


def _needs_no_other_start(call: dict[str, Any], streams: list[int], keeper: Keeper) -> bool:
    """Tells whether the libraries would be loaded in the same way by an interpreter's own start."""
    late = {name: value for name, value in call["environment"].items() if name.startswith(FREE)}
    settings = Path(call["folder"], ".env")
    return (
        call["environment"] == keeper.environment | late
        and os.path.isdir(call["folder"])
        and not (settings.exists() and EARLY in settings.read_bytes().upper())
        and not any(map(os.isatty, streams))
    )
