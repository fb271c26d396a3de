"""A connection that may only read: which tools it sees, and what becomes of calls of the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastmcp import Client, Context, FastMCP
from fastmcp.server import create_proxy
from fastmcp.server.transforms.search import RegexSearchTransform
from fastmcp.tools import Tool

from personal_auth import PersonalAuthProvider, reading
from personal_auth.reading import HeldToReading
from tests.support.asgi import AppServer
from tests.support.household import connect

READS, WRITES = {"readOnlyHint": True}, {"readOnlyHint": False}
BOTH = {"readOnlyHint": True, "destructiveHint": True}
READING = {"look", "more_look", "far_look", "aged", "through"}
HIDDEN = ("ping", "change", "silent", "contradicts", "more_change", "far_change", "later")
HTTP = {
    "stateless": {"stateless_http": True, "json_response": True},
    "stateful": {"json_response": True},
    "streams": {"stateless_http": True},
    "stateful streams": {},
}
NEWEST = "2026-07-28"
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Shop:
    """What the tools changed, and the server that has them."""

    def __init__(self) -> None:
        self.changed: list[str] = []

    def stock(self, server: FastMCP[Any], auth: PersonalAuthProvider) -> None:
        server.add_middleware(HeldToReading(auth))
        self._add(server, "look", annotations=READS)
        self._add(server, "change", annotations=WRITES)
        self._add(server, "silent")
        self._add(server, "contradicts", annotations=BOTH)
        self._add(server, "aged", annotations=READS, version="1")
        self._add(server, "aged", annotations=WRITES, version="2")

        async def through(context: Context) -> str:
            return str(await context.fastmcp.call_tool("change"))

        server.add_tool(Tool.from_function(through, annotations=READS, description="Calls."))
        for namespace, hang in (("more", lambda child: child), ("far", create_proxy)):
            child: FastMCP[Any] = FastMCP(namespace)
            self._add(child, "look", annotations=READS)
            self._add(child, "change", annotations=WRITES)
            server.mount(hang(child), namespace=namespace)
        server.resource("data://all", description="Everything.")(lambda: "all of it")
        self.server = server

    def _add(self, server: FastMCP[Any], name: str, **options: Any) -> None:
        def act() -> str:
            self.changed.append(name)
            return f"did {name}"

        server.add_tool(Tool.from_function(act, name=name, description="A tool.", **options))

    def grow(self) -> None:
        self._add(self.server, "later")


class Peer:
    """A client with one token, by plain requests."""

    def __init__(self, place: AppServer, token: str) -> None:
        self.visitor = place.visitor(
            authorization=f"Bearer {token}", accept="application/json, text/event-stream"
        )

    def initialize(self) -> None:
        """Opens a session, where the server keeps any."""
        answer = self.visitor.post("/mcp", json=request("initialize", **INITIALIZE))
        assert answer.status_code == 200, answer.text
        if session := answer.headers.get("mcp-session-id"):
            self.visitor.headers["mcp-session-id"] = session

    def rpc(self, method: str, **params: Any) -> Any:
        return said(self.visitor.post("/mcp", json=request(method, **params)))

    def tools(self) -> set[str]:
        return {tool["name"] for tool in self.rpc("tools/list")["result"]["tools"]}

    def call(self, name: str, **more: Any) -> Any:
        return self.rpc("tools/call", name=name, **more)["result"]


def request(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def said(answer: httpx.Response) -> Any:
    """Returns the answer's message, from JSON or from the one event that carries it."""
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if "{" in line]
    assert answer.status_code == 200, answer.text
    return json.loads(lines[-1])


def unknown(name: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": f"Unknown tool: {name!r}"}], "isError": True}


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture(params=HTTP)
def place(request: pytest.FixtureRequest, shop: Shop, tmp_path: Path) -> Iterator[AppServer]:
    """A server with tools, in each of the ways to serve."""
    place = AppServer(tmp_path / "state", add=shop.stock, http=HTTP[request.param])
    shop.grow()
    yield place
    place.stop()


@pytest.fixture
def simple(shop: Shop, tmp_path: Path) -> Iterator[AppServer]:
    """One that keeps no sessions and answers JSON."""
    place = AppServer(tmp_path / "state", add=shop.stock)
    shop.grow()
    yield place
    place.stop()


@pytest.fixture
def reader(place: AppServer) -> Peer:
    peer = Peer(place, connect(place, read_only=True)[1].access)
    peer.initialize()
    return peer


def test_it_lists_the_tools_that_read_and_another_connection_lists_all(
    place: AppServer, reader: Peer
) -> None:
    writer = Peer(place, connect(place)[1].access)
    writer.initialize()

    assert reader.tools() == READING
    assert writer.tools() == READING | {*HIDDEN}


def test_a_hidden_tool_is_answered_as_one_that_does_not_exist_and_is_not_run(
    reader: Peer, shop: Shop
) -> None:
    answers = {name: reader.call(name) for name in (*HIDDEN, "nothing")}

    assert {name: without_meta(answer) for name, answer in answers.items()} == {
        name: unknown(name) for name in answers
    }
    assert shop.changed == []


def test_it_calls_what_reads_and_another_connection_calls_everything(
    place: AppServer, reader: Peer, shop: Shop
) -> None:
    writer = Peer(place, connect(place)[1].access)
    writer.initialize()

    read = [reader.call(name)["content"][0]["text"] for name in ("look", "more_look", "far_look")]
    changed = [writer.call(name).get("isError", False) for name in HIDDEN if name != "ping"]

    assert read == ["did look"] * 3
    assert not any(changed)
    assert reader.rpc("resources/read", uri="data://all")["result"]["contents"]


def test_a_session_that_was_open_is_held_from_the_next_message_on(
    place: AppServer, shop: Shop
) -> None:
    gid, tokens = connect(place)
    peer = Peer(place, tokens.access)
    peer.initialize()
    before = peer.call("change")["content"][0]["text"]
    connections = place.provider.service.connections

    place.run(connections.narrow(gid, True))
    held, listed = without_meta(peer.call("change")), peer.tools()
    place.run(connections.narrow(gid, False))

    assert before == "did change"
    assert (held, listed) == (unknown("change"), READING)
    assert shop.changed == ["change"]
    assert peer.call("change")["content"][0]["text"] == "did change"


def test_another_connections_open_session_lends_it_nothing(
    place: AppServer, reader: Peer, shop: Shop
) -> None:
    writer = Peer(place, connect(place)[1].access)
    writer.initialize()
    if session := writer.visitor.headers.get("mcp-session-id"):
        reader.visitor.headers["mcp-session-id"] = session

    reader.visitor.post("/mcp", json=request("tools/call", name="change"))

    assert shop.changed == []


@pytest.mark.parametrize(
    "name", [" change", "change ", "CHANGE", "change\0", "ｃhange", "", "/change"]
)
def test_no_spelling_of_a_name_reaches_a_hidden_tool(
    simple: AppServer, shop: Shop, name: str
) -> None:
    peer = Peer(simple, connect(simple, read_only=True)[1].access)

    assert peer.call(name)["isError"] is True
    assert shop.changed == []


@pytest.mark.parametrize(
    ("version", "runs"), [(None, False), ("1", True), ("2", False), ("9", False), ("", False)]
)
def test_the_version_that_would_run_is_the_one_that_is_judged(
    simple: AppServer, shop: Shop, version: str | None, runs: bool
) -> None:
    peer = Peer(simple, connect(simple, read_only=True)[1].access)
    meta = {} if version is None else {"_meta": {"fastmcp": {"version": version}}}

    answer = peer.call("aged", **meta)

    assert answer.get("isError", False) is not runs
    assert shop.changed == ["aged"] * runs


def test_a_tool_that_reads_cannot_have_the_server_call_another_for_it(
    simple: AppServer, shop: Shop
) -> None:
    peer = Peer(simple, connect(simple, read_only=True)[1].access)

    assert peer.call("through")["isError"] is True
    assert shop.changed == []


def test_tools_that_find_and_call_others_reach_no_hidden_one(simple: AppServer, shop: Shop) -> None:
    shop.server.add_transform(RegexSearchTransform(always_visible=["look"]))
    peer = Peer(simple, connect(simple, read_only=True)[1].access)
    given = {"arguments": {"name": "change", "arguments": {}}}

    assert peer.tools() == {"look"}
    assert without_meta(peer.call("call_tool", **given)) == unknown("call_tool")
    assert shop.changed == []


@pytest.mark.parametrize(
    "body",
    [
        [request("tools/call", name="change")],
        request("tools/call", name="change", task={"ttl": 60_000}),
        {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "change"}},
        request("tasks/get", taskId="1", name="change"),
        request("completion/complete", ref={"type": "ref/tool", "name": "change"}),
    ],
    ids=["batch", "task", "notification", "tasks", "completion"],
)
def test_no_other_kind_of_message_runs_a_hidden_tool(
    place: AppServer, reader: Peer, shop: Shop, body: Any
) -> None:
    reader.visitor.post("/mcp", json=body)

    assert shop.changed == []


def test_without_anything_that_enforces_it_a_read_only_connection_is_refused(
    tmp_path: Path,
) -> None:
    place = AppServer(tmp_path / "state")
    _, held = connect(place, read_only=True)
    _, free = connect(place)

    answers = [place.visitor().call(tokens.access).status_code for tokens in (held, free)]
    place.stop()

    assert answers == [401, 200]


def test_without_a_token_in_process_every_tool_is_there(simple: AppServer, shop: Shop) -> None:
    async def names() -> set[str]:
        async with Client(shop.server) as client:
            return {tool.name for tool in await client.list_tools()}

    assert simple.run(names()) == READING | {*HIDDEN}


def test_over_http_a_token_that_cannot_be_seen_is_not_trusted(
    simple: AppServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "get_access_token", lambda: None)
    peer = Peer(simple, connect(simple)[1].access)

    assert peer.tools() == READING
    assert without_meta(peer.call("change")) == unknown("change")


def without_meta(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in {"_meta", "resultType"}}
