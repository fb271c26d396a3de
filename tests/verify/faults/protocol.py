"""Ways in which MCP is spoken wrongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.verify.faults.making import (
    Answering,
    Asking,
    Changing,
    Site,
    breaks,
    breaks_too,
    calling,
    with_result,
)
from tests.verify.proxy import Answer, Asked, Fault, html_answer, json_answer

HANDSHAKE, STATELESS = "2025-11-25", "2026-07-28"

When = Callable[[Asked], bool]


def with_token(asked: Asked) -> bool:
    return asked.path == "/mcp" and asked.headers.get("authorization", "").startswith("Bearer pat_")


def beginning(*revisions: str) -> When:
    """Tells `initialize` of some revisions."""

    def when(asked: Asked) -> bool:
        params = asked.message.get("params") or {}
        return calling("initialize")(asked) and params.get("protocolVersion") in revisions

    return when


def in_era(era: str, when: When) -> When:
    return lambda asked: asked.headers.get("mcp-protocol-version") == era and when(asked)


def losing(*headers: str) -> Callable[[Asked], None]:
    def change(asked: Asked) -> None:
        asked.headers = {name: v for name, v in asked.headers.items() if name not in headers}

    return change


def unauthorized(challenge: str) -> Answer:
    answer = json_answer(401, {"error": "unauthorized"})
    answer.headers["www-authenticate"] = challenge
    return answer


def error(code: int, message: str, of: Any = None, status: int = 200) -> Answer:
    told = {"code": code, "message": message}
    return json_answer(status, {"jsonrpc": "2.0", "id": of, "error": told})


@breaks("protocol.token", "the proxy strips Authorization")
def _(site: Site) -> Fault:
    return Asking(with_token, losing("authorization"))


@breaks("protocol.token", "another copy of the server knows no token")
def _(site: Site) -> Fault:
    return Answering(with_token, lambda asked: unauthorized('Bearer error="invalid_token"'))


@breaks_too("protocol.token", "the proxy has a login of its own")
def _(site: Site) -> Fault:
    return Answering(with_token, lambda asked: unauthorized('Basic realm="private"'))


@breaks_too("protocol.token", "a firewall stops requests with a token")
def _(site: Site) -> Fault:
    return Answering(with_token, lambda asked: html_answer(403, "Attention Required!"))


@breaks("protocol.initialize", "only an older revision is spoken")
def _(site: Site) -> Fault:
    older = with_result(lambda result: result.update(protocolVersion="2025-03-26"))
    return Changing(beginning(HANDSHAKE), older)


@breaks_too("protocol.initialize", "the server does not say its name")
def _(site: Site) -> Fault:
    return Changing(beginning(HANDSHAKE), with_result(lambda result: result.pop("serverInfo")))


@breaks("protocol.older", "older clients are told to speak what they do not know")
def _(site: Site) -> Fault:
    newest = with_result(lambda result: result.update(protocolVersion=HANDSHAKE))
    return Changing(beginning("2025-06-18", "2025-03-26"), newest)


@breaks("protocol.older", "a client that is newer than the server is refused")
def _(site: Site) -> Fault:
    refused = error(-32602, "Unsupported protocol version", of=0)
    return Answering(beginning("2099-01-01"), lambda asked: refused)


@breaks("protocol.announced", "the tools are not announced")
def _(site: Site) -> Fault:
    silent = with_result(lambda result: result["capabilities"].pop("tools"))
    return Changing(beginning(HANDSHAKE), silent)


@breaks("protocol.notification", "a notification is answered with a result")
def _(site: Site) -> Fault:
    result: dict[str, Any] = {"jsonrpc": "2.0", "id": None, "result": {}}
    return Answering(calling("notifications/initialized"), lambda asked: json_answer(200, result))


class _Sessions(Fault):
    """Gives out session ids, and refuses requests of the older era that do not fit."""

    def __init__(self, refused: Callable[[str], bool]) -> None:
        self.refused = refused

    def after(self, asked: Asked, answer: Answer) -> None:
        if calling("initialize")(asked):
            answer.headers["mcp-session-id"] = "the-first"
        elif (
            with_token(asked)
            and asked.headers.get("mcp-protocol-version") == HANDSHAKE
            and asked.message.get("method") in {"tools/list", "tools/call"}
            and self.refused(asked.headers.get("mcp-session-id", ""))
        ):
            answer.status, answer.body = 400, error(-32600, "Bad Request: session").body


@breaks("protocol.session", "a session id is demanded")
def _(site: Site) -> Fault:
    return _Sessions(lambda session: not session)


@breaks_too("protocol.session", "the session id of another day is refused")
def _(site: Site) -> Fault:
    return _Sessions(lambda session: session not in {"", "the-first"})


class _Picky(Fault):
    """Answers 406 to requests with a token and some Accept header."""

    def __init__(self, accepted: str) -> None:
        self.accepted = accepted

    def after(self, asked: Asked, answer: Answer) -> None:
        if with_token(asked) and (asked.headers["accept"], answer.status) == (self.accepted, 200):
            answer.status, answer.body = 406, error(-32600, "Not Acceptable").body


@breaks("protocol.accept", "whoever takes anything is refused")
def _(site: Site) -> Fault:
    return _Picky("*/*")


@breaks_too("protocol.accept", "whoever takes only JSON is refused")
def _(site: Site) -> Fault:
    return _Picky("application/json")


@breaks("protocol.discover", "the stateless revision is not known")
def _(site: Site) -> Fault:
    unknown = error(-32601, "Method not found", status=404)
    return Answering(calling("server/discover"), lambda asked: unknown)


@breaks_too("protocol.discover", "another revision is offered")
def _(site: Site) -> Fault:
    other = with_result(lambda result: result.update(supportedVersions=["2027-01-01"]))
    return Changing(calling("server/discover"), other)


@breaks("protocol.discover", "the header MCP-Protocol-Version is lost")
def _(site: Site) -> Fault:
    return Asking(lambda asked: asked.path == "/mcp", losing("mcp-protocol-version"))


@breaks_too("protocol.discover", "the header Mcp-Method is lost")
def _(site: Site) -> Fault:
    return Asking(lambda asked: asked.path == "/mcp", losing("mcp-method"))


@breaks("protocol.errors", "an unknown method seems to work")
def _(site: Site) -> Fault:
    def give(asked: Asked) -> Answer:
        return json_answer(200, {"jsonrpc": "2.0", "id": asked.message["id"], "result": {}})

    return Answering(calling("verify/no-such-method"), give)


@breaks_too("protocol.errors", "an unknown method has the code of another error")
def _(site: Site) -> Fault:
    return Answering(
        calling("verify/no-such-method"),
        lambda asked: error(-32603, "Internal error", of=asked.message["id"]),
    )


@breaks_too("protocol.errors", "an error does not say to which request it belongs")
def _(site: Site) -> Fault:
    unknown = error(-32601, "Method not found")
    return Answering(calling("verify/no-such-method"), lambda asked: unknown)


@breaks_too("protocol.errors", "an unknown tool seems to work")
def _(site: Site) -> Fault:
    worked = with_result(lambda result: result.update(isError=False))
    return Changing(calling("tools/call"), worked)


def is_broken(asked: Asked) -> bool:
    return asked.path == "/mcp" and bool(asked.body) and not asked.message


@breaks("protocol.errors", "the proxy has a page of its own for errors")
def _(site: Site) -> Fault:
    return Answering(is_broken, lambda asked: html_answer(400, "Bad Request"))


@breaks_too("protocol.errors", "broken JSON is taken for a request")
def _(site: Site) -> Fault:
    return Answering(is_broken, lambda asked: Answer(202))


def _telling(text: str) -> Fault:
    def give(asked: Asked) -> Answer:
        return error(-32601, text, of=asked.message["id"])

    return Answering(calling("verify/no-such-method"), give)


@breaks_too("protocol.leaks", "an error shows the traceback")
def _(site: Site) -> Fault:
    return _telling('Traceback (most recent call last):\n  File "x.py", line 1, in <module>')


@breaks("protocol.leaks", "an error shows a path")
def _(site: Site) -> Fault:
    return _telling("[Errno 2] No such file: '/home/ada/my-server/data/notes.db'")


@breaks_too("protocol.leaks", "an error shows the password of a database")
def _(site: Site) -> Fault:
    return _telling("could not connect to postgresql://ada:secret@db.example.com/notes")


@breaks_too("protocol.leaks", "any file can be read")
def _(site: Site) -> Fault:
    def give(asked: Asked) -> Answer:
        contents = [{"uri": "file:///etc/passwd", "text": "root:x:0:0:root:/root:/bin/bash"}]
        result = {"jsonrpc": "2.0", "id": 1, "result": {"contents": contents}}
        return json_answer(200, result)

    return Answering(calling("resources/read"), give)
