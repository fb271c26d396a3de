"""The programs of a project, without loading their libraries at each start.

Loading FastMCP takes longer than all that a command does. So one process loads it, and each start
is a fork of that one: it takes the arguments, the folder, the environment and the standard streams
of whoever called, and runs the program from there, the server from the project's own sources.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBRARIES = (
    *("copier.__main__", "pytest", "starlette.testclient"),
    *("cyclopts", "jsonref", "rich.table", "yaml"),
    *("uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.protocols.http.auto"),
    *("personal_server.app", "personal_server.cli", "personal_server.notes"),
)
ROOT = Path(__file__).resolve().parents[2]


def keep(path: str) -> None:
    """Loads what every server needs, then forks for each caller."""
    sys.path.insert(0, str(ROOT / "template/src"))
    asyncio.run(_rehearse())
    sys.path[0] = str(ROOT)
    for name in [name for name in sys.modules if name.startswith("personal_")]:
        del sys.modules[name]  # each project runs its own
    signal.signal(signal.SIGCHLD, _reap)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    while True:
        caller, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _supervise(caller)
            os._exit(0)
        caller.close()


async def _rehearse() -> None:
    """Imports what the programs import, a server also at its first request."""
    for library in LIBRARIES:
        importlib.import_module(library)
    from fastmcp import Client, FastMCP

    server = FastMCP("rehearsal")
    app = server.http_app(stateless_http=True, json_response=True)
    async with app.router.lifespan_context(app), Client(server) as client:
        await client.list_tools()


def _reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _supervise(caller: socket.socket) -> None:
    raw, streams, *_ = socket.recv_fds(caller, 65536, 3)
    while not raw.endswith(b"\n"):
        raw += caller.recv(65536)
    child = os.fork()
    if child == 0:
        caller.close()
        _run(json.loads(raw), streams)
    caller.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    caller.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _run(call: dict[str, Any], streams: list[int]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.path.insert(0, os.environ["PYTHONPATH"])
    sys.argv = call["arguments"]
    code: object = 0
    try:
        code = PROGRAMS[sys.argv[0]]()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _serve() -> None:
    from personal_server.cli import main

    main()


def _test() -> int:
    import pytest

    return pytest.main()


def _copy() -> None:
    from copier.__main__ import CopierApp

    CopierApp.run()


def _contain() -> int:
    from tests.journeys import compose

    return compose.main()


PROGRAMS: dict[str, Callable[[], object]] = {
    "my-server": _serve,
    "pytest": _test,
    "copier": _copy,
    "docker": _contain,
}


def call(path: str, arguments: list[str]) -> int:
    """Starts a program by its name; returns its exit code. A signal to stop is passed on to it."""
    asked = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as keeper:
        keeper.connect(path)
        socket.send_fds(keeper, [json.dumps(asked).encode() + b"\n"], [0, 1, 2])
        with keeper.makefile() as answers:
            child = int(answers.readline())
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda number, _: os.kill(child, number))
            return int(answers.readline()) & 0xFF


if __name__ == "__main__":
    if sys.argv[1] == "keep":
        keep(sys.argv[2])
    else:
        sys.exit(call(sys.argv[2], sys.argv[3:]))
