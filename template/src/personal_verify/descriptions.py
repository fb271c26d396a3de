"""Do the tools' descriptions lead an assistant to them?"""

from __future__ import annotations

from typing import Any

from personal_verify.checks import check, expect
from personal_verify.language import stem, telling_words, weight, words_in
from personal_verify.mending import in_tools, named
from personal_verify.visit import Visit

LONGEST = 2048  # where Claude Code cuts a description
SHORTEST = 20
# Names of arguments from which nobody can tell what to give.
VAGUE_NAMES = "arg args config data input kwargs obj options param params payload val value"
VAGUE = frozenset(VAGUE_NAMES.split())


@check("protocol.described", "Each tool is described", "protocol.tools")
def _(visit: Visit) -> str:
    bare = [tool["name"] for tool in visit.tools if not description_of(tool)]
    expect(
        not bare,
        f"Without a description: {named(bare)}.",
        in_tools(visit, "give each function a docstring that says when to use it"),
    )
    return f"{len(visit.tools)} descriptions"


@check("protocol.generic", "Descriptions tell enough", "protocol.described")
def _(visit: Visit) -> str:
    for tool in visit.tools:
        text, name = description_of(tool), str(tool["name"])
        new = telling_words(text, name)
        expect(
            new >= 2 and weight(text) >= SHORTEST,
            f"{name} is described only as {text[:60]!r}, which"
            f" {'is too little' if new else 'restates its name'}, so assistants pass over it.",
            in_tools(visit, "say in its docstring what it does, with what, and when to use it"),
        )
    shortest = min(visit.tools, key=lambda tool: weight(description_of(tool)))
    return f"the shortest, {shortest['name']}, has {len(description_of(shortest))} characters"


@check("protocol.distinct", "Descriptions tell tools apart", "protocol.described")
def _(visit: Visit) -> str:
    seen: dict[str, str] = {}
    for tool in visit.tools:
        text = " ".join(words_in(description_of(tool)))
        other = seen.setdefault(text, tool["name"])
        expect(
            other == tool["name"],
            f"{other} and {tool['name']} have the same description.",
            in_tools(visit, "say in each docstring what the other tool does not do"),
        )
    return f"{len(seen)} of {len(visit.tools)} differ"


@check("protocol.long", "No description is cut", "protocol.tools")
def _(visit: Visit) -> str:
    lengths = {tool["name"]: len(description_of(tool)) for tool in visit.tools}
    long = [f"{name} ({length:,})" for name, length in lengths.items() if length > LONGEST]
    expect(
        not long,
        f"Claude Code cuts descriptions after {LONGEST:,} characters: {named(long)}.",
        in_tools(visit, "shorten it, and explain arguments with Field(description=...)"),
    )
    return f"the longest has {max(lengths.values()):,} of {LONGEST:,} characters"


@check("protocol.arguments", "Arguments are explained", "protocol.tools")
def _(visit: Visit) -> str:
    count = 0
    for tool in visit.tools:
        known = (tool.get("inputSchema") or {}).get("properties") or {}
        said = {stem(word) for word in words_in(description_of(tool))}
        bare = [name for name, schema in known.items() if not is_explained(name, schema, said)]
        count += len(known)
        expect(
            not bare,
            f"Nothing says what {named(bare)} of {tool['name']} is, so assistants have to guess.",
            in_tools(visit, "write Annotated[str, Field(description=...)] as the argument's type"),
        )
    return f"all {count}" if count else "none takes any"


def description_of(tool: dict[str, Any]) -> str:
    return str(tool.get("description") or "").strip()


def is_explained(name: str, schema: Any, said: set[str]) -> bool:
    """Tells whether an argument's meaning is said in its schema, the tool's text or its name."""
    if not isinstance(schema, dict):
        return False
    inner = [schema, schema.get("items"), *(schema.get("anyOf") or [])]
    told = any(isinstance(part, dict) and part.get("description") for part in inner)
    words = [word for word in name.lower().split("_") if word]
    means_something = any(len(word) > 2 and word not in VAGUE for word in words)
    return told or means_something or {stem(word) for word in words} <= said
