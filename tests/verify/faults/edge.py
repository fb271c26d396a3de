"""Ways in which a proxy or tunnel treats clients differently."""

from __future__ import annotations

from tests.verify.faults.making import Answering, Changing, Site, at, breaks, exactly, without
from tests.verify.proxy import Answer, Asked, Fault, html_answer


def comes_as(agent: str, *paths: str) -> Fault:
    """Answers one kind of client with the page of a guard."""

    def when(asked: Asked) -> bool:
        return asked.headers.get("user-agent", "").startswith(agent) and at(*paths)(asked)

    return Answering(when, lambda asked: html_answer(403, "Attention Required!"))


@breaks("edge.agents", "the edge blocks Claude")
def _(site: Site) -> Fault:
    return comes_as("Claude-User", "/mcp")


@breaks("edge.agents", "the edge blocks ChatGPT at the metadata")
def _(site: Site) -> Fault:
    return comes_as("openai-mcp", "/.well-known/")


@breaks("edge.agents", "the edge blocks Node's clients at the token endpoint")
def _(site: Site) -> Fault:
    return comes_as("node", "/token")


@breaks("edge.agents", "a tunnel shows browsers a warning first")
def _(site: Site) -> Fault:
    def give(asked: Asked) -> Answer:
        answer = html_answer(200, "You are about to visit")
        answer.headers["ngrok-error-code"] = "ERR_NGROK_6024"
        return answer

    return Answering(
        lambda asked: (
            asked.method == "GET"
            and at("/.well-known/")(asked)
            and asked.headers.get("user-agent", "").startswith("Mozilla/")
        ),
        give,
    )


@breaks("edge.cors", "the proxy answers OPTIONS itself")
def _(site: Site) -> Fault:
    return Answering(lambda asked: asked.method == "OPTIONS", lambda asked: Answer(405))


@breaks("edge.cors", "browsers may not read the challenge")
def _(site: Site) -> Fault:
    return Changing(at("/mcp"), without("access-control-expose-headers"))


@breaks("edge.stream", "a stream comes all at once")
def _(site: Site) -> Fault:
    whole = Answer(200, {"content-type": "text/event-stream"}, b"data: ok\n\ndata: ok\n\n")
    streaming = exactly("GET", "/healthz")
    return Answering(
        lambda asked: streaming(asked) and "event-stream" in asked.headers.get("accept", ""),
        lambda asked: whole,
    )
