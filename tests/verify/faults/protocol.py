"""Ways in which MCP is spoken wrongly, or tools are of no use."""

from __future__ import annotations

from typing import Any

from tests.verify.faults.making import (
    Answering,
    Changing,
    Site,
    breaks,
    calling,
    replacing,
    with_result,
)
from tests.verify.proxy import Answer, Asked, Fault, json_answer


@breaks("protocol.initialize", "only an older revision is spoken")
def _(site: Site) -> Fault:
    older = with_result(lambda result: result.update(protocolVersion="2025-03-26"))
    return Changing(calling("initialize"), older)


@breaks("protocol.initialize", "there are no instructions")
def _(site: Site) -> Fault:
    silent = with_result(lambda result: result.update(instructions=""))
    return Changing(calling("initialize"), silent)


@breaks("protocol.notification", "a notification is answered with a result")
def _(site: Site) -> Fault:
    result: dict[str, Any] = {"jsonrpc": "2.0", "id": None, "result": {}}
    return Answering(calling("notifications/initialized"), lambda asked: json_answer(200, result))


@breaks("protocol.discover", "the stateless revision is not known")
def _(site: Site) -> Fault:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32601, "message": "Method not found"}}
    return Answering(calling("server/discover"), lambda asked: json_answer(404, error))


@breaks("protocol.tools", "there are no tools")
def _(site: Site) -> Fault:
    return Changing(calling("tools/list"), with_result(lambda result: result["tools"].clear()))


@breaks("protocol.tools", "a tool has no description")
def _(site: Site) -> Fault:
    bare = with_result(lambda result: result["tools"][0].pop("description"))
    return Changing(calling("tools/list"), bare)


@breaks("protocol.prefix", "a tool has no prefix")
def _(site: Site) -> Fault:
    named = with_result(lambda result: result["tools"][0].update(name="delete"))
    return Changing(calling("tools/list"), named)


@breaks("protocol.prefix", "a tool has another prefix")
def _(site: Site) -> Fault:
    named = with_result(lambda result: result["tools"][0].update(name="other_delete"))
    return Changing(calling("tools/list"), named)


@breaks("protocol.prefix", "the prefix is that of a built-in feature")
class _Renamed(Fault):
    def __init__(self, site: Site) -> None:
        pass

    def before(self, asked: Asked) -> None:
        if calling("tools/call")(asked):
            asked.body = asked.body.replace(b'"memory_', b'"myserver_')

    def after(self, asked: Asked, answer: Answer) -> None:
        if calling("tools/list")(asked) or calling("initialize")(asked):
            answer.body = answer.body.replace(b"myserver_", b"memory_")


@breaks("protocol.prefix", "the instructions do not name the prefix")
def _(site: Site) -> Fault:
    return Changing(calling("initialize"), replacing("myserver_", ""))


@breaks("protocol.call", "the database connection has gone stale")
def _(site: Site) -> Fault:
    def stale(result: dict[str, Any]) -> None:
        content = [{"type": "text", "text": "connection already closed"}]
        result.clear()
        result.update(content=content, isError=True)

    return Changing(calling("tools/call"), with_result(stale))
