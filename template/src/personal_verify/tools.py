"""Will an assistant find the tools, tell them apart, and can it call them?"""

from __future__ import annotations

import re
from typing import Any

from personal_verify.checks import Failed, Skipped, check, expect
from personal_verify.visit import Visit

# What assistants take for features of their own.
BUILT_IN_WORDS = (
    "artifact artifacts browser calendar canvas chat code computer conversation conversations drive"
    " file files image images memories memory project projects recall research search skill skills"
    " task tasks tool tools web"
)
BUILT_IN = frozenset(BUILT_IN_WORDS.split())


@check("protocol.tools", "It has tools, each described", "protocol.initialize")
def _(visit: Visit) -> str:
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    for _page in range(100):
        result = visit.call("tools/list", cursor)
        found += result.get("tools") or []
        if not (cursor := {"cursor": result["nextCursor"]} if result.get("nextCursor") else {}):
            break
    expect(
        found,
        "The server offers no tool.",
        "Put a file with a tool into the folder tools of your package, as AGENTS.md says.",
    )
    bare = [tool["name"] for tool in found if not str(tool.get("description") or "").strip()]
    expect(
        not bare,
        f"Without a description: {', '.join(bare)}.",
        "Give each function a docstring that says when to use it, then restart the server.",
    )
    visit.tools = found
    return f"{len(found)}: {', '.join(tool['name'] for tool in found)}"


@check("protocol.prefix", "Tools have names of their own", "protocol.tools")
def _(visit: Visit) -> str:
    names = [tool["name"] for tool in visit.tools]
    bare = [name for name in names if not re.fullmatch("[^_]+_.+", name)]
    prefixes = sorted({name.partition("_")[0] for name in names})
    move = "Define it in the folder tools, where each name gets the prefix, not in extend.py."
    expect(not bare, f"Without a prefix: {', '.join(bare)}.", move)
    expect(len(prefixes) == 1, f"There are several prefixes: {', '.join(prefixes)}.", move)
    prefix = prefixes[0]
    expect(
        prefix not in BUILT_IN,
        f"Assistants take {prefix}_ for a feature of their own and pass over the tools.",
        "Choose another: `uvx copier update --defaults --data tool_prefix=vault`, then restart.",
    )
    expect(
        f"{prefix}_" in visit.instructions,
        f"The instructions do not name {prefix}_, so assistants may prefer their own features.",
        "Write {prefix}_ into instructions.md, where it is filled in, then restart the server.",
    )
    return f"all begin with {prefix}_"


@check("protocol.call", "A tool can be called", "protocol.tools")
def _(visit: Visit) -> str:
    name, arguments = harmless(visit.tools)
    result = visit.call("tools/call", {"name": name, "arguments": arguments})
    if not result.get("isError"):
        return f"{name} answers"
    told = " ".join(str(part.get("text", "")) for part in result.get("content", [])).rstrip(".")
    if arguments:
        raise Skipped(f"{name} refuses made-up arguments: {told}")
    raise Failed(
        f"{name} answers with an error: {told}.",
        "Look at the server's log for the exception; for `connection already closed` open a"
        " database connection in each call.",
    )


def harmless(tools: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Returns a tool that only reads and arguments for it, few rather than many.

    Raises:
        Skipped: There is none whose arguments can be made up.
    """
    choices: list[tuple[str, dict[str, Any]]] = []
    for tool in tools:
        schema = tool.get("inputSchema") or {}
        known = schema.get("properties") or {}
        arguments = {name: made_up(known.get(name, {})) for name in schema.get("required") or []}
        if (tool.get("annotations") or {}).get("readOnlyHint") and None not in arguments.values():
            choices.append((tool["name"], arguments))
    if not choices:
        raise Skipped("no tool is annotated as only reading and works with made-up arguments")
    return min(choices, key=lambda choice: len(choice[1]))


def made_up(schema: dict[str, Any]) -> Any:
    """Returns a value for an argument, None when it cannot be guessed."""
    for key in ("default", "const"):
        if schema.get(key) is not None:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type") == "boolean":
        return False
    fits = schema.get("minLength", 0) <= len("verify") <= schema.get("maxLength", 6)
    free = schema.get("type") == "string" and not {"pattern", "format"} & set(schema)
    return "verify" if free and fits else None
