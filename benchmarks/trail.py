"""Calls of a tool with the trail against calls without it, through HTTP, in one process.

    .venv/bin/python benchmarks/trail.py

Prints what is without the trail as a part of what is with it: the time of a block of calls, the
median of one call, and the processor's time of all threads, which says most where others use the
machine too. The two servers take turns, block by block, and each round begins with the other one;
what the trail still has in memory is written before the other's turn, and counted.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import uvicorn
from fastmcp import FastMCP

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "template" / "src")]

from personal_auth import PersonalAuthProvider  # noqa: E402
from personal_auth.calls import Calls  # noqa: E402
from personal_auth.trail import Trail  # noqa: E402
from tests.support.programs import free_port  # noqa: E402

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
        self.trail = trail
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

    def block(self, calls: int) -> tuple[float, float, float]:
        """Returns in milliseconds a call: its part of the block, its median, the processor's."""
        taken = []
        processor = time.process_time()
        began = before = time.perf_counter()
        for _ in range(calls):
            self._http.request("POST", "/mcp", BODY, self._headers)
            answer = self._http.getresponse()
            raw = answer.read()
            now = time.perf_counter()
            taken.append(now - before)
            before = now
            assert answer.status == 200, raw
        if self.trail is not None:
            self.trail.flush()
        whole, worked = time.perf_counter() - began, time.process_time() - processor
        return whole / calls * 1000, statistics.median(taken) * 1000, worked / calls * 1000

    def stop(self) -> None:
        self._http.close()
        self._server.should_exit = True
        self._thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=1500, help="in each block")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        without = Served(place / "without", None)
        with_it = Served(place / "with", Trail(place / "with" / "state" / "trail.sqlite3"))
        for served in (without, with_it):
            served.block(200)
        found: list[list[float]] = [[], [], []]
        for number in range(asked.rounds):
            order = [without, with_it] if number % 2 else [with_it, without]
            took = {served: served.block(asked.calls) for served in order}
            pairs = list(zip(took[without], took[with_it], strict=True))
            for ratios, (off, on) in zip(found, pairs, strict=True):
                ratios.append(off / on)
            print(f"round {number + 1}:", *(f"{off:.3f}/{on:.3f} ms" for off, on in pairs))
        for served in (without, with_it):
            served.stop()
        names = ("time of a block", "median of a call", "time of the processor")
        for name, ratios in zip(names, found, strict=True):
            middle, least, most = statistics.median(ratios), min(ratios), max(ratios)
            print(f"{name}: {middle:.3f}, from {least:.3f} to {most:.3f}")


if __name__ == "__main__":
    main()
