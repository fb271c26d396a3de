"""Calls of a tool with the trail against calls without it, through HTTP, in one process.

    PYTHONPATH=.:template/src .venv/bin/python benchmarks/trail.py

Prints the time of a call without the trail as a part of one with it. In each round the two servers
take turns, a few calls each, so that what else the machine does meets both alike; a round's figure
is the ratio of its medians. What the trail's own thread works for one entry, beside the calls, is
measured by itself and added to the time with the trail for the last figure.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from fastmcp import FastMCP

from personal_auth import PersonalAuthProvider
from personal_auth.calls import Calls
from personal_auth.trail import Entry, Trail
from tests.support.programs import free_port

TURN = 10  # calls
PASSWORD = "a password that opens nothing"
BODY = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "echo", "arguments": {"text": "some words " * 10}},
    }
)


class Served:
    """A server in a thread, and a connection that calls its tool."""

    def __init__(self, folder: Path, trail: Trail | None) -> None:
        port = free_port()
        provider = PersonalAuthProvider(
            f"http://localhost:{port}", PASSWORD, state_dir=folder / "state", trail=trail
        )
        middleware = [Calls(trail, provider.service.seen.called)] if trail else []
        server = FastMCP("measured", auth=provider, middleware=middleware)
        server.tool(lambda text: text, name="echo", description="Answers the text.")
        app = server.http_app(stateless_http=True, json_response=True)
        config = uvicorn.Config(
            app, port=port, log_level="critical", ws="none", timeout_keep_alive=600
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        loop = self._server.servers[0].get_loop()
        token = provider.service.grants.issue_token("measuring", read_only=False, seconds=3600)
        _, access = asyncio.run_coroutine_threadsafe(token, loop).result()
        self._headers = {
            "authorization": f"Bearer {access}",
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
        }
        self._http = http.client.HTTPConnection("localhost", port)

    def calls(self, number: int) -> Iterator[float]:
        """Returns how many milliseconds each of some calls takes."""
        for _ in range(number):
            began = time.perf_counter()
            self._http.request("POST", "/mcp", BODY, self._headers)
            answer = self._http.getresponse()
            raw = answer.read()
            yield (time.perf_counter() - began) * 1000
            assert answer.status == 200, raw

    def stop(self) -> None:
        self._http.close()
        self._server.should_exit = True
        self._thread.join()


def writing(trail: Trail, entries: int = 2000, batches: int = 20) -> float:
    """Returns how many milliseconds of the processor an entry takes, written by a hundred."""
    entry = Entry(time.time(), "call", "0" * 16, "Some client", "echo", "ok", 1.25, "192.0.2.1")
    began = time.process_time()
    for _ in range(batches):
        for _ in range(entries // batches):
            trail.note(entry)
        trail.flush()
    return (time.process_time() - began) / entries * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=800, help="of each server in each round")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        trail = Trail(place / "with" / "state" / "trail.sqlite3")
        both = Served(place / "without", None), Served(place / "with", trail)
        for served in both:
            list(served.calls(200))  # warmed up
        written = statistics.median(writing(trail) for _ in range(5))
        found: list[tuple[float, float]] = []
        for number in range(asked.rounds):
            took: tuple[list[float], list[float]] = [], []
            for turn in range(asked.calls // TURN):
                for which in (0, 1) if turn % 2 else (1, 0):
                    took[which].extend(both[which].calls(TURN))
            off, on = statistics.median(took[0]), statistics.median(took[1])
            found.append((off / on, off / (on + written)))
            print(f"round {number + 1}: {off:.3f} ms without, {on:.3f} with: {off / on:.3f}")
        for served in both:
            served.stop()
    print(f"the trail's own thread: {written:.4f} ms of the processor for an entry")
    for name, ratios in zip(("a call", "with that"), zip(*found, strict=True), strict=True):
        middle, least, most = statistics.median(ratios), min(ratios), max(ratios)
        print(f"{name}: {middle:.3f}, from {least:.3f} to {most:.3f}")


if __name__ == "__main__":
    main()
