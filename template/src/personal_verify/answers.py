"""Reading what a server answers."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs

import httpx2

LONGEST_PAGE = 200_000  # characters that are read of a page


def json_in(response: httpx2.Response) -> Any:
    """Returns the JSON of an answer, None when there is none."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def is_html(response: httpx2.Response) -> bool:
    kind = response.headers.get("content-type", "").lower()
    return "html" in kind or response.text.lstrip()[:1] == "<"


def reaches_mcp(response: httpx2.Response) -> bool:
    """Tells whether the MCP endpoint lets a request in, be it to refuse what it asks."""
    kept_out = response.status_code in {401, 403} or response.is_redirect or is_html(response)
    return not kept_out


def shape(response: httpx2.Response) -> str:
    """Describes an answer in a few words."""
    told = f"status {response.status_code}"
    if 300 <= response.status_code < 400:
        return f"{told}, a redirect to {destination(response)}"
    if is_html(response):
        title = re.search(r"<title[^<>]*>([^<]*)", response.text, re.IGNORECASE)
        return f"{told}, an HTML page{f' titled {unescape(title[1]).strip()!r}' if title else ''}"
    value = json_in(response)
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        return f"{told}, {value['error']}"
    return told if response.content else f"{told}, an empty body"


def destination(response: httpx2.Response) -> str:
    """Returns where an answer leads, without a code that it may carry."""
    where = str(response.headers.get("location", "nowhere"))
    return re.sub(r"(?<=[?&#])(code|access_token)=[^&#]*", r"\1=…", where)


def plain(text: str) -> str:
    """Returns a text as one line that a terminal can show: answers may hold anything."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= 400 else line[:399] + "…"


def is_refusal(response: httpx2.Response, code: str) -> bool:
    """Tells whether an answer is an OAuth error as RFC 6749 §5.2 has it, with status 400."""
    return response.status_code == 400 and refuses(response, code)


def refuses(response: httpx2.Response, code: str) -> bool:
    """Tells whether an answer names an OAuth error, with whatever status."""
    answer = json_in(response)
    told = answer.get("error") if isinstance(answer, dict) else None
    return not response.is_success and told == code


def message_in(response: httpx2.Response, message_id: Any) -> dict[str, Any] | None:
    """Returns the JSON-RPC answer to a message, from a JSON body or an event stream."""
    if response.headers.get("content-type", "").lower().startswith("text/event-stream"):
        events = re.split(r"\r?\n\r?\n", response.text)
        values = [parsed(event_data(event)) for event in events]
    else:
        values = [json_in(response)]
    answers = [v for v in values if isinstance(v, dict) and ("result" in v or "error" in v)]
    return next((a for a in answers if a.get("id") in {message_id, None}), None)


def answer_in(response: httpx2.Response) -> dict[str, Any] | None:
    """Returns the JSON-RPC answer to the message that was sent."""
    asked = parsed(response.request.content.decode())
    return message_in(response, asked.get("id")) if isinstance(asked, dict) else None


def result_in(response: httpx2.Response) -> dict[str, Any] | None:
    """Returns the result of the method that was asked for, None for an error."""
    result = (answer_in(response) or {}).get("result")
    return result if isinstance(result, dict) else None


def told(response: httpx2.Response) -> str:
    """Describes an answer that is no result: the error's message, else the answer's shape."""
    error = (answer_in(response) or {}).get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return str(message).rstrip(".") if message else shape(response)


def error_code(answer: dict[str, Any] | None) -> Any:
    """Returns the code of a JSON-RPC error, None when there is none."""
    error = (answer or {}).get("error")
    return error.get("code") if isinstance(error, dict) else None


def event_data(event: str) -> str:
    lines = (line.partition(":") for line in event.splitlines())
    return "\n".join(value.removeprefix(" ") for name, _, value in lines if name == "data")


def parsed(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def sent_back(response: httpx2.Response) -> dict[str, str]:
    """Returns the parameters that a redirect carries, none for any other answer."""
    if not 300 <= response.status_code < 400:
        return {}
    _, *carried = re.split("[?#]", response.headers.get("location", ""))
    return {name: values[0] for name, values in parse_qs("&".join(carried)).items()}


def null_members(value: Any, path: str = "") -> list[str]:
    """Returns where a document has null members, which clients' schemas refuse."""
    if not isinstance(value, dict):
        return [path] if value is None else []
    return [name for key, member in value.items() for name in null_members(member, key)]


class Page(HTMLParser):
    """The forms of an HTML page."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []  # the attributes of each
        self.hidden: dict[str, str] = {}
        self.passwords: list[str] = []
        self.decisions: list[str] = []
        self.actions: list[str] = []  # what forms do
        self.feed(response.text[:LONGEST_PAGE] if is_html(response) else "")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        name, value, kind = has.get("name", ""), has.get("value", ""), has.get("type", "").lower()
        if name == "do":
            self.actions.append(value)
        if tag == "form":
            self.forms.append(has)
        elif tag == "input" and kind == "hidden":
            self.hidden[name] = value
        elif tag == "input" and kind == "password":
            self.passwords.append(name)
        elif tag in {"button", "input"} and kind in {"submit", ""} and name == "decision":
            self.decisions.append(value)

    @property
    def proof(self) -> str:
        """How the page lets the owner prove who they are: password, passkey, or not at all."""
        if self.passwords:
            return "password" if self.passwords == ["password"] else ""
        return "passkey" if {"challenge", "assertion"} <= self.hidden.keys() else ""

    @property
    def asks(self) -> bool:
        """True for a page on which somebody can approve."""
        return bool(self.forms) and "approve" in self.decisions
