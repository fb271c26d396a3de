"""The programs with Node that others wrote, each used in its own way by a person in their home."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tests.clients.home import Home, Program
from tests.support.programs import CLIENTS, free_port, need_client

Result = dict[str, Any]


class Connected(Protocol):
    """A program that has connected to the server."""

    def rpc(self, method: str, **params: Any) -> Result:
        """Returns the result of a call of the protocol."""


class Talking:
    """A program that takes requests and answers them, a line each."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._last = 0

    def rpc(self, method: str, **params: Any) -> Result:
        self._last += 1
        message = {"jsonrpc": "2.0", "id": self._last, "method": method, "params": params}
        answer = self.program.ask(message)
        assert "result" in answer, f"{answer}\n{self.program.said}"
        result: Result = answer["result"]
        return result


class Client:
    """A client that somebody else wrote, in somebody's home."""

    def __init__(self, home: Home) -> None:
        need_client("mcp-remote")
        self.home = home

    @property
    def command(self) -> tuple[str, ...]:
        """Returns what starts it so that it must connect."""
        raise NotImplementedError

    @contextmanager
    def connected(self) -> Iterator[Connected]:
        """Starts it; it has ended well after the block."""
        with self.home.running(*self.command) as program:
            yield self._talking(program)
            status, _ = program.end()
            assert status == 0, program.said

    def _talking(self, program: Program) -> Talking:
        return Talking(program)

    def kept(self) -> tuple[Result, str]:
        """Returns the tokens that it keeps, and the id under which it is registered."""
        raise NotImplementedError


class McpRemote(Client):
    """The bridge by which whatever speaks only stdio reaches a server."""

    @property
    def command(self) -> tuple[str, ...]:
        return "mcp-remote", self.home.place.mcp

    def _talking(self, program: Program) -> Talking:
        talking = Talking(program)
        about = {"clientInfo": {"name": "An app", "version": "1"}, "capabilities": {}}
        talking.rpc("initialize", protocolVersion="2025-11-25", **about)
        program.tell({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return talking

    def kept(self) -> tuple[Result, str]:
        registration = json.loads(self.file("client_info").read_text())
        return json.loads(self.file("tokens").read_text()), registration["client_id"]

    def file(self, kind: str) -> Path:
        [file] = (self.home.folder / ".mcp-auth").rglob(f"*_{kind}.json")
        return file


class Inspector(Client):
    """The MCP Inspector's command line, which does one thing and ends."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._callback = f"http://127.0.0.1:{free_port()}/oauth/callback"

    @property
    def command(self) -> tuple[str, ...]:
        return self.to("tools/list")

    def to(self, method: str, *more: str) -> tuple[str, ...]:
        where = (self.home.place.mcp, "--transport", "http", "--callback-url", self._callback)
        return "mcp-inspector", "--cli", *where, "--format", "json", "--method", method, *more

    @contextmanager
    def connected(self) -> Iterator[Connected]:
        yield self

    def rpc(self, method: str, **params: Any) -> Result:
        more: tuple[str, ...] = ()
        if "name" in params:
            more = ("--tool-name", params["name"])
            more += ("--tool-args-json", json.dumps(params["arguments"]))
        result: Result = json.loads(self.home.run(*self.to(method, *more)))["result"]
        return result

    def kept(self) -> tuple[Result, str]:
        folder = self.home.folder / ".mcp-inspector"
        [tokens] = json.loads((folder / "secrets.json").read_text())["secrets"].values()
        [server] = json.loads((folder / "storage/oauth.json").read_text())["servers"].values()
        [issuer] = server["byIssuer"].values()
        return json.loads(tokens), issuer["clientInformation"]["client_id"]


class TypeScript(Client):
    """A program with one of the TypeScript packages."""

    package: str
    method: str  # how it proves itself at the token endpoint
    revision: str  # of the protocol

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._store = home.folder / "kept.json"
        self._store.write_text(json.dumps({"method": self.method}))

    @property
    def command(self) -> tuple[str, ...]:
        program = str(CLIENTS / "typescript.mjs")
        return "node", program, self.package, self.home.place.mcp, str(self._store)

    def _talking(self, program: Program) -> Talking:
        talking = Talking(program)
        assert talking.rpc("revision") == {"revision": self.revision}
        return talking

    def kept(self) -> tuple[Result, str]:
        kept = json.loads(self._store.read_text())
        return kept["tokens"], kept["client"]["client_id"]


class Sdk(TypeScript):
    """The package of the first TypeScript SDK; here with a secret."""

    package, method = "@modelcontextprotocol/sdk", "client_secret_post"
    revision = "2025-11-25"


class SecondSdk(TypeScript):
    """The package of the second TypeScript SDK, which knows the newest revision; here public."""

    package, method = "@modelcontextprotocol/client", "none"
    revision = "2026-07-28"


KINDS: dict[str, type[Client]] = {
    "mcp-remote": McpRemote,
    "inspector": Inspector,
    "sdk": Sdk,
    "client": SecondSdk,
}
SETTINGS = {
    "MCP_AUTO_OPEN_ENABLED": "true",  # the Inspector may open a browser
    "MCP_INSPECTOR_SECRET_STORE": "file",
    "npm_config_offline": "true",
    "NO_PROXY": "localhost,127.0.0.1",
    "no_proxy": "localhost,127.0.0.1",
}


def use(program: Connected) -> None:
    """Saves a note; the tool says what it saved."""
    arguments = {"text": "Milk and a loaf of rye"}
    result = program.rpc("tools/call", name="myserver_save", arguments=arguments)
    assert not result.get("isError"), result
    assert result["structuredContent"]["text"] == arguments["text"]
