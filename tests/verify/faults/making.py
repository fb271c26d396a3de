"""What a fault is, and small ones out of which most are made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.verify.proxy import Answer, Asked, Fault, json_answer

SERVER_METADATA = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
RESOURCE_METADATA = "/.well-known/oauth-protected-resource"


@dataclass(frozen=True)
class Broken:
    """A sentence, the check that fails, and what makes the fault for a server at a URL.

    `also` are the checks that fail too, because the same fault is theirs to notice. A `public`
    fault shows only where the server has to fetch what clients publish; `leaves` holds when a
    connection cannot be ended after it.
    """

    sentence: str
    check: str
    make: Callable[[Site], Fault]
    also: tuple[str, ...] = ()
    public: bool = False
    leaves: bool = False


@dataclass(frozen=True)
class Site:
    """What a fault may know."""

    url: str
    password: str


BROKEN: list[Broken] = []
VARIANTS: list[Broken] = []  # other ways to the same failure, of which only the check is run


def breaks(
    check: str, sentence: str, *also: str, public: bool = False, leaves: bool = False
) -> Callable[[Callable[[Site], Fault]], None]:
    return lambda make: BROKEN.append(Broken(sentence, check, make, also, public, leaves))


def breaks_too(check: str, sentence: str) -> Callable[[Callable[[Site], Fault]], None]:
    return lambda make: VARIANTS.append(Broken(sentence, check, make))


class Answering(Fault):
    """Answers some requests in the server's place."""

    def __init__(self, when: Callable[[Asked], bool], give: Callable[[Asked], Answer]) -> None:
        self.when, self.give = when, give

    def before(self, asked: Asked) -> Answer | None:
        return self.give(asked) if self.when(asked) else None


class Asking(Fault):
    """Alters some requests."""

    def __init__(self, when: Callable[[Asked], bool], change: Callable[[Asked], None]) -> None:
        self.when, self.change = when, change

    def before(self, asked: Asked) -> None:
        if self.when(asked):
            self.change(asked)


class Changing(Fault):
    """Alters some answers."""

    def __init__(self, when: Callable[[Asked], bool], change: Callable[[Answer], None]) -> None:
        self.when, self.change = when, change

    def after(self, asked: Asked, answer: Answer) -> None:
        if self.when(asked):
            self.change(answer)


def at(*starts: str) -> Callable[[Asked], bool]:
    return lambda asked: asked.path.startswith(starts)


def exactly(method: str, path: str) -> Callable[[Asked], bool]:
    return lambda asked: (asked.method, asked.path) == (method, path)


def calling(method: str) -> Callable[[Asked], bool]:
    return lambda asked: asked.path == "/mcp" and asked.message.get("method") == method


def granting(kind: str) -> Callable[[Asked], bool]:
    return lambda asked: asked.path == "/token" and asked.form.get("grant_type") == kind


def without(*names: str) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        answer.headers = {k: v for k, v in answer.headers.items() if k.lower() not in names}

    return change


def with_header(name: str, value: str) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        without(name)(answer)
        answer.headers[name] = value

    return change


def with_members(**members: Any) -> Callable[[Answer], None]:
    """Sets members of a JSON document; Ellipsis removes one."""

    def change(answer: Answer) -> None:
        if answer.status < 300:
            whole = {**answer.json, **members}
            answer.json = {name: value for name, value in whole.items() if value is not ...}

    return change


def with_result(change: Callable[[dict[str, Any]], None]) -> Callable[[Answer], None]:
    def changed(answer: Answer) -> None:
        message = answer.json
        if answer.status == 200:
            change(message["result"])
            answer.json = message

    return changed


def replacing(pattern: str, by: str) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        answer.body = re.sub(pattern.encode(), by.encode(), answer.body)

    return change


def with_location(pattern: str, by: str, status: int | None = None) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        if "location" in answer.headers:
            answer.status = status or answer.status
            answer.headers["location"] = re.sub(pattern, by, answer.headers["location"])

    return change


def deciding(asked: Asked) -> bool:
    return exactly("POST", "/authorize")(asked) and "decision" in asked.form


def approving(asked: Asked) -> bool:
    return deciding(asked) and asked.form["decision"] == "approve"


def denying(asked: Asked) -> bool:
    return deciding(asked) and asked.form["decision"] == "deny"


def asking(asked: Asked) -> bool:
    return exactly("GET", "/authorize")(asked)


def for_loopback(asked: Asked) -> bool:
    return asking(asked) and "127.0.0.1" in asked.query.get("redirect_uri", "")


def token_in(asked: Asked) -> str:
    """Returns the access token that a request carries."""
    return asked.headers.get("authorization", "").removeprefix("Bearer ")


def refused_token() -> Answer:
    """Answers as to a token that is no good."""
    answer = json_answer(401, {"error": "invalid_token"})
    answer.headers["www-authenticate"] = 'Bearer error="invalid_token"'
    return answer


def event_stream(asked: Asked, answer: Answer) -> None:
    """Sends an MCP answer as an event stream; clients must cope with both."""
    if asked.path == "/mcp" and answer.status == 200 and isinstance(answer.json, dict):
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
        events = "".join(
            f"event: message\r\ndata: {json.dumps(message)}\r\n\r\n"
            for message in (note, answer.json)
        )
        answer.body = f": ping\r\n\r\n{events}".encode()
        answer.headers["content-type"] = "text/event-stream"
