"""A server that is killed again and again, its clients, and what they were promised.

`python -m tests.support.deaths` imports everything once and then makes a child for each line on
its standard input, so that a start costs milliseconds. A child serves itself in process or over
HTTP, says on standard output what was asked for and what was answered, and is killed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import json
import os
import random
import re
import secrets
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from personal_auth import Limits, PersonalAuthProvider
from tests.support.site import CALLBACK, URL

NOW = 1_800_000_000  # the clock stands still in a round and goes on by a second with each
LIMITS = Limits(replay_memory_seconds=60, code_memory_seconds=60)
ACCESS_SECONDS = 150
RECENT = 8  # rounds; a code presented again after ten seconds revokes its connection
REMEMBERED = 6
ALLOWED = {"lock", "oauth_tokens.json", "control.sock"}

Event = dict[str, Any]


@dataclass
class Ledger:
    """What clients were answered, and what they asked and had no answer to."""

    round: int = 0
    cookies: dict[str, str] = field(default_factory=dict)
    codes: dict[str, Event] = field(default_factory=dict)
    spent: list[Event] = field(default_factory=list)
    connections: dict[str, Event] = field(default_factory=dict)
    revoked: list[Event] = field(default_factory=list)
    told: dict[str, int] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        event = dict(event)
        do = event.pop("do")
        self.told[do] = self.told.get(do, 0) + 1
        match do:
            case "approved":
                self.codes[event["code"]] = event
            case "redeeming":
                self.codes[event["code"]]["redeeming"] = True
            case "lost":
                self.codes.pop(event["code"])
            case "connected":
                code = self.codes.pop(event["code"])
                self.spent = [*self.spent, {**code, "round": self.round}][-REMEMBERED:]
                self.connections[event["client"]] = {**event, "round": self.round}
            case "refreshing" | "revoking":
                self.connections[event["client"]][do] = True
            case "refreshed":
                before = self.connections[event["client"]]
                self.connections[event["client"]] = {
                    **event,
                    "round": self.round,
                    "before": before["refresh"],
                }
            case "revoked":
                gone = self.connections.pop(event["client"])
                self.revoked = [*self.revoked, gone][-REMEMBERED:]


class Clients:
    """Several clients of one server and its owner."""

    def __init__(
        self, http: httpx.AsyncClient, ledger: Ledger, tell: Callable[[Event], None], seed: str
    ) -> None:
        self._http = http
        self.ledger = ledger
        self._tell = tell
        self._random = random.Random(seed)
        self._busy: set[str] = set()

    async def check(self) -> None:
        """Looks at everything that was promised, and ends what had no answer."""
        for code in [*self.ledger.codes.values()]:
            await self.redeem(code, may_be_lost=code.get("redeeming", False))
        for spent in self.ledger.spent:
            if spent["round"] + RECENT >= self.ledger.round:
                answer = await self._redeem(spent)
                assert answer.status_code == 400, f"a spent code: {answer.text}"
        for connection in [*self.ledger.connections.values()]:
            if connection.get("revoking"):
                await self.revoke(connection)
                continue
            await self._opens(connection)
            if connection.get("refreshing"):
                await self.refresh(connection)
            elif "before" in connection and connection["round"] + RECENT >= self.ledger.round:
                answer = await self._refresh(connection, connection["before"])
                assert answer.status_code == 200, f"a repeated refresh: {answer.text}"
                again = answer.json()["access_token"], answer.json()["refresh_token"]
                assert again == (connection["access"], connection["refresh"]), "another answer"
        for gone in self.ledger.revoked:
            called = await self._call(gone["access"])
            assert called.status_code == 401, f"a revoked token: {called.status_code}"
            answer = await self._refresh(gone, gone["refresh"])
            assert answer.json().get("error") == "invalid_grant", f"revoked: {answer.text}"
        self._say(do="checked")

    async def keep_busy(self) -> None:
        """Connects, refreshes and revokes until the end."""
        while True:
            free = [c for c in self.ledger.connections.values() if c["client"] not in self._busy]
            choice = self._random.random()
            if len(self.ledger.connections) < 4 or choice < 0.2 or not free:
                await self.redeem(await self.approve())
                continue
            connection = self._random.choice(free)
            self._busy.add(connection["client"])
            if choice < 0.35 or len(self.ledger.connections) > 6:
                await self.revoke(connection)
            else:
                await self.refresh(connection)
                await self._opens(self.ledger.connections[connection["client"]])
            self._busy.discard(connection["client"])

    async def approve(self) -> Event:
        verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(verifier.encode()).digest()
        registration = {"client_name": "App", "redirect_uris": [CALLBACK]}
        registered = await self._http.post("/register", json=registration)
        query = {
            "response_type": "code",
            "client_id": registered.json()["client_id"],
            "redirect_uri": CALLBACK,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        cookie = "; ".join(f"{name}={value}" for name, value in self.ledger.cookies.items())
        page = await self._http.get("/authorize", params=query, headers={"cookie": cookie})
        found = re.search(r'name="ticket" value="([^"]+)"', page.text)
        assert found, page.text
        form = {"ticket": html.unescape(found[1]), "decision": "approve"}
        headers = {"cookie": cookie, "origin": URL}
        answer = await self._http.post("/authorize", data=form, headers=headers)
        assert answer.status_code == 303, answer.text
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        self._say(do="approved", code=code, client=query["client_id"], verifier=verifier)
        return self.ledger.codes[code]

    async def redeem(self, code: Event, *, may_be_lost: bool = False) -> None:
        self._say(do="redeeming", code=code["code"])
        answer = await self._redeem(code)
        if may_be_lost and answer.status_code == 400:
            self._say(do="lost", code=code["code"])
            return
        self._say(do="connected", code=code["code"], **self._tokens(code["client"], answer))

    async def refresh(self, connection: Event) -> None:
        self._say(do="refreshing", client=connection["client"])
        answer = await self._refresh(connection, connection["refresh"])
        self._say(do="refreshed", **self._tokens(connection["client"], answer))

    async def revoke(self, connection: Event) -> None:
        self._say(do="revoking", client=connection["client"])
        token = self._random.choice([connection["access"], connection["refresh"]])
        form = {"token": token, "client_id": connection["client"]}
        answer = await self._http.post("/revoke", data=form)
        assert answer.status_code == 200, answer.text
        self._say(do="revoked", client=connection["client"])

    async def _opens(self, connection: Event) -> None:
        if connection["round"] + ACCESS_SECONDS > self.ledger.round:
            answer = await self._call(connection["access"])
            assert answer.status_code == 200, f"a granted token: {answer.text}"

    async def _call(self, access: str) -> httpx.Response:
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "ping"}}
        accept = "application/json, text/event-stream"
        headers = {"authorization": f"Bearer {access}", "accept": accept}
        return await self._http.post("/mcp", json=call, headers=headers)

    async def _redeem(self, code: Event) -> httpx.Response:
        form = {"grant_type": "authorization_code", "code": code["code"]}
        form |= {"client_id": code["client"], "code_verifier": code["verifier"]}
        return await self._http.post("/token", data=form)

    async def _refresh(self, connection: Event, refresh: str) -> httpx.Response:
        form = {"grant_type": "refresh_token", "refresh_token": refresh}
        return await self._http.post("/token", data={**form, "client_id": connection["client"]})

    def _tokens(self, client: str, answer: httpx.Response) -> Event:
        assert answer.status_code == 200, answer.text
        tokens = answer.json()
        return {
            "client": client,
            "access": tokens["access_token"],
            "refresh": tokens["refresh_token"],
        }

    def _say(self, **event: Any) -> None:
        self.ledger.apply(event)
        self._tell(event)


def options(state_dir: Path, now: float) -> dict[str, Any]:
    """Returns the arguments of every provider on the directory."""
    return {
        "base_url": URL,
        "state_dir": state_dir,
        "clock": lambda: now,
        "limits": LIMITS,
        "access_token_expiry_seconds": ACCESS_SECONDS,
    }


async def load(clients: Clients, tasks: int = 4) -> None:
    """Checks what was promised, then makes more promises until the end."""
    await clients.check()
    await asyncio.gather(*(clients.keep_busy() for _ in range(tasks)))


# What follows runs in the process that makes the children, and in them.


def tell(event: Event) -> None:
    os.write(1, json.dumps(event).encode() + b"\n")  # less than a pipe takes at once: all or none


def serve_itself(command: Event) -> None:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    ledger = Ledger(**command["ledger"])
    state_dir = Path(command["state_dir"])
    provider = PersonalAuthProvider(
        password=command["password"], **options(state_dir, NOW + ledger.round)
    )
    pong = Route("/mcp", lambda request: PlainTextResponse("pong"), methods=["POST"])
    routes = [*provider.get_routes("/mcp"), pong]
    left = set(os.listdir(state_dir)) - ALLOWED
    assert not left, f"left behind: {left}"
    tell({"do": "opened"})
    app = Starlette(routes=routes, middleware=provider.get_middleware())

    async def run() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=URL) as http:
            await load(Clients(http, ledger, tell, command["seed"]))

    asyncio.run(run())


def serve_http(command: Event) -> None:
    import uvicorn
    from fastmcp import FastMCP

    state_dir = Path(command["state_dir"])
    provider = PersonalAuthProvider(
        password=command["password"], **options(state_dir, NOW + command["ledger"]["round"])
    )
    server = FastMCP("test", auth=provider)
    server.tool(lambda: "pong", name="ping", description="Answers pong.")
    app = server.http_app(stateless_http=True, json_response=True)
    left = set(os.listdir(state_dir)) - ALLOWED
    assert not left, f"left behind: {left}"
    listener = socket.create_server(("127.0.0.1", 0))
    tell({"do": "serving", "port": listener.getsockname()[1]})
    config = uvicorn.Config(app, log_level="critical", ws="none", proxy_headers=False)
    uvicorn.Server(config).run(sockets=[listener])


def start_only(command: Event) -> None:
    """Opens the directory and says so; `password` None makes one."""
    provider = PersonalAuthProvider(
        password=command["password"], **options(Path(command["state_dir"]), NOW)
    )
    tell({"do": "starting"})
    provider.get_routes("/mcp")
    tell({"do": "started"})


MODES = {"itself": serve_itself, "http": serve_http, "start": start_only}


def child(command: Event) -> None:
    tell({"do": "born", "pid": os.getpid()})
    try:
        MODES[command["mode"]](command)
    except BaseException:
        tell({"do": "failed", "why": traceback.format_exc()[-3000:]})
        os._exit(1)
    os._exit(0)


def main() -> None:
    import fastmcp
    import uvicorn

    assert fastmcp.FastMCP, uvicorn.Server
    for line in sys.stdin:
        command = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(command)
        if command["kill_after"] is not None:
            time.sleep(command["kill_after"])
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        tell({"do": "died", "killed": os.WIFSIGNALED(status)})


if __name__ == "__main__":
    main()
