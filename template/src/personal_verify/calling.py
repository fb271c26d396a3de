"""Can the tools be called, and do clients understand what they give?"""

from __future__ import annotations

import json
from typing import Any

import httpx2

from personal_verify.answers import answer_in, error_code, plain, result_in, told
from personal_verify.checks import LOG, UPGRADE, Failed, Skipped, check, expect, pass_on
from personal_verify.eras import stateless_headers, stateless_params
from personal_verify.known import HEADER_MISMATCH, STATELESS
from personal_verify.language import tokens_in
from personal_verify.mending import in_tools, tools_folder
from personal_verify.patience import Late
from personal_verify.together import AT_ONCE
from personal_verify.visit import Visit

CALL_SECONDS = 60.0  # how long most clients wait
MOST_TOKENS = 25_000  # of a result in Claude Code
MOST_CHARACTERS = 150_000  # of a result on claude.ai

Call = tuple[dict[str, Any], dict[str, Any]]  # a tool, its arguments


@check("protocol.call", "A tool can be called", "protocol.tools")
def _(visit: Visit) -> str:
    calls = harmless(visit.tools)
    with visit.patience.resting():
        answers = visit.each(calls, lambda call: send_call(visit, *call))
    for (tool, arguments), response in answers:
        name, result = tool["name"], result_in(response)
        if result is None:
            raise Failed(f"{name} is answered with {told(response)}.", LOG)
        expect(
            isinstance(result.get("content"), list),
            f"{name} answers without content, which every client reads.",
            in_tools(visit, "return text, a model, or what FastMCP makes of it"),
        )
        if result.get("isError"):
            explain(visit, name, arguments, text_of(result))
        visit.results.append((tool, result))
    names = [tool["name"] for tool, _ in visit.results]
    return f"{names[0]} answers" if len(names) == 1 else f"{len(names)} answer, {names[0]} first"


@check("protocol.structured", "Results keep to their schemas", "protocol.call")
def _(visit: Visit) -> str:
    promised = [(tool, result) for tool, result in visit.results if tool.get("outputSchema")]
    for tool, result in promised:
        given = result.get("structuredContent")
        known = given if isinstance(given, dict) else {}
        lost = [name for name in tool["outputSchema"].get("required", []) if name not in known]
        expect(
            given is not None and not lost,
            f"{tool['name']} has an outputSchema, and its result lacks"
            f" {lost[0] if lost else 'structuredContent'}, so clients refuse it.",
            in_tools(visit, "return what its type says, or set output_schema=None"),
        )
    return f"{len(promised)} with a schema"


@check("protocol.result", "Results fit", "protocol.call")
def _(visit: Visit) -> str:
    largest = 0
    for tool, result in visit.results:
        text = text_of(result)
        tokens = tokens_in(text)
        largest = max(largest, tokens)
        expect(
            tokens <= MOST_TOKENS and len(text) <= MOST_CHARACTERS,
            f"{tool['name']} gives about {tokens:,} tokens at once, and Claude Code takes"
            f" {MOST_TOKENS:,}.",
            in_tools(visit, "return a page at a time, with arguments such as limit and cursor"),
        )
    return f"at most about {largest:,} tokens of {MOST_TOKENS:,}"


@check(
    "protocol.stateless",
    "Tools work without initialize",
    *("protocol.call", "protocol.discover"),
)
def _(visit: Visit) -> str:
    tool, arguments = harmless(visit.tools)[0]
    name = tool["name"]
    params = stateless_params(name=name, arguments=arguments)
    with visit.patience.resting():
        response = visit.ask(
            "tools/call", params, timeout=CALL_SECONDS, **stateless_headers("tools/call", name)
        )
    result = result_in(response) or {}
    lost = error_code(answer_in(response)) == HEADER_MISMATCH
    said = text_of(result) if result else told(response)
    expect(
        result and not result.get("isError"),
        f"In MCP {STATELESS} the call of {name} is answered with {plain(said).rstrip('.')}.",
        pass_on("the header Mcp-Name") if lost else UPGRADE,
    )
    return f"{name} answers"


def send_call(visit: Visit, tool: dict[str, Any], arguments: dict[str, Any]) -> httpx2.Response:
    params = {"name": tool["name"], "arguments": arguments}
    try:
        return visit.ask("tools/call", params, timeout=CALL_SECONDS)
    except Late as failure:
        raise Failed(
            f"{tool['name']} does not answer within {CALL_SECONDS:.0f} s, when clients give up.",
            in_tools(visit, "set a timeout on what it waits for"),
        ) from failure


def explain(visit: Visit, name: str, arguments: dict[str, Any], said: str) -> None:
    """Says why a tool answers with an error.

    Raises:
        Skipped: It may well be because of the arguments.
        Failed: It takes none.
    """
    shown = plain(said).rstrip(".")
    if arguments:
        raise Skipped(f"{name} refuses made-up arguments: {shown}")
    if "connection already closed" in said.lower():
        cure = in_tools(visit, "open a database connection in each call, not once at the start")
    else:
        cure = (
            "Do what the error says; if it does not help, the server's log has the exception, to be"
            f" mended in {tools_folder(visit)}."
        )
    raise Failed(f"{name} answers with an error: {shown}.", cure)


def text_of(result: dict[str, Any]) -> str:
    """Returns what an assistant reads of a result."""
    parts = [part for part in result.get("content") or [] if isinstance(part, dict)]
    texts = [str(part["text"]) for part in parts if isinstance(part.get("text"), str)]
    return " ".join(texts) or json.dumps(result.get("structuredContent") or "")


def harmless(tools: list[dict[str, Any]]) -> list[Call]:
    """Returns calls that only read: of tools that need no arguments, else one with made-up ones.

    Raises:
        Skipped: There is none whose arguments can be made up.
    """
    choices: list[Call] = []
    for tool in tools:
        schema = tool.get("inputSchema") or {}
        known = schema.get("properties") or {}
        arguments = {name: made_up(known.get(name, {})) for name in schema.get("required") or []}
        if (tool.get("annotations") or {}).get("readOnlyHint") and None not in arguments.values():
            choices.append((tool, arguments))
    if not choices:
        raise Skipped("no tool is annotated as only reading and works with made-up arguments")
    bare = [(tool, arguments) for tool, arguments in choices if not arguments]
    return bare[:AT_ONCE] or [min(choices, key=lambda choice: len(choice[1]))]


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
