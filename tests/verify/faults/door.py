"""Ways in which the MCP endpoint opens to others, or under another name."""

from __future__ import annotations

import re

from tests.verify.faults.making import (
    Answering,
    Asking,
    Changing,
    Site,
    at,
    breaks,
    exactly,
    replacing,
    without,
)
from tests.verify.proxy import Answer, Asked, Fault, json_answer, redirect


@breaks("stranger.challenge", "the challenge is stripped", "grant.ended")
def _(site: Site) -> Fault:
    return Changing(at("/mcp"), without("www-authenticate"))


@breaks("stranger.challenge", "GET needs no token")
def _(site: Site) -> Fault:
    return Answering(exactly("GET", "/mcp"), lambda asked: Answer(200))


@breaks("stranger.challenge", "HEAD is not allowed")
def _(site: Site) -> Fault:
    return Answering(exactly("HEAD", "/mcp"), lambda asked: Answer(405))


@breaks("stranger.slash", "a slash at the end is redirected")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: asked.path == "/mcp/", lambda asked: redirect(307, f"{site.url}/mcp")
    )


@breaks("stranger.bearer", "a made-up token is accepted")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return not asked.headers.get("authorization", "Bearer pat_").startswith("Bearer pat_")

    return Answering(when, lambda asked: json_answer(200, {"jsonrpc": "2.0", "result": {}}))


@breaks("stranger.host", "the proxy sets the Host itself")
def _(site: Site) -> Fault:
    own = site.url.removeprefix("http://")
    return Asking(lambda asked: True, lambda asked: asked.headers.update(host=own))


@breaks("stranger.origin", "a foreign Origin is not looked at")
def _(site: Site) -> Fault:
    own = {"origin": site.url}
    return Asking(
        lambda asked: at("/mcp")(asked) and "stranger" in asked.headers.get("origin", ""),
        lambda asked: asked.headers.update(own),
    )


@breaks("stranger.slash", "what ends with a slash is not found")
def _(site: Site) -> Fault:
    missing = json_answer(404, {"error": "not_found"})
    return Answering(lambda asked: asked.path == "/mcp/", lambda asked: missing)


@breaks("stranger.methods", "PUT needs no token")
def _(site: Site) -> Fault:
    return Answering(exactly("PUT", "/mcp"), lambda asked: json_answer(200, {"result": {}}))


@breaks("stranger.methods", "PATCH brings the server down")
def _(site: Site) -> Fault:
    return Answering(exactly("PATCH", "/mcp"), lambda asked: Answer(500))


@breaks("stranger.bearer", "a name and a password are let in")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: asked.headers.get("authorization", "").startswith("Basic"),
        lambda asked: json_answer(200, {"jsonrpc": "2.0", "result": {}}),
    )


@breaks("stranger.bearer", "an empty token brings the server down")
def _(site: Site) -> Fault:
    return Answering(
        lambda asked: asked.headers.get("authorization", "-") in {"Bearer", ""},
        lambda asked: Answer(500),
    )


@breaks("stranger.query", "a token may stand in the address")
def _(site: Site) -> Fault:
    def change(asked: Asked) -> None:
        asked.headers["authorization"] = f"Bearer {asked.query['access_token']}"

    return Asking(lambda asked: "access_token" in asked.query, change)


@breaks("stranger.forwarded", "the address is what a header says")
def _(site: Site) -> Fault:
    def when(asked: Asked) -> bool:
        return at("/.well-known/")(asked) and "x-forwarded-host" in asked.headers

    return Changing(when, replacing(re.escape(site.url), "https://stranger.example"))


@breaks("stranger.forwarded", "the challenge names what a header says")
def _(site: Site) -> Fault:
    def change(answer: Answer) -> None:
        challenge = answer.headers["www-authenticate"]
        answer.headers["www-authenticate"] = challenge.replace(site.url, "https://stranger.example")

    return Changing(lambda asked: "forwarded" in asked.headers, change)


@breaks("stranger.host", "only the endpoint answers for every name")
def _(site: Site) -> Fault:
    own = site.url.removeprefix("http://")
    return Asking(at("/mcp"), lambda asked: asked.headers.update(host=own))


@breaks("stranger.origin", "a page without an address may use the server")
def _(site: Site) -> Fault:
    return Asking(
        lambda asked: asked.headers.get("origin") == "null" and asked.path == "/mcp",
        lambda asked: asked.headers.update(origin=site.url),
    )


@breaks("stranger.host", "a foreign name passes with a forwarded one")
def _(site: Site) -> Fault:
    own = site.url.removeprefix("http://")
    return Asking(
        lambda asked: asked.headers.get("x-forwarded-host") == own,
        lambda asked: asked.headers.update(host=own),
    )
