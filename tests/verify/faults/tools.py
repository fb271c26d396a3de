"""Ways in which tools are of no use: names, texts, schemas and results that clients do not take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.verify.faults.making import (
    Asking,
    Changing,
    Site,
    breaks,
    breaks_too,
    calling,
    replacing,
    with_result,
)
from tests.verify.faults.protocol import STATELESS, error, in_era, losing
from tests.verify.proxy import Answer, Asked, Fault

Tool = dict[str, Any]


def listing(change: Callable[[list[Tool]], object]) -> Fault:
    """Alters the list of tools, in both eras."""
    return Changing(calling("tools/list"), with_result(lambda result: change(result["tools"])))


def changing_one(change: Callable[[Tool], object]) -> Fault:
    """Alters the tool that deletes, which verify.py never calls, wherever it is listed."""

    def each(tools: list[Tool]) -> None:
        for tool in tools:
            if tool["name"].endswith("_delete"):
                change(tool)

    return listing(each)


def instructing(change: Callable[[Answer], None]) -> Fault:
    """Alters the instructions, in both eras."""

    def when(asked: Asked) -> bool:
        return calling("initialize")(asked) or calling("server/discover")(asked)

    return Changing(when, change)


def saying(text: str) -> Fault:
    return instructing(with_result(lambda result: result.update(instructions=text)))


# ---- The list and the names ----------------------------------------------------------------------


@breaks("protocol.tools", "there are no tools")
def _(site: Site) -> Fault:
    return listing(lambda tools: tools.clear())


@breaks("protocol.eras", "the stateless revision lacks a tool")
def _(site: Site) -> Fault:
    fewer = with_result(lambda result: result["tools"].pop())
    return Changing(in_era(STATELESS, calling("tools/list")), fewer)


@breaks_too("protocol.eras", "the stateless revision describes a tool otherwise")
def _(site: Site) -> Fault:
    other = with_result(lambda result: result["tools"][0].update(description="Something else."))
    return Changing(in_era(STATELESS, calling("tools/list")), other)


@breaks_too("protocol.eras", "the stateless revision gives no instructions")
def _(site: Site) -> Fault:
    silent = with_result(lambda result: result.pop("instructions"))
    return Changing(calling("server/discover"), silent)


@breaks("protocol.names", "a name has an accent")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool.update(name="myserver_lösche"))


@breaks_too("protocol.names", "a name is longer than clients take")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool.update(name="myserver_" + "delete_" * 8))


@breaks_too("protocol.names", "two tools have one name")
def _(site: Site) -> Fault:
    return listing(lambda tools: tools.append(tools[0]))


@breaks("protocol.prefix", "a tool has no prefix")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool.update(name="delete"))


@breaks_too("protocol.prefix", "a tool has another prefix")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool.update(name="other_delete"))


@breaks("protocol.collision", "the prefix is that of a built-in feature")
class _Renamed(Fault):
    def __init__(self, site: Site) -> None:
        pass

    def before(self, asked: Asked) -> None:
        if calling("tools/call")(asked):
            asked.body = asked.body.replace(b'"memory_', b'"myserver_')
            if "mcp-name" in asked.headers:
                name = asked.headers["mcp-name"]
                asked.headers["mcp-name"] = name.replace("memory_", "myserver_")

    def after(self, asked: Asked, answer: Answer) -> None:
        if asked.path == "/mcp":
            answer.body = answer.body.replace(b"myserver_", b"memory_")


@breaks("protocol.collision", "a tool is called like one of Claude's", "protocol.prefix")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool.update(name="conversation_search"))


@breaks("protocol.size", "there are more tools than VS Code takes")
def _(site: Site) -> Fault:
    def many(tools: list[Tool]) -> None:
        tools += [
            {
                **tools[0],
                "name": f"myserver_delete_{number}",
                "description": f"Deletes a note of the year {number}, when the user says so.",
            }
            for number in range(1900, 2030)
        ]

    return listing(many)


@breaks_too("protocol.size", "the schemas fill the conversation")
def _(site: Site) -> Fault:
    def grow(tool: Tool) -> None:
        words = [f"one of very many values, number {number}" for number in range(4000)]
        tool["inputSchema"]["properties"]["id"]["enum"] = words

    return changing_one(grow)


# ---- What is said of them ------------------------------------------------------------------------


@breaks("protocol.described", "a tool has no description")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool.pop("description"))


@breaks("protocol.generic", "a description is one word")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool.update(description="Delete"))


@breaks_too("protocol.generic", "a description says that it is a tool")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool.update(description="A useful tool that does something."))


@breaks("protocol.distinct", "two descriptions are the same")
def _(site: Site) -> Fault:
    return listing(lambda tools: tools[1].update(description=tools[0]["description"]))


@breaks("protocol.long", "a description is longer than Claude Code reads")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool.update(description=tool["description"] * 20))


@breaks("protocol.arguments", "nothing says what an argument is")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool["inputSchema"]["properties"]["id"].pop("description"))


@breaks("protocol.instructions", "there are no instructions")
def _(site: Site) -> Fault:
    return saying("")


@breaks("protocol.directive", "the instructions do not name the prefix")
def _(site: Site) -> Fault:
    return instructing(replacing("myserver_", ""))


@breaks("protocol.directive", "the instructions only describe the server")
def _(site: Site) -> Fault:
    return saying("The notebook of Ada, with tools that begin with myserver_ for each note.")


@breaks_too("protocol.directive", "the prefix is not filled in")
def _(site: Site) -> Fault:
    return instructing(replacing("myserver_", "{ prefix }_"))


@breaks("protocol.stale", "the instructions name a tool that is gone")
def _(site: Site) -> Fault:
    return instructing(replacing("call the fitting `myserver_`", "call the `myserver_remember`"))


@breaks("protocol.cut", "the instructions are longer than Claude Code reads")
def _(site: Site) -> Fault:
    return instructing(
        with_result(lambda result: result.update(instructions=result["instructions"] * 5))
    )


# ---- Schemas and annotations ---------------------------------------------------------------------


@breaks("protocol.schemas", "a schema has anyOf at its top")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool["inputSchema"].update(anyOf=[{"required": ["id"]}]))


@breaks_too("protocol.schemas", "a schema refers to another")
def _(site: Site) -> Fault:
    def refer(tool: Tool) -> None:
        tool["inputSchema"]["properties"]["id"]["$ref"] = "#/$defs/Id"
        tool["inputSchema"]["$defs"] = {"Id": {"type": "integer"}}

    return changing_one(refer)


@breaks_too("protocol.schemas", "an argument has an accent")
def _(site: Site) -> Fault:
    size = {"type": "string", "description": "How large it is."}
    return changing_one(lambda tool: tool["inputSchema"]["properties"].update(größe=size))


@breaks("protocol.outputs", "a result is not said to be an object")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool.update(outputSchema={"type": "array", "items": {}}))


@breaks_too("protocol.outputs", "a result refers to what is not there")
def _(site: Site) -> Fault:
    schema = {"type": "object", "properties": {"note": {"$ref": "#/$defs/Note"}}}
    return changing_one(lambda tool: tool.update(outputSchema=schema))


@breaks("protocol.annotations", "a tool does not say whether it only reads")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool["annotations"].pop("readOnlyHint"))


@breaks_too("protocol.annotations", "a tool says that it reads and destroys")
def _(site: Site) -> Fault:
    return changing_one(lambda tool: tool["annotations"].update(readOnlyHint=True))


# ---- Calls ---------------------------------------------------------------------------------------


def calling_list(asked: Asked) -> bool:
    params = asked.message.get("params") or {}
    return calling("tools/call")(asked) and params.get("name") == "myserver_list"


@breaks("protocol.call", "the database connection has gone stale")
def _(site: Site) -> Fault:
    def stale(result: dict[str, Any]) -> None:
        content = [{"type": "text", "text": "connection already closed"}]
        result.clear()
        result.update(content=content, isError=True)

    return Changing(calling_list, with_result(stale))


@breaks_too("protocol.call", "calls are answered with an error")
def _(site: Site) -> Fault:
    def fail(answer: Answer) -> None:
        answer.body = error(-32603, "Internal error", of=answer.json["id"]).body

    return Changing(calling_list, fail)


@breaks_too("protocol.call", "a result has no content")
def _(site: Site) -> Fault:
    return Changing(calling_list, with_result(lambda result: result.pop("content")))


@breaks("protocol.structured", "a result lacks what its schema promises")
def _(site: Site) -> Fault:
    return Changing(calling_list, with_result(lambda result: result.pop("structuredContent")))


@breaks("protocol.result", "a result is more than Claude Code takes")
def _(site: Site) -> Fault:
    content = [{"type": "text", "text": "a note " * 20_000}]
    return Changing(calling_list, with_result(lambda result: result.update(content=content)))


@breaks("protocol.stateless", "the header Mcp-Name is lost")
def _(site: Site) -> Fault:
    return Asking(lambda asked: asked.path == "/mcp", losing("mcp-name"))


@breaks_too("protocol.stateless", "calls work only after initialize")
def _(site: Site) -> Fault:
    failed = with_result(lambda result: result.update(isError=True))
    return Changing(in_era(STATELESS, calling_list), failed)
