"""What a second process on one Redis gains, and what Redis costs beside the file store.

Calls of a tool with a token, over HTTP, by clients that are spread over the processes. On two cores
the load and Redis take their share of what a second process could use; it is measured too.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from fastmcp import FastMCP

from benchmarks.load import Request, calls, drive, message
from benchmarks.measure import Goal, Row, Scale, in_turns, ratios, row
from benchmarks.served import ROOT, Served
from benchmarks.servers import PASSWORD, run
from personal_auth import PersonalAuthProvider, open_store
from tests.support import programs

CLIENTS = 8
PART = "replicas"


def provider(public: int, state_dir: Path, url: str) -> PersonalAuthProvider:
    """Returns the provider of a server that is known by one port; without a URL, on a file."""
    storage = open_store(url) if url else None
    return PersonalAuthProvider(
        f"http://localhost:{public}", PASSWORD, state_dir=state_dir, client_storage=storage
    )


async def issued(public: int, state_dir: Path, url: str) -> str:
    """Returns an access token for the servers that share a state."""
    async with provider(public, state_dir, url).service.for_a_command() as service:
        _, access = await service.grants.issue_token("measuring", read_only=False, seconds=86400)
    return access


def served(public: int, folder: Path, url: str, token: str) -> Served:
    """Starts a server with a port and a folder of its own, on the state at a URL."""
    folder.mkdir(exist_ok=True)
    port = programs.free_port()
    command = ["-m", "benchmarks.replicas", str(port), str(public), str(folder), url]
    path = [ROOT, ROOT / "template/src"]
    return Served(command, port, folder, path=path, first=message(public, "ping", token=token))


class Load:
    """The same calls to one or several servers; remembers what each run took of the processor.

    `shares` says how much of a core the load itself took, `worked` how many seconds the servers.
    """

    def __init__(self, servers: Sequence[Served], requests: Sequence[Request]) -> None:
        self._servers, self._requests = servers, requests
        self.shares: list[float] = []
        self.worked: list[float] = []

    def __call__(self) -> float:
        began, before = time.process_time(), self._cpu()
        seconds = drive([server.port for server in self._servers], self._requests, CLIENTS)
        self.shares.append((time.process_time() - began) / seconds)
        self.worked.append(self._cpu() - before)
        return seconds

    def _cpu(self) -> float:
        return sum(server.cpu() for server in self._servers)


def rows(scale: Scale) -> Iterator[Row]:
    number, ports = scale.of(1500, 40), (programs.free_port(), programs.free_port())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="replicas-")))
        redis = stack.enter_context(programs.redis())
        tokens = [
            asyncio.run(issued(port, folder / f"issued-{port}" if url else folder / "file", url))
            for port, url in zip(ports, (redis, ""), strict=True)
        ]
        first, second, alone = (
            stack.enter_context(served(port, folder / name, url, token))
            for port, name, url, token in (
                (ports[0], "first", redis, tokens[0]),
                (ports[0], "second", redis, tokens[0]),
                (ports[1], "file", "", tokens[1]),
            )
        )
        requests = calls(ports[0], tokens[0], number)
        ways = (
            Load([first], requests),
            Load([first, second], requests),
            Load([alone], calls(ports[1], tokens[1], number)),
        )
        for way in ways:
            way()  # warmed up
        one, two, on_file = in_turns(scale, *ways)
    cores, free = os.cpu_count(), Goal()
    gain = f"two processes on one Redis, {cores} cores: calls in the same time"
    yield row(PART, gain, "one process on Redis", ratios(one, two), free)
    name = "the load's own share of a core in that"
    yield row(PART, name, "a whole core", ways[1].shares[1:], free)
    for name, ours, peers in (
        ("one process on Redis: calls in the same time", on_file, one),
        ("its work for a call, CPU", ways[0].worked[1:], ways[2].worked[1:]),
    ):
        yield row(PART, name, "one process on the file store", ratios(ours, peers), free)


def main() -> None:
    port, public, folder, url = sys.argv[1:]
    auth = provider(int(public), Path(folder), url)
    run(FastMCP("measured", auth=auth), int(port))


if __name__ == "__main__":
    main()
