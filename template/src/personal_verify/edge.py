"""Does what stands before the server, a proxy or tunnel, treat every client alike?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import httpx2

from personal_verify.answers import is_html, shape
from personal_verify.checks import Failed, Skipped, check, expect, pass_on
from personal_verify.fingerprints import told_apart
from personal_verify.known import AGENTS, BROWSER, SERVER_METADATA
from personal_verify.visit import Visit

TOGETHER_SECONDS = 0.1  # events closer than this were sent on together
KNOCK: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
REQUESTS: dict[str, Callable[[Visit, dict[str, str]], httpx2.Response]] = {
    "GET the metadata": lambda visit, agent: visit.send("GET", SERVER_METADATA, headers=agent),
    "POST /mcp": lambda visit, agent: visit.send("POST", "/mcp", json=KNOCK, headers=agent),
    "POST /token": lambda visit, agent: visit.send(
        "POST", visit.endpoint("token"), data={"grant_type": "none"}, headers=agent
    ),
}


@check("edge.agents", "No client is blocked by its name", "reach.health")
def _(visit: Visit) -> str:
    agents = {**AGENTS, BROWSER: "A browser"}
    asked = [(what, agent) for what in possible(visit) for agent in agents]

    def ask(pair: tuple[str, str]) -> httpx2.Response:
        what, agent = pair
        return REQUESTS[what](visit, {"User-Agent": agent})

    answers = dict(visit.each(asked, ask))
    for (what, agent), response in answers.items():
        others = [answers[what, other] for other in agents if other != agent]
        if any(kind(other) == kind(response) for other in others):
            continue
        who = f"{agents[agent]} comes as {agent.partition(' (')[0]!r}"
        cause = (
            f"{who} and is answered {what} with {shape(response)}, others with {shape(others[0])}."
        )
        raise Failed(
            *told_apart(
                response,
                cause,
                "Let the proxy or tunnel allow this User-Agent (Cloudflare: under Security > Bots"
                " turn off Bot Fight Mode and Block AI bots; nginx: look for $http_user_agent).",
            )
        )
    return f"{len(agents)} names, Claude-User among them"


def kind(response: httpx2.Response) -> tuple[int, bool]:
    return response.status_code, is_html(response)


def possible(visit: Visit) -> list[str]:
    """Returns the requests that the server can be asked."""
    with suppress(Skipped):
        if visit.endpoint("token").startswith(f"{visit.url}/"):
            return list(REQUESTS)
    return [what for what in REQUESTS if what != "POST /token"]


@check(
    "edge.cors",
    "Clients in a browser can use it",
    *("metadata.server", "stranger.register", "stranger.challenge"),
)
def _(visit: Visit) -> str:
    page = "http://localhost:6274"  # the MCP Inspector
    asking = {"Origin": page, "Access-Control-Request-Method": "POST"}
    requests = {
        "GET metadata": lambda: visit.send("GET", SERVER_METADATA, headers={"Origin": page}),
        "POST /mcp": lambda: visit.send("POST", "/mcp", headers={"Origin": page}),
        "OPTIONS /register": lambda: visit.send("OPTIONS", "/register", headers=asking),
        "OPTIONS /token": lambda: visit.send("OPTIONS", "/token", headers=asking),
        "OPTIONS /mcp": lambda: visit.send("OPTIONS", "/mcp", headers=asking),
    }
    answers = dict(visit.each(requests, lambda what: requests[what]()))
    for what, response in answers.items():
        expect(
            response.headers.get("access-control-allow-origin") in {"*", page},
            f"{what} from {page} is answered without Access-Control-Allow-Origin.",
            pass_on("OPTIONS requests and the Access-Control headers"),
        )
    exposed = answers["POST /mcp"].headers.get("access-control-expose-headers", "").lower()
    expect(
        "www-authenticate" in exposed,
        "Access-Control-Expose-Headers lacks WWW-Authenticate.",
        pass_on("the Access-Control headers"),
    )
    return f"{len(answers)} requests from {page[7:]}"


@check("edge.stream", "Streams are not held back", "reach.health", ours=True)
def _(visit: Visit) -> str:
    times = visit.arrivals("/healthz", Accept="text/event-stream")
    if not times:
        return "nothing to hold back: answers are JSON"
    apart = sum(later - earlier > TOGETHER_SECONDS for earlier, later in pairwise(times))
    expect(
        apart >= 2,
        "A stream arrives all at once at its end, so that answers as event streams come late.",
        "Keep MCP_RESPONSES=json, or let the proxy pass streams on (nginx: `proxy_buffering off;`"
        " for /mcp and no proxy_ignore_headers X-Accel-Buffering; no gzip of text/event-stream).",
    )
    return "three events, each when it was sent"
