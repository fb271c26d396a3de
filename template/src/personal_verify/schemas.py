"""Do clients accept what the tools say of their arguments, results and effects?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from personal_verify.checks import check, expect
from personal_verify.mending import in_tools
from personal_verify.visit import Visit

KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # what Claude takes for the name of an argument
DEEPEST = 50

Fault = tuple[str, str] | None  # what is wrong with a schema, and what to do instead


@check("protocol.schemas", "Clients take the input schemas", "protocol.tools")
def _(visit: Visit) -> str:
    return judged(visit, "inputSchema", fault_of_input)


@check("protocol.outputs", "Clients take the output schemas", "protocol.tools")
def _(visit: Visit) -> str:
    return judged(visit, "outputSchema", fault_of_output)


@check("protocol.annotations", "Tools say what they change", "protocol.tools", ours=True)
def _(visit: Visit) -> str:
    reading = 0
    for tool in visit.tools:
        hints = tool.get("annotations") or {}
        reads = hints.get("readOnlyHint")
        expect(
            isinstance(reads, bool),
            f"{tool['name']} does not say whether it only reads, so clients ask before each call"
            " and a connection that may only read does not see it.",
            in_tools(visit, 'write @tool(annotations={"readOnlyHint": True}), or False'),
        )
        expect(
            not (reads and hints.get("destructiveHint") is True),
            f"{tool['name']} says that it only reads and that it destroys.",
            in_tools(visit, "remove readOnlyHint or destructiveHint from its annotations"),
        )
        reading += reads is True
    return f"{reading} of {len(visit.tools)} only read"


def judged(visit: Visit, member: str, fault_of: Callable[[Any], Fault]) -> str:
    """Returns how many schemas there are.

    Raises:
        Failed: Clients refuse one of them.
    """
    count = 0
    for tool in visit.tools:
        if member == "outputSchema" and tool.get(member) is None:
            continue
        count += 1
        fault = fault_of(tool.get(member))
        if fault is not None:
            what, instead = fault
            expect(False, f"The {member} of {tool['name']} {what}.", in_tools(visit, instead))
    return f"{count} schemas"


def fault_of_input(schema: Any) -> Fault:
    """Returns what clients refuse about the arguments of a tool."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return 'is not of type "object", which every client needs', "take named arguments"
    combined = [word for word in ("oneOf", "anyOf", "allOf") if word in schema]
    if combined:
        return (
            f"has {combined[0]} at its top, which Claude and OpenAI refuse",
            "take plain arguments, and check in the function which of them fit together",
        )
    if any("$ref" in part for part in parts_of(schema)):
        return (
            "refers to another schema ($ref), which Gemini CLI and Copilot cannot read",
            "give the argument a type that does not hold itself, or take a dict",
        )
    known = schema.get("properties", {})
    if not isinstance(known, dict):
        return "has no properties", "take named arguments"
    odd = [name for name in known if not KEY.fullmatch(name)]
    if odd:
        return (
            f"has the argument {odd[0]!r}, and Claude takes only letters without accents, digits,"
            " _ . and -",
            "rename the argument",
        )
    lost = [name for name in schema.get("required", []) if name not in known]
    if lost:
        return f"requires {lost[0]!r}, which it does not describe", "name it among the arguments"
    if any(part.get("type") == "array" and "items" not in part for part in parts_of(schema)):
        return (
            "has a list that does not say of what (items), which OpenAI refuses",
            "write list[str] or the like, not tuple",
        )
    return None


def fault_of_output(schema: Any) -> Fault:
    """Returns what makes clients refuse the whole list because of one tool's results."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return (
            'is not of type "object", for which many clients refuse the whole list of tools',
            "return a model or a dict, or take output_schema away",
        )
    for part in parts_of(schema):
        target = part.get("$ref")
        if isinstance(target, str) and not resolves(target, schema):
            return (
                f"refers to {target}, which is not there, so Claude Code loses all tools",
                "return a model that does not hold itself, or set output_schema=None",
            )
    return None


def parts_of(schema: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yields a schema and the schemas in it, not the data."""
    if not isinstance(schema, dict) or depth > DEEPEST:
        return
    yield schema
    inner: list[Any] = [schema.get(word) for word in ("items", "additionalProperties", "not")]
    for word in ("oneOf", "anyOf", "allOf", "prefixItems"):
        inner += schema.get(word) or []
    for word in ("properties", "$defs", "definitions", "patternProperties"):
        named = schema.get(word)
        inner += named.values() if isinstance(named, dict) else []
    for part in inner:
        yield from parts_of(part, depth + 1)


def resolves(target: str, schema: dict[str, Any]) -> bool:
    """Tells whether a reference leads to a part of the same schema (RFC 6901)."""
    found: Any = schema
    if not target.startswith("#"):
        return False
    for step in target[1:].split("/")[1:]:
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if found else None
        if not isinstance(found, dict):
            return False
    return True
