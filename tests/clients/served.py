"""Serves as the rendered project does, in a world that the tests hold in their hands.

It is started by its path, with the project's sources on PYTHONPATH. Two things are not the real
ones; everything else is:

* the clock is ahead by the seconds in the file that TESTS_CLOCK names;
* the hosts of TESTS_HOSTS resolve to this machine and count as public, and what answers at their
  port 443 is the port TESTS_PORT. No other name resolves: nothing here asks the internet.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import anyio

from personal_auth import PersonalAuthProvider, outside
from personal_server.cli import main

HERE = "127.0.0.1"


def clock() -> float:
    return time.time() + float(Path(os.environ["TESTS_CLOCK"]).read_text())


def resolve(host: str, port: int) -> list[Any]:
    if host not in os.environ["TESTS_HOSTS"].split():
        raise socket.gaierror(f"{host} is not among the tests' hosts")
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HERE, port))]


def take_over() -> None:
    is_public, connect_tcp = outside.is_public, anyio.connect_tcp

    async def connect(remote_host: str, remote_port: int, **options: Any) -> Any:
        if (remote_host, remote_port) == (HERE, 443):
            remote_port = int(os.environ["TESTS_PORT"])
        return await connect_tcp(remote_host, remote_port, **options)

    outside.resolve = resolve
    outside.is_public = lambda address: address == HERE or is_public(address)
    anyio.connect_tcp = connect  # type: ignore[assignment]
    PersonalAuthProvider.__init__.__kwdefaults__["clock"] = clock


if __name__ == "__main__":
    take_over()
    main()
