"""Does what stands before the server, a proxy or tunnel, treat every client alike?"""

from __future__ import annotations

import httpx2

from personal_verify.answers import shape
from personal_verify.checks import check, expect, pass_on
from personal_verify.known import AGENTS, SERVER_METADATA
from personal_verify.visit import Visit


@check("edge.agents", "No client is blocked by its name", "stranger.challenge")
def _(visit: Visit) -> str:
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}

    def ask(agent: str) -> httpx2.Response:
        return visit.send("POST", "/mcp", json=message, headers={"User-Agent": agent})

    for agent, response in visit.each(AGENTS, ask):
        expect(
            response.status_code == 401,
            f"{AGENTS[agent]} comes as {agent!r} and is answered with {shape(response)}.",
            "Cloudflare: under Security > Bots turn off Bot Fight Mode and Block AI bots, or skip"
            " them for this host by a WAF custom rule; elsewhere allow this User-Agent.",
        )
    return f"{len(AGENTS)} names, Claude-User among them"


@check(
    "edge.cors",
    "Clients in a browser can use it",
    *("metadata.server", "stranger.register", "stranger.challenge"),
)
def _(visit: Visit) -> str:
    page = "http://localhost:6274"  # the MCP Inspector
    asking = {"Origin": page, "Access-Control-Request-Method": "POST"}
    answers = {
        "GET metadata": visit.send("GET", SERVER_METADATA, headers={"Origin": page}),
        "POST /mcp": visit.send("POST", "/mcp", headers={"Origin": page}),
    }
    for path in ("/register", "/token", "/mcp"):
        answers[f"OPTIONS {path}"] = visit.send("OPTIONS", path, headers=asking)
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
