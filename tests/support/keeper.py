"""Python with the libraries loaded, of which each program is a fork; see forks.py.

Started with the number of a socket, on which each call is one line of JSON that comes with three
streams; the answer is the number of the new process. It ends when the socket does.

Its own thread stays the only one: what the programs will import is found out by a fork that does
what they do and ends. Nothing of the project is imported here, so that each program runs the
sources that it is started with.
"""

from __future__ import annotations

import asyncio
import atexit
import builtins
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import Any, NoReturn

SOURCE = Path(__file__).resolve().parents[2] / "template/src"
OURS = ("personal_auth", "personal_server", "personal_verify")
LIBRARIES = (
    *("copier.__main__", "cyclopts", "jsonref", "rich.table", "yaml"),
    *("uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.protocols.http.auto"),
)


def load() -> None:
    """Imports what the programs import, a server also at its first request."""
    for name in _asked_of_a_fork():
        with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
            importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "only one thread is forked"


def _asked_of_a_fork() -> list[str]:
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        asyncio.run(_rehearse())
        names = [name for name in sys.modules if name.split(".")[0] not in (*OURS, "__main__")]
        with open(writing, "w") as answer:
            answer.write("\n".join(names))
        os._exit(0)
    os.close(writing)
    with open(reading) as answer:
        names = answer.read().split("\n")
    os.wait()
    assert len(names) > 1, "the programs cannot be imported"
    return names


async def _rehearse() -> None:
    sys.path.insert(0, str(SOURCE))
    for package in map(importlib.import_module, OURS):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for library in LIBRARIES:
        importlib.import_module(library)
    from fastmcp import Client, FastMCP

    server = FastMCP("rehearsal")
    app = server.http_app(stateless_http=True, json_response=True)
    async with app.router.lifespan_context(app), Client(server) as client:
        await client.list_tools()


def keep(calls: socket.socket) -> dict[str, Any] | None:
    """Forks for each call; returns it in the fork, and nothing when there are no more."""
    while True:
        raw, streams, *_ = socket.recv_fds(calls, 65536, 3)
        while raw and not raw.endswith(b"\n"):
            raw += calls.recv(65536)
        if not raw:
            return None
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            child = os.fork()
            if child == 0:
                os.close(writing)
                os.read(reading, 1)  # until the one between is gone
                os.close(reading)
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                    os.close(stream)
                calls.close()
                call: dict[str, Any] = json.loads(raw)
                return call
            calls.sendall(f"{child}\n".encode())
            os._exit(0)
        os.waitpid(between, 0)
        for used in (reading, writing, *streams):
            os.close(used)
        calls.sendall(b"\n")  # the program is a child of whoever called


def become(call: dict[str, Any]) -> NoReturn:
    """Runs a program as the interpreter would that is started with this call."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if call["session"]:
        os.setsid()
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    _open_streams(*os.environ.get("PYTHONIOENCODING", "").split(":"))
    code = 0
    try:
        _run(*call["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        code = 1
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        if isinstance(error, KeyboardInterrupt):
            code = -signal.SIGINT
    _end(code)


def _end(code: int) -> NoReturn:
    """Ends as the interpreter does, but that it takes no module apart, which takes long."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        code = code or 120
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    os._exit(code & 0xFF)


def _open_streams(encoding: str, errors: str = "strict") -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        raw = not old.readable() and old.write_through
        file = open(number, "wb" if number else "rb", 0 if raw else -1, closefd=False)  # noqa: SIM115
        new = io.TextIOWrapper(
            file,
            encoding=encoding or old.encoding,
            errors=errors if encoding and number < 2 else old.errors,
            newline="\n",
            line_buffering=number == 2 and not raw,
            write_through=raw,
        )
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def _run(how: str, *rest: str) -> None:
    """Runs `-c code`, `-m module` or a script, with its arguments."""
    sys.orig_argv = [sys.executable, how, *rest]
    main = types.ModuleType("__main__")
    vars(main).update(__builtins__=builtins, __annotations__={})
    sys.modules["__main__"] = main
    match how:
        case "-c":
            _import_from("")
            sys.argv = [how, *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), vars(main))
        case "-m":
            _import_from(os.getcwd())
            sys.argv = [how, *rest[1:]]
            runpy._run_module_as_main(rest[0])  # type: ignore[attr-defined]
        case _:
            script = Path(how).absolute()
            _import_from(str(script.resolve().parent))
            sys.argv = [how, *rest]
            vars(main).update(__file__=str(script), __cached__=None)
            exec(compile(script.read_bytes(), str(script), "exec"), vars(main))


def _import_from(first: str) -> None:
    asked = os.environ.get("PYTHONPATH", "")
    given = [os.path.abspath(path) for path in asked.split(os.pathsep)] if asked else []
    sys.path[:] = [first, *dict.fromkeys([*given, *sys.path])]
    importlib.invalidate_caches()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the tests to end
    sys.path.pop(0)
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        load()
        gc.collect()
        gc.freeze()
        call = keep(asked)
    if call is not None:
        become(call)
