"""Will an assistant see the tools, and take them for what they are?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from personal_verify.builtin import FEATURES, sounds_built_in, words_of
from personal_verify.checks import UPGRADE, Failed, check, expect
from personal_verify.eras import stateless_headers, stateless_params
from personal_verify.known import STATELESS
from personal_verify.language import tokens_in
from personal_verify.mending import in_tools, named, tools_folder
from personal_verify.visit import Visit

MOST_TOOLS = 128  # VS Code sends no more, and refuses to send any when there are
MOST_PAGES = 50
MOST_TOKENS = 25_000  # where Claude Code warns that tools fill the conversation
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")  # what Claude, OpenAI and Gemini all take
OTHER_PREFIX = (
    "Choose another: `uvx copier update --defaults --data tool_prefix=vault`, then restart."
)


@check("protocol.tools", "It has tools", "protocol.initialize")
def _(visit: Visit) -> str:
    visit.tools = listed(lambda cursor: visit.call("tools/list", cursor))
    expect(
        visit.tools,
        "The server offers no tool.",
        in_tools(visit, f"write a tool{' (AGENTS.md shows how)' if visit.ours else ''}"),
    )
    return f"{len(visit.tools)}: {', '.join(tool['name'] for tool in visit.tools)}"


def listed(ask: Callable[[dict[str, Any]], dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the tools of all pages.

    Raises:
        Failed: There is no last page.
    """
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    for _page in range(MOST_PAGES):
        result = ask(cursor)
        found += result.get("tools") or []
        following = result.get("nextCursor")
        if not following:
            return found
        if cursor == (cursor := {"cursor": following}):
            break
    raise Failed("The list of tools never ends: its pages lead on and on (nextCursor).", UPGRADE)


@check("protocol.eras", "Both revisions offer the same", "protocol.tools", "protocol.discover")
def _(visit: Visit) -> str:
    headers = stateless_headers("tools/list")
    others = listed(lambda page: visit.call("tools/list", stateless_params(**page), **headers))
    here, there = by_name(visit.tools), by_name(others)
    missing = sorted({*here} ^ {*there})
    expect(not missing, f"Only one of the revisions lists {named(missing)}.", UPGRADE)
    unlike = [name for name in here if here[name] != there[name]]
    expect(not unlike, f"In MCP {STATELESS} other things are said of {named(unlike)}.", UPGRADE)
    told = [seen.get("instructions") or "" for seen in (visit.greeting, visit.discovered)]
    expect(told[0] == told[1], f"In MCP {STATELESS} there are other instructions.", UPGRADE)
    return f"{len(there)} tools and the instructions"


def by_name(tools: list[dict[str, Any]]) -> dict[str, list[Any]]:
    shown = ("description", "inputSchema", "outputSchema", "annotations")
    return {tool["name"]: [tool.get(member) for member in shown] for tool in tools}


@check("protocol.names", "Clients take the tools' names", "protocol.tools")
def _(visit: Visit) -> str:
    names = [tool["name"] for tool in visit.tools]
    odd = [name for name in names if len(name) <= 64 and not NAME.fullmatch(name)]
    expect(
        not odd,
        f"Clients refuse the names {named(odd)}.",
        in_tools(visit, "use only letters without accents, digits, _ and -"),
    )
    long = [f"{name[:30]}… ({len(name)})" for name in names if len(name) > 64]
    expect(
        not long,
        f"Claude and ChatGPT refuse names of more than 64 characters: {named(long)}.",
        in_tools(visit, "give the tool a shorter name"),
    )
    twice = sorted({name for name in names if names.count(name) > 1})
    expect(
        not twice,
        f"Clients refuse two tools of one name: {named(twice)}.",
        in_tools(visit, "rename one of them"),
    )
    return f"the longest has {max(len(name) for name in names)} of 64 characters"


@check("protocol.prefix", "Tools share one prefix", "protocol.tools", ours=True)
def _(visit: Visit) -> str:
    names = [tool["name"] for tool in visit.tools]
    bare = [name for name in names if not re.fullmatch("[^_]+_.+", name)]
    prefixes = sorted({name.partition("_")[0] for name in names})
    move = f"Define it in {tools_folder(visit)}, where each name gets the prefix, not in extend.py."
    expect(not bare, f"Without a prefix: {named(bare)}.", move)
    expect(len(prefixes) == 1, f"There are several prefixes: {named(prefixes)}.", move)
    return f"all begin with {prefixes[0]}_"


@check("protocol.collision", "They pass for no built-in feature", "protocol.tools")
def _(visit: Visit) -> str:
    names = [tool["name"] for tool in visit.tools]
    prefix = common_prefix(names, visit)
    own_word = in_tools(visit, "begin each name with a word of your own, such as vault_")
    expect(
        prefix not in FEATURES,
        f"Assistants take {prefix}_ for a feature of their own and pass over the tools.",
        OTHER_PREFIX if visit.ours else own_word,
    )
    wanted = set() if visit.ours else {"search", "fetch"}  # the names that ChatGPT's research calls
    alike = [name for name in names if sounds_built_in(name) and name not in wanted]
    expect(
        not alike,
        f"Assistants have such tools themselves and pass over {named(alike)}.",
        in_tools(visit, "give it a name that says what is yours") if visit.ours else own_word,
    )
    return f"{len(names)} names of its own"


def common_prefix(names: list[str], visit: Visit) -> str:
    """Returns the word with which all names begin, none for a single tool of others."""
    first = {(words_of(name) or [""])[0] for name in names}
    return first.pop() if len(first) == 1 and (len(names) > 1 or visit.ours) else ""


@check("protocol.size", "The list of tools fits", "protocol.tools")
def _(visit: Visit) -> str:
    count = len(visit.tools)
    expect(
        count <= MOST_TOOLS,
        f"There are {count} tools, where VS Code sends none at all above {MOST_TOOLS}.",
        in_tools(visit, "remove what is not used, or make one tool of several"),
    )
    shown = {tool["name"]: tokens_in(shown_to_model(tool)) for tool in visit.tools}
    total = sum(shown.values())
    largest = sorted(shown, key=lambda name: -shown[name])
    expect(
        total <= MOST_TOKENS,
        f"The list of tools takes about {total:,} tokens of each conversation, more than"
        f" {MOST_TOKENS:,}, most of them for {named(largest[:3])}.",
        in_tools(visit, "shorten descriptions and arguments, or remove tools"),
    )
    return f"about {total:,} tokens of {MOST_TOKENS:,}"


def shown_to_model(tool: dict[str, Any]) -> str:
    """Returns what clients pass on to the model about a tool."""
    shown = {member: tool.get(member) for member in ("name", "description", "inputSchema")}
    return json.dumps(shown, ensure_ascii=False)
